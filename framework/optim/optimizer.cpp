#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {

// The step scalars take the first 128 bytes, so that the squares behind them start on a cache line.
constexpr std::int64_t kScalarsPadded = 16;
static_assert(kStepScalars <= kScalarsPadded);
constexpr std::size_t kUploadedScalars = 3;
static_assert(kStepsSinceScaleChange == kStepLossScale + 2);
static_assert(kStepLearningRate == 0 && kStepBiasCorrection1 == 1 && kStepBiasCorrection2 == 2);

Tensor slice(const Buffer& buffer, std::int64_t offset, DType dtype, Shape shape) {
  return Tensor(static_cast<char*>(buffer.data()) + offset * static_cast<std::int64_t>(size_of(dtype)), dtype,
                shape);
}

OptimizerFactors factors_of(const OptimizerSettings& settings, ParameterRole role) {
  if (role == ParameterRole::HiddenMatrix) return settings.hidden_matrix;
  if (role == ParameterRole::HiddenVector) return settings.hidden_vector;
  return {};
}

/// Elements [begin, begin + count) of a contiguous tensor; no tensor where there is none.
Tensor part_of(const Tensor& tensor, std::int64_t begin, std::int64_t count) {
  if (!tensor.defined()) return {};
  return tensor.reshaped({tensor.elements(), 1}).row_range(begin, count).reshaped({count});
}

}  // namespace

OptimizerKind optimizer_kind_from_name(const std::string& name) {
  if (name == "adamw") return OptimizerKind::AdamW;
  if (name == "sgd") return OptimizerKind::SgdMomentum;
  fail_input("optimizer kind '{}' is unknown; known: adamw, sgd", name);
}

Optimizer::Optimizer(const OptimizerSettings& settings, const ParameterStore& parameters, Backend& backend,
                     const ShardedUpdate& sharded)
    : settings_(settings),
      backend_(backend),
      sharded_(sharded),
      flat_value_(parameters.flat_value()),
      flat_compute_(parameters.flat_compute()) {
  const auto& trainable = parameters.trainable();
  PLUMB_CHECK(!trainable.empty(), "an optimiser needs allocated parameters, some of them trainable");
  const DType master = trainable.front()->value.dtype;
  const std::int64_t elements =
      sharded.shards != nullptr ? sharded.shards->elements() : parameters.padded_trainable_elements();
  const std::size_t flat_bytes = static_cast<std::size_t>(elements) * size_of(master);
  const bool has_variance = settings.kind == OptimizerKind::AdamW;
  momentum_ = backend.allocate(flat_bytes);
  if (has_variance) variance_ = backend.allocate(flat_bytes);

  const auto count = static_cast<std::int64_t>(trainable.size());
  const std::int64_t guarded = settings.guard.act() ? kGuardState + 2 * count : 0;
  statistics_ =
      backend.allocate(static_cast<std::size_t>(kScalarsPadded + 5 * count + guarded) * sizeof(double));
  step_scalars_ = slice(statistics_, 0, DType::Float64, {kStepScalars});
  gradient_squares_ = slice(statistics_, kScalarsPadded, DType::Float64, {count});
  update_squares_ = slice(statistics_, kScalarsPadded + count, DType::Float64, {count});
  parameter_squares_ = slice(statistics_, kScalarsPadded + 2 * count, DType::Float64, {count});
  if (has_variance) {
    lag_squares_ = slice(statistics_, kScalarsPadded + 3 * count, DType::Float64, {count});
    eps_dominated_ = slice(statistics_, kScalarsPadded + 4 * count, DType::Float64, {count});
  }
  update_sums_ = slice(statistics_, kScalarsPadded + count, DType::Float64, {(has_variance ? 4 : 2) * count});
  if (settings.guard.act()) {
    guard_state_ = slice(statistics_, kScalarsPadded + 5 * count, DType::Float64, {kGuardState + count});
    if (settings.guard.tensor_ratio > 0) {
      tensor_factors_ = slice(statistics_, kScalarsPadded + kGuardState + 6 * count, DType::Float64, {count});
    }
  }

  for (const Parameter* parameter : trainable) add_tensor(*parameter);
  if (sharded.shards != nullptr) {
    exchanges_.resize(sharded.shards->buckets());
    for (std::size_t b = 0; b < exchanges_.size(); ++b)
      bucket_names_.push_back(fmt::format("parameters of bucket {}", b));
  }
  host_scalars_ = backend.allocate_host((kStepsInFlight * kUploadedScalars + 1) * sizeof(double));
  const std::unique_ptr<Stream> stream = backend.create_stream();
  backend.elementwise().fill(*stream, loss_scale(), settings.scales_loss ? settings.initial_loss_scale : 1);
  stream->synchronize();
  spheres_ = parameters.sphere_weights();
  workspace_ = backend.allocate(std::max({backend.elementwise().sum_of_squares_workspace(gradients_),
                                          backend.optimizer().update_workspace(updates_),
                                          backend.parameter().normalize_spheres_workspace(spheres_)}));
}

