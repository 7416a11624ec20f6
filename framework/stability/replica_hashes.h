// ReplicaHashes: whether all ranks hold the same bits of parameters and optimiser state.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "stability/replica_difference.h"

namespace plumb {

/// Per check: read(), which waits for nothing, at any place where the replicas should agree; finish(), at
/// once or later. At most kChecksInFlight lie in between. One all-gather of 8 bytes a rank; only where these
/// differ another one, of 8 bytes for each tensor.
class ReplicaHashes {
 public:
  static constexpr std::size_t kChecksInFlight = 2;

  /// The tensors, the backend and the communicator (over host memory) must outlive it.
  ReplicaHashes(std::vector<Tensor> tensors, Backend& backend, Communicator& communicator);

  void read(Stream& stream, std::int64_t step);
  /// Step of the oldest check that was read and not finished, if any.
  std::optional<std::int64_t> pending() const;
  /// Waits for it and meets the other ranks. Nothing where the replicas agree. Alike on every rank.
  std::optional<ReplicaDifference> finish();

  std::size_t bytes() const { return hashes_.bytes() + workspace_.bytes(); }

 private:
  struct Read {
    Buffer memory;  ///< (n) int64
    std::unique_ptr<Event> done;
    std::int64_t step = 0;
  };

  std::vector<Tensor> tensors_;
  Backend& backend_;
  Communicator& communicator_;
  Buffer hashes_, workspace_;
  std::array<Read, kChecksInFlight> reads_;
  std::size_t read_ = 0, finished_ = 0;
  std::vector<std::int64_t> of_ranks_;  ///< (world)
};

}  // namespace plumb
