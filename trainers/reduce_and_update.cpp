// TrainingLoop: gradients across ranks, and the update, whole or sharded (docs/design/sharded_optimizer.md).
#include <span>

#include "training_loop.h"

namespace plumb {

GradientLayout TrainingLoop::gradient_layout() const {
  std::vector<TensorSpan> spans;
  for (const Parameter* parameter : engine_.parameters().trainable()) {
    spans.push_back({parameter->name, parameter->offset, parameter->shape.elements()});
  }
  const auto bytes = static_cast<std::int64_t>(config_.communication.bucket_megabytes * 1024 * 1024);
  const Tensor flat = engine_.parameters().flat_gradient();
  GradientLayout layout = make_buckets(std::move(spans), bytes, flat.dtype);
  if (!config_.optimizer.sharded || session_.world() == 1) return layout;
  return shard_buckets(std::move(layout), flat.elements(), session_.world());
}

std::optional<Shards> TrainingLoop::shards() const {
  const GradientLayout layout = gradient_layout();
  if (!layout.sharded) return std::nullopt;
  return Shards(layout, session_.rank(), session_.world());
}

GradientWire TrainingLoop::gradient_wire() {
  if (config_.communication.gradient_dtype == "bf16" && !engine_.backend().has_communicator())
    return {.staging = {}, .convert = {}, .rounded = true};
  if (wire_.data() == nullptr) return {};
  const Tensor flat = engine_.parameters().flat_gradient();
  return {.staging = Tensor(wire_.data(), DType::BFloat16, flat.shape),
          .convert = [this](const Tensor& from, const Tensor& to) {
            engine_.backend().elementwise().copy(engine_.stream(), from, to);
          }};
}

// Of one rank they are those of the reduced gradients, which the optimiser takes (issue_step).
GradientReducer::BeforeReduce TrainingLoop::before_reduce() {
  if (session_.world() == 1) return {};
  return [this](int bucket) {
    take_local_gradient_squares(reducer_.layout().buckets[static_cast<std::size_t>(bucket)]);
  };
}

void TrainingLoop::take_local_gradient_squares(const Bucket& bucket) {
  const auto first = static_cast<std::size_t>(bucket.first_tensor),
             count = static_cast<std::size_t>(bucket.tensors);
  const Tensor squares = statistics_.gradient_squares_local();
  engine_.backend().elementwise().sum_of_squares(
      engine_.stream(),
      {.squares = squares.reshaped({squares.elements(), 1})
                      .row_range(bucket.first_tensor, bucket.tensors)
                      .reshaped({bucket.tensors}),
       .accumulate = false,
       .workspace = {gradient_workspace_.data(), gradient_workspace_.bytes()}},
      std::span<const Tensor>(gradients_).subspan(first, count));
}

void TrainingLoop::compare_replicas(std::int64_t step) {
  const std::int64_t every = config_.alarms.replicas_every;
  if (replica_hashes_ && step % every == 0) replica_hashes_->read(engine_.stream(), step);
}

void TrainingLoop::finish_gradients_and_update(double gradient_scale, Cadence cadence) {
  if (!shards_) {
    parts_.run(StepParts::kReduceAndUpdate, cadence, [&] {
      reduce(gradient_scale);
      update();
    });
    return;
  }
  parts_.run(StepParts::kReduce, cadence, [&] { reduce(gradient_scale); });
  // The update ends with parameters that come from their owners: what differs between ranks is gone then.
  compare_replicas(step_ + 1);
  parts_.run(StepParts::kUpdate, cadence, [&] { update(); });
}

void TrainingLoop::reduce(double gradient_scale) {
  reducer_.begin_step();
  engine_.forward_and_backward(statistics_.probes(), gradient_scale, &listener_);
  const PhaseRange range(engine_.backend(), "reduce gradients");
  if (run_queue_delay_) run_queue_delay_->pause();
  reducer_.finish();
  if (run_queue_delay_) run_queue_delay_->resume();
}

void TrainingLoop::update() {
  const PhaseRange range(engine_.backend(), "optimiser");
  optimizer_.update(engine_.stream(), UpdateResults::All, step_loss());
}

}  // namespace plumb
