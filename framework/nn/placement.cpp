#include "nn/placement.h"

namespace plumb {

const std::vector<Placement>& placements() {
  static const std::vector<Placement> rows = {
      {.name = "none",
       .formula = "x' = x + F(x)",
       .settings = "",
       .init = "gpt2 with projections / sqrt(2L)",
       .citation = "baseline without norms (cf. Fixup, arXiv 1901.09321)"},
      {.name = "pre",
       .formula = "x' = x + F(N(x));  N_final",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n",
       .init = "gpt2 with projections / sqrt(2L)",
       .citation = "arXiv 2002.04745; GPT-2"},
      {.name = "post",
       .formula = "x' = N(x + F(x))",
       .settings = "norm.post.kind = 'standard'\n",
       .init = "gpt2 with projections / sqrt(2L)",
       .citation = "arXiv 1706.03762"},
      {.name = "peri",
       .formula = "x' = x + N_out(F(N_in(x)));  N_final",
       .settings = "norm.in.kind = 'standard'\nnorm.out.kind = 'standard'\nnorm.final.kind = 'standard'\n",
       .init = "gpt2; projections not scaled, because the branch ends in a norm",
       .citation = "arXiv 2502.02732; Sandwich-LN, arXiv 2105.13290"},
  };
  return rows;
}

const Placement* find_placement(std::string_view name) {
  for (const Placement& row : placements()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::optional<std::string> placement_settings(const std::string& name) {
  const Placement* row = find_placement(name);
  if (row == nullptr) return std::nullopt;
  return std::string(row->settings);
}

std::vector<std::string> placement_names() {
  std::vector<std::string> names;
  for (const Placement& row : placements()) names.emplace_back(row.name);
  return names;
}

}  // namespace plumb
