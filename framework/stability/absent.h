// The mark of a value that does not exist: the spread over ranks of one rank, the entropy of a sublayer that
// is no attention. It is a NaN with bits of its own (as R's NA_real_), so that records stay plain float64
// arrays and a result that is not a number is still told from one that there is none of.
#pragma once

#include <bit>
#include <cstdint>

namespace plumb {

inline constexpr double kAbsent = std::bit_cast<double>(std::uint64_t{0x7ff8'0000'6e6f'6e65});

/// Of a copy of kAbsent. What is computed from one is a NaN, but whether absent is not defined.
inline bool is_absent(double value) {
  return std::bit_cast<std::uint64_t>(value) == std::bit_cast<std::uint64_t>(kAbsent);
}

}  // namespace plumb
