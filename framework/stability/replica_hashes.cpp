#include "stability/replica_hashes.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/hash.h"

namespace plumb {

ReplicaHashes::ReplicaHashes(std::vector<Tensor> tensors, Backend& backend, Communicator& communicator)
    : tensors_(std::move(tensors)),
      backend_(backend),
      communicator_(communicator),
      hashes_(backend.allocate(tensors_.size() * sizeof(std::int64_t))),
      workspace_(backend.allocate(backend.elementwise().hash_workspace(tensors_))),
      of_ranks_(static_cast<std::size_t>(communicator.world())) {
  for (Read& read : reads_) {
    read.memory = backend.allocate_host(tensors_.size() * sizeof(std::int64_t));
    read.done = backend.create_event();
  }
}

void ReplicaHashes::read(Stream& stream, std::int64_t step) {
  PLUMB_CHECK(read_ - finished_ < kChecksInFlight, "{} checks of replicas are not finished", kChecksInFlight);
  Read& read = reads_[read_++ % kChecksInFlight];
  const Tensor hashes(hashes_.data(), DType::Int64, {static_cast<std::int64_t>(tensors_.size())});
  backend_.elementwise().hash(
      stream, {.hashes = hashes, .workspace = {workspace_.data(), workspace_.bytes()}}, tensors_);
  backend_.download(stream, hashes.data, read.memory.data(), hashes.bytes());
  read.done->record(stream);
  read.step = step;
}

std::optional<std::int64_t> ReplicaHashes::pending() const {
  if (read_ == finished_) return std::nullopt;
  return reads_[finished_ % kChecksInFlight].step;
}

std::optional<ReplicaDifference> ReplicaHashes::finish() {
  PLUMB_CHECK(finished_ < read_, "no check of replicas was read that is not finished");
  Read& read = reads_[finished_++ % kChecksInFlight];
  read.done->synchronize();
  auto* own = static_cast<std::int64_t*>(read.memory.data());
  const auto count = static_cast<std::int64_t>(tensors_.size());
  auto whole = std::bit_cast<std::int64_t>(hash_bytes(own, tensors_.size() * sizeof(std::int64_t)));
  const std::int64_t world = communicator_.world();
  communicator_.all_gather("replica hashes", Tensor(&whole, DType::Int64, {1}),
                           Tensor(of_ranks_.data(), DType::Int64, {world}));
  if (std::all_of(of_ranks_.begin(), of_ranks_.end(), [&](std::int64_t h) { return h == of_ranks_[0]; }))
    return std::nullopt;
  std::vector<std::int64_t> all(static_cast<std::size_t>(world * count));
  communicator_.all_gather("replica hashes by tensor", Tensor(own, DType::Int64, {count}),
                           Tensor(all.data(), DType::Int64, {world, count}));
  return replica_difference(all, static_cast<int>(world));
}

}  // namespace plumb
