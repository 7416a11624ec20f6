// Settings that are fine by themselves and contradict each other.
#include "config/override.h"
#include "config/validate.h"
#include "core/error.h"

namespace plumb {
namespace {

/// Calls check(settings, block, kind) for every sublayer that differs from the others.
template <class Check>
void for_each_sublayer(const ModelConfig& model, Check check) {
  for (std::int64_t block = 0; block < model.blocks; ++block) {
    if (block > 0 && model.overrides.empty()) return;
    for (const std::string& kind : model.block) check(resolved_sublayer(model, block, kind), block, kind);
  }
}

bool is_mixed(const StreamsConfig& streams) { return streams.kind == "hyper" || streams.kind == "mhc"; }

/// Hyper-connections replace the sum a x + b z + e x_block: what belongs to it would be ignored.
void check_mixed_sublayer(const SublayerConfig& sublayer, const std::string& kind_of_streams,
                          const std::string& origin) {
  const KnobConfig one;
  KnobConfig zero;
  zero.value = 0;
  const char* found = sublayer.residual.a != one          ? "model.residual.a"
                      : sublayer.residual.e != zero       ? "model.residual.e"
                      : sublayer.residual.p != one        ? "model.residual.p"
                      : sublayer.norm.post.kind != "none" ? "model.norm.post"
                                                          : nullptr;
  if (found == nullptr) return;
  fail_input(
      "{}: model.streams.kind = \"{}\" mixes its streams in the place of a x + e x_block and p N_post; "
      "leave {} at its default",
      origin, kind_of_streams, found);
}

bool reads_stream_norm(const StreamsConfig& streams) {
  if (streams.kind == "hyper") return streams.dynamic;
  return streams.kind != "single";
}

void check_streams(const LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  const StreamsConfig& streams = model.streams;
  const std::string origin = loaded.origin("model.streams.kind");
  if (!reads_stream_norm(streams) && model.stream_norm.kind != "none") {
    fail_input(
        "{}: model.norm.stream is not read, because model.streams.kind = \"{}\"{}; it needs \"residual\", "
        "\"siamese\", \"mhc\" or \"hyper\" with model.streams.dynamic = true",
        loaded.origin("model.norm.stream.kind"), streams.kind,
        streams.kind == "hyper" ? " with model.streams.dynamic = false" : "");
  }
  if (streams.kind == "single") return;
  for_each_sublayer(model, [&](const SublayerConfig& sublayer, std::int64_t block, const std::string& kind) {
    if (sublayer.branch_input != "stream") {
      fail_input("{}: model.branch_input = \"block\" needs model.streams.kind = \"single\", found \"{}\"",
                 detail::origin_in_sublayer(loaded, "branch_input", block, kind), streams.kind);
    }
    if (is_mixed(streams)) check_mixed_sublayer(sublayer, streams.kind, origin);
  });
}

void check_sphere_weights(const LoadedConfig& loaded) {
  const Config& config = loaded.config;
  if (!config.model.sphere_weights || config.optimizer.weight_decay == 0) return;
  fail_input(
      "{}: optimizer.weight_decay = {} with model.sphere_weights = true: weights that are kept at unit "
      "length cannot decay; set optimizer.weight_decay = 0",
      loaded.origin("optimizer.weight_decay"), config.optimizer.weight_decay);
}

void check_init(const LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  if (model.init.embedding == "small-embedding" && model.embedding_norm.kind == "none") {
    fail_input(
        "{}: model.init.embedding = \"small-embedding\" starts the stream at 1e-4 and needs a norm on the "
        "embedding; "
        "set model.norm.embedding.kind = \"standard\"",
        loaded.origin("model.init.embedding"));
  }
  if (model.init.profile != "admin") return;
  for_each_sublayer(model, [&](const SublayerConfig& sublayer, std::int64_t block, const std::string& kind) {
    const KnobConfig& a = sublayer.residual.a;
    // What is stored must be the coefficient itself, which the profile sets.
    const bool plain = a.trainable != "none" && !a.per_block && a.storage == "value" &&
                       a.transform == "identity" && a.time == "constant";
    if (plain && model.streams.kind == "single") return;
    fail_input(
        "{}: model.init.profile = \"admin\" sets the trained skip coefficients of one stream; it needs "
        "model.streams.kind = \"single\" and in every sublayer model.residual.a.trainable = \"scalar\" or "
        "\"vector\" with per_block, storage, transform and time at their defaults (block {}, {}); or set "
        "model.init.profile = \"none\"",
        loaded.origin("model.init.profile"), block, kind);
  });
}

/// The first attention has no earlier values to add.
void check_first_values(const LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  std::int64_t attentions = 0;
  for (const std::string& kind : model.block) attentions += kind == "attention" ? model.blocks : 0;
  const KnobConfig& gain = model.base.gain.first_value;
  const std::string origin = loaded.origin("model.gain.first_value.value");
  // A placement's row serves every depth.
  if (attentions != 1 || origin.starts_with("placement ") || (gain.value == 0 && gain.trainable == "none"))
    return;
  fail_input(
      "{}: model.gain.first_value is not read, because the model has one attention sublayer alone; it adds "
      "the values of the first to later ones",
      origin);
}

/// The companions are those of one depth schedule of b, from which they take L, its base and its exponent.
void check_scaling(const LoadedConfig& loaded) {
  const Config& config = loaded.config;
  const std::string& scaling = config.optimizer.scaling;
  if (scaling == "none") return;
  const KnobConfig& b = config.model.base.residual.b;
  for_each_sublayer(
      config.model, [&](const SublayerConfig& sublayer, std::int64_t block, const std::string& kind) {
        const KnobConfig& own = sublayer.residual.b;
        if (own.depth == scaling && own.depth_base == b.depth_base &&
            own.depth_exponent == b.depth_exponent && own.counts == b.counts) {
          return;
        }
        fail_input(
            "{}: optimizer.scaling = \"{}\" goes with model.residual.b.depth = \"{}\", the same in every "
            "sublayer; block {}, {} has \"{}\"",
            loaded.origin("optimizer.scaling"), scaling, scaling, block, kind, own.depth);
      });
}

void check_roll_back(const LoadedConfig& loaded, const std::string& key, const std::string& action) {
  if (action != "roll_back" || loaded.config.checkpoint.every > 0) return;
  fail_input(
      "{}: {} = \"roll_back\" goes back to the last checkpoint, and checkpoint.every = 0 saves none on the "
      "way; set checkpoint.every",
      loaded.origin(key), key);
}

void check_spikes(const LoadedConfig& loaded) {
  const SpikesConfig& spikes = loaded.config.spikes;
  check_roll_back(loaded, "spikes.action", spikes.action);
  check_roll_back(loaded, "non_finite.action", loaded.config.non_finite.action);
  const bool rolls_back = spikes.action == "roll_back" || loaded.config.non_finite.action == "roll_back";
  if (!rolls_back && spikes.roll_back_limit != SpikesConfig().roll_back_limit) {
    fail_input(
        "{}: spikes.roll_back_limit = {} is not read, because neither spikes.action nor non_finite.action is "
        "\"roll_back\"; set one of them, or leave the limit out",
        loaded.origin("spikes.roll_back_limit"), spikes.roll_back_limit);
  }
  if (0 < spikes.tensor_clip && spikes.tensor_clip < 1) {
    fail_input(
        "{}: spikes.tensor_clip = {} would clip every gradient below its own average, which so shrinks to 0; "
        "it must be 0 (off) or at least 1",
        loaded.origin("spikes.tensor_clip"), spikes.tensor_clip);
  }
  if (spikes.z_clip == 0 || spikes.tensor_clip == 0) return;
  fail_input(
      "{}: spikes.tensor_clip clips tensors in the place of the global norm, which spikes.z_clip = {} clips; "
      "set one of them to 0",
      loaded.origin("spikes.tensor_clip"), spikes.z_clip);
}

}  // namespace

namespace detail {

void drop_displaced_streams(LoadedConfig& loaded) {
  ModelConfig& model = loaded.config.model;
  if (reads_stream_norm(model.streams)) return;
  if (!loaded.origin("model.norm.stream.kind").starts_with("placement ")) return;
  model.stream_norm = NormConfig();
  std::erase_if(loaded.origins,
                [](const auto& entry) { return entry.first.starts_with("model.norm.stream."); });
}

void validate_combinations(const LoadedConfig& loaded) {
  check_ramp(loaded.config.model.logit_gain, "gain.logits", loaded.origin("model.gain.logits.time"));
  check_first_values(loaded);
  check_streams(loaded);
  check_sphere_weights(loaded);
  check_init(loaded);
  check_scaling(loaded);
  check_spikes(loaded);
}

}  // namespace detail
}  // namespace plumb
