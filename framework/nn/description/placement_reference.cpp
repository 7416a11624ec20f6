#include "nn/description/placement_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "nn/description/placement_drawing.h"
#include "nn/description/placement_equations.h"
#include "nn/init.h"

namespace plumb {
namespace {

constexpr const char* kHead = R"md(# Placements

Generated from the rows in `framework/nn` (`placement_rows.cpp`, `residual_schedule.cpp`, `init.cpp`); do not edit. To
regenerate, drawings included: `cmake --build --preset release --target placement_reference`.

`plumb placements` prints the table, `plumb placements NAME --layers N` one placement at a depth of your choice, both as
JSON with `--json`.

## How to read

Every sublayer is the [block equation](design/block_equation.md),

    u  = c N_in(x)
    z  = N_out(F(u))
    s  = a x + b z + e x_block
    x' = p N_post(s)

with F attention or the FFN, x the stream, x' the stream above the sublayer, x_block the stream at the start of the
block, and `o` the product feature by feature. A placement fills some of the slots N and sets the coefficients. What is
absent is left out below: a norm that is not there, a term with coefficient 0, a factor of 1. L is the number of blocks, K
the number of sublayers (2L here); blocks and sublayers are counted from 0, but l in a formula counts from 1. d is the
width, p in an init a dropout probability.

The equations, numbers and tensors are those of the configuration that the row loads as, with 12 blocks, width 64, 4 heads
and everything else at its default. Where training changes a coefficient, the number is where it starts. Of the tensors,
matrices are listed, and whatever else does not start as usual (gains at 1, biases at 0).

The drawings are to be read from the bottom up. Blue are norms, small marks inside a box act inside the branch, a cross is
a factor. `N_stream` belongs to the second stream, or to what the mixing weights are made from.

*Certainty* says what the row was checked against. *Proof* names the golden file, in which an independent
implementation in PyTorch computed loss, hidden states and gradients of the placement
([tests/golden](../tests/golden/README.md)), and the identities that tests hold it to
([design/placements.md](design/placements.md)).
)md";

constexpr const char* kSchedules = R"md(
## Residual schedules

Every coefficient of the block equation, and every gain inside a branch, is

    value * width^width_exponent * depth factor * time factor

times a trained factor and a random one where they are asked for; see `model.residual.<knob>` in
[config.md](config.md). Any schedule goes with any placement:

```toml
[model]
placement = "pre"
residual.b = {depth = "1/sqrt(l)", counts = "blocks", time = "prores-linear", ramp_steps = 1000}
```
)md";

constexpr const char* kDepthSchedules = R"md(
### Over depth

`depth = "..."`. L is the number of units and l = 1..L the unit's own number; `counts` says whether a unit is a sublayer
(the default) or a block.

| depth | factor | counts | source | how sure |
|---|---|---|---|---|
)md";

constexpr const char* kTimeSchedules = R"md(
### Over time

`time = "..."`. t = 0, 1, ... is the optimiser step and T = `ramp_steps`; every factor ends at 1. Where l or L stands in
the formula, `time_counts` says whether it counts blocks (the default) or sublayers.

| time | factor at step t | counts | source | how sure |
|---|---|---|---|---|
)md";

constexpr const char* kInitKinds = R"md(
## Init

### Matrices in sublayers

`model.init.kind`. Each of W_Q, W_K, W_V is a matrix of its own to a rule, and so are the two halves of a gated W_1. Where
`model.init.projection_scale` is `auto`, `gpt2` and `small` divide what writes to the stream (W_O, W_2) by sqrt(K), unless
the branch ends in a norm, where the scale could only push the branch towards the norm's eps; the other kinds do not.

| kind | rule | source | certainty |
|---|---|---|---|
)md";

constexpr const char* kEmbeddingInits = R"md(
### Token embedding

`model.init.embedding`. The position embedding is normal with `model.init.position_standard_deviation`, but follows
`deepscalelm`. An untied head is normal with `model.init.standard_deviation` (`gpt2`, `normal`) or 1/sqrt(width).

| embedding | rule | source | how sure |
|---|---|---|---|
)md";

constexpr const char* kInitDepth = R"md(
### Over depth

These change the matrices of sublayers further, whatever their kind.

| key | effect | source |
|---|---|---|
| `model.init.depth = "ds-init"` | standard deviation times `depth_scale` / sqrt(l), l = 1..L the block | DS-Init, arXiv 1908.11365 |
| `model.init.depth = "depth-growing"` | standard deviation times `depth_growth`^k, k = 0..K-1 the sublayer | - |
| `model.init.depth_correlation = rho` (depth-correlated) | W_l = rho W_0 + sqrt(1 - rho^2) E_l, where W_0 plays the same part in block 0 and E_l is drawn afresh; both before their own standard deviation | - |
| `model.init.profile = "admin"` | before the first step a pass over the first batch sets every trained skip coefficient to the root of the variance that the branches below it add | Admin, arXiv 2004.08249 |
)md";

constexpr const char* kCompanions = R"md(
## Companions

