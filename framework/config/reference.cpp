#include "config/reference.h"

#include <algorithm>
#include <map>

#include "config/schema.h"
#include "core/error.h"

namespace plumb {
namespace {

/// Fields that share a pattern: one for a plain key, nine for a key of a norm slot.
struct Row {
  std::string pattern;
  std::vector<const Field*> members;
};

std::string table_of(const std::string& key) {
  const std::size_t point = key.rfind('.');
  return point == std::string::npos ? "" : key.substr(0, point);
}

std::string last_part(const std::string& key) {
  return key.substr(table_of(key).empty() ? 0 : table_of(key).size() + 1);
}

std::vector<Row> rows() {
  std::vector<Row> list;
  std::map<std::string, std::size_t> index;
  for (const Field& field : config_fields()) {
    const auto [found, is_new] = index.emplace(field.pattern, list.size());
    if (is_new) list.push_back({field.pattern, {}});
    list[found->second].members.push_back(&field);
  }
  return list;
}

/// Name of a member within its family: "e" of model.residual.e.value.
std::string member_name(const Field& field) { return last_part(table_of(field.key)); }

/// The default, with the members of a family that have another one.
std::string default_text(const Row& row) {
  const std::string common = toml_text(field_default(*row.members.front()));
  std::string out = common;
  for (const Field* field : row.members) {
    const std::string own = toml_text(field_default(*field));
    if (own != common) out += fmt::format(" ({}: {})", member_name(*field), own);
  }
  return out;
}

/// "when kind is sgd" or, where that is shorter, "unless kind is none". Keys of the table itself go by their
/// last part.
std::string condition_text(const Condition& condition, const std::string& table) {
  const Field& other = *find_field(condition.key);
  const std::string key = table_of(other.key) == table ? last_part(other.key) : other.key;
  const std::vector<std::string>& reading = condition.values;
  if (reading.empty()) return fmt::format("unless {} is {}", key, toml_text(field_default(other)));
  if (type_text(other) == "a list of strings") return fmt::format("when {} has {}", key, reading.front());
  std::vector<std::string> others;
  for (const std::string& name : other.allowed.names) {
    // What `standard` stands for decides.
    if (name == "standard") continue;
    if (std::find(reading.begin(), reading.end(), name) == reading.end()) others.push_back(name);
  }
  const bool shorter = !others.empty() && others.size() < reading.size();
  std::string names;
  for (const std::string& name : shorter ? others : reading) names += (names.empty() ? "" : " or ") + name;
  return fmt::format("{} {} is {}", shorter ? "unless" : "when", key, names);
}

/// " Read when kind is sgd."
std::string conditions_text(const Field& field) {
  std::string out;
  for (const Condition& condition : field.read_when)
    out += (out.empty() ? " Read " : ", and ") + condition_text(condition, table_of(field.key));
  return out.empty() ? "" : out + ".";
}

std::string meaning(const Row& row) {
  const Field& field = *row.members.front();
  std::string out = field.documentation;
  if (!field.unit.empty()) out += fmt::format(" Unit: {}.", field.unit);
  if (row.members.size() == 1 && !field.acts_in.empty())
    out += fmt::format(" Acts in {} sublayers.", field.acts_in);
  out += conditions_text(field);
  if (row.members.size() == 1 && row.pattern != field.key)
    out += fmt::format(" Only {}.", member_name(field));
  return out;
}

/// A bar would end the cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char character : text) {
    if (character == '|') out += '\\';
    out += character;
  }
  return out;
}