void Optimizer::add_tensor(const Parameter& parameter) {
  const DType master = parameter.value.dtype;
  const bool has_copy = parameter.compute.data != parameter.value.data;
  const OptimizerFactors factors = factors_of(settings_, parameter.role);
  std::int64_t place = parameter.offset;
  UpdateTensor update = {
      .parameter = parameter.value,
      .gradient = parameter.gradient,
      .momentum = {},
      .variance = {},
      .compute_copy = has_copy ? parameter.compute : Tensor(),
      .learning_rate_scale = parameter.learning_rate_scale * factors.learning_rate,
      .weight_decay = parameter.weight_decay ? settings_.weight_decay * factors.weight_decay : 0,
      .epsilon_scale = factors.epsilon,
  };
  if (sharded_.shards != nullptr) {
    const Shards::Part& part = sharded_.shards->parts()[updates_.size()];
    update.parameter = part_of(parameter.value, part.begin, part.count);
    update.gradient = part_of(parameter.gradient, part.begin, part.count);
    update.compute_copy = {};  // exchange() writes those of all ranks
    place = part.place;
  }
  update.momentum = slice(momentum_, place, master, update.parameter.shape);
  if (variance_.data() != nullptr) update.variance = slice(variance_, place, master, update.parameter.shape);
  names_.push_back(parameter.name);
  shapes_.push_back(parameter.shape);
  gradients_.push_back(update.gradient);
  updates_.push_back(update);
}

void Optimizer::begin_step(Stream& stream, std::int64_t step_index, double learning_rate) {
  PLUMB_CHECK(step_index >= 0, "optimiser step {}", step_index);
  const auto count = static_cast<double>(step_index + 1);
  double* row = static_cast<double*>(host_scalars_.data()) +
                kUploadedScalars * (static_cast<std::size_t>(step_index) % kStepsInFlight);
  row[kStepLearningRate] = learning_rate;
  row[kStepBiasCorrection1] = 1 - std::pow(settings_.beta1, count);
  row[kStepBiasCorrection2] = 1 - std::pow(settings_.beta2, count);
  backend_.upload(stream, row, step_scalars_.data, kUploadedScalars * sizeof(double));
}

void Optimizer::guard(Stream& stream, const StepLoss& loss) {
  backend_.optimizer().guard_step(stream, {.rules = settings_.guard,
                                           .squares = gradient_squares_,
                                           .losses = loss.sums,
                                           .targets = loss.targets,
                                           .state = guard_state_,
                                           .tensor_factors = tensor_factors_,
                                           .step_scalars = step_scalars_});
}

void Optimizer::resume_updates(Stream& stream) {
  const double* zero = static_cast<const double*>(host_scalars_.data()) + kStepsInFlight * kUploadedScalars;
  backend_.upload(stream, zero, static_cast<double*>(step_scalars_.data) + kStepHalted, sizeof(double));
}

void Optimizer::update(Stream& stream, UpdateResults results, const StepLoss& loss) {
  const PhaseRange range(backend_, "clip and update");
  const Workspace workspace{workspace_.data(), workspace_.bytes()};
  backend_.elementwise().sum_of_squares(
      stream, {.squares = gradient_squares_, .accumulate = false, .workspace = workspace}, gradients_);
  if (sharded_.shards != nullptr)
    sharded_.communicator->all_reduce("gradient squares", gradient_squares_, ReduceOp::Sum);
  backend_.optimizer().clip(stream, {.squares = gradient_squares_,
                                     .max_norm = settings_.clip_norm,
                                     .step_scalars = step_scalars_,
                                     .halts = settings_.halts});
  if (settings_.guard.act()) guard(stream, loss);
  update_parameters(stream, results);
  if (sharded_.shards != nullptr) exchange(stream, results);
  if (!spheres_.empty()) {
    backend_.parameter().normalize_spheres(stream, {.step_scalars = step_scalars_, .workspace = workspace},
                                           spheres_);
  }
  if (!settings_.scales_loss) return;
  backend_.optimizer().adapt_loss_scale(
      stream, {.interval = settings_.loss_scale_interval, .step_scalars = step_scalars_});
}