A rule about depth is more than a coefficient: some come with learning rates, eps and weight decay of the optimiser.
`optimizer.scaling` sets those that belong to `model.residual.b.depth` of the same name. It takes its ratios from there:

    m_L = L / depth_base                        L blocks or sublayers, as b counts
    m_N = width / optimizer.scaling_base_width  1 where that is 0
    alpha = -depth_exponent                     completep; 1 or 1/2

| tensors | `depth-mup`: learning rate | `completep`: learning rate | eps | weight decay |
|---|---|---|---|---|
| matrices in blocks | m_L^(-1/2) | m_N^(-1) m_L^(alpha-1) | m_N^(-1) m_L^(-alpha) | m_N |
| vectors in blocks (gains, biases, coefficients) | 1 | m_L^(alpha-1) | m_N^(-1) m_L^(-alpha) | 1 |
| embeddings, norms of the model, head | 1 | 1 | 1 | 1 |

Every entry multiplies the value under `optimizer`; under `depth-mup` eps and weight decay stay as they are. Sources:
Depth-muP, arXiv 2310.02244, as a table of the CompleteP code has it (the paper's own was not read, nor whether vectors
take the factor too); CompleteP, arXiv 2505.01618, read in the authors' table and code, of which the code scales eps for
all parameters and the table, as here, inside blocks.

```toml
[model]
placement = "pre"
width = 256
residual.b = {depth = "completep", depth_exponent = -1.0, depth_base = 2, counts = "blocks"}

[optimizer]
scaling = "completep"
scaling_base_width = 64
```

The rest of muP's rules about width are settings of the model: `model.init.standard_deviation` (times m_N^(-1/2)),
`model.gain.logits` (`value` and `width_exponent = -1`, the factor on the output logits) and `model.attention_scale`
(1/head_width instead of its root).

What a placement's own authors train it with stands in its section as *training*, in words. What it does not go without is
set with the row, as *companions*, below the user's settings: any key that a configuration sets wins.
)md";

/// A bar would end the cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char character : text) {
    if (character == '|') out += '\\';
    out += character;
  }
  return out;
}

std::string sentence(std::string_view text) {
  std::string out(text);
  if (!out.empty() && out.back() != '.') out += '.';
  return out;
}

std::string overview() {
  std::string out = "\n## All placements\n\n| name | formula of a sublayer | citation |\n|---|---|---|\n";
  for (const Placement& row : placements()) {
    const std::string aliases =
        row.aliases.empty() ? "" : fmt::format(" (also {})", fmt::join(row.aliases, ", "));
    out += fmt::format("| [{0}](#{0}){1} | {2} | {3} |\n", row.name, aliases, cell(row.formula),
                       cell(row.citation));
  }
  return out;
}

void append_groups(std::string& out, const std::vector<SublayerGroup>& groups) {
  for (const SublayerGroup& group : groups) {
    if (groups.size() > 1 || group.where != "every sublayer") out += fmt::format("{}:\n", group.where);
    for (const std::string& line : group.lines) out += fmt::format("    {}\n", line);
  }
}

/// Start, sublayers, insides, end and what the letters mean.
std::string equations(const PlacementDescription& description) {
  std::string out = "```text\n";
  for (const std::string& line : description.start) out += line + "\n";
  out += "\n";
  append_groups(out, description.equations);
  if (!description.inside.empty()) {
    out += "\ninside F\n";
    append_groups(out, description.inside);
  }
  out += "\n";
  for (const std::string& line : description.end) out += line + "\n";
  if (!description.definitions.empty()) {
    out += "\nwhere\n";
    append_groups(out, description.definitions);
  }
  return out + "```\n";
}

std::string coefficients(const PlacementDescription& description) {
  const CoefficientTable& table = description.coefficients;
  if (table.names.empty()) return "";
  std::string out = fmt::format("\n| 12 blocks | {} |\n|---|", fmt::join(table.names, " | "));
  for (std::size_t i = 0; i < table.names.size(); ++i) out += "---|";
  out += "\n";
  for (const CoefficientRow& row : table.rows) {
    out += "| " + row.where + " |";
    for (std::size_t i = 0; i < table.names.size(); ++i) {
      out += std::isnan(row.values[i])
                 ? " - |"
                 : fmt::format(" {}{} |", short_number(row.values[i]), row.trained[i] ? ", trained" : "");
    }
    out += "\n";
  }
  return out;
}

std::string norms(const PlacementDescription& description) {
  std::string out;
  for (const SublayerGroup& group : description.norms) {
    out += fmt::format("- {} ({})\n", group.lines.front(), group.where);
  }
  for (const NormDescription& norm : description.model_norms) {
    out += fmt::format("- N_{}: {}\n", norm.slot, text_of(norm.norm));
  }
  return out.empty() ? "\nNorms: none.\n" : "\nNorms:\n\n" + out;
}

bool starts_as_usual(const TensorDescription& tensor) {
  if (tensor.shape.rank() > 1 || tensor.parts.size() > 1) return false;
  const InitRule& rule = tensor.parts.front().init;
  const bool is_gain = tensor.name.ends_with(".gain"), is_bias = tensor.name.ends_with(".bias");
  return (is_gain && rule == InitRule::constant(1)) || (is_bias && rule == InitRule::constant(0));
}

