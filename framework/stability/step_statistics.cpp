#include "stability/step_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
std::vector<double> zeros(std::int64_t elements) { return std::vector<double>(index(elements), 0.0); }
Tensor host_tensor(std::vector<double>& values, Shape shape) {
  return Tensor(values.data(), DType::Float64, shape);
}

// Unlike std::min and std::max these never lose a NaN.
double smaller(double a, double b) { return std::isnan(a) || a < b ? a : b; }
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

}  // namespace

StepStatistics::StepStatistics(const StatisticsShape& shape, Backend& backend, Communicator& communicator)
    : shape_(shape),
      layout_(shape),
      backend_(backend),
      communicator_(communicator),
      accumulators_(backend.allocate(index(layout_.device_elements) * sizeof(double))),
      shift_buffer_(backend.allocate(index(layout_.probes * layout_.width) * sizeof(double))),
      host_(zeros(layout_.device_elements)),
      optimizer_scalars_(zeros(kStepScalars)),
      optimizer_squares_(zeros(3 * shape.tensors)),
      sums_(zeros(layout_.sum_elements)),
      row_(zeros(layout_.row_elements)),
      rows_(zeros(layout_.row_elements * communicator.world())),
      shift_(zeros(layout_.probes * layout_.width)),
      mean_gradient_factors_(zeros(communicator.world())),
      overflows_(zeros(layout_.probes)),
      minima_(zeros(layout_.probes * kTrackedValues)),
      maxima_(zeros(layout_.probes * kTrackedValues)),
      record_(make_step_record(shape, communicator.world())) {
  PLUMB_CHECK(shape.sublayers >= 1 && shape.width >= 1 && shape.tensors >= 1,
              "statistics of {} sublayers of width {} with {} tensors", shape.sublayers, shape.width,
              shape.tensors);
  for (Read& read : reads_) {
    read.memory = backend.allocate_host(index(layout_.device_elements + kStepScalars + 3 * shape.tensors) *
                                        sizeof(double));
    read.done = backend.create_event();
  }
  for (Buffer& staged : staged_shift_) staged = backend.allocate_host(shift_.size() * sizeof(double));
  probes_ = make_probes(true);
  scalar_probes_ = make_probes(false);
  reset_extremes();
}

Tensor StepStatistics::device(std::int64_t offset, Shape shape) const {
  return Tensor(static_cast<double*>(accumulators_.data()) + offset, DType::Float64, shape);
}

Probes StepStatistics::make_probes(bool columns) const {
  Probes probes;
  probes.loss_sums = device(layout_.loss, {kHeadLossSums});
  const std::int64_t width = layout_.width;
  for (std::int64_t probe = 0; probe < layout_.probes; ++probe) {
    MomentsView view;
    view.scalars = device(layout_.moments + probe * kMomentScalars, {kMomentScalars});
    if (columns) {
      view.column_sum = device(layout_.columns + probe * width, {width});
      view.column_square = device(layout_.columns + (layout_.probes + probe) * width, {width});
      view.shift =
          Tensor(static_cast<double*>(shift_buffer_.data()) + probe * width, DType::Float64, {width});
    }
    const bool of_stream = probe <= shape_.sublayers;
    (of_stream ? probes.stream : probes.branch).push_back(view);
    (of_stream ? probes.stream_gradient_square : probes.branch_gradient_square)
        .push_back(device(layout_.gradient + probe, {1}));
  }
  return probes;
}

Tensor StepStatistics::gradient_squares_local() const { return device(layout_.tensors, {shape_.tensors}); }

void StepStatistics::begin_step(Stream& stream, bool sampled) {
  sampled_ = sampled;
  const std::int64_t used = sampled ? layout_.device_elements : layout_.columns;
  backend_.elementwise().fill(stream, device(0, {used}), 0);
  backend_.elementwise().fill(stream, device(layout_.loss + kHeadLossMaxLogit, {1}), -kInfinity);
}

const double* StepStatistics::moments_of(std::int64_t probe) const {
  return &host_[index(layout_.moments + probe * kMomentScalars)];
}

