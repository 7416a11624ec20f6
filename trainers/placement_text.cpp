#include "placement_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "nn/description/placement_equations.h"

namespace plumb {
namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kIndent = 15;  ///< of what stands beside a heading

/// Lines of at most `width` characters, broken at spaces; later lines are indented by `hang`.
std::vector<std::string> wrapped(std::string_view text, std::size_t width, std::size_t hang = 0) {
  std::vector<std::string> lines;
  std::string line;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      lines.push_back(line);
      line = std::string(hang, ' ') + std::string(word);
    } else {
      line += (begin == 0 ? "" : " ") + std::string(word);
    }
    begin = end + 1;
  }
  lines.push_back(line);
  return lines;
}

/// A heading in the left margin with paragraphs to its right.
class Sections {
 public:
  void add(std::string_view heading, const std::vector<std::string>& paragraphs) {
    std::string left(heading);
    for (const std::string& paragraph : paragraphs) {
      const std::size_t inner = std::min(paragraph.find_first_not_of(' '), paragraph.size());
      for (const std::string& line : wrapped(paragraph, kColumns - kIndent, inner + 2)) {
        out_ += fmt::format("  {:<{}}{}\n", left, kIndent - 2, line);
        left.clear();
      }
    }
  }
  /// Two columns; the second is broken within itself.
  void add(std::string_view heading, const std::vector<std::pair<std::string, std::string>>& rows) {
    std::size_t first_width = 0;
    for (const auto& [first, second] : rows) first_width = std::max(first_width, first.size());
    std::string left(heading);
    for (const auto& [first, second] : rows) {
      std::string name = first;
      for (const std::string& line : wrapped(second, kColumns - kIndent - first_width - 2)) {
        out_ += fmt::format("  {:<{}}{:<{}}  {}\n", left, kIndent - 2, name, first_width, line);
        left.clear();
        name.clear();
      }
    }
  }
  void add(std::string_view heading, std::string_view text) {
    if (!text.empty()) add(heading, std::vector<std::string>{std::string(text)});
  }
  std::string text() const { return out_; }

 private:
  std::string out_;
};

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// "attention, blocks 0-2:" and the lines under it; one group of everything needs no heading.
std::vector<std::string> group_lines(const std::vector<SublayerGroup>& groups) {
  std::vector<std::string> lines;
  for (const SublayerGroup& group : groups) {
    const bool alone = groups.size() == 1 && group.where == "every sublayer";
    if (!alone) lines.push_back(group.where + ":");
    for (const std::string& line : group.lines) lines.push_back((alone ? "" : "  ") + line);
  }
  return lines;
}

/// "0.05*" where 0.05 is the start of training; "-" where there is no such coefficient.
std::string value_text(const CoefficientRow& row, std::size_t i) {
  if (std::isnan(row.values[i])) return "-";
  return short_number(row.values[i]) + (row.trained[i] ? "*" : "");
}

std::vector<std::string> coefficient_lines(const CoefficientTable& table) {
  if (table.names.empty()) return {};
  std::size_t where = 0;
  for (const CoefficientRow& row : table.rows) where = std::max(where, row.where.size());
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.names.size(); ++i) {
    std::size_t width = table.names[i].size();
    for (const CoefficientRow& row : table.rows) width = std::max(width, value_text(row, i).size());
    widths.push_back(width);
  }
  const auto line = [&](const std::string& first, const auto& cell) {
    std::string text = fmt::format("{:<{}}", first, where);
    for (std::size_t i = 0; i < widths.size(); ++i) text += fmt::format("  {:>{}}", cell(i), widths[i]);
    return text;
  };
  std::vector<std::string> lines = {line("", [&](std::size_t i) { return table.names[i]; })};
  bool trains = false;
  for (const CoefficientRow& row : table.rows) {
    lines.push_back(line(row.where, [&](std::size_t i) { return value_text(row, i); }));
    trains |= std::find(row.trained.begin(), row.trained.end(), true) != row.trained.end();
  }
  if (trains) lines.emplace_back("* trained, from this value on");
  return lines;
}

