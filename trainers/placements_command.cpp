// plumb placements: the rows of framework/nn/placement.cpp for people.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "core/error.h"
#include "nn/placement.h"
#include "session.h"

namespace plumb {
namespace {

void print_table() {
  std::size_t name_width = 0, formula_width = 0;
  for (const Placement& row : placements()) {
    name_width = std::max(name_width, row.name.size());
    formula_width = std::max(formula_width, row.formula.size());
  }
  fmt::print("{:<{}}  {:<{}}  {}\n", "name", name_width, "formula of a sublayer", formula_width, "citation");
  for (const Placement& row : placements()) {
    fmt::print("{:<{}}  {:<{}}  {}\n", row.name, name_width, row.formula, formula_width, row.citation);
  }
  fmt::print(
      "\nN: the norm of model.norm_kind. Any other placement: set model.norm.* and model.residual.* "
      "(docs/config.md).\n");
}

}  // namespace

int run_placements(const PlacementsOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb placements")) return 2;
  if (options.name.empty()) {
    print_table();
    return 0;
  }
  const Placement* row = find_placement(options.name);
  if (row == nullptr) {
    fail_input("placement '{}' is unknown; known: {}", options.name, fmt::join(placement_names(), ", "));
  }
  fmt::print("{}\n  formula   {}\n  init      {}\n  citation  {}\n  settings  (keys under [model])\n",
             row->name, row->formula, row->init, row->citation);
  std::string_view rest = row->settings;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    fmt::print("            {}\n", rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return 0;
}

}  // namespace plumb