const double* StepStatistics::row_of(int rank) const {
  return &rows_[index(rank * (finishing_sampled_ ? layout_.row_elements : std::int64_t{kRowEntries}))];
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
  const std::int64_t used = sampled_ ? layout_.device_elements : layout_.columns;
  const std::int64_t scalars = layout_.device_elements, squares = scalars + kStepScalars;
  fetch(device(0, {used}), 0, used);
  fetch(inputs.step_scalars, scalars, kStepScalars);
  if (sampled_) {
    const std::int64_t tensors = shape_.tensors;
    fetch(inputs.reduced_gradient_squares, squares, tensors);
    fetch(inputs.update_squares, squares + tensors, tensors);
    fetch(inputs.parameter_squares, squares + 2 * tensors, tensors);
  }
  read.done->record(stream);
  read.inputs = inputs;
  read.sampled = sampled_;
  ++steps_read_;
}

void StepStatistics::take_read(std::size_t slot) {
  const Read& read = reads_[slot];
  read.done->synchronize();
  finishing_sampled_ = read.sampled;
  const auto* host = static_cast<const double*>(read.memory.data());
  const std::int64_t used = read.sampled ? layout_.device_elements : layout_.columns;
  std::copy_n(host, used, host_.begin());
  host += layout_.device_elements;
  std::copy_n(host, kStepScalars, optimizer_scalars_.begin());
  if (read.sampled) std::copy_n(host + kStepScalars, 3 * shape_.tensors, optimizer_squares_.begin());
}

