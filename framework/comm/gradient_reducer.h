// GradientReducer: sums gradients over ranks while the backward pass goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace plumb {

/// One tensor of the flat gradient buffer; offset and count in elements.
struct TensorSpan {
  std::string name;
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

/// Neighbouring tensors that are reduced together: [offset, offset + count) of the flat buffer, padding
/// between its tensors included.
struct Bucket {
  int first_tensor = 0;
  int tensors = 0;
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

/// The flat buffer's order is the order in which backward finishes tensors: bucket 0 is complete first.
struct GradientLayout {
  std::vector<TensorSpan> tensors;
  std::vector<Bucket> buckets;
  /// Each rank needs the sums of its own part of every bucket alone (shards.h).
  bool sharded = false;
};

/// Fills buckets in order, each with as many tensors as fit into bucket_bytes and at least one. The tensors
/// must ascend without overlap.
GradientLayout make_buckets(std::vector<TensorSpan> tensors, std::int64_t bucket_bytes, DType dtype);

/// Another dtype in which gradients cross ranks.
struct GradientWire {
  Tensor staging;  ///< as many elements as the flat buffer; empty: gradients are reduced as they are
  /// Rounds or widens `from` into `to` (the same shape), in the order of the communicator's stream.
  std::function<void(const Tensor& from, const Tensor& to)> convert;
  /// Without staging: the communicator rounds (Communicator::start_rounded_all_reduce).
  bool rounded = false;
};

/// Per step: begin_step(); during the last backward pass mark_ready() for every tensor, progress() between
/// ops; finish(). Afterwards every tensor holds its sum over ranks (padding between buckets is left as it
/// is); with a sharded layout the rank's own part of every bucket does, and what the rest holds is undefined.
///
/// Buckets are started strictly in bucket order, whatever the order of the marks, so that ranks can never
/// pair different buckets; a complete bucket waits for those before it. No allocation after construction.
///
/// Over device memory finish() returns at once and what is issued to the stream afterwards sees the sums.
class GradientReducer {
 public:
  /// Called with a bucket's index when its gradients are final on this rank and not yet reduced.
  using BeforeReduce = std::function<void(int bucket)>;

  /// The communicator and the buffers (fp32 or fp64 for the gradients, contiguous) must outlive the reducer.
  /// Throws when the layout does not put every tensor into one bucket or does not lie within the buffer.
  GradientReducer(Communicator& communicator, GradientLayout layout, Tensor flat_gradients,
                  BeforeReduce before_reduce = {}, GradientWire wire = {});

  /// Throws when the step before was not finished.
  void begin_step();
  /// The tensor's gradient, all micro-batches included, is final. Throws when it was marked before.
  void mark_ready(int tensor);
  /// Moves what is under way; cheap.
  void progress() { communicator_.progress(); }
  /// Waits for all buckets. Throws, naming the tensors, when some were never marked ready: their buckets
  /// would stay unreduced.
  void finish();

  /// After finish(), with a sharded layout: every tensor holds its sum on every rank.
  void gather();

  const GradientLayout& layout() const { return layout_; }
  /// Seconds that finish() waited, of the oldest step that was not asked for: long on fast ranks, short on
  /// the slowest one. Over device memory the seconds that its stream waited; 0 for a step that was replayed.
  double take_wait_seconds() { return communicator_.take_waited_seconds(); }
  /// Buckets whose reduction has been started in this step.
  int started_buckets() const { return started_buckets_; }

 private:
  void check_layout(const Tensor& flat_gradients) const;
  void check_wire(const Tensor& flat_gradients) const;
  void start_complete_buckets();
  Communicator::Request start_bucket(std::size_t bucket);
  Tensor summed(const Tensor& bucket) const;
  std::string unmarked_tensors() const;

  Communicator& communicator_;
  GradientLayout layout_;
  BeforeReduce before_reduce_;
  GradientWire wire_;
  std::vector<Tensor> slices_;                   ///< of each bucket
  std::vector<Tensor> staged_;                   ///< of each bucket in wire_.staging, if there is one
  std::vector<std::string> names_;               ///< of each bucket's collective
  std::vector<Communicator::Request> requests_;  ///< of each bucket
  std::vector<int> bucket_of_;                   ///< of each tensor
  std::vector<int> missing_;                     ///< tensors of each bucket not yet marked
  std::vector<std::uint8_t> marked_;             ///< each tensor
  int started_buckets_ = 0;
  bool in_step_ = false;
};

}  // namespace plumb
