// Times collectives and computing on all ranks at once, alone and beside each other.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "plan/collective_time.h"

namespace plumb {

/// y = x W^T of 256 rows and columns by 256, again and again: something to compute.
class RepeatedProduct {
 public:
  explicit RepeatedProduct(Backend& backend);

  /// Until all are done.
  void run(int times);
  static double flops() { return 2.0 * kEdge * kEdge * kEdge; }
  Stream& stream() { return *stream_; }

 private:
  static constexpr std::int64_t kEdge = 256;
  static constexpr std::size_t kTensorBytes = kEdge * kEdge * sizeof(float);
  Backend& backend_;
  std::unique_ptr<Stream> stream_;
  Buffer memory_, workspace_;
  LinearForward arguments_;
};

/// Every call is a collective, and every rank gets the same answer: of a number of rounds the median, of that
/// the slowest rank's. Kinds are those that a step starts for large tensors: AllReduce, ReduceScatter and
/// AllGatherRows.
class FabricClock {
 public:
  static constexpr std::int64_t kLargest = 64 << 20;  ///< bytes of a collective

  /// host sums the times and, where the backend brings no communicator of its own, is what is timed. Writes
  /// all of its memory once: the first use, page by page, is no part of a collective.
  FabricClock(Communicator& host, Backend& backend, int rounds);

  bool is_device() const { return device_ != nullptr; }
  /// Of an fp32 product while all ranks compute.
  double flops_per_second();
  /// Bytes near these that can be cut into rows of equal size for all ranks, where the kind does that;
  /// aligned as a step's tensors are.
  std::int64_t in_rows(CollectiveKind kind, std::int64_t bytes) const;
  /// Of one collective of at most kLargest bytes.
  double collective_seconds(CollectiveKind kind, std::int64_t bytes);
  /// What of collectives goes on beside computing, and by how much a poll moves them: `hidden` and
  /// `per_poll`.
  void measure_overlap(CollectiveKind kind, LinkSpeed& speed);

 private:
  /// Collectives that are to be hidden: as large as a small bucket, several in a row.
  static constexpr std::int64_t kBucket = 4 << 20;
  static constexpr int kBuckets = 4;

  struct Overlap {
    double alone = 0;   ///< seconds of the collectives
    double hidden = 0;  ///< 1 - (together - computing alone) / alone
    int polls = 0;      ///< while it computed
  };
  using Bodies = std::vector<std::function<void()>>;

  /// Seconds of each body. They take turns, so that what slows the machine for a while slows them alike.
  std::vector<double> timed(const Bodies& bodies);
  double timed(const std::function<void()>& body) { return timed(Bodies{body}).front(); }
  /// Of computing that takes `times` as long as the collectives, with so many products between polls.
  Overlap overlap(CollectiveKind kind, double product, int products, double times);

  Communicator& communicator() { return device_ ? *device_ : host_; }
  /// Of a step's buckets none is where the one before was: memory that caches have not just seen. The largest
  /// size is all of it.
  std::int64_t next_place(std::int64_t bytes);
  Communicator::Request start(CollectiveKind kind, std::int64_t begin, std::int64_t bytes);
  void start_bucket(CollectiveKind kind, int bucket);
  void finish();
  /// As a backward pass: a bucket, products, a bucket, products. Without a kind the products alone.
  void compute(int polls, int products, std::optional<CollectiveKind> kind);

  Communicator& host_;
  RepeatedProduct product_;
  Buffer memory_;
  std::unique_ptr<Communicator> device_;
  int rounds_;
  std::int64_t place_ = 0;
  std::array<Communicator::Request, kBuckets> requests_;
};

}  // namespace plumb
