#include "nn/description/placement_description.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "nn/description/placement_equations.h"
#include "nn/description/placement_tensors.h"
#include "nn/knob.h"

namespace plumb {
namespace {

/// The row as a run without any other model key would have it; data and batch are there because a
/// configuration needs them.
Config load_row(const Placement& row, const DescriptionOptions& options) {
  const std::string text = fmt::format(
      "data.kind = 'markov'\ntraining.sequences_per_step = 1\n[model]\nplacement = '{}'\nblocks = {}\nwidth "
      "= "
      "{}\nheads = {}\n",
      row.name, options.layers, options.width, options.heads);
  const std::string name = fmt::format("placement {} at {} layers", row.name, options.layers);
  const std::vector<ConfigSource> sources = {{name, text}};
  return load_config(sources, {}, {placement_settings, placement_names}).config;
}

void add_norm(std::vector<NormDescription>& list, const std::string& slot, NormConfig norm,
              const ModelConfig& model) {
  if (norm.kind == "standard") norm.kind = model.norm_kind;
  if (norm.kind != "none") list.push_back({slot, std::move(norm)});
}

std::vector<NormDescription> norms_of(const SublayerConfig& config, const std::string& kind,
                                      const ModelConfig& model) {
  std::vector<NormDescription> list;
  add_norm(list, "in", config.norm.in, model);
  add_norm(list, "out", config.norm.out, model);
  add_norm(list, "post", config.norm.post, model);
  if (kind == "attention") {
    add_norm(list, "qk", config.norm.qk, model);
    add_norm(list, "v", config.norm.v, model);
    add_norm(list, "pre_projection", config.norm.pre_projection, model);
  }
  if (kind == "ffn") add_norm(list, "ffn_inner", config.norm.ffn_inner, model);
  return list;
}

bool varies(const KnobConfig& knob, const DepthPosition& position, std::int64_t per_block) {
  if (knob.depth == "constant") return false;
  const double here = depth_factor(knob, position);
  for (std::int64_t k = 0; k < position.sublayers; ++k) {
    DepthPosition other = position;
    other.sublayer = k;
    other.block = k / per_block;
    if (depth_factor(knob, other) != here) return true;
  }
  return false;
}

std::vector<CoefficientDescription> coefficients_of(const SublayerDescription& sublayer,
                                                    const ModelConfig& model) {
  std::vector<CoefficientDescription> list;
  const auto per_block = static_cast<std::int64_t>(model.block.size());
  const auto add = [&](const char* name, const KnobConfig& knob) {
    list.push_back({.name = name,
                    .knob = knob,
                    .value = knob_start(knob, sublayer.position, model.width),
                    .varies_over_depth = varies(knob, sublayer.position, per_block)});
  };
  const SublayerKnobs& knobs = sublayer.config.residual;
  add("a", knobs.a);
  add("b", knobs.b);
  add("c", knobs.c);
  add("e", knobs.e);
  add("p", knobs.p);
  if (knobs.a.tie_to_branch) list[0].value = 1 - list[1].value;
  const SublayerGains& gains = sublayer.config.gain;
  if (sublayer.kind == "attention") {
    add("gain.qk", gains.qk);
    add("gain.value", gains.value);
    add("gain.first_value", gains.first_value);
  }
  if (sublayer.kind == "ffn") add("gain.ffn", gains.ffn);
  return list;
}

std::vector<SublayerDescription> describe_sublayers(const ModelConfig& model) {
  const auto per_block = static_cast<std::int64_t>(model.block.size());
  std::vector<SublayerDescription> list;
  for (std::int64_t k = 0; k < model.blocks * per_block; ++k) {
    SublayerDescription sublayer;
    sublayer.kind = model.block[static_cast<std::size_t>(k % per_block)];
    sublayer.name = fmt::format("blocks.{}.{}", k / per_block, sublayer.kind);
    sublayer.position = {
        .sublayer = k, .sublayers = model.blocks * per_block, .block = k / per_block, .blocks = model.blocks};
    sublayer.config = resolved_sublayer(model, sublayer.position.block, sublayer.kind);
    sublayer.norms = norms_of(sublayer.config, sublayer.kind, model);
    sublayer.coefficients = coefficients_of(sublayer, model);
    sublayer.equations = equation_lines(sublayer, model);
    sublayer.inside = inside_lines(sublayer, model);
    sublayer.definitions = definition_lines(sublayer, model);
    list.push_back(std::move(sublayer));
  }
  return list;
}

/// "attention, blocks 0-2": what is not all of them.
std::string where_text(const SublayerGroup& group, const ModelConfig& model) {
  const bool every_kind = group.kinds == model.block;
  const bool every_block = group.blocks == std::vector<BlockRange>{{0, model.blocks - 1}};
  if (every_kind && every_block) return "every sublayer";
  std::string kinds;
  if (!every_kind) kinds = fmt::format("{}", fmt::join(group.kinds, " and "));
  if (every_block) return kinds;
  const bool one = group.blocks.size() == 1 && group.blocks[0].first == group.blocks[0].last;
  return fmt::format("{}{}{} {}", kinds, kinds.empty() ? "" : ", ", one ? "block" : "blocks",
                     text_of(group.blocks));
}

/// A group has one line: a slot and what is in it.
std::vector<SublayerGroup> group_norms(const PlacementDescription& description) {
  std::vector<SublayerGroup> all;
  for (const char* slot : {"in", "out", "post", "qk", "v", "pre_projection", "ffn_inner"}) {
    const auto groups = group_sublayers(description, [&](const SublayerDescription& sublayer) {
      const NormDescription* norm = sublayer.norm(slot);
      if (norm == nullptr) return std::vector<std::string>{};
      return std::vector<std::string>{fmt::format("N_{}: {}", slot, text_of(norm->norm))};
    });
    all.insert(all.end(), groups.begin(), groups.end());
  }
  return all;
}

/// Blocks whose sublayers have the same equations, insides and definitions.
std::vector<BlockGroup> group_blocks(const PlacementDescription& description) {
  const ModelConfig& model = description.config.model;
  const auto same = [&](std::int64_t x, std::int64_t y) {
    for (std::size_t place = 0; place < model.block.size(); ++place) {
      const SublayerDescription &one = description.sublayer(x, place),
                                &other = description.sublayer(y, place);
      if (one.equations != other.equations || one.inside != other.inside ||
          one.definitions != other.definitions) {
        return false;
      }
    }
    return true;
  };
  std::vector<BlockGroup> groups;
  for (std::int64_t block = 0; block < model.blocks; ++block) {
    const auto found = std::find_if(groups.begin(), groups.end(),
                                    [&](const BlockGroup& group) { return same(group.example, block); });
    if (found == groups.end()) {
      groups.push_back({.blocks = {{block, block}}, .example = block});
    } else {
      append_block(found->blocks, block);
    }
  }
  return groups;
}

/// Names of the coefficients that are there in some sublayer, in the order of the equation.
std::vector<std::string> present_coefficients(const PlacementDescription& description) {
  std::vector<std::string> names;
  for (const char* name :
       {"a", "b", "c", "e", "p", "gain.qk", "gain.value", "gain.first_value", "gain.ffn"}) {
    for (const SublayerDescription& sublayer : description.sublayers) {
      const auto found = std::find_if(sublayer.coefficients.begin(), sublayer.coefficients.end(),
                                      [&](const auto& coefficient) { return coefficient.name == name; });
      if (found == sublayer.coefficients.end() || found->is_absent()) continue;
      names.emplace_back(name);
      break;
    }
  }
  return names;
}

CoefficientRow row_of(const SublayerDescription& sublayer, const std::vector<std::string>& names) {
  CoefficientRow row;
  for (const std::string& name : names) {
    const auto found = std::find_if(sublayer.coefficients.begin(), sublayer.coefficients.end(),
                                    [&](const auto& coefficient) { return coefficient.name == name; });
    const bool acts = found != sublayer.coefficients.end();
    row.values.push_back(acts ? found->value : std::numeric_limits<double>::quiet_NaN());
    row.trained.push_back(acts && found->is_trained());
  }
  return row;
}

/// Rows in order of depth: successive blocks with the same values share theirs.
CoefficientTable coefficient_table(const PlacementDescription& description) {
  CoefficientTable table;
  table.names = present_coefficients(description);
  if (table.names.empty()) return table;
  const auto groups = group_sublayers(description, [&](const SublayerDescription& sublayer) {
    const CoefficientRow row = row_of(sublayer, table.names);
    std::vector<std::string> key;
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      key.push_back(fmt::format("{} {}", row.values[i], bool{row.trained[i]}));
    }
    return key;
  });
  for (const SublayerGroup& group : groups) {
    const auto& block = description.config.model.block;
    const auto place =
        static_cast<std::size_t>(std::find(block.begin(), block.end(), group.kinds.front()) - block.begin());
    CoefficientRow row = row_of(description.sublayer(group.blocks.front().first, place), table.names);
    row.where = group.where;
    row.blocks = group.blocks;
    table.rows.push_back(std::move(row));
  }
  std::stable_sort(table.rows.begin(), table.rows.end(), [](const auto& x, const auto& y) {
    return x.blocks.front().first < y.blocks.front().first;
  });
  return table;
}

}  // namespace

