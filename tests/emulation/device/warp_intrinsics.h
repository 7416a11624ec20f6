// __syncwarp, shuffles, votes and reductions over the lanes of a warp.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

namespace plumb::emulation {

using Location = std::source_location;

enum class Shuffle { Index, Up, Down, Xor };
enum class Vote { Ballot, Any, All };
enum class Reduction { Add, Minimum, Maximum, MinimumSigned, MaximumSigned, And, Or, Xor };

void sync_warp(unsigned mask, Location location);
/// `value` of the lane that kind, selector and width choose (CUDA C++ Programming Guide, "Warp Shuffle
/// Functions"). An error if that lane takes no part.
std::uint64_t shuffle(Shuffle kind, unsigned mask, std::uint64_t value, int selector, int width,
                      Location location);
/// The lanes whose predicate is true.
std::uint32_t ballot(Vote kind, unsigned mask, bool predicate, Location location);
std::uint32_t reduce(Reduction kind, unsigned mask, std::uint32_t value, Location location);
/// The mask of the lanes whose value is the same.
std::uint32_t match(unsigned mask, std::uint64_t value, Location location);

template <class T>
T shuffle_value(Shuffle kind, unsigned mask, T value, int selector, int width, Location location) {
  // NVIDIA's pairs of halves have copy functions of their own, which copy the bits.
  static_assert(std::is_trivially_destructible_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, static_cast<const void*>(&value), sizeof value);
  bits = shuffle(kind, mask, bits, selector, width, location);
  std::memcpy(static_cast<void*>(&value), &bits, sizeof value);
  return value;
}

}  // namespace plumb::emulation

#define PLUMB_EMULATION_PLACE std::source_location location = std::source_location::current()

inline void __syncwarp(unsigned mask = 0xffffffffU, PLUMB_EMULATION_PLACE) {
  plumb::emulation::sync_warp(mask, location);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::shuffle_value(plumb::emulation::Shuffle::Index, mask, value, lane, width,
                                         location);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::shuffle_value(plumb::emulation::Shuffle::Up, mask, value,
                                         static_cast<int>(distance), width, location);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::shuffle_value(plumb::emulation::Shuffle::Down, mask, value,
                                         static_cast<int>(distance), width, location);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::shuffle_value(plumb::emulation::Shuffle::Xor, mask, value, lanes, width, location);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::ballot(plumb::emulation::Vote::Ballot, mask, predicate != 0, location);
}
inline int __any_sync(unsigned mask, int predicate, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::ballot(plumb::emulation::Vote::Any, mask, predicate != 0, location) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::ballot(plumb::emulation::Vote::All, mask, predicate == 0, location) == 0 ? 1 : 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, PLUMB_EMULATION_PLACE) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return plumb::emulation::match(mask, bits, location);
}

template <class T>
concept WordOfWarp = std::same_as<T, int> || std::same_as<T, unsigned>;

template <WordOfWarp T>
T __reduce_add_sync(unsigned mask, T value, PLUMB_EMULATION_PLACE) {
  return static_cast<T>(plumb::emulation::reduce(plumb::emulation::Reduction::Add, mask,
                                                 static_cast<std::uint32_t>(value), location));
}
template <WordOfWarp T>
T __reduce_min_sync(unsigned mask, T value, PLUMB_EMULATION_PLACE) {
  constexpr auto kKind =
      std::is_signed_v<T> ? plumb::emulation::Reduction::MinimumSigned : plumb::emulation::Reduction::Minimum;
  return static_cast<T>(plumb::emulation::reduce(kKind, mask, static_cast<std::uint32_t>(value), location));
}
template <WordOfWarp T>
T __reduce_max_sync(unsigned mask, T value, PLUMB_EMULATION_PLACE) {
  constexpr auto kKind =
      std::is_signed_v<T> ? plumb::emulation::Reduction::MaximumSigned : plumb::emulation::Reduction::Maximum;
  return static_cast<T>(plumb::emulation::reduce(kKind, mask, static_cast<std::uint32_t>(value), location));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::reduce(plumb::emulation::Reduction::And, mask, value, location);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::reduce(plumb::emulation::Reduction::Or, mask, value, location);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, PLUMB_EMULATION_PLACE) {
  return plumb::emulation::reduce(plumb::emulation::Reduction::Xor, mask, value, location);
}

#undef PLUMB_EMULATION_PLACE
