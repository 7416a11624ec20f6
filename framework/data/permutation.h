// A pseudo-random permutation of 0 .. n-1 that is computed, not stored.
#pragma once

#include <cstdint>

#include "core/rng.h"

namespace plumb {

/// Bijection of [0, size) keyed by a random stream: a balanced Feistel network (Luby and Rackoff, 1988) with
/// philox as round function on the smallest even number of bits that holds size, and cycle walking (Black and
/// Rogaway, CT-RSA 2002) back into the range. At most 4 walks on average.
class KeyedPermutation {
 public:
  /// 1 <= size <= 2^63.
  KeyedPermutation(std::uint64_t size, RandomStream key);
  std::uint64_t size() const { return size_; }
  /// index < size().
  std::uint64_t operator()(std::uint64_t index) const;

 private:
  std::uint64_t network(std::uint64_t value) const;

  std::uint64_t size_;
  RandomStream key_;
  int half_bits_ = 1;
};

/// Uniform integer in [0, bound) from 64 random bits; the bias is below bound / 2^64.
inline std::uint64_t uniform_below(std::uint64_t bound, std::uint32_t high, std::uint32_t low) {
  // The upper 64 bits of bits * bound, in 32-bit pieces.
  const std::uint64_t bound_high = bound >> 32, bound_low = bound & 0xffffffffU;
  const std::uint64_t middle = high * bound_low + ((low * bound_low) >> 32);
  const std::uint64_t other = low * bound_high + (middle & 0xffffffffU);
  return high * bound_high + (middle >> 32) + (other >> 32);
}

}  // namespace plumb