const char* table_intro(const std::string& table) {
  if (table == "model.norm.<slot>") {
    return "Norm slots of a sublayer: `in` (before the branch), `out` (on what the branch adds), `post` "
           "(after the "
           "addition), and inside the branch `qk` (queries and keys), `v` (values), `pre_projection` (before "
           "the output "
           "matrix of attention), `ffn_inner` (on the hidden layer of the FFN). Of the model: `embedding` "
           "(on the "
           "embedding), `final` (before the head) and `stream` (of the second stream where it is read and at "
           "the end, or of the streams before their mixing weights; model.streams.kind). The placement fills "
           "slots; all but these three may "
           "differ between sublayers. Where a key is read for some kinds only, `standard` counts as the kind "
           "that it stands for.\n\n";
  }
  if (table == "model.gain.<gain>") {
    return "Factors inside a branch and on the logits, with the schedules of a knob: `qk` on queries and "
           "keys "
           "after their norm and rotation, one for both; `value` on the values, and `first_value` times the "
           "first "
           "attention's values added to them (value residual); `ffn` on the FFN's hidden layer before the "
           "activation; `logits` on the output logits. A trained vector has an entry per feature of what it "
           "acts on. All but `logits` may differ between sublayers.\n\n";
  }
  if (table == "model.residual.<knob>") {
    return "The coefficients of s = a x + b z + e x_block, x' = p N_post(s), with the branch fed by c "
           "N_in(x). Each is "
           "value * depth factor * time factor, optionally with a trained factor and a Bernoulli draw per "
           "sequence. All "
           "may differ between sublayers.\n\n";
  }
  return "";
}

constexpr const char* kHead =
    R"(# Configuration reference

Generated from the schema in `framework/config`; do not edit. To regenerate: build the target
`generate_config_reference` and write what it prints to this file.

A configuration is one or more TOML files, each winning over those before it, then `--set key=value` overrides with
the value in TOML syntax (a value that is no TOML is taken as a string). Below the files lie the settings of the
placement (`model.placement`), and below those the defaults of this page. A key that is unknown, of the wrong type, out
of range, or set although nothing reads it ends the run with one line that says where it stands and what would be valid.
The resolved configuration, with the origin of every value, is saved as `config.toml` in the run's folder.
)";

constexpr const char* kOverrides = R"(
## `[[model.override]]`

Changes a range of sublayers; tables add up in the order given, and a later one wins. An override wins over the keys under
`model` that hold for all sublayers.

| key | type | default | allowed | meaning |
|---|---|---|---|---|
| `blocks` | two numbers | all blocks | whole: 0 <= first <= last < model.blocks; with a point: 0.0 <= first <= last <= 1.0 | Blocks first to last, both included, counted from 0; written with a point, fractions of the depth: [0.0, 0.25] is the first quarter (blocks whose middle lies in it). |
| `every` | a whole number | `1` | >= 1 | Of those only every so-manieth block of the model: blocks l = 1, 2, ... (counted from 1) that it divides. |
| `sublayer` | a string | `"all"` | all, attention, ffn, linear | Kind of sublayer. |
| `norm.*`, `residual.*`, `gain.*`, `activation`, `qk_norm_extent`, `v_norm_extent`, `head_gains`, `branch_input`, `branch_biases` | | | | As under `model`, for the sublayers covered; not `norm.embedding`, `norm.final`, `norm.stream` and `gain.logits`. |

```toml
[[model.override]]
blocks = [0, 3]
sublayer = "attention"
norm.out.kind = "rmsnorm"
residual.b.value = 0.5
```
)";

}  // namespace

std::string config_reference_markdown() {
  const std::vector<Row> all = rows();
  std::vector<std::string> tables;
  for (const Row& row : all) {
    const std::string table = table_of(row.pattern);
    if (std::find(tables.begin(), tables.end(), table) == tables.end()) tables.push_back(table);
  }
  std::string out = kHead;
  for (const std::string& table : tables) {
    out += fmt::format("\n## {}\n\n{}", table.empty() ? "Top level" : '`' + table + '`', table_intro(table));
    out += "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
    for (const Row& row : all) {
      if (table_of(row.pattern) != table) continue;
      const Field& field = *row.members.front();
      out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", row.pattern, type_text(field), default_text(row),
                         cell(allowed_text(field)), cell(meaning(row)));
    }
  }
  return out + kOverrides;
}

std::string config_help_text() {
  std::string out = "Configuration keys and defaults (docs/config.md explains each):\n";
  for (const Row& row : rows()) out += fmt::format("  {} = {}\n", row.pattern, default_text(row));
  out +=
      "  <slot>: in, out, post, qk, v, pre_projection, ffn_inner, embedding, final, stream; <knob>: a, b, c, "
      "e, "
      "p; <gain>: qk, value, first_value, ffn, logits\n";
  out += "  [[model.override]] changes norm.*, residual.* and more for a range of blocks\n";
  return out;
}

}  // namespace plumb
