#include "model_run.h"

#include <algorithm>
#include <cmath>

#include "backend/loader.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

/// Ranks differ in size.
std::int64_t batch_of(int rank) { return 1 + rank % 3; }

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// What every rank has, in rank order, from one that sends.
std::vector<double> from_rank(Communicator& communicator, std::vector<double> values, int rank) {
  double size = static_cast<double>(values.size());
  communicator.broadcast("size", Tensor(&size, DType::Float64, {1}), rank);
  values.resize(static_cast<std::size_t>(size));
  if (!values.empty()) {
    communicator.broadcast("values", Tensor(values.data(), DType::Float64, {static_cast<std::int64_t>(size)}),
                           rank);
  }
  return values;
}

}  // namespace

std::vector<double> layer_norm(const Matrix& x, std::int64_t r, const std::vector<double>& gain,
                               const std::vector<double>& bias, double epsilon) {
  const auto width = static_cast<double>(x.columns);
  double mean = 0, variance = 0;
  for (std::int64_t i = 0; i < x.columns; ++i) mean += x.at(r, i) / width;
  for (std::int64_t i = 0; i < x.columns; ++i) variance += std::pow(x.at(r, i) - mean, 2) / width;
  std::vector<double> y;
  for (std::int64_t i = 0; i < x.columns; ++i)
    y.push_back(gain[at(i)] * (x.at(r, i) - mean) / std::sqrt(variance + epsilon) + bias[at(i)]);
  return y;
}

double log_z(const Matrix& logits, std::int64_t r) {
  double sum = 0;
  for (std::int64_t v = 0; v < logits.columns; ++v) sum += std::exp(logits.at(r, v));
  return std::log(sum);
}

ModelRun::ModelRun(const ModelConfig& config, const std::string& backend, DType compute,
                   Communicator& communicator)
    : config_(config),
      communicator_(communicator),
      backend_(make_backend(backend)),
      batch_(batch_of(communicator.rank())),
      engine_(config, kVocabulary,
              {.batch = batch_, .tokens = config.sequence_length, .compute = compute, .keep_branches = true},
              7, *backend_),
      optimizer_(OptimizerSettings{.beta2 = kBeta2, .epsilon = kEpsilon}, engine_.parameters(), *backend_),
      shape_(statistics_shape(engine_)),
      statistics_(shape_, all_statistics(), *backend_, communicator) {
  engine_.initialize();
  // Gains of 1 and biases of 0 hide mistakes: every parameter is moved off its starting value.
  for (const Parameter& parameter : engine_.parameters().all()) {
    const RandomStream random{hash_text(parameter.name), 0, 99};
    std::vector<double> values = read(parameter.value);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.1 * random.normal(i);
    // Some hidden units that nothing switches on.
    for (std::size_t i = 0; parameter.name.ends_with(".expand.bias") && i < values.size(); i += 3)
      values[i] -= 3;
    std::vector<float> narrow(values.begin(), values.end());
    const void* source =
        parameter.value.dtype == DType::Float64 ? static_cast<const void*>(values.data()) : narrow.data();
    backend_->upload(engine_.stream(), source, parameter.value.data, parameter.value.bytes());
    engine_.stream().synchronize();
  }
  engine_.parameters().refresh_compute(engine_.stream());
  engine_.set_loss_scale(optimizer_.loss_scale());
  for (const Parameter* parameter : engine_.parameters().trainable()) {
    gradients_.push_back(parameter->gradient);
    shared_.names.push_back(parameter->name);
  }
  workspace_ = backend_->allocate(backend_->elementwise().sum_of_squares_workspace(gradients_));
}

std::vector<double> ModelRun::read(const Tensor& tensor) {
  const auto count = static_cast<std::size_t>(tensor.elements());
  std::vector<double> values(count);
  if (tensor.dtype == DType::Float64) {
    backend_->download(engine_.stream(), tensor.data, values.data(), tensor.bytes());
    engine_.stream().synchronize();
    return values;
  }
  std::vector<float> narrow(count);
  backend_->download(engine_.stream(), tensor.data, narrow.data(), tensor.bytes());
  engine_.stream().synchronize();
  std::copy(narrow.begin(), narrow.end(), values.begin());
  return values;
}

void ModelRun::upload(std::int64_t micro_step) {
  const RandomStream random{3, static_cast<std::uint32_t>(step_),
                            static_cast<std::uint32_t>(10 * communicator_.rank() + micro_step)};
  std::vector<std::int32_t> inputs, targets;
  for (std::int64_t i = 0; i < batch_ * config_.sequence_length; ++i) {
    inputs.push_back(static_cast<std::int32_t>(random.word(2 * static_cast<std::uint64_t>(i)) % kVocabulary));
    targets.push_back(
        static_cast<std::int32_t>(random.word(2 * static_cast<std::uint64_t>(i) + 1) % kVocabulary));
  }
  engine_.upload_batch(inputs, targets, 0);
  if (!ranks_.empty()) {
    std::vector<int>& kept = ranks_[at(communicator_.rank())].targets;
    kept.insert(kept.end(), targets.begin(), targets.end());
  }
}

