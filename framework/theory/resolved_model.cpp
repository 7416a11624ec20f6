#include "theory/resolved_model.h"

#include <fmt/format.h>

#include <utility>

#include "nn/norm_layer.h"
#include "nn/transformer.h"

namespace plumb {
namespace {

constexpr const char* kKnobs[] = {"a", "b", "c", "e", "p"};

/// An override of every sublayer, which wins over all that are there.
void append_override(ModelConfig& config, std::vector<std::pair<std::string, std::string>> settings) {
  OverrideConfig change;
  change.settings = std::move(settings);
  change.origin = "plumb check";
  config.overrides.push_back(std::move(change));
}

}  // namespace

std::string ResolvedModel::other_streams() const {
  if (config.streams.kind == "single") return "";
  return fmt::format("model.streams.kind = '{}': no formula here for more than one stream",
                     config.streams.kind);
}

ResolvedModel resolve_model(const ModelConfig& config) {
  const auto per_block = static_cast<std::int64_t>(config.block.size());
  const std::int64_t count = config.blocks * per_block;
  ResolvedModel model{.config = config};
  for (std::int64_t k = 0; k < count; ++k) {
    ResolvedSublayer sublayer;
    sublayer.kind = config.block[static_cast<std::size_t>(k % per_block)];
    sublayer.name = sublayer_name(config, k);
    sublayer.position = {.sublayer = k, .sublayers = count, .block = k / per_block, .blocks = config.blocks};
    sublayer.config = resolved_sublayer(config, sublayer.position.block, sublayer.kind);
    sublayer.block_start = k - k % per_block;
    model.sublayers.push_back(std::move(sublayer));
  }
  return model;
}

NormKind norm_kind_of(const NormConfig& norm, const ModelConfig& model) {
  return norm_kind_from_name(norm.kind, model.norm_kind);
}

ModelConfig with_constant_step(const ModelConfig& config, double step) {
  ModelConfig changed = config;
  append_override(changed, {{"residual.b.value", fmt::format("{:.17e}", step)},
                            {"residual.b.width_exponent", "0.0"},
                            {"residual.b.depth", "'constant'"},
                            {"residual.b.time", "'constant'"},
                            {"residual.b.trainable", "'none'"},
                            {"residual.b.keep_probability", "1.0"}});
  return changed;
}

ModelConfig with_finished_ramps(const ModelConfig& config) {
  ModelConfig changed = config;
  std::vector<std::pair<std::string, std::string>> settings;
  for (const char* knob : kKnobs) {
    settings.emplace_back(fmt::format("residual.{}.time", knob), "'constant'");
  }
  append_override(changed, std::move(settings));
  return changed;
}

}  // namespace plumb
