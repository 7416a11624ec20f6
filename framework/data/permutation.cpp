#include "data/permutation.h"

#include <bit>

#include "core/error.h"

namespace plumb {
namespace {
// Four rounds make a strong pseudo-random permutation of wide blocks; narrow ones (short files) want more.
constexpr std::uint64_t kRounds = 8;
}  // namespace

KeyedPermutation::KeyedPermutation(std::uint64_t size, RandomStream key) : size_(size), key_(key) {
  PLUMB_CHECK(size >= 1 && size <= (std::uint64_t{1} << 63), "a permutation of {} elements", size);
  const int bits = static_cast<int>(std::bit_width(size - 1));
  half_bits_ = bits <= 2 ? 1 : (bits + 1) / 2;
}

std::uint64_t KeyedPermutation::network(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const std::uint64_t mixed = left ^ (key_.block((round << 32) | right)[0] & mask);
    left = right;
    right = mixed;
  }
  return (left << half_bits_) | right;
}

std::uint64_t KeyedPermutation::operator()(std::uint64_t index) const {
  PLUMB_CHECK(index < size_, "index {} of a permutation of {} elements", index, size_);
  // The network permutes a power of two at least as large as size: following the cycle from inside the range
  // comes back into it, and does so for one start only.
  do index = network(index);
  while (index >= size_);
  return index;
}

}  // namespace plumb