/// A row per tensor, its blocks folded: where every block has its own deviation, the first and the last.
std::string tensors(const PlacementDescription& description) {
  const std::vector<BlockRange> all = {{0, description.config.model.blocks - 1}};
  std::string out = "\n| tensor | start |\n|---|---|\n";
  const std::vector<TensorDescription>& list = description.tensors;
  for (std::size_t i = 0; i < list.size();) {
    std::size_t end = i + 1;
    while (end < list.size() && list[end].name == list[i].name) ++end;
    const bool folds = end - i > 3;
    for (std::size_t j = i; j < end; ++j) {
      if (starts_as_usual(list[j]) || (folds && j != i && j != end - 1)) continue;
      std::string blocks;
      if (!list[j].blocks.empty() && list[j].blocks != all) {
        const std::string numbers = text_of(list[j].blocks);
        const bool one = numbers.find_first_of("-,") == std::string::npos;
        blocks = fmt::format(" of {} {}", one ? "block" : "blocks", numbers);
      }
      out += fmt::format("| `{}`{}{} | {} |\n", list[j].name, blocks, folds && j == i ? ", and so on to" : "",
                         cell(text_of(list[j])));
    }
    i = end;
  }
  return out;
}

std::string settings(const PlacementDescription& description) {
  const Placement& row = *description.row;
  std::string model(row.settings);
  if (row.more_settings != nullptr) model += row.more_settings(description.config.model);
  model.erase(0, std::min(model.find_first_not_of('\n'), model.size()));
  std::string out =
      "\nSettings, under `[model]`:\n\n```toml\n" + (model.empty() ? "# none\n" : model) + "```\n";
  if (!row.companions.empty()) {
    out += fmt::format("\nCompanions, set with the row:\n\n```toml\n{}```\n", row.companions);
  }
  return out;
}

std::string section(const Placement& row) {
  const PlacementDescription description = describe_placement(row);
  std::string out = fmt::format("\n## {0}\n\n![Blocks of {0}](figures/placements/{0}.svg)\n\n`{1}`\n\n",
                                row.name, row.formula);
  out += equations(description) + coefficients(description);
  out += norms(description);
  out += fmt::format("\nInit: {}\n", sentence(row.init)) + tensors(description) + settings(description);
  out += fmt::format("\n- Training: {}\n", row.recipe.empty() ? "not looked up." : sentence(row.recipe));
  out += fmt::format("- Citation: {}\n- Certainty: {}\n", sentence(row.citation), sentence(row.certainty));
  out += fmt::format("- Proof: `{}`", description.golden_file);
  out += row.identities.empty() ? "\n" : fmt::format("; identities {}\n", row.identities);
  if (!row.note.empty()) out += fmt::format("- Note: {}\n", sentence(row.note));
  return out;
}

/// Whether l or L stands in a formula as a symbol.
bool counts_something(std::string_view formula) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  for (std::size_t i = 0; i < formula.size(); ++i) {
    if (formula[i] != 'l' && formula[i] != 'L') continue;
    const bool before = i > 0 && is_letter(formula[i - 1]);
    const bool after = i + 1 < formula.size() && is_letter(formula[i + 1]);
    if (!before && !after) return true;
  }
  return formula.find("stagewise") != std::string_view::npos;
}

std::string schedules() {
  std::string out = fmt::format("{}{}", kSchedules, kDepthSchedules);
  for (const DepthSchedule& row : depth_schedules()) {
    const char* counts = row.counts_blocks               ? "blocks"
                         : counts_something(row.formula) ? "as `counts` says"
                                                         : "-";
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.name, cell(row.formula), counts,
                       cell(row.citation), cell(row.certainty));
  }
  out += kTimeSchedules;
  for (const TimeSchedule& row : time_schedules()) {
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.name, cell(row.formula),
                       counts_something(row.formula) ? "as `time_counts` says" : "-", cell(row.citation),
                       cell(row.certainty));
  }
  return out;
}

std::string inits() {
  std::string out = kInitKinds;
  for (const InitKind& row : init_kinds()) {
    out += fmt::format("| `{}` | {} | {} | {} |\n", row.name, cell(row.rule), cell(row.citation),
                       cell(row.certainty));
  }
  out += kEmbeddingInits;
  for (const EmbeddingInit& row : embedding_inits()) {
    out += fmt::format("| `{}` | {} | {} | {} |\n", row.name, cell(row.rule), cell(row.citation),
                       cell(row.certainty));
  }
  return out + kInitDepth;
}

}  // namespace

std::string placement_reference_markdown() {
  std::string out = kHead + overview();
  for (const Placement& row : placements()) out += section(row);
  return out + schedules() + inits() + kCompanions;
}

std::map<std::string, std::string> placement_figures() {
  std::map<std::string, std::string> figures;
  for (const Placement& row : placements()) {
    figures.emplace(row.name, placement_svg(describe_placement(row)));
  }
  return figures;
}

}  // namespace plumb