const StepRecord& ModelRun::step(bool keep) {
  const auto sequences = static_cast<double>(batch_ * kMicroSteps);
  double all = sequences;
  communicator_.all_reduce("sequences", Tensor(&all, DType::Float64, {1}), ReduceOp::Sum);
  gradient_scale_ = 1 / (all * static_cast<double>(config_.sequence_length));
  Stream& stream = engine_.stream();
  ranks_.assign(keep ? at(communicator_.world()) : 0, RankTensors{});
  RankTensors unused;
  RankTensors& own = keep ? ranks_[at(communicator_.rank())] : unused;
  own.sequences = batch_ * kMicroSteps;

  statistics_.begin_step(stream, Cadence::Detailed);
  engine_.begin_step(step_);
  optimizer_.begin_step(stream, step_, kLearningRate);
  engine_.zero_gradients();
  engine_.probe_norms(statistics_.probes());
  for (std::int64_t micro_step = 0; micro_step < kMicroSteps; ++micro_step) {
    upload(micro_step);
    engine_.forward(statistics_.probes(), true);
    if (keep) keep_forward(own);
    if (keep) keep_activation_gradients(own);
    engine_.backward(statistics_.probes(), gradient_scale_, nullptr, true);
  }
  backend_->elementwise().sum_of_squares(stream,
                                         {.squares = statistics_.gradient_squares_local(),
                                          .accumulate = false,
                                          .workspace = {workspace_.data(), workspace_.bytes()}},
                                         gradients_);
  if (keep) keep_gradients(own);
  const Tensor flat = engine_.parameters().flat_gradient();
  stream.synchronize();
  std::vector<char> host(flat.bytes());
  backend_->download(stream, flat.data, host.data(), host.size());
  stream.synchronize();
  communicator_.all_reduce("gradients", Tensor(host.data(), flat.dtype, flat.shape), ReduceOp::Sum);
  backend_->upload(stream, host.data(), flat.data, host.size());
  shared_.gradients.clear();
  shared_.old_values.clear();
  shared_.values.clear();
  for (const Parameter* parameter : engine_.parameters().trainable()) {
    shared_.gradients.push_back(read(parameter->gradient));
    shared_.old_values.push_back(read(parameter->value));
  }
  optimizer_.update(stream);
  for (const Parameter* parameter : engine_.parameters().trainable())
    shared_.values.push_back(read(parameter->value));
  if (keep) gather(own);

  step_ += 1;
  statistics_.read_step(stream, {.step = step_,
                                 .tokens = step_ * static_cast<std::int64_t>(all) * config_.sequence_length,
                                 .step_tokens = static_cast<std::int64_t>(all) * config_.sequence_length,
                                 .sequences = own.sequences,
                                 .data_cursor = step_ * static_cast<std::int64_t>(all),
                                 .step_scalars = optimizer_.step_scalars(),
                                 .reduced_gradient_squares = optimizer_.gradient_squares(),
                                 .update_squares = optimizer_.update_squares(),
                                 .parameter_squares = optimizer_.parameter_squares(),
                                 .lag_squares = optimizer_.lag_squares(),
                                 .eps_dominated = optimizer_.eps_dominated()});
  return statistics_.finish_step(stream, {.step_seconds = 1, .wait_seconds = 0.5});
}

void ModelRun::keep_forward(RankTensors& own) {
  const Context context = engine_.context(nullptr, true);
  const auto append = [&](std::vector<Matrix>& list, std::int64_t k, const Tensor& tensor) {
    list.resize(std::max(list.size(), at(k + 1)));
    const std::vector<double> values = read(tensor);
    list[at(k)].columns = shape_.width;
    list[at(k)].values.insert(list[at(k)].values.end(), values.begin(), values.end());
  };
  for (std::int64_t k = 0; k <= shape_.sublayers; ++k)
    append(own.stream, k, engine_.model().stream(context, k));
  for (std::int64_t k = 0; k < shape_.sublayers; ++k)
    append(own.branch, k, engine_.model().sublayer(k).branch_output(context));
  for (std::int64_t k = 0; k < shape_.sublayers; ++k)
    append(own.norm_out_input, k, engine_.model().sublayer(k).norm_out_input(context));
  own.logits = logits_of(own.stream.back());
}

