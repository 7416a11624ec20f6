#include <algorithm>

#include "config/override.h"
#include "config/validate.h"
#include "core/error.h"

namespace plumb {
namespace {

struct NamedKnob {
  const char* name;
  KnobConfig SublayerKnobs::*member;
};
constexpr NamedKnob kKnobs[] = {{"a", &SublayerKnobs::a},
                                {"b", &SublayerKnobs::b},
                                {"c", &SublayerKnobs::c},
                                {"e", &SublayerKnobs::e},
                                {"p", &SublayerKnobs::p}};

/// One sublayer of the model as messages name it, with where a key of it was set.
struct Place {
  const LoadedConfig& loaded;
  std::int64_t block;
  const std::string& kind;

  /// Origin of a key under model: the last override that sets it here, else the base's.
  std::string origin(const std::string& key) const {
    const ModelConfig& model = loaded.config.model;
    std::string text = loaded.origin("model." + key);
    for (const OverrideConfig& change : model.overrides) {
      if (!covers(change, model.blocks, block, kind)) continue;
      for (const auto& setting : change.settings) {
        if (setting.first == key) text = change.origin;
      }
    }
    return text;
  }
};

void check_schedules(const KnobConfig& knob, const std::string& name, const Place& place) {
  const ModelConfig& model = place.loaded.config.model;
  if (knob.time == "linear" && knob.ramp_steps == 0) {
    fail_input("{}: model.{}.time = \"linear\" needs model.{}.ramp_steps of at least 1",
               place.origin(name + ".time"), name, name);
  }
  if (knob.keep_depth == "linear" && knob.keep_probability == 1) {
    fail_input("{}: model.{}.keep_depth = \"linear\" is not read, because model.{}.keep_probability = 1",
               place.origin(name + ".keep_depth"), name, name);
  }
  if (knob.depth != "list") return;
  const bool by_block = knob.counts == "blocks";
  const std::int64_t units =
      by_block ? model.blocks : model.blocks * static_cast<std::int64_t>(model.block.size());
  if (static_cast<std::int64_t>(knob.list.size()) != units) {
    fail_input("{}: model.{}.list has {} entries, the model has {} {}", place.origin(name + ".list"), name,
               knob.list.size(), units, by_block ? "blocks" : "sublayers");
  }
}

/// A tied skip coefficient is computed from b, so that everything else about it would be ignored.
void check_tied(const KnobConfig& a, const Place& place) {
  if (!a.tie_to_branch) return;
  KnobConfig plain;
  plain.tie_to_branch = true;
  if (a == plain) return;
  fail_input(
      "{}: model.residual.a.tie_to_branch = true means a = 1 - b; leave the other keys of "
      "model.residual.a at their defaults (block {}, {})",
      place.origin("residual.a.tie_to_branch"), place.block, place.kind);
}

void check_range(const OverrideConfig& change, const ModelConfig& model) {
  const std::vector<std::string>& kinds = model.block;
  if (change.sublayer != "all" && std::find(kinds.begin(), kinds.end(), change.sublayer) == kinds.end()) {
    fail_input("{}: [[model.override]] is for {} sublayers, but model.block has none", change.origin,
               change.sublayer);
  }
  if (change.blocks.empty()) return;
  const double first = change.blocks[0], last = change.blocks[1];
  const double top = change.fractions ? 1.0 : static_cast<double>(model.blocks - 1);
  if (first < 0 || last > top || first > last) {
    fail_input(
        "{}: [[model.override]] blocks = [{}, {}] is not a range within the depth; allowed: {} <= first <= "
        "last "
        "<= {}",
        change.origin, first, last, 0, top);
  }
  for (std::int64_t block = 0; block < model.blocks; ++block) {
    for (const std::string& kind : kinds) {
      if (covers(change, model.blocks, block, kind)) return;
    }
  }
  fail_input("{}: [[model.override]] blocks = [{}, {}] holds the middle of none of the {} blocks",
             change.origin, first, last, model.blocks);
}

}  // namespace

namespace detail {

void validate_sublayers(const LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  for (const OverrideConfig& change : model.overrides) check_range(change, model);
  for (std::int64_t block = 0; block < model.blocks; ++block) {
    if (block > 0 && model.overrides.empty()) break;
    for (const std::string& kind : model.block) {
      const SublayerConfig sublayer = resolved_sublayer(model, block, kind);
      const Place place{loaded, block, kind};
      check_tied(sublayer.residual.a, place);
      for (const NamedKnob& knob : kKnobs) {
        check_schedules(sublayer.residual.*knob.member, std::string("residual.") + knob.name, place);
      }
    }
  }
}

}  // namespace detail
}  // namespace plumb
