// Where the mixing weights of one row of several streams stand (backend/ops/stream_mix.h).
#pragma once

#include <cstdint>

#include "backends/reference/arguments.h"
#include "core/error.h"

namespace plumb::reference {

inline constexpr std::int64_t kMaxStreams = 16;

struct StreamEntries {
  std::int64_t streams;

  StreamEntries(const char* op, std::int64_t streams_in) : streams(streams_in) {
    PLUMB_CHECK(streams >= 1 && streams <= kMaxStreams, "{}: streams is {}, not in [1, {}]", op, streams,
                kMaxStreams);
  }
  std::int64_t count() const { return streams * (streams + 2); }
  std::int64_t read(std::int64_t i) const { return i * (streams + 2); }
  std::int64_t write(std::int64_t i) const { return read(i) + 1; }
  std::int64_t mix(std::int64_t i, std::int64_t j) const { return read(i) + 2 + j; }
};

}  // namespace plumb::reference