void Optimizer::update_parameters(Stream& stream, UpdateResults results) {
  const Workspace workspace{workspace_.data(), workspace_.bytes()};
  UpdateStatistics statistics;
  if (results == UpdateResults::All) {
    statistics = {update_squares_, parameter_squares_, lag_squares_, eps_dominated_};
  }
  if (settings_.kind == OptimizerKind::AdamW) {
    backend_.optimizer().adamw(stream,
                               {.beta1 = settings_.beta1,
                                .beta2 = settings_.beta2,
                                .epsilon = settings_.epsilon,
                                .step_scalars = step_scalars_,
                                .statistics = statistics,
                                .workspace = workspace,
                                .tensor_factors = tensor_factors_},
                               updates_);
  } else {
    backend_.optimizer().sgd_momentum(stream,
                                      {.momentum = settings_.momentum,
                                       .step_scalars = step_scalars_,
                                       .statistics = statistics,
                                       .workspace = workspace,
                                       .tensor_factors = tensor_factors_},
                                      updates_);
  }
}

/// The sums go first, so that they are there when the last bucket is; a bucket is rounded to the compute
/// dtype while the next one is under way.
void Optimizer::exchange(Stream& stream, UpdateResults results) {
  const PhaseRange range(backend_, "exchange parameters");
  const Shards& shards = *sharded_.shards;
  Communicator& communicator = *sharded_.communicator;
  Communicator::Request sums;
  if (results == UpdateResults::All) sums = communicator.start_all_reduce("update squares", update_sums_);
  for (std::size_t b = 0; b < exchanges_.size(); ++b)
    exchanges_[b] = communicator.start_all_gather(bucket_names_[b], shards.bucket_of(flat_value_, b));
  communicator.wait(sums);
  for (std::size_t b = 0; b < exchanges_.size(); ++b) {
    communicator.wait(exchanges_[b]);
    if (flat_compute_.defined()) {
      backend_.elementwise().copy(stream, shards.bucket_of(flat_value_, b),
                                  shards.bucket_of(flat_compute_, b));
    }
  }
}

Tensor Optimizer::loss_scale() const {
  return step_scalars_.reshaped({kStepScalars, 1}).row_range(kStepLossScale, 1).reshaped({1});
}

/// None where the kind of optimiser has no such state.
std::vector<OptimizerStateTensor> Optimizer::states_of(const char* prefix,
                                                       Tensor UpdateTensor::*state) const {
  std::vector<OptimizerStateTensor> list;
  for (std::size_t i = 0; i < updates_.size(); ++i) {
    const Tensor& tensor = updates_[i].*state;
    if (!tensor.defined()) continue;
    const bool sharded = sharded_.shards != nullptr;
    list.push_back({.name = prefix + names_[i],
                    .tensor = tensor,
                    .sharded = sharded,
                    .whole = shapes_[i],
                    .begin = sharded ? sharded_.shards->parts()[i].begin : 0});
  }
  return list;
}

std::vector<OptimizerStateShard> Optimizer::state_shards() const {
  if (sharded_.shards == nullptr) return {};
  const Shape elements = {sharded_.shards->elements()};
  std::vector<OptimizerStateShard> list = {
      {"momentum/", Tensor(momentum_.data(), flat_value_.dtype, elements)}};
  if (variance_.data() != nullptr)
    list.push_back({"variance/", Tensor(variance_.data(), flat_value_.dtype, elements)});
  return list;
}

std::vector<OptimizerStateTensor> Optimizer::state_tensors() const {
  std::vector<OptimizerStateTensor> list = states_of("momentum/", &UpdateTensor::momentum);
  for (OptimizerStateTensor& state : states_of("variance/", &UpdateTensor::variance))
    list.push_back(std::move(state));
  if (settings_.scales_loss) {
    constexpr int kCount = kStepsSinceScaleChange - kStepLossScale + 1;
    const Tensor scalars = step_scalars_.reshaped({kStepScalars, 1});
    list.push_back({.name = "loss_scale",
                    .tensor = scalars.row_range(kStepLossScale, kCount).reshaped({kCount}),
                    .whole = {kCount}});
  }
  if (guard_state_.defined()) {
    list.push_back({.name = "guard", .tensor = guard_state_, .required = false, .whole = guard_state_.shape});
  }
  return list;
}

}  // namespace plumb
