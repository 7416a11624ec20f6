// How rows come to a kernel by way of a multiprocessor's shared memory.
#pragma once

#include <cstddef>

namespace plumb::cuda {

struct SharedRows {
  int stages = 0;         ///< rows that a block has in shared memory at once, one under way
  std::size_t bytes = 0;  ///< of all stages
};

/// Of rows that take `stage_bytes` each, beside `sum_bytes` of the same block, where a block may have `most`:
/// two stages, unless that keeps a second block from the multiprocessor that would fit with one. Where not
/// even one stage fits, one is returned.
inline SharedRows shared_rows(std::size_t stage_bytes, std::size_t sum_bytes, std::size_t most) {
  const auto fits = [&](int blocks, std::size_t stages) {
    return blocks * (stages * stage_bytes + sum_bytes) <= most;
  };
  const int stages = fits(2, 2) || (!fits(2, 1) && fits(1, 2)) ? 2 : 1;
  return {stages, stages * stage_bytes};
}

}  // namespace plumb::cuda
