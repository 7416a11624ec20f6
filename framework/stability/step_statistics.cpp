#include "stability/step_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/maximum.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Cadence kLargest = Cadence::Detailed;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
std::vector<double> zeros(std::int64_t elements) { return std::vector<double>(index(elements), 0.0); }
Tensor host_tensor(std::vector<double>& values, Shape shape) {
  return Tensor(values.data(), DType::Float64, shape);
}

Tensor optimizer_result(const StepInputs& inputs, int list) {
  const std::array<Tensor, kOptimizerLists> results = {inputs.reduced_gradient_squares, inputs.update_squares,
                                                       inputs.parameter_squares, inputs.lag_squares,
                                                       inputs.eps_dominated};
  return results[static_cast<std::size_t>(list)];
}

}  // namespace

StepStatistics::StepStatistics(const StatisticsShape& shape, const StatisticsSettings& settings,
                               Backend& backend, Communicator& communicator)
    : shape_(shape),
      layout_(shape, settings),
      backend_(backend),
      communicator_(communicator),
      accumulators_(shape_, layout_, backend),
      host_(zeros(layout_.device_elements(kLargest))),
      optimizer_scalars_(zeros(kStepScalars)),
      optimizer_results_(zeros(kOptimizerLists * shape.tensors)),
      sums_(zeros(layout_.sum_elements(kLargest))),
      row_(zeros(layout_.row_elements(kLargest))),
      rows_(zeros(layout_.row_elements(kLargest) * communicator.world())),
      shift_(zeros(shape.probes() * shape.width)),
      step_shift_(shift_),
      targets_factors_(zeros(communicator.world())),
      overflows_(zeros(shape.probes())),
      minima_(zeros(shape.probes() * kTrackedValues)),
      maxima_(zeros(shape.probes() * kTrackedValues)),
      noise_scales_(1 + shape.tensors, settings.noise_scale_decay),
      record_(make_step_record(std::make_shared<RecordLayout>(shape, communicator.world(), settings))),
      sources_(shape_, layout_, communicator.world(),
               {.parts = host_,
                .sums = sums_,
                .rows = rows_,
                .optimizer_results = optimizer_results_,
                .shift = step_shift_,
                .targets_factors = targets_factors_},
               record_, noise_scales_) {
  PLUMB_CHECK(shape.sublayers >= 1 && shape.width >= 1 && shape.tensors >= 1,
              "statistics of {} sublayers of width {} with {} tensors", shape.sublayers, shape.width,
              shape.tensors);
  for (Read& read : reads_) {
    const std::int64_t elements =
        layout_.device_elements(kLargest) + kStepScalars + kOptimizerLists * shape.tensors;
    read.memory = backend.allocate_host(index(elements) * sizeof(double));
    read.done = backend.create_event();
    read.shift = shift_;
  }
  for (Buffer& staged : staged_shift_) staged = backend.allocate_host(shift_.size() * sizeof(double));
  reset_extremes();
}

void StepStatistics::begin_step(Stream& stream, Cadence cadence) {
  cadence_ = cadence;
  accumulators_.begin(stream, cadence);
  // Another step may be finished, and the shift move on, before this one is.
  if (cadence >= Cadence::Sampled) {
    std::vector<double>& shift = reads_[steps_read_ % kStepsInFlight].shift;
    std::copy(shift_.begin(), shift_.end(), shift.begin());
  }
}

const double* StepStatistics::moments_of(std::int64_t probe) {
  return part(kMomentsPart) + probe * kMomentScalars;
}