StepRecord& StepStatistics::finish_step(Stream& stream, const StepTimes& times) {
  const PhaseRange range(backend_, "statistics over ranks");
  PLUMB_CHECK(steps_finished_ < steps_read_, "no step was read that is not finished");
  const std::size_t slot = steps_finished_++ % kStepsInFlight;
  take_read(slot);
  remove_loss_scale();
  track_extremes();
  pack_row(times);
  if (finishing_sampled_) pack_sums();
  exchange();

  record_.sampled = finishing_sampled_;
  fill_scalars(reads_[slot].inputs);
  fill_ranks();
  if (finishing_sampled_) {
    fill_profile(0, record_.stream);
    fill_profile(shape_.sublayers + 1, record_.branch);
    fill_tensors();
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
  divide(&host_[index(layout_.gradient)], layout_.probes);
  divide(&host_[index(layout_.tensors)], shape_.tensors);
  if (finishing_sampled_) divide(optimizer_squares_.data(), shape_.tensors);
}

void StepStatistics::track_extremes() {
  for (std::int64_t probe = 0; probe < layout_.probes; ++probe) {
    const double* moments = moments_of(probe);
    const double rows = moments[kMomentRows];
    if (rows == 0) continue;
    overflows_[index(probe)] += moments[kMomentOverflows];
    double values[kTrackedValues];
    values[kTrackedMeanAbs] = moments[kMomentSumAbs] / (rows * static_cast<double>(layout_.width));
    values[kTrackedEntryVariance] = moments[kMomentSumRowVariance] / rows;
    values[kTrackedMaxAbs] = moments[kMomentMaxAbs];
    for (int v = 0; v < kTrackedValues; ++v) {
      double& minimum = minima_[index(probe * kTrackedValues + v)];
      double& maximum = maxima_[index(probe * kTrackedValues + v)];
      minimum = smaller(minimum, values[v]);
      maximum = larger(maximum, values[v]);
    }
  }
}

void StepStatistics::reset_extremes() {
  std::fill(minima_.begin(), minima_.end(), kInfinity);
  std::fill(maxima_.begin(), maxima_.end(), -kInfinity);
  std::fill(overflows_.begin(), overflows_.end(), 0.0);
}

void StepStatistics::pack_row(const StepTimes& times) {
  const double* loss = &host_[index(layout_.loss)];
  row_[kRowTargets] = loss[kHeadLossRows];
  row_[kRowCrossEntropy] = loss[kHeadLossCrossEntropy];
  row_[kRowLogZ] = loss[kHeadLossLogZ];
  row_[kRowLogZSquared] = loss[kHeadLossLogZSquared];
  row_[kRowMaxLogit] = loss[kHeadLossMaxLogit];
  row_[kRowStepSeconds] = times.step_seconds;
  row_[kRowWaitSeconds] = times.wait_seconds;
  row_[kRowStopRequested] = times.stop_requested ? 1 : 0;
  double max_abs = 0, overflows = 0, gradient_square = 0;
  for (std::int64_t probe = 0; probe < layout_.probes; ++probe) {
    max_abs = larger(max_abs, moments_of(probe)[kMomentMaxAbs]);
    overflows += moments_of(probe)[kMomentOverflows];
  }
  for (std::int64_t i = 0; i < shape_.tensors; ++i) gradient_square += host_[index(layout_.tensors + i)];
  row_[kRowMaxAbs] = max_abs;
  row_[kRowOverflows] = overflows;
  row_[kRowGradientSquare] = gradient_square;
  if (!finishing_sampled_) return;
  for (std::int64_t probe = 0; probe < layout_.probes; ++probe) {
    row_[index(layout_.row_max_abs + probe)] = moments_of(probe)[kMomentMaxAbs];
    row_[index(layout_.row_max_row_squares + probe)] = moments_of(probe)[kMomentMaxRowSquares];
  }
  std::copy(minima_.begin(), minima_.end(), row_.begin() + layout_.row_minima);
  std::copy(maxima_.begin(), maxima_.end(), row_.begin() + layout_.row_maxima);
  std::copy_n(host_.begin() + layout_.tensors, shape_.tensors, row_.begin() + layout_.row_tensors);
}

void StepStatistics::pack_sums() {
  for (std::int64_t probe = 0; probe < layout_.probes; ++probe) {
    std::copy_n(moments_of(probe), kSummedMoments, sums_.begin() + probe * kSummedMoments);
    sums_[index(probe * kSummedMoments + kMomentOverflows)] = overflows_[index(probe)];
  }
  std::copy_n(host_.begin() + layout_.gradient, layout_.probes, sums_.begin() + layout_.sum_gradient);
  std::copy_n(host_.begin() + layout_.columns, 2 * layout_.probes * layout_.width,
              sums_.begin() + layout_.sum_columns);
}

void StepStatistics::exchange() {
  if (finishing_sampled_) {
    communicator_.all_reduce("step statistics: sums", host_tensor(sums_, {layout_.sum_elements}),
                             ReduceOp::Sum);
  }
  const std::int64_t elements = finishing_sampled_ ? layout_.row_elements : std::int64_t{kRowEntries};
  communicator_.all_gather("step statistics: rows", host_tensor(row_, {elements}),
                           host_tensor(rows_, {communicator_.world(), elements}));
}

void StepStatistics::fill_scalars(const StepInputs& inputs) {
  double targets = 0, cross_entropy = 0, log_z = 0, log_z_squared = 0;
  double max_logit = -kInfinity, max_abs = 0, overflows = 0, step_seconds = 0;
  bool stop_requested = false;
  for (int rank = 0; rank < communicator_.world(); ++rank) {
    const double* row = row_of(rank);
    targets += row[kRowTargets];
    cross_entropy += row[kRowCrossEntropy];
    log_z += row[kRowLogZ];
    log_z_squared += row[kRowLogZSquared];
    max_logit = larger(row[kRowMaxLogit], max_logit);
    max_abs = larger(row[kRowMaxAbs], max_abs);
    overflows += row[kRowOverflows];
    step_seconds = larger(row[kRowStepSeconds], step_seconds);
    stop_requested = stop_requested || row[kRowStopRequested] != 0;
  }
  record_.stop_requested = stop_requested;
  record_.step = inputs.step;
  record_.tokens = inputs.tokens;
  record_.data_cursor = inputs.data_cursor;
  record_.loss = cross_entropy / targets;
  record_.log_z_mean = log_z / targets;
  record_.log_z_mean_square = log_z_squared / targets;
  record_.max_logit = max_logit;
  record_.max_abs = max_abs;
  record_.overflows = overflows;
  record_.step_seconds = step_seconds;
  record_.tokens_per_second = static_cast<double>(inputs.step_tokens) / step_seconds;
  record_.learning_rate = optimizer_scalars_[kStepLearningRate];
  record_.gradient_norm = optimizer_scalars_[kStepGradientNorm];
  record_.clip_coefficient = optimizer_scalars_[kStepClipFactor];
  record_.loss_scale = optimizer_scalars_[kStepAppliedLossScale];
  record_.next_loss_scale = optimizer_scalars_[kStepLossScale];
  record_.skipped = optimizer_scalars_[kStepSkipFactor] == 0;
  record_.validation_loss.reset();
  record_.validation_bits_per_byte.reset();
}

void StepStatistics::fill_ranks() {
  double targets = 0;
  for (int rank = 0; rank < communicator_.world(); ++rank) targets += row_of(rank)[kRowTargets];
  for (int rank = 0; rank < communicator_.world(); ++rank) {
    const double* row = row_of(rank);
    const std::size_t r = index(rank);
    // Gradients are scaled by 1 / targets of the global batch; this makes them the mean over the rank's own.
    mean_gradient_factors_[r] = row[kRowTargets] == 0 ? 0 : targets / row[kRowTargets];
    record_.rank_loss[r] = row[kRowCrossEntropy] / row[kRowTargets];
    record_.rank_gradient_norm[r] = mean_gradient_factors_[r] * std::sqrt(row[kRowGradientSquare]);
    record_.rank_step_seconds[r] = row[kRowStepSeconds];
    record_.rank_wait_seconds[r] = row[kRowWaitSeconds];
  }
}

// With d = x - shift: Var(x) = mean(d^2) - mean(d)^2 per feature, then the mean over features.
double StepStatistics::data_variance(std::int64_t probe, double rows) const {
  const std::int64_t width = layout_.width;
  const double* column_sum = &sums_[index(layout_.sum_columns + probe * width)];
  const double* column_square = &sums_[index(layout_.sum_columns + (layout_.probes + probe) * width)];
  double total = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const double mean = column_sum[i] / rows;
    const double variance = column_square[i] / rows - mean * mean;
    total += variance < 0 ? 0 : variance;  // rounding below zero; a NaN passes
  }
  return total / static_cast<double>(width);
}