const NormDescription* SublayerDescription::norm(const std::string& slot) const {
  for (const NormDescription& entry : norms) {
    if (entry.slot == slot) return &entry;
  }
  return nullptr;
}

const NormDescription* PlacementDescription::model_norm(const std::string& slot) const {
  for (const NormDescription& entry : model_norms) {
    if (entry.slot == slot) return &entry;
  }
  return nullptr;
}

const CoefficientDescription& SublayerDescription::coefficient(const std::string& symbol) const {
  for (const CoefficientDescription& entry : coefficients) {
    if (entry.name == symbol) return entry;
  }
  fail("{} has no coefficient '{}'", name, symbol);
}

std::vector<SublayerGroup> group_sublayers(
    const PlacementDescription& description,
    const std::function<std::vector<std::string>(const SublayerDescription&)>& lines) {
  const ModelConfig& model = description.config.model;
  std::vector<SublayerGroup> groups;
  for (std::size_t place = 0; place < model.block.size(); ++place) {
    std::vector<SublayerGroup> of_kind;
    for (std::int64_t block = 0; block < model.blocks; ++block) {
      std::vector<std::string> text = lines(description.sublayer(block, place));
      if (text.empty()) continue;
      const auto found = std::find_if(of_kind.begin(), of_kind.end(),
                                      [&](const SublayerGroup& group) { return group.lines == text; });
      if (found != of_kind.end()) {
        append_block(found->blocks, block);
      } else {
        of_kind.push_back({.kinds = {model.block[place]}, .blocks = {{block, block}}, .lines = text});
      }
    }
    for (SublayerGroup& group : of_kind) {
      const auto twin = std::find_if(groups.begin(), groups.end(), [&](const SublayerGroup& other) {
        return other.lines == group.lines && other.blocks == group.blocks;
      });
      if (twin != groups.end()) {
        twin->kinds.push_back(model.block[place]);
      } else {
        groups.push_back(std::move(group));
      }
    }
  }
  for (SublayerGroup& group : groups) group.where = where_text(group, model);
  return groups;
}

