#include "evaluator.h"

#include <algorithm>
#include <array>

namespace plumb {

Evaluator::Evaluator(Engine& engine, std::shared_ptr<const FiniteSource> source, Communicator& communicator)
    : engine_(engine),
      source_(std::move(source)),
      communicator_(communicator),
      loss_sums_(engine.backend().allocate(kHeadLossSums * sizeof(double))) {
  probes_.loss_sums = Tensor(loss_sums_.data(), DType::Float64, {kHeadLossSums});
  fill_batch(*source_, 0, engine.model().shape().batch, batch_);
}

Evaluator::Result Evaluator::evaluate(std::int64_t sequences) {
  const std::uint64_t total = sequences > 0
                                  ? std::min(source_->sequences(), static_cast<std::uint64_t>(sequences))
                                  : source_->sequences();
  const auto rows = static_cast<std::uint64_t>(engine_.model().shape().batch);
  const auto tokens = static_cast<std::size_t>(source_->sequence_length());
  const std::uint64_t batches = (total + rows - 1) / rows;
  Stream& stream = engine_.stream();
  engine_.backend().elementwise().fill(stream, probes_.loss_sums, 0);
  for (auto m = static_cast<std::uint64_t>(communicator_.rank()); m < batches;
       m += static_cast<std::uint64_t>(communicator_.world())) {
    const std::uint64_t first = m * rows;
    fill_batch(*source_, first, static_cast<std::int64_t>(rows), batch_);
    const std::uint64_t valid = std::min(rows, total - first);
    std::fill(batch_.targets.begin() + static_cast<std::ptrdiff_t>(valid * tokens), batch_.targets.end(),
              kNoTarget);
    engine_.upload_batch(batch_.inputs, batch_.targets, first);
    engine_.forward(probes_, /*training=*/false);
    stream.synchronize();
  }
  std::array<double, kHeadLossSums> sums{};
  engine_.backend().download(stream, loss_sums_.data(), sums.data(), sizeof sums);
  stream.synchronize();
  std::array<double, 2> reduced = {sums[kHeadLossCrossEntropy], sums[kHeadLossRows]};
  communicator_.all_reduce("validation loss", Tensor(reduced.data(), DType::Float64, {2}), ReduceOp::Sum);
  return {reduced[0] / reduced[1], static_cast<std::uint64_t>(reduced[1])};
}

}  // namespace plumb
