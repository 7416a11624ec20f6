// Random words many at a time: the generator of core/rng.h, vectorised.
#pragma once

#include <array>
#include <cstdint>

#include "backend/ops/random.h"
#include "backends/cpu/arguments.h"
#include "core/rng.h"

namespace plumb::cpu {

inline constexpr std::int64_t kRandomBlocks = 64;  // blocks of the generator in one call, at most
inline constexpr std::int64_t kRandomWords = 4 * kRandomBlocks;  // words they give

/// What a site draws from now.
struct Draw {
  RandomStream stream;
  std::uint64_t first_sequence = 0;

  Draw() = default;
  Draw(const char* op, const RandomSite& site) {
    const auto* counters = vector_of<std::int64_t>(op, "site.counters", site.counters, 2);
    stream = {site.seed, static_cast<std::uint32_t>(counters[0]), site.site};
    first_sequence = static_cast<std::uint64_t>(counters[1]);
  }
};

/// words[4 j + k] = word 4 (first_block + j) + k of the stream, for all j < blocks <= kRandomBlocks: bit for
/// bit those of RandomStream::word (Philox4x32-10, core/rng.h), side by side for a vector of blocks.
inline void random_words(const RandomStream& stream, std::uint64_t first_block, std::int64_t blocks,
                         std::array<std::uint32_t, kRandomWords>& words) {
  std::uint32_t* out = words.data();
  const auto key0 = static_cast<std::uint32_t>(stream.seed),
             key1 = static_cast<std::uint32_t>(stream.seed >> 32);
  const std::uint32_t step = stream.step, site = stream.site;
#pragma omp simd
  for (std::int64_t j = 0; j < blocks; ++j) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(j);
    auto c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
    std::uint32_t c2 = step, c3 = site, k0 = key0, k1 = key1;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0, p1 = std::uint64_t{0xCD9E8D57U} * c2;
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<std::uint32_t>(p1);
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    out[4 * j] = c0;
    out[4 * j + 1] = c1;
    out[4 * j + 2] = c2;
    out[4 * j + 3] = c3;
  }
}

}  // namespace plumb::cpu
