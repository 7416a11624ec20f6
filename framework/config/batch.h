// How the global batch of a step is shared out. The configuration says sequences or tokens per step over all
// ranks; what each rank does at once, and how often, is derived here.
#pragma once

#include <cstdint>
#include <string>

#include "config/load.h"
#include "core/error.h"

namespace plumb {

struct BatchShare {
  std::int64_t global_sequences = 0;  ///< per optimiser step, over all ranks
  std::int64_t local_sequences = 0;   ///< per optimiser step, of each rank
  std::int64_t micro_batch = 0;       ///< sequences that a rank runs at once
  std::int64_t accumulation = 0;  ///< micro-batches per optimiser step; micro_batch * accumulation = local
};

/// Throws InputError with the nearest valid values where something does not divide.
BatchShare check_batch(const Config& config, int world);
/// The same with the origin of the faulty key in the message.
BatchShare check_batch(const LoadedConfig& loaded, int world);

/// The part that does not depend on the number of ranks: exactly one of sequences and tokens is set, and
/// tokens are whole sequences.
void validate_batch(const LoadedConfig& loaded);

/// The multiples of `unit` next to `value`: "8, 12"; only the upper one where the lower is 0.
std::string nearest_multiples_text(std::int64_t value, std::int64_t unit);
/// The divisors of `whole` next to `value`: "2, 4".
std::string nearest_divisors_text(std::int64_t value, std::int64_t whole);

}  // namespace plumb
