// Counter-based random numbers: every draw is a pure function of a key and an index, so that any rank count,
// any resume and any backend draw the same numbers.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace plumb {

/// Philox4x32-10 (Salmon et al., SC 2011, "Parallel random numbers: as easy as 1, 2, 3"): four 32-bit words
/// from a 128-bit counter and a 64-bit key.
constexpr std::array<std::uint32_t, 4> philox(std::uint64_t key, std::array<std::uint32_t, 4> counter) {
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return counter;
}

/// A stream of random words: (seed, step, site) name the stream, index the position in it.
struct RandomStream {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;  ///< optimiser step, 0 for what is drawn before training
  std::uint32_t site = 0;  ///< what draws: see nn/random_sites.h

  /// Words 4*block .. 4*block+3 of the stream.
  constexpr std::array<std::uint32_t, 4> block(std::uint64_t index) const {
    return philox(seed,
                  {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), step, site});
  }
  constexpr std::uint32_t word(std::uint64_t index) const { return block(index / 4)[index % 4]; }
  /// Uniform in [0, 1) with 24 bits: the value that dropout compares with its probability.
  constexpr float uniform(std::uint64_t index) const {
    return static_cast<float>(word(index) >> 8) * 0x1p-24F;
  }
  /// Standard normal, float64 Box-Muller on two words of block `index`.
  double normal(std::uint64_t index) const {
    const auto words = block(index);
    const double u =
        (static_cast<double>((std::uint64_t{words[0]} << 21) ^ (words[1] >> 11)) + 0.5) * 0x1p-53;
    const double v = static_cast<double>((std::uint64_t{words[2]} << 21) ^ (words[3] >> 11)) * 0x1p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
};

}  // namespace plumb