PlacementDescription describe_configuration(const Config& config) {
  PlacementDescription description;
  description.row = find_placement(config.model.placement);
  description.options = {
      .layers = config.model.blocks, .width = config.model.width, .heads = config.model.heads};
  description.config = config;
  const ModelConfig& model = description.config.model;
  description.sublayers = describe_sublayers(model);
  add_norm(description.model_norms, "embedding", model.embedding_norm, model);
  add_norm(description.model_norms, "stream", model.stream_norm, model);
  add_norm(description.model_norms, "final", model.final_norm, model);
  description.start = start_lines(model);
  description.end = end_lines(model);
  const auto group = [&](std::vector<std::string> SublayerDescription::*lines) {
    return group_sublayers(description,
                           [lines](const SublayerDescription& sublayer) { return sublayer.*lines; });
  };
  description.equations = group(&SublayerDescription::equations);
  description.inside = group(&SublayerDescription::inside);
  description.definitions = group(&SublayerDescription::definitions);
  description.norms = group_norms(description);
  description.blocks = group_blocks(description);
  description.coefficients = coefficient_table(description);
  description.tensors = describe_tensors(description.config);
  return description;
}

PlacementDescription describe_placement(const Placement& row, const DescriptionOptions& options) {
  PlacementDescription description = describe_configuration(load_row(row, options));
  description.row = &row;
  description.options = options;
  description.golden_file = fmt::format("tests/golden/placements/{}.safetensors", row.name);
  return description;
}

void append_block(std::vector<BlockRange>& ranges, std::int64_t block) {
  if (!ranges.empty() && ranges.back().last == block - 1) {
    ranges.back().last = block;
  } else {
    ranges.push_back({block, block});
  }
}

std::string text_of(const NormConfig& norm) {
  std::string text = norm.kind;
  const bool pointwise = norm.kind == "dyt" || norm.kind == "derf";
  text += pointwise ? ", alpha from " + short_number(norm.alpha_init) : ", eps " + short_number(norm.epsilon);
  text += norm.gain ? ", gain from " + short_number(norm.gain_init) : ", no gain";
  if (norm.bias && (pointwise || norm.kind == "layernorm")) text += ", bias from 0";
  if (!norm.trainable) text += ", not trained";
  if (norm.decay) text += ", with weight decay";
  return text;
}

namespace {

std::string text_of(const BlockRange& range) {
  return range.last > range.first ? fmt::format("{}-{}", range.first, range.last)
                                  : fmt::format("{}", range.first);
}

/// Whether the ranges follow each other at one distance and are equally long, but for the last.
bool is_periodic(const std::vector<BlockRange>& blocks) {
  const std::int64_t step = blocks[1].first - blocks[0].first, length = blocks[0].last - blocks[0].first;
  for (std::size_t i = 1; i < blocks.size(); ++i) {
    if (blocks[i].first - blocks[i - 1].first != step) return false;
    if (i + 1 < blocks.size() && blocks[i].last - blocks[i].first != length) return false;
  }
  return true;
}

}  // namespace

std::string text_of(const std::vector<BlockRange>& blocks) {
  if (blocks.size() > 4 && is_periodic(blocks)) {
    return fmt::format("{}, {}, ... {}", text_of(blocks[0]), text_of(blocks[1]), text_of(blocks.back()));
  }
  std::string text;
  for (const BlockRange& range : blocks) text += (text.empty() ? "" : ", ") + text_of(range);
  return text;
}

}  // namespace plumb
