#include "parameter_vectors.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace plumb {
namespace {

/// Of RandomStream: next to what nn/random_sites.h names, which count up from 0.
constexpr std::uint32_t kProbeSite = 0xffff'0001U;
/// Variates that are drawn and uploaded at once.
constexpr std::size_t kDrawn = 4096;

}  // namespace

ParameterVectors::ParameterVectors(Backend& backend, Stream& stream, ParameterStore& store, int count)
    : backend_(backend), stream_(stream), store_(store), elements_(store.padded_trainable_elements()) {
  const DType master = store.flat_gradient().dtype;
  const auto vector_bytes = static_cast<std::size_t>(elements_) * size_of(master);
  memory_ = backend.allocate(static_cast<std::size_t>(count) * vector_bytes);
  for (int i = 0; i < count; ++i) {
    auto* first = static_cast<char*>(memory_.data()) + static_cast<std::size_t>(i) * vector_bytes;
    std::vector<Tensor> list;
    for (const Parameter* parameter : store.trainable()) {
      const auto offset = static_cast<std::size_t>(parameter->offset) * size_of(master);
      list.emplace_back(first + offset, master, parameter->shape);
    }
    vectors_.push_back(std::move(list));
  }
  for (const Parameter* parameter : store.trainable()) {
    values_.push_back(parameter->value);
    gradients_.push_back(parameter->gradient);
    copies_.push_back(parameter->compute.data != parameter->value.data ? parameter->compute : Tensor());
  }
  const auto tensors = static_cast<std::int64_t>(values_.size());
  scalars_ = backend.allocate((kStepScalars + values_.size()) * sizeof(double));
  squares_ = Tensor(static_cast<double*>(scalars_.data()) + kStepScalars, DType::Float64, {tensors});
  host_ = backend.allocate_host(std::max<std::size_t>(kDrawn, values_.size()) * sizeof(double));
  static_assert(kStepScalars <= kDrawn);
  updates_.reserve(values_.size());
  workspace_ = backend.allocate(backend.elementwise().sum_of_squares_workspace(values_));
}

Tensor ParameterVectors::whole(int vector) const {
  const Tensor gradient = store_.flat_gradient();
  const auto bytes = static_cast<std::size_t>(elements_) * size_of(gradient.dtype);
  auto* first = static_cast<char*>(memory_.data()) + static_cast<std::size_t>(vector) * bytes;
  return Tensor(first, gradient.dtype, {elements_});
}

void ParameterVectors::copy_parameters(int vector) {
  for (std::size_t i = 0; i < values_.size(); ++i)
    backend_.elementwise().copy(stream_, values_[i], parts(vector)[i]);
}

void ParameterVectors::copy_gradients(int vector) {
  backend_.elementwise().copy(stream_, store_.flat_gradient(), whole(vector));
}

void ParameterVectors::set_parameters(int vector) {
  for (std::size_t i = 0; i < values_.size(); ++i)
    backend_.elementwise().copy(stream_, parts(vector)[i], values_[i]);
  store_.refresh_compute(stream_);
}

void ParameterVectors::draw(int vector, std::uint64_t seed, std::uint32_t step) {
  const RandomStream random{seed, step, kProbeSite};
  std::uint64_t first = 0;  // counted without padding, which is another where ranks share the optimiser
  for (std::size_t n = 0; n < values_.size(); ++n) {
    const Tensor& part = parts(vector)[n];
    const auto count = static_cast<std::size_t>(part.elements());
    for (std::size_t begin = 0; begin < count; begin += kDrawn) {
      const std::size_t drawn = std::min(kDrawn, count - begin), bytes = size_of(part.dtype);
      stream_.synchronize();  // the last use of host_ is over
      for (std::size_t i = 0; i < drawn; ++i) {
        const double value = random.normal(first + begin + i);
        if (part.dtype == DType::Float64) static_cast<double*>(host_.data())[i] = value;
        if (part.dtype == DType::Float32) static_cast<float*>(host_.data())[i] = static_cast<float>(value);
      }
      backend_.upload(stream_, host_.data(), static_cast<char*>(part.data) + begin * bytes, drawn * bytes);
    }
    first += count;
  }
}

// An SGD step with a rate of -factor whose momentum is the source and whose gradient counts nothing: the one
// op of every backend that moves parameters and writes their compute copies.
void ParameterVectors::add_to(const std::vector<Tensor>& targets, const std::vector<Tensor>& copies,
                              double factor, const std::vector<Tensor>& sources) {
  auto* host = static_cast<double*>(host_.data());
  stream_.synchronize();  // the last use of `host` is over
  std::fill_n(host, kStepScalars, 0.0);
  host[kStepLearningRate] = -factor;
  host[kStepSkipFactor] = host[kStepLossScale] = 1;
  backend_.upload(stream_, host, scalars_.data(), kStepScalars * sizeof(double));
  updates_.clear();
  for (std::size_t i = 0; i < targets.size(); ++i) {
    updates_.push_back({.parameter = targets[i],
                        .gradient = sources[i],
                        .momentum = sources[i],
                        .variance = {},
                        .compute_copy = copies.empty() ? Tensor() : copies[i]});
  }
  const Tensor scalars(scalars_.data(), DType::Float64, {kStepScalars});
  backend_.optimizer().sgd_momentum(
      stream_, {.momentum = 1, .step_scalars = scalars, .statistics = {}, .workspace = {}}, updates_);
}

void ParameterVectors::move_parameters(double factor, int vector) {
  add_to(values_, copies_, factor, parts(vector));
}

void ParameterVectors::add(int vector, double factor, int other) {
  add_to(parts(vector), {}, factor, parts(other));
}

void ParameterVectors::add_gradients(int vector, double factor) {
  add_to(parts(vector), {}, factor, gradients_);
}

void ParameterVectors::assign(int vector, double factor, int other) {
  backend_.elementwise().fill(stream_, whole(vector), 0);
  add(vector, factor, other);
}

double ParameterVectors::norm(int vector) {
  auto* host = static_cast<double*>(host_.data());
  stream_.synchronize();
  backend_.elementwise().sum_of_squares(
      stream_,
      {.squares = squares_, .accumulate = false, .workspace = {workspace_.data(), workspace_.bytes()}},
      parts(vector));
  backend_.download(stream_, squares_.data, host, squares_.bytes());
  stream_.synchronize();
  double sum = 0;
  for (std::int64_t i = 0; i < squares_.elements(); ++i) sum += host[i];
  return std::sqrt(sum);
}

}  // namespace plumb
