#include "lm_task.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "data/synthetic.h"
#include "data/token_source.h"

namespace plumb {
namespace {

constexpr std::uint64_t kSyntheticValidationSequences = 256;

std::shared_ptr<const TokenFile> open_tokens(const std::string& path, const char* key,
                                             std::int64_t vocabulary) {
  if (path.empty()) fail_input("{} is not set: name a token file (plumb data prepare makes one)", key);
  auto file = std::make_shared<const TokenFile>(path);
  file->check_vocabulary(static_cast<int>(vocabulary));
  return file;
}

std::int64_t table_rows(const ModelConfig& model, std::int64_t needed) {
  if (model.vocabulary == 0) return needed;
  if (model.vocabulary < needed) {
    fail_input("model.vocabulary = {} is smaller than the data's vocabulary of {}", model.vocabulary, needed);
  }
  return model.vocabulary;
}

LanguageModelTask token_task(const Config& config) {
  const auto tokenizer = make_tokenizer(config.data.tokenizer);
  LanguageModelTask task;
  task.vocabulary = table_rows(config.model, tokenizer->vocabulary_size());
  const auto vocabulary = static_cast<int>(task.vocabulary);
  task.train = std::make_shared<TokenSource>(open_tokens(config.data.train, "data.train", task.vocabulary),
                                             vocabulary, config.model.sequence_length, config.training.seed);
  if (!config.data.validation.empty()) {
    const auto file = open_tokens(config.data.validation, "data.validation", task.vocabulary);
    const auto targets = file->tokens().subspan(std::min<std::size_t>(1, file->tokens().size()));
    task.bytes_per_target = static_cast<double>(tokenizer->text_bytes(targets)) /
                            static_cast<double>(std::max<std::size_t>(1, targets.size()));
    task.validation = std::make_shared<ValidationSource>(file, vocabulary, config.model.sequence_length);
  }
  return task;
}

LanguageModelTask synthetic_task(const Config& config) {
  LanguageModelTask task;
  std::shared_ptr<const SequenceSource> source =
      make_synthetic_source({.kind = config.data.kind,
                             .vocabulary = static_cast<int>(config.data.synthetic_vocabulary),
                             .order = static_cast<int>(config.data.synthetic_order),
                             .sequence_length = config.model.sequence_length,
                             .seed = config.training.seed});
  task.vocabulary = table_rows(config.model, source->vocabulary());
  task.validation = std::make_shared<HeldOutSource>(source, kSyntheticValidationSequences);
  task.train = source;
  return task;
}

}  // namespace

LanguageModelTask make_language_model_task(const Config& config) {
  return config.data.kind == "tokens" ? token_task(config) : synthetic_task(config);
}

std::shared_ptr<const FiniteSource> open_split(const Config& config, const std::string& split,
                                               std::int64_t vocabulary) {
  if (config.data.kind != "tokens") {
    if (split != "validation")
      fail_input("--split {}: data.kind = \"{}\" has only the split validation", split, config.data.kind);
    return make_language_model_task(config).validation;
  }
  const bool train = split == "train";
  const std::string path = train ? config.data.train : split == "validation" ? config.data.validation : split;
  if (split.empty()) fail_input("--split is empty: give train, validation or the path of a token file");
  return std::make_shared<ValidationSource>(
      open_tokens(path, train ? "data.train" : "data.validation", vocabulary), static_cast<int>(vocabulary),
      config.model.sequence_length);
}

double bits_per_byte(double nats_per_target, double bytes_per_target) {
  if (bytes_per_target <= 0) return std::numeric_limits<double>::quiet_NaN();
  return nats_per_target / std::log(2.0) / bytes_per_target;
}

}  // namespace plumb
