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

struct NamedGain {
  const char* name;
  KnobConfig SublayerGains::*member;
};
constexpr NamedGain kGains[] = {{"qk", &SublayerGains::qk},
                                {"value", &SublayerGains::value},
                                {"first_value", &SublayerGains::first_value},
                                {"ffn", &SublayerGains::ffn}};

/// One sublayer of the model as messages name it, with where a key of it was set.
struct Place {
  const LoadedConfig& loaded;
  std::int64_t block;
  const std::string& kind;

  std::string origin(const std::string& key) const {
    return detail::origin_in_sublayer(loaded, key, block, kind);
  }
};

/// Whether some unit's coefficient is 0 where its training starts.
bool starts_at_zero(const KnobConfig& knob) {
  if (knob.value == 0) return true;
  if (knob.depth == "linear" || knob.depth == "cosine") return knob.depth_end == 0;
  return knob.depth == "list" && std::find(knob.list.begin(), knob.list.end(), 0.0) != knob.list.end();
}

void check_schedules(const KnobConfig& knob, const std::string& name, const Place& place) {
  const ModelConfig& model = place.loaded.config.model;
  detail::check_ramp(knob, name, place.origin(name + ".time"));
  if (knob.trainable != "none" && (knob.storage != "value" || knob.transform != "identity") &&
      starts_at_zero(knob)) {
    fail_input(
        "{}: model.{} starts at 0, from where storage = \"{}\" and transform = \"{}\" can never train it; "
        "take "
        "another start, or storage = \"value\" and transform = \"identity\"",
        place.origin(name + ".value"), name, knob.storage, knob.transform);
  }
  if (knob.transform == "absolute" && knob.value < 0) {
    fail_input(
        "{}: model.{}.value = {} with model.{}.transform = \"absolute\", which is never negative; take a "
        "value of at least 0",
        place.origin(name + ".value"), name, knob.value, name);
  }
  if (knob.transform == "gpas" && (knob.depth != "constant" || knob.storage != "value")) {
    fail_input(
        "{}: model.{}.transform = \"gpas\" makes the coefficient value * (1 - SiLU(.)) from 0 on; leave "
        "depth and storage of model.{} at their defaults",
        place.origin(name + ".transform"), name, name);
  }
  if (knob.keep_depth == "linear" && knob.keep_probability == 1) {
    fail_input("{}: model.{}.keep_depth = \"linear\" is not read, because model.{}.keep_probability = 1",
               place.origin(name + ".keep_depth"), name, name);
  }
  if (knob.depth != "list") return;
  const bool by_block = knob.depth_counts_blocks();
  const std::int64_t units =
      by_block ? model.blocks : model.blocks * static_cast<std::int64_t>(model.block.size());
  if (static_cast<std::int64_t>(knob.list.size()) != units) {
    fail_input("{}: model.{}.list has {} entries, the model has {} {}; give one entry for each",
               place.origin(name + ".list"), name, knob.list.size(), units,
               by_block ? "blocks" : "sublayers");
  }
}

/// One number cannot be trained in two ways.
void check_shared(const KnobConfig& knob, const KnobConfig& other, const std::string& name,
                  const Place& place) {
  if (!knob.per_block || !other.per_block || knob == other) return;
  fail_input(
      "{}: model.{}.per_block = true shares one trained number in block {}, but its sublayers set model.{} "
      "differently; make them alike or drop per_block",
      place.origin(name + ".per_block"), name, place.block, name);
}

/// A tied skip coefficient is computed from b, so that everything else about it would be ignored.
void check_tied(const KnobConfig& a, const Place& place) {
  if (!a.tie_to_branch) return;
  if (a.trainable != "none") {
    fail_input(
        "{}: model.residual.a.tie_to_branch = true means a = 1 - b, so a cannot be trained by itself; set "
        "model.residual.a.trainable = \"none\", found \"{}\", and train b (block {}, {})",
        place.origin("residual.a.trainable"), a.trainable, place.block, place.kind);
  }
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
  if (change.every > model.blocks) {
    fail_input("{}: [[model.override]] every = {} covers none of the {} blocks", change.origin, change.every,
               model.blocks);
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
  if (change.every > 1) {
    fail_input("{}: [[model.override]] blocks = [{}, {}] with every = {} covers none of the {} blocks",
               change.origin, first, last, change.every, model.blocks);
  }
  fail_input("{}: [[model.override]] blocks = [{}, {}] holds the middle of none of the {} blocks",
             change.origin, first, last, model.blocks);
}

}  // namespace

namespace detail {

std::string origin_in_sublayer(const LoadedConfig& loaded, const std::string& key, std::int64_t block,
                               const std::string& kind) {
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

void check_ramp(const KnobConfig& knob, const std::string& name, const std::string& origin) {
  if (knob.time == "constant" || knob.ramp_steps > 0) return;
  fail_input("{}: model.{}.time = \"{}\" needs model.{}.ramp_steps of at least 1", origin, name, knob.time,
             name);
}

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
        const std::string name = std::string("residual.") + knob.name;
        check_schedules(sublayer.residual.*knob.member, name, place);
        for (const std::string& other : model.block) {
          const SublayerConfig sharer = resolved_sublayer(model, block, other);
          check_shared(sublayer.residual.*knob.member, sharer.residual.*knob.member, name, place);
        }
      }
      for (const NamedGain& gain : kGains) {
        check_schedules(sublayer.gain.*gain.member, std::string("gain.") + gain.name, place);
      }
    }
  }
}

}  // namespace detail
}  // namespace plumb
