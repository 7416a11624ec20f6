// Where the mixing weights of one row of several streams stand (backend/ops/stream_mix.h).
#pragma once

#include <cstdint>

namespace plumb::cuda {

inline constexpr int kMaxStreams = 16;
inline constexpr int kMaxStreamEntries = kMaxStreams * (kMaxStreams + 2);

struct StreamEntries {
  int streams;

  constexpr int count() const { return streams * (streams + 2); }
  /// Between the same entries of two streams.
  constexpr int step() const { return streams + 2; }
  constexpr int read(int i) const { return i * step(); }
  constexpr int write(int i) const { return read(i) + 1; }
  constexpr int mix(int i, int j) const { return read(i) + 2 + j; }
};

}  // namespace plumb::cuda