void StepStatistics::read_step(Stream& stream, const StepInputs& inputs) {
  const PhaseRange range(backend_, "read statistics");
  PLUMB_CHECK(steps_read_ - steps_finished_ < kStepsInFlight, "{} steps have been read and not finished",
              kStepsInFlight);
  Read& read = reads_[steps_read_ % kStepsInFlight];
  auto* host = static_cast<double*>(read.memory.data());
  const auto fetch = [&](const Tensor& tensor, std::int64_t place, std::int64_t elements) {
    PLUMB_CHECK(tensor.elements() == elements && tensor.dtype == DType::Float64,
                "statistics of {} elements in {}, expected {} in fp64", tensor.elements(),
                name_of(tensor.dtype), elements);
    backend_.download(stream, tensor.data, host + place, tensor.bytes());
  };
  const std::int64_t scalars = layout_.device_elements(kLargest), results = scalars + kStepScalars;
  fetch(accumulators_.used(cadence_), 0, layout_.device_elements(cadence_));
  if (inputs.local_gradient_squares.defined())
    fetch(inputs.local_gradient_squares, layout_.part(kTensorsPart).device, shape_.tensors);
  fetch(inputs.step_scalars, scalars, kStepScalars);
  for (int list = 0; list < kOptimizerLists; ++list) {
    const std::int64_t place = results + list * shape_.tensors;
    const Tensor result = optimizer_result(inputs, list);
    if (!result.defined()) {
      std::fill_n(host + place, shape_.tensors, kAbsent);
    } else if (cadence_ >= Cadence::Sampled || list == kLagSquares) {
      fetch(result, place, shape_.tensors);
    }
  }
  read.done->record(stream);
  read.inputs = inputs;
  read.cadence = cadence_;
  ++steps_read_;
}

void StepStatistics::wait_for_step() {
  PLUMB_CHECK(steps_finished_ < steps_read_, "no step was read that is not finished");
  reads_[steps_finished_ % kStepsInFlight].done->synchronize();
}

std::int64_t StepStatistics::discard_step() {
  wait_for_step();
  return reads_[steps_finished_++ % kStepsInFlight].inputs.step;
}

void StepStatistics::take_read(std::size_t slot) {
  const Read& read = reads_[slot];
  finishing_ = read.cadence;
  sources_.set_cadence(finishing_);
  const auto* host = static_cast<const double*>(read.memory.data());
  if (finishing_ >= Cadence::Sampled) std::copy(read.shift.begin(), read.shift.end(), step_shift_.begin());
  std::copy_n(host, layout_.device_elements(finishing_), host_.begin());
  host += layout_.device_elements(kLargest);
  std::copy_n(host, kStepScalars, optimizer_scalars_.begin());
  std::copy_n(host + kStepScalars, kOptimizerLists * shape_.tensors, optimizer_results_.begin());
}

StepRecord& StepStatistics::finish_step(Stream& stream, const StepTimes& times) {
  const PhaseRange range(backend_, "statistics over ranks");
  wait_for_step();
  const std::size_t slot = steps_finished_++ % kStepsInFlight;
  take_read(slot);
  remove_loss_scale();
  track_extremes();
  pack_row(reads_[slot].inputs, times);
  if (finishing_ >= Cadence::Sampled) pack_sums();
  exchange();

  record_.sampled = finishing_ >= Cadence::Sampled;
  fill_scalars(reads_[slot].inputs);
  update_noise_scales();
  fill_fields();
  if (record_.sampled) {
    advance_shift(stream);
    reset_extremes();
  }
  return record_;
}

void StepStatistics::remove_loss_scale() {
  const double scale = optimizer_scalars_[kStepAppliedLossScale], factor = 1 / (scale * scale);
  if (factor == 1) return;
  const auto divide = [factor](double* first, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) first[i] *= factor;
  };
  for (const PartName name : {kGradientPart, kTensorsPart}) divide(part(name), layout_.part(name).elements);
  if (finishing_ == Cadence::EveryStep) return;
  divide(part(kGradientRowPart), layout_.part(kGradientRowPart).elements);
  divide(&optimizer_results_[index(kReducedSquares * shape_.tensors)], shape_.tensors);
}

void StepStatistics::track_extremes() {
  for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
    const double* moments = moments_of(probe);
    const double rows = moments[kMomentRows];
    if (rows == 0) continue;
    overflows_[index(probe)] += moments[kMomentOverflows];
    double values[kTrackedValues];
    values[kTrackedMeanAbs] = moments[kMomentSumAbs] / (rows * static_cast<double>(shape_.width));
    values[kTrackedEntryVariance] = moments[kMomentSumRowVariance] / rows;
    values[kTrackedMaxAbs] = moments[kMomentMaxAbs];
    for (int v = 0; v < kTrackedValues; ++v) {
      double& minimum = minima_[index(probe * kTrackedValues + v)];
      double& maximum = maxima_[index(probe * kTrackedValues + v)];
      minimum = minimum_or_nan(minimum, values[v]);
      maximum = maximum_or_nan(maximum, values[v]);
    }
  }
}