void StepStatistics::fill_profile(std::int64_t first_probe, ProfileStatistics& profile) const {
  const auto width = static_cast<double>(layout_.width);
  for (std::size_t k = 0; k < profile.mean_abs.size(); ++k) {
    const std::int64_t probe = first_probe + static_cast<std::int64_t>(k);
    const double* sums = &sums_[index(probe * kSummedMoments)];
    const double rows = sums[kMomentRows];
    profile.mean_abs[k] = sums[kMomentSumAbs] / (rows * width);
    profile.rms[k] = std::sqrt(sums[kMomentSumSquares] / (rows * width));
    profile.entry_variance[k] = sums[kMomentSumRowVariance] / rows;
    profile.data_variance[k] = data_variance(probe, rows);
    profile.gradient_norm[k] = std::sqrt(sums_[index(layout_.sum_gradient + probe)]);

    double max_abs = 0, max_row_squares = 0;
    double minimum[kTrackedValues] = {kInfinity, kInfinity, kInfinity};
    double maximum[kTrackedValues] = {-kInfinity, -kInfinity, -kInfinity};
    for (int rank = 0; rank < communicator_.world(); ++rank) {
      const double* row = row_of(rank);
      max_abs = larger(row[layout_.row_max_abs + probe], max_abs);
      max_row_squares = larger(row[layout_.row_max_row_squares + probe], max_row_squares);
      for (int v = 0; v < kTrackedValues; ++v) {
        minimum[v] = smaller(row[layout_.row_minima + probe * kTrackedValues + v], minimum[v]);
        maximum[v] = larger(row[layout_.row_maxima + probe * kTrackedValues + v], maximum[v]);
      }
    }
    profile.overflows[k] = sums[kMomentOverflows];
    profile.max_abs[k] = max_abs;
    profile.max_row_norm[k] = std::sqrt(max_row_squares);
    profile.interval_min.mean_abs[k] = minimum[kTrackedMeanAbs];
    profile.interval_min.entry_variance[k] = minimum[kTrackedEntryVariance];
    profile.interval_min.max_abs[k] = minimum[kTrackedMaxAbs];
    profile.interval_max.mean_abs[k] = maximum[kTrackedMeanAbs];
    profile.interval_max.entry_variance[k] = maximum[kTrackedEntryVariance];
    profile.interval_max.max_abs[k] = maximum[kTrackedMaxAbs];
  }
}

