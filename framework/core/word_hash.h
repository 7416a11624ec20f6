// The integer hash of a tensor's bits that does not depend on the order in which its words are taken.
#pragma once

#include <cstdint>

namespace plumb {

/// What word i of a tensor adds, mod 2^64, to the tensor's hash. One-to-one in (word, low 32 bits of i), so
/// that a change of a single word always changes the sum. The mixing is the finaliser of splitmix64 (Steele,
/// Lea, Flood 2014, doi:10.1145/2660193.2660195).
constexpr std::uint64_t hash_of_word(std::uint32_t word, std::uint64_t i) {
  std::uint64_t mixed = (i << 32 | word) + 0x9e3779b97f4a7c15ULL;
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
  return mixed ^ mixed >> 31;
}

}  // namespace plumb