void StepStatistics::reset_extremes() {
  std::fill(minima_.begin(), minima_.end(), kInfinity);
  std::fill(maxima_.begin(), maxima_.end(), -kInfinity);
  std::fill(overflows_.begin(), overflows_.end(), 0.0);
}

void StepStatistics::pack_row(const StepInputs& inputs, const StepTimes& times) {
  const double* loss = part(kLossPart);
  row_[kRowTargets] = loss[kHeadLossRows];
  row_[kRowSequences] = static_cast<double>(inputs.sequences);
  row_[kRowCrossEntropy] = loss[kHeadLossCrossEntropy];
  row_[kRowLogZ] = loss[kHeadLossLogZ];
  row_[kRowLogZSquared] = loss[kHeadLossLogZSquared];
  row_[kRowMaxLogit] = loss[kHeadLossMaxLogit];
  row_[kRowStepSeconds] = times.step_seconds;
  row_[kRowWaitSeconds] = times.wait_seconds;
  row_[kRowPreemptedSeconds] = times.preempted_seconds;
  row_[kRowStopRequested] = times.stop_requested ? 1 : 0;
  double max_abs = 0, overflows = 0, gradient_square = 0;
  for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
    max_abs = maximum_or_nan(max_abs, moments_of(probe)[kMomentMaxAbs]);
    overflows += moments_of(probe)[kMomentOverflows];
  }
  for (std::int64_t i = 0; i < shape_.tensors; ++i) gradient_square += part(kTensorsPart)[i];
  row_[kRowMaxAbs] = max_abs;
  row_[kRowOverflows] = overflows;
  row_[kRowGradientSquare] = gradient_square;
  if (finishing_ == Cadence::EveryStep) return;
  for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
    row_[index(layout_.row_max_abs() + probe)] = moments_of(probe)[kMomentMaxAbs];
    row_[index(layout_.row_max_row_squares() + probe)] = moments_of(probe)[kMomentMaxRowSquares];
  }
  std::copy(minima_.begin(), minima_.end(), row_.begin() + layout_.row_minima());
  std::copy(maxima_.begin(), maxima_.end(), row_.begin() + layout_.row_maxima());
  pack_parts(Exchange::Gather, row_);
}

void StepStatistics::pack_sums() {
  for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
    std::copy_n(moments_of(probe), kSummedMoments, sums_.begin() + probe * kSummedMoments);
    sums_[index(probe * kSummedMoments + kMomentOverflows)] = overflows_[index(probe)];
  }
  mark_live_units();
  pack_parts(Exchange::Sum, sums_);
}

// A maximum over ranks as a sum: a unit is alive if it is on any rank.
void StepStatistics::mark_live_units() {
  if (finishing_ < Cadence::Detailed) return;
  const std::int64_t units = layout_.part(kUnitsPart).elements;
  for (std::int64_t i = 0; i < units; ++i) {
    double& maximum = host_[index(layout_.part(kUnitsPart).device + i)];
    if (!std::isnan(maximum)) maximum = maximum > 0 ? 1 : 0;
  }
}

void StepStatistics::pack_parts(Exchange exchange, std::vector<double>& message) {
  for (const Part& part : layout_.parts()) {
    if (part.exchange != exchange || part.cadence > finishing_) continue;
    std::copy_n(host_.begin() + part.device, part.elements, message.begin() + part.exchanged);
  }
}

void StepStatistics::exchange() {
  if (finishing_ >= Cadence::Sampled) {
    communicator_.all_reduce("step statistics: sums", host_tensor(sums_, {layout_.sum_elements(finishing_)}),
                             ReduceOp::Sum);
  }
  const std::int64_t elements = layout_.row_elements(finishing_);
  communicator_.all_gather("step statistics: rows", host_tensor(row_, {elements}),
                           host_tensor(rows_, {communicator_.world(), elements}));
  const double targets = sources_.sum_of(kRowTargets);
  for (int rank = 0; rank < communicator_.world(); ++rank) {
    // Gradients are scaled by 1 / targets of the global batch; this makes them the mean over the rank's own.
    const double own = sources_.row(rank)[kRowTargets];
    targets_factors_[index(rank)] = own == 0 ? 0 : targets / own;
  }
}