/// N_final(x) W^T.
Matrix ModelRun::logits_of(const Matrix& x) {
  const std::vector<double> gain = parameter("final_norm.gain"), bias = parameter("final_norm.bias"),
                            weight = parameter("embedding.token");
  Matrix logits{kVocabulary, {}};
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    const std::vector<double> h = layer_norm(x, r, gain, bias, config_.final_norm.epsilon);
    for (std::int64_t v = 0; v < kVocabulary; ++v) {
      double logit = 0;
      for (std::size_t i = 0; i < h.size(); ++i) logit += h[i] * weight[at(v) * h.size() + i];
      logits.values.push_back(logit);
    }
  }
  return logits;
}

std::vector<double> ModelRun::parameter(const std::string& name) {
  const Parameter* found = engine_.parameters().find(name);
  PLUMB_CHECK(found != nullptr, "no parameter {}", name);
  return read(found->value);
}

/// Sum of the cross-entropies of the last stream's rows.
double ModelRun::loss_from(std::int64_t k, const std::vector<int>& targets) {
  for (std::int64_t i = k; i < shape_.sublayers; ++i) engine_.forward_sublayer(i, true);
  const Context context = engine_.context(nullptr, true);
  const Matrix logits = logits_of({shape_.width, read(engine_.model().stream(context, shape_.sublayers))});
  double loss = 0;
  for (std::int64_t r = 0; r < logits.rows(); ++r) loss += log_z(logits, r) - logits.at(r, targets[at(r)]);
  return loss;
}

// Central differences of the loss, sublayer by sublayer: what the backward pass must agree with.
void ModelRun::keep_activation_gradients(RankTensors& own) {
  constexpr double kStep = 1e-5;
  const std::int64_t rows = batch_ * config_.sequence_length;
  const std::vector<int> targets(own.targets.end() - rows, own.targets.end());
  own.stream_gradient.resize(at(shape_.sublayers + 1));
  own.branch_gradient.resize(at(shape_.sublayers));
  const Context context = engine_.context(nullptr, true);
  for (std::int64_t k = shape_.sublayers; k >= 0; --k) {
    auto* x = engine_.model().stream(context, k).as<double>();
    Matrix& gradient = own.stream_gradient[at(k)];
    gradient.columns = shape_.width;
    for (std::int64_t i = 0; i < rows * shape_.width; ++i) {
      const double value = x[i];
      x[i] = value + kStep;
      const double above = loss_from(k, targets);
      x[i] = value - kStep;
      const double below = loss_from(k, targets);
      x[i] = value;
      gradient.values.push_back((above - below) / (2 * kStep) * gradient_scale_);
    }
    // x' = x + b z
    if (k == shape_.sublayers) continue;
    Matrix& branch = own.branch_gradient[at(k)];
    branch = own.stream_gradient[at(k + 1)];
    const std::vector<double> b = parameter(sublayer_name(k) + ".b");
    for (std::size_t i = 0; i < branch.values.size(); ++i)
      branch.values[i] *= kResidualStep * b[i % b.size()];
  }
  // What forward leaves for backward, once more: the sublayers above wrote over some of it.
  const Buffer sums = backend_->allocate(kHeadLossSums * sizeof(double));
  Probes loss_alone;
  loss_alone.loss_sums = Tensor(sums.data(), DType::Float64, {kHeadLossSums});
  engine_.forward(loss_alone, /*training=*/true);
}

void ModelRun::keep_gradients(RankTensors& own) {
  const double own_targets = static_cast<double>(own.sequences * config_.sequence_length);
  for (const Tensor& tensor : gradients_) {
    own.gradients.push_back(read(tensor));
    for (double& value : own.gradients.back()) value /= gradient_scale_ * own_targets;
  }
}

void ModelRun::gather(const RankTensors& own) {
  for (int rank = 0; rank < communicator_.world(); ++rank) {
    RankTensors& theirs = ranks_[at(rank)];
    if (rank == communicator_.rank()) theirs = own;
    const auto share = [&](std::vector<Matrix>& list, std::size_t count) {
      list.resize(count);
      for (Matrix& matrix : list) {
        matrix.columns = shape_.width;
        matrix.values = from_rank(communicator_, matrix.values, rank);
      }
    };
    share(theirs.stream, at(shape_.sublayers + 1));
    share(theirs.branch, at(shape_.sublayers));
    share(theirs.norm_out_input, at(shape_.sublayers));
    share(theirs.stream_gradient, at(shape_.sublayers + 1));
    share(theirs.branch_gradient, at(shape_.sublayers));
    theirs.logits.columns = kVocabulary;
    theirs.logits.values = from_rank(communicator_, theirs.logits.values, rank);
    theirs.gradients.resize(at(shape_.tensors));
    for (auto& gradient : theirs.gradients) gradient = from_rank(communicator_, gradient, rank);
    const std::vector<double> targets =
        from_rank(communicator_, {theirs.targets.begin(), theirs.targets.end()}, rank);
    theirs.targets.assign(targets.begin(), targets.end());
    theirs.sequences = static_cast<std::int64_t>(theirs.targets.size()) / config_.sequence_length;
  }
}

}  // namespace plumb::test
