#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "placement_text.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;

Json row_json(const Placement& row) {
  Json json = {{"name", row.name},
               {"aliases", row.aliases},
               {"formula", row.formula},
               {"settings", row.settings},
               {"companions", row.companions},
               {"recipe", row.recipe},
               {"init", row.init},
               {"citation", row.citation},
               {"certainty", row.certainty},
               {"identities", row.identities},
               {"note", row.note}};
  return json;
}

Json ranges_json(const std::vector<BlockRange>& blocks) {
  Json list = Json::array();
  for (const BlockRange& range : blocks) list.push_back({range.first, range.last});
  return list;
}

Json norm_json(const NormDescription& norm) {
  return {{"slot", norm.slot},
          {"kind", norm.norm.kind},
          {"epsilon", norm.norm.epsilon},
          {"gain", norm.norm.gain},
          {"gain_init", norm.norm.gain_init},
          {"bias", norm.norm.bias},
          {"trainable", norm.norm.trainable},
          {"decay", norm.norm.decay}};
}

template <class List, class Convert>
Json list_json(const List& list, Convert convert) {
  Json json = Json::array();
  for (const auto& entry : list) json.push_back(convert(entry));
  return json;
}

Json coefficient_json(const CoefficientDescription& coefficient) {
  const KnobConfig& knob = coefficient.knob;
  return {{"value", coefficient.value},
          {"present", !coefficient.is_absent()},
          {"depth", knob.depth},
          {"counts", knob.counts},
          {"time", knob.time},
          {"trainable", knob.trainable},
          {"storage", knob.storage},
          {"transform", knob.transform},
          {"per_block", knob.per_block},
          {"keep_probability", knob.keep_probability},
          {"tie_to_branch", knob.tie_to_branch},
          {"stop_gradient", knob.stop_gradient}};
}

Json sublayer_json(const SublayerDescription& sublayer) {
  Json json = {{"name", sublayer.name},
               {"kind", sublayer.kind},
               {"sublayer", sublayer.position.sublayer},
               {"block", sublayer.position.block},
               {"branch_input", sublayer.config.branch_input},
               {"equations", sublayer.equations},
               {"inside", sublayer.inside},
               {"definitions", sublayer.definitions},
               {"norms", list_json(sublayer.norms, norm_json)},
               {"coefficients", Json::object()}};
  for (const CoefficientDescription& coefficient : sublayer.coefficients) {
    json["coefficients"][coefficient.name] = coefficient_json(coefficient);
  }
  return json;
}

Json group_json(const SublayerGroup& group) {
  return {{"where", group.where},
          {"kinds", group.kinds},
          {"blocks", ranges_json(group.blocks)},
          {"lines", group.lines}};
}

std::string kind_name(InitRule::Kind kind) {
  if (kind == InitRule::Kind::Constant) return "constant";
  return kind == InitRule::Kind::Normal ? "normal" : "uniform";
}

Json part_json(const TensorPart& part) {
  if (!part.values.empty()) {
    return {{"matrix", part.matrix}, {"distribution", "constants"}, {"values", part.values}};
  }
  Json json = {{"matrix", part.matrix}, {"distribution", kind_name(part.init.kind)}};
  if (part.init.kind == InitRule::Kind::Constant) {
    json["value"] = part.init.value;
  } else {
    json["standard_deviation"] = part.init.standard_deviation();
  }
  return json;
}

Json tensor_json(const TensorDescription& tensor) {
  Json shape = Json::array();
  for (int i = 0; i < tensor.shape.rank(); ++i) shape.push_back(tensor.shape[i]);
  const char* sphere = tensor.sphere == Sphere::None   ? "none"
                       : tensor.sphere == Sphere::Rows ? "rows"
                                                       : "columns";
  return {{"name", tensor.name},
          {"blocks", ranges_json(tensor.blocks)},
          {"shape", shape},
          {"init", list_json(tensor.parts, part_json)},
          {"twin", tensor.twin},
          {"correlation", tensor.correlation},
          {"unit_length", sphere},
          {"trainable", tensor.trainable},
          {"weight_decay", tensor.weight_decay}};
}

Json depth_json(const CoefficientTable& table) {
  Json list = Json::array();
  for (const CoefficientRow& row : table.rows) {
    Json entry = {{"where", row.where},
                  {"blocks", ranges_json(row.blocks)},
                  {"values", Json::object()},
                  {"trained", Json::array()}};
    for (std::size_t i = 0; i < table.names.size(); ++i) {
      if (!std::isnan(row.values[i])) entry["values"][table.names[i]] = row.values[i];
      if (row.trained[i]) entry["trained"].push_back(table.names[i]);
    }
    list.push_back(entry);
  }
  return list;
}

}  // namespace

std::string placement_table_json() { return list_json(placements(), row_json).dump(2) + "\n"; }

std::string placement_json(const PlacementDescription& description) {
  const ModelConfig& model = description.config.model;
  Json json = row_json(*description.row);
  if (description.row->more_settings != nullptr) {
    json["settings"] = std::string(description.row->settings) + description.row->more_settings(model);
  }
  json["golden_file"] = description.golden_file;
  json["layers"] = description.options.layers;
  json["width"] = description.options.width;
  json["heads"] = description.options.heads;
  json["streams"] = {{"kind", model.streams.kind}};
  if (model.streams.kind == "hyper" || model.streams.kind == "mhc") {
    json["streams"]["count"] = model.streams.count;
    json["streams"]["dynamic"] = model.streams.dynamic || model.streams.kind == "mhc";
  }
  json["start"] = description.start;
  json["equations"] = list_json(description.equations, group_json);
  json["inside"] = list_json(description.inside, group_json);
  json["end"] = description.end;
  json["definitions"] = list_json(description.definitions, group_json);
  json["coefficients"] = depth_json(description.coefficients);
  json["norms"] = list_json(description.norms, group_json);
  json["model_norms"] = list_json(description.model_norms, norm_json);
  json["tensors"] = list_json(description.tensors, tensor_json);
  json["sublayers"] = list_json(description.sublayers, sublayer_json);
  return json.dump(2) + "\n";
}

}  // namespace plumb