/// "blocks.{0-2}.ffn.norm_post.gain (64)" and how it starts.
std::vector<std::pair<std::string, std::string>> tensor_rows(const PlacementDescription& description) {
  const std::vector<BlockRange> all = {{0, description.config.model.blocks - 1}};
  std::vector<std::pair<std::string, std::string>> rows;
  for (const TensorDescription& tensor : description.tensors) {
    std::string name = tensor.name;
    if (!tensor.blocks.empty() && tensor.blocks != all) {
      const std::string blocks = text_of(tensor.blocks);
      const bool is_number = blocks.find_first_of("-,") == std::string::npos;
      name.replace(name.find('*'), 1, is_number ? blocks : "{" + blocks + "}");
    }
    rows.emplace_back(name + " " + to_string(tensor.shape), text_of(tensor));
  }
  return rows;
}

std::vector<std::string> norm_lines(const PlacementDescription& description) {
  std::vector<std::string> lines;
  for (const SublayerGroup& group : description.norms) {
    lines.push_back(fmt::format("{} ({})", group.lines.front(), group.where));
  }
  for (const NormDescription& norm : description.model_norms) {
    lines.push_back(fmt::format("N_{}: {}", norm.slot, text_of(norm.norm)));
  }
  return lines;
}

std::string title(const PlacementDescription& description) {
  const Placement& row = *description.row;
  std::string text(row.name);
  if (!row.aliases.empty()) text += fmt::format(" (also {})", fmt::join(row.aliases, ", "));
  const DescriptionOptions& options = description.options;
  return fmt::format("{}, here with {} layers, width {} and {} heads\n", text, options.layers, options.width,
                     options.heads);
}

/// "Other names:", and a line for each.
std::string aliases_text() {
  std::string names;
  for (const Placement& row : placements()) {
    for (std::string_view alias : row.aliases) {
      names += fmt::format("\n  {} = {}", alias, row.name);
    }
  }
  return "Other names:" + names + "\n";
}

}  // namespace

std::string placement_table_text() {
  constexpr std::size_t kFormula = 44, kCitation = 28;
  std::size_t name_width = 0;
  for (const Placement& row : placements()) name_width = std::max(name_width, row.name.size());
  std::string out = fmt::format("{:<{}}  {:<{}}  {}\n", "name", name_width, "formula", kFormula, "citation");
  for (const Placement& row : placements()) {
    const auto formula = wrapped(row.formula, kFormula, 2), citation = wrapped(row.citation, kCitation);
    for (std::size_t i = 0; i < std::max(formula.size(), citation.size()); ++i) {
      const std::string name = i == 0 ? std::string(row.name) : "";
      const std::string left = i < formula.size() ? formula[i] : "",
                        right = i < citation.size() ? citation[i] : "";
      std::string line = fmt::format("{:<{}}  {:<{}}  {}", name, name_width, left, kFormula, right);
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
  }
  return out +
         "\nF: attention (A) or FFN; N: the norm of model.norm_kind; x_block: the stream at the block's "
         "start;\n"
         "o: per feature; L blocks, K sublayers, l = 1..L. `plumb placements NAME` says more of one.\n" +
         aliases_text() + "Any other placement: set model.norm.* and model.residual.* (docs/config.md).\n";
}

std::string equations_text(const PlacementDescription& description) {
  Sections sections;
  sections.add("start", description.start);
  sections.add("equations", group_lines(description.equations));
  sections.add("inside F", group_lines(description.inside));
  sections.add("end", description.end);
  sections.add("where", group_lines(description.definitions));
  sections.add("norms", norm_lines(description));
  return sections.text();
}

std::string placement_text(const PlacementDescription& description) {
  const Placement& row = *description.row;
  Sections sections;
  sections.add("formula", row.formula);
  sections.add("start", description.start);
  sections.add("equations", group_lines(description.equations));
  sections.add("inside F", group_lines(description.inside));
  sections.add("end", description.end);
  sections.add("where", group_lines(description.definitions));
  sections.add("depth", coefficient_lines(description.coefficients));
  sections.add("norms", norm_lines(description));
  sections.add("init", row.init);
  sections.add("tensors", tensor_rows(description));
  sections.add("[model]", lines_of(row.settings));
  if (row.more_settings != nullptr) sections.add("", lines_of(row.more_settings(description.config.model)));
  sections.add("companions", lines_of(row.companions));
  sections.add("training", row.recipe);
  sections.add("citation", row.citation);
  sections.add("certainty", row.certainty);
  std::string proof = description.golden_file;
  if (!row.identities.empty()) {
    proof += fmt::format("; identities {} of docs/design/placements.md", row.identities);
  }
  sections.add("proof", proof);
  sections.add("note", row.note);
  return title(description) + sections.text();
}

}  // namespace plumb
