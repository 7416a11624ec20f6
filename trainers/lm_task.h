// The language-model task: which sequences to train and validate on, and what a token is worth in bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "core/error.h"
#include "data/sequence_source.h"
#include "data/token_file.h"
#include "data/tokenizer.h"

namespace plumb {

struct LanguageModelTask {
  std::shared_ptr<const SequenceSource> train;
  std::shared_ptr<const FiniteSource> validation;  ///< null when the configuration names none
  std::int64_t vocabulary = 0;                     ///< rows of the token table
  double bytes_per_target = 0;                     ///< of the validation split; 0 = targets are no text
};

/// Opens what config.data names and checks it against the model. InputError names file or key.
LanguageModelTask make_language_model_task(const Config& config);

/// A split for `plumb eval`: "train", "validation", or the path of a token file.
std::shared_ptr<const FiniteSource> open_split(const Config& config, const std::string& split,
                                               std::int64_t vocabulary);

/// nats per target to bits per byte; 0 bytes per target gives NaN.
double bits_per_byte(double nats_per_target, double bytes_per_target);

}  // namespace plumb