void StepStatistics::fill_scalars(const StepInputs& inputs) {
  record_.step = inputs.step;
  record_.tokens = inputs.tokens;
  record_.data_cursor = inputs.data_cursor;
  record_.loss = sources_.sum_of(kRowCrossEntropy) / sources_.sum_of(kRowTargets);
  record_.step_seconds = sources_.largest_of(kRowStepSeconds);
  record_.tokens_per_second = static_cast<double>(inputs.step_tokens) / record_.step_seconds;
  record_.stop_requested = sources_.sum_of(kRowStopRequested) != 0;
  record_.learning_rate = optimizer_scalars_[kStepLearningRate];
  record_.gradient_norm = optimizer_scalars_[kStepGradientNorm];
  record_.clip_coefficient = optimizer_scalars_[kStepClipFactor];
  record_.loss_scale = optimizer_scalars_[kStepAppliedLossScale];
  record_.next_loss_scale = optimizer_scalars_[kStepLossScale];
  record_.skipped = optimizer_scalars_[kStepSkipFactor] == 0;
  record_.spikes = static_cast<int>(optimizer_scalars_[kStepSpikes]);
  record_.clipped_tensors = optimizer_scalars_[kStepClippedTensors];
}

void StepStatistics::update_noise_scales() {
  if (sources_.ranks_with_sequences() < 2) return;
  noise_scales_.update(0, record_.step, sources_.gradient_noise());
  if (!record_.sampled) return;
  for (std::int64_t i = 0; i < shape_.tensors; ++i)
    noise_scales_.update(1 + i, record_.step, sources_.tensor_noise(i));
}

void StepStatistics::fill_fields() {
  for (const RecordField& field : record_.layout->fields()) {
    const Statistic& statistic = *field.statistic;
    if (statistic.file == log_file::kStability && !record_.sampled) continue;
    const bool is_taken =
        statistic.formula != nullptr && (!statistic.detailed || finishing_ == Cadence::Detailed);
    for (std::int64_t i = 0; i < field.count; ++i) {
      record_.values[index(field.place + i)] =
          is_taken ? statistic.formula(sources_, field.first_index + i) : kAbsent;
    }
  }
}

void StepStatistics::advance_shift(Stream& stream) {
  for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
    for (std::int64_t i = 0; i < shape_.width; ++i) {
      const double mean = sources_.column_mean(probe, i);
      // One bad step must not spoil all later ones.
      if (std::isfinite(mean)) shift_[index(probe * shape_.width + i)] = mean;
    }
  }
  upload_shift(stream);
}

// The copy before the last has been read when a new one is staged: steps_finished_ steps lie between them.
void StepStatistics::upload_shift(Stream& stream) {
  Buffer& staged = staged_shift_[next_shift_++ % staged_shift_.size()];
  std::copy(shift_.begin(), shift_.end(), static_cast<double*>(staged.data()));
  backend_.upload(stream, staged.data(), accumulators_.shift().data, shift_.size() * sizeof(double));
}

void StepStatistics::unify_state() {
  communicator_.all_reduce("step statistics: minima", host_tensor(minima_, {shape_.probes(), kTrackedValues}),
                           ReduceOp::Min);
  communicator_.all_reduce("step statistics: maxima", host_tensor(maxima_, {shape_.probes(), kTrackedValues}),
                           ReduceOp::Max);
  communicator_.all_reduce("step statistics: overflows", host_tensor(overflows_, {shape_.probes()}),
                           ReduceOp::Sum);
  keep_overflows_once();
}

void StepStatistics::keep_overflows_once() {
  if (communicator_.rank() != 0) std::fill(overflows_.begin(), overflows_.end(), 0.0);
}

std::vector<StatisticsStateTensor> StepStatistics::state_tensors() {
  return {{"column_shift", host_tensor(shift_, {shape_.probes(), shape_.width})},
          {"interval_min", host_tensor(minima_, {shape_.probes(), kTrackedValues})},
          {"interval_max", host_tensor(maxima_, {shape_.probes(), kTrackedValues})},
          {"interval_overflows", host_tensor(overflows_, {shape_.probes()})},
          {"noise_scales", noise_scales_.state()}};
}

void StepStatistics::state_restored(Stream& stream) {
  keep_overflows_once();
  upload_shift(stream);
}

}  // namespace plumb
