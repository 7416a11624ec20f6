// Random words many at a time: the generator of core/rng.h on the compiler's vector types.
#pragma once

#include <array>
#include <cstdint>

#include "backend/ops/random.h"
#include "backends/cpu/arguments.h"
#include "core/rng.h"

namespace plumb::cpu {

inline constexpr std::int64_t kRandomBlocks = 16;                // blocks of the generator in one call
inline constexpr std::int64_t kRandomWords = 4 * kRandomBlocks;  // words they give

namespace detail {
using BlockWords __attribute__((vector_size(kRandomBlocks * sizeof(std::uint32_t)))) = std::uint32_t;
using BlockProducts __attribute__((vector_size(kRandomBlocks * sizeof(std::uint64_t)))) = std::uint64_t;
}  // namespace detail

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

/// Words 4 * first_block .. of the stream: bit for bit those of RandomStream::word.
inline void random_words(const RandomStream& stream, std::uint64_t first_block,
                         std::array<std::uint32_t, kRandomWords>& words) {
  using detail::BlockProducts;
  using detail::BlockWords;
  BlockProducts block;
  for (std::int64_t lane = 0; lane < kRandomBlocks; ++lane) block[lane] = static_cast<std::uint64_t>(lane);
  block += first_block;
  auto c0 = __builtin_convertvector(block, BlockWords);
  auto c1 = __builtin_convertvector(block >> 32, BlockWords);
  BlockWords c2 = BlockWords{} + stream.step, c3 = BlockWords{} + stream.site;
  auto k0 = static_cast<std::uint32_t>(stream.seed);
  auto k1 = static_cast<std::uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const BlockProducts p0 = __builtin_convertvector(c0, BlockProducts) * std::uint64_t{0xD2511F53U};
    const BlockProducts p1 = __builtin_convertvector(c2, BlockProducts) * std::uint64_t{0xCD9E8D57U};
    c0 = __builtin_convertvector(p1 >> 32, BlockWords) ^ c1 ^ k0;
    c1 = __builtin_convertvector(p1, BlockWords);
    c2 = __builtin_convertvector(p0 >> 32, BlockWords) ^ c3 ^ k1;
    c3 = __builtin_convertvector(p0, BlockWords);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  for (std::int64_t lane = 0; lane < kRandomBlocks; ++lane) {
    const auto at = static_cast<std::size_t>(4 * lane);
    words[at] = c0[lane];
    words[at + 1] = c1[lane];
    words[at + 2] = c2[lane];
    words[at + 3] = c3[lane];
  }
}

}  // namespace plumb::cpu
