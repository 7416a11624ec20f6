#include "config/batch.h"

#include "core/error.h"

namespace plumb {
namespace {

constexpr const char* kSequencesKey = "training.sequences_per_step";
constexpr const char* kTokensKey = "training.tokens_per_step";
constexpr const char* kMicroKey = "training.micro_batch_sequences";

/// "configs/x.toml:3: ", or nothing where origins are not known.
std::string place(const LoadedConfig* loaded, const std::string& key) {
  return loaded == nullptr ? "" : loaded->origin(key) + ": ";
}

void check_global(const Config& config, const LoadedConfig* loaded) {
  const TrainingConfig& training = config.training;
  if (training.sequences_per_step > 0 && training.tokens_per_step > 0) {
    const auto at = [&](const char* key) {
      return loaded == nullptr ? "" : " (" + loaded->origin(key) + ")";
    };
    fail_input("{}{} = {}{} and {} = {}{} are both set; keep one and set the other to 0",
               place(loaded, kTokensKey), kSequencesKey, training.sequences_per_step, at(kSequencesKey),
               kTokensKey, training.tokens_per_step, at(kTokensKey));
  }
  if (training.sequences_per_step == 0 && training.tokens_per_step == 0) {
    fail_input("{} and {} are both unset: set one of them, the global batch of a step", kSequencesKey,
               kTokensKey);
  }
  const std::int64_t length = config.model.sequence_length;
  if (training.tokens_per_step % length != 0) {
    fail_input("{}{} = {} is not a multiple of model.sequence_length = {}; nearest valid: {}",
               place(loaded, kTokensKey), kTokensKey, training.tokens_per_step, length,
               nearest_multiples_text(training.tokens_per_step, length));
  }
}

BatchShare share(const Config& config, const LoadedConfig* loaded, int world) {
  PLUMB_CHECK(world >= 1, "world of {} ranks", world);
  check_global(config, loaded);
  const TrainingConfig& training = config.training;
  const bool by_tokens = training.tokens_per_step > 0;
  const std::int64_t length = config.model.sequence_length;
  BatchShare batch;
  batch.global_sequences = by_tokens ? training.tokens_per_step / length : training.sequences_per_step;
  if (batch.global_sequences % world != 0) {
    const char* key = by_tokens ? kTokensKey : kSequencesKey;
    const std::int64_t value = by_tokens ? training.tokens_per_step : training.sequences_per_step;
    fail_input("{}{} = {} cannot be split over {} ranks; nearest valid: {}", place(loaded, key), key, value,
               world, nearest_multiples_text(value, by_tokens ? world * length : world));
  }
  batch.local_sequences = batch.global_sequences / world;
  batch.micro_batch =
      training.micro_batch_sequences > 0 ? training.micro_batch_sequences : batch.local_sequences;
  if (batch.local_sequences % batch.micro_batch != 0) {
    fail_input(
        "{}{} = {} does not divide the {} sequences of each rank ({} over {} ranks); nearest valid: {}",
        place(loaded, kMicroKey), kMicroKey, batch.micro_batch, batch.local_sequences, batch.global_sequences,
        world, nearest_divisors_text(batch.micro_batch, batch.local_sequences));
  }
  batch.accumulation = batch.local_sequences / batch.micro_batch;
  return batch;
}

}  // namespace

BatchShare check_batch(const Config& config, int world) { return share(config, nullptr, world); }
BatchShare check_batch(const LoadedConfig& loaded, int world) { return share(loaded.config, &loaded, world); }

void validate_batch(const LoadedConfig& loaded) { check_global(loaded.config, &loaded); }

std::string nearest_multiples_text(std::int64_t value, std::int64_t unit) {
  const std::int64_t below = value / unit * unit;
  const std::int64_t above = below + unit;
  return below > 0 ? fmt::format("{}, {}", below, above) : fmt::format("{}", above);
}

std::string nearest_divisors_text(std::int64_t value, std::int64_t whole) {
  std::int64_t below = std::min(value, whole);
  while (whole % below != 0) --below;
  std::int64_t above = value;
  while (above < whole && whole % above != 0) ++above;
  return above > whole || above == below ? fmt::format("{}", below) : fmt::format("{}, {}", below, above);
}

}  // namespace plumb
