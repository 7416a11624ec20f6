// TrainingLoop: sharpness of a step's loss, over all ranks.
#include <cmath>

#include "training_loop.h"

namespace plumb {
namespace {

void set_if_finite(StepRecord& record, const char* path, double value) {
  if (std::isfinite(value)) record.set(path, value);
}

}  // namespace

double TrainingLoop::loss_of_batch(std::uint64_t cursor) {
  const Tensor sums = extra_pass_sums();
  engine_.backend().elementwise().fill(engine_.stream(), sums, 0);
  Probes probes;
  probes.loss_sums = sums;
  for (std::int64_t m = 0; m < sampler_.partition().micro_steps; ++m) {
    sampler_.fill(cursor, m, batch_);
    engine_.upload_batch(batch_.inputs, batch_.targets, batch_.first_sequence);
    engine_.forward(probes, /*training=*/true);
  }
  double host[kHeadLossSums] = {};
  engine_.backend().download(engine_.stream(), sums.data, host, sizeof host);
  engine_.stream().synchronize();
  double loss = host[kHeadLossCrossEntropy] + config_.model.z_loss * host[kHeadLossLogZSquared];
  session_.communicator().all_reduce("loss along the update", Tensor(&loss, DType::Float64, {1}),
                                     ReduceOp::Sum);
  return loss / static_cast<double>(sampler_.targets_per_step());
}

void TrainingLoop::gradient_of_batch(std::uint64_t cursor) {
  Probes probes;
  probes.loss_sums = extra_pass_sums();
  const std::int64_t micro_steps = sampler_.partition().micro_steps;
  engine_.zero_gradients();
  reducer_.begin_step();
  for (std::int64_t m = 0; m < micro_steps; ++m) {
    sampler_.fill(cursor, m, batch_);
    engine_.upload_batch(batch_.inputs, batch_.targets, batch_.first_sequence);
    engine_.forward(probes, /*training=*/true);
    engine_.backward(probes, 1 / static_cast<double>(sampler_.targets_per_step()),
                     m + 1 == micro_steps ? &listener_ : nullptr, /*training=*/true);
  }
  reducer_.finish();
  if (shards_) reducer_.gather();
  reducer_.take_wait_seconds();  // of no step
}

// A difference of two gradients at so small a distance is lost in the rounding of parameters to 16 bits, of
// products to tf32, and of gradients to bf16 between ranks.
bool TrainingLoop::has_exact_gradients() const {
  return size_of(engine_.model().shape().compute) >= 4 && config_.compute.dtype != "tf32" &&
         wire_.data() == nullptr;
}

void TrainingLoop::measure_sharpness(StepRecord& record) {
  const PhaseRange range(engine_.backend(), "sharpness");
  const auto cursor = static_cast<std::uint64_t>(record.data_cursor - sampler_.sequences_per_step());
  engine_.begin_step(record.step - 1);
  const BatchLoss loss{.value = [&] { return loss_of_batch(cursor); },
                       .gradient = [&] { gradient_of_batch(cursor); },
                       .gradient_scale = record.next_loss_scale};
  const auto multiple = sharpness_->critical_multiple(loss);
  // A step at a rate of 0 may still move parameters (those that are kept on a sphere): it has no critical
  // one.
  if (multiple && record.learning_rate > 0) {
    set_if_finite(record, "critical_lr", *multiple * record.learning_rate);
    set_if_finite(record, "critical_sharpness", 2 / (*multiple * record.learning_rate));
  }
  if (config_.sharpness.iterations == 0 || !has_exact_gradients()) return;
  const Eigenvalue found =
      sharpness_->eigenvalue(loss, config_.sharpness.iterations, static_cast<std::uint32_t>(record.step));
  set_if_finite(record, "hessian_eigenvalue", found.value);
  set_if_finite(record, "hessian_residual", found.residual);
}

}  // namespace plumb