void StepStatistics::fill_tensors() {
  const std::int64_t count = shape_.tensors;
  for (std::int64_t i = 0; i < count; ++i) {
    const double parameter_norm = std::sqrt(optimizer_squares_[index(2 * count + i)]);
    record_.tensors.gradient_norm[index(i)] = std::sqrt(optimizer_squares_[index(i)]);
    record_.tensors.parameter_norm[index(i)] = parameter_norm;
    record_.tensors.update_ratio[index(i)] =
        parameter_norm == 0 ? std::numeric_limits<double>::quiet_NaN()
                            : std::sqrt(optimizer_squares_[index(count + i)]) / parameter_norm;
    if (communicator_.world() > 1) fill_local_norms(i);
  }
}

void StepStatistics::fill_local_norms(std::int64_t tensor) {
  const auto norm_on = [&](int rank) {
    return mean_gradient_factors_[index(rank)] * std::sqrt(row_of(rank)[layout_.row_tensors + tensor]);
  };
  const int world = communicator_.world();
  double minimum = norm_on(0), maximum = minimum, sum = minimum;
  int argmax = 0;
  for (int rank = 1; rank < world; ++rank) {
    const double norm = norm_on(rank);
    if (norm > maximum || (std::isnan(norm) && !std::isnan(maximum))) argmax = rank;
    minimum = smaller(norm, minimum);
    maximum = larger(norm, maximum);
    sum += norm;
  }
  const double mean = sum / world;
  double squares = 0;
  for (int rank = 0; rank < world; ++rank) squares += (norm_on(rank) - mean) * (norm_on(rank) - mean);
  const std::size_t i = index(tensor);
  record_.tensors.local_min[i] = minimum;
  record_.tensors.local_mean[i] = mean;
  record_.tensors.local_max[i] = maximum;
  record_.tensors.local_std[i] = std::sqrt(squares / world);
  record_.tensors.local_argmax_rank[i] = argmax;
}

void StepStatistics::advance_shift(Stream& stream) {
  for (std::int64_t probe = 0; probe < layout_.probes; ++probe) {
    const double rows = sums_[index(probe * kSummedMoments + kMomentRows)];
    for (std::int64_t i = probe * layout_.width; i < (probe + 1) * layout_.width; ++i) {
      const double mean = shift_[index(i)] + sums_[index(layout_.sum_columns + i)] / rows;
      if (std::isfinite(mean)) shift_[index(i)] = mean;  // one bad step must not spoil all later ones
    }
  }
  upload_shift(stream);
}

// The copy before the last has been read when a new one is staged: steps_finished_ steps lie between them.
void StepStatistics::upload_shift(Stream& stream) {
  Buffer& staged = staged_shift_[next_shift_++ % staged_shift_.size()];
  std::copy(shift_.begin(), shift_.end(), static_cast<double*>(staged.data()));
  backend_.upload(stream, staged.data(), shift_buffer_.data(), shift_.size() * sizeof(double));
}

void StepStatistics::unify_state() {
  communicator_.all_reduce("step statistics: minima", host_tensor(minima_, {layout_.probes, kTrackedValues}),
                           ReduceOp::Min);
  communicator_.all_reduce("step statistics: maxima", host_tensor(maxima_, {layout_.probes, kTrackedValues}),
                           ReduceOp::Max);
  communicator_.all_reduce("step statistics: overflows", host_tensor(overflows_, {layout_.probes}),
                           ReduceOp::Sum);
  keep_overflows_once();
}

void StepStatistics::keep_overflows_once() {
  if (communicator_.rank() != 0) std::fill(overflows_.begin(), overflows_.end(), 0.0);
}

std::vector<StatisticsStateTensor> StepStatistics::state_tensors() {
  return {{"column_shift", host_tensor(shift_, {layout_.probes, layout_.width})},
          {"interval_min", host_tensor(minima_, {layout_.probes, kTrackedValues})},
          {"interval_max", host_tensor(maxima_, {layout_.probes, kTrackedValues})},
          {"interval_overflows", host_tensor(overflows_, {layout_.probes})}};
}

void StepStatistics::state_restored(Stream& stream) {
  keep_overflows_once();
  upload_shift(stream);
}

}  // namespace plumb
