#include "config/validate.h"

#include <algorithm>

#include "config/batch.h"
#include "config/nearest.h"
#include "core/error.h"

namespace plumb {
namespace {

void validate_run(const LoadedConfig& loaded) {
  const RunConfig& run = loaded.config.run;
  const bool plain = !run.name.empty() && run.name.find('/') == std::string::npos && run.name[0] != '.';
  if (run.dir.empty() && !plain) {
    fail_input("{}: run.name = \"{}\" is not the name of a folder; take one without '/' or set run.dir",
               loaded.origin("run.name"), run.name);
  }
}

void validate_data(const LoadedConfig& loaded) {
  const Config& config = loaded.config;
  if (config.data.kind == "tokens" && config.data.train.empty()) {
    fail_input(
        "{}: data.kind = \"tokens\" needs data.train, the token file to train on (`plumb data prepare` makes "
        "one)",
        loaded.origin("data.kind"));
  }
  if (config.data.kind == "tokens" && config.data.validation.empty() && config.validation.every > 0) {
    fail_input("{}: validation.every = {} needs data.validation, the token file to validate on",
               loaded.origin("validation.every"), config.validation.every);
  }
  const std::int64_t vocabulary = config.model.vocabulary;
  if (config.data.kind != "tokens" && vocabulary > 0 && vocabulary < config.data.synthetic_vocabulary) {
    fail_input(
        "{}: model.vocabulary = {} is smaller than data.synthetic_vocabulary = {}; set it to 0 (what the "
        "data "
        "says) or to {} or more",
        loaded.origin("model.vocabulary"), vocabulary, config.data.synthetic_vocabulary,
        config.data.synthetic_vocabulary);
  }
}

bool has_attention(const ModelConfig& model) {
  return std::find(model.block.begin(), model.block.end(), "attention") != model.block.end();
}

void validate_heads(const LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  if (!has_attention(model)) return;
  const std::string origin =
      loaded.origin(loaded.origin("model.heads") != "default" ? "model.heads" : "model.width");
  if (model.head_width == 0 && model.width % model.heads != 0) {
    fail_input(
        "{}: model.width = {} is not divisible by model.heads = {}; nearest valid widths: {}; or set "
        "model.head_width",
        origin, model.width, model.heads, nearest_multiples_text(model.width, model.heads));
  }
  if (model.position == "rotary" && model.resolved_head_width() % 2 != 0) {
    fail_input(
        "{}: model.position = \"rotary\" turns pairs of features and needs an even head width, found {}",
        loaded.origin("model.position"), model.resolved_head_width());
  }
}

void validate_model(const LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  if (model.block.empty()) {
    fail_input("{}: model.block = [] has no sublayer; allowed entries: attention, ffn, linear",
               loaded.origin("model.block"));
  }
  validate_heads(loaded);
  const bool has_ffn = std::find(model.block.begin(), model.block.end(), "ffn") != model.block.end();
  if (loaded.config.compute.recompute == "ffn" && !has_ffn) {
    fail_input(
        "{}: compute.recompute = \"ffn\" has nothing to recompute, because model.block has no ffn; take none "
        "or block",
        loaded.origin("compute.recompute"));
  }
}

void collect_warnings(LoadedConfig& loaded) {
  const ModelConfig& model = loaded.config.model;
  if (!model.causal && has_attention(model)) {
    loaded.warnings.push_back(
        fmt::format("{}: model.causal = false lets every token see the one it must predict: the loss says "
                    "nothing about language",
                    loaded.origin("model.causal")));
  }
  const std::int64_t warmup = loaded.config.learning_rate.warmup_steps;
  if (warmup >= loaded.config.training.steps) {
    loaded.warnings.push_back(fmt::format(
        "{}: learning_rate.warmup_steps = {} does not end within training.steps = {}: the peak learning "
        "rate is not reached",
        loaded.origin("learning_rate.warmup_steps"), warmup, loaded.config.training.steps));
  }
}

}  // namespace

void validate(LoadedConfig& loaded) {
  detail::drop_displaced_streams(loaded);
  detail::drop_displaced(loaded);
  validate_run(loaded);
  validate_batch(loaded);
  validate_data(loaded);
  validate_model(loaded);
  detail::validate_sublayers(loaded);
  detail::validate_combinations(loaded);
  detail::validate_all_read(loaded);
  collect_warnings(loaded);
}

}  // namespace plumb
