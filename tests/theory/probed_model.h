// A model on the reference backend in float64 whose activations, gradients and parameters a test can read.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "core/hash.h"
#include "core/rng.h"
#include "nn/engine.h"
#include "nn/placed_config.h"
#include "theory/host_parameters.h"
#include "theory/resolved_model.h"

namespace plumb::test {

inline ModelConfig placed_model(const std::string& placement, std::vector<std::string> settings = {}) {
  return load_placed(placement, settings).config.model;
}

class ProbedModel {
 public:
  static constexpr std::int64_t kVocabulary = 31;

  explicit ProbedModel(const ModelConfig& config, std::int64_t batch = 2, std::uint64_t seed = 7,
                       bool training = false)
      : training_(training),
        backend_(make_backend("reference")),
        resolved_(resolve_model(config)),
        engine_(config, kVocabulary,
                {.batch = batch,
                 .tokens = config.sequence_length,
                 .compute = DType::Float64,
                 .keep_branches = true},
                seed, *backend_),
        sums_(backend_->allocate((kHeadLossSums + resolved_.sublayers.size() + 1) * sizeof(double))) {
    engine_.initialize();
    auto* memory = static_cast<double*>(sums_.data());
    probes_.loss_sums = Tensor(memory, DType::Float64, {kHeadLossSums});
    for (std::size_t k = 0; k <= resolved_.sublayers.size(); ++k) {
      probes_.stream_gradient.push_back(
          {.square = Tensor(memory + kHeadLossSums + k, DType::Float64, {1}), .largest_row_square = {}});
    }
    const RandomStream random{seed, 0, 1};
    std::vector<std::int32_t> inputs, targets;
    for (std::int64_t i = 0; i < batch * config.sequence_length; ++i) {
      inputs.push_back(
          static_cast<std::int32_t>(random.word(2 * static_cast<std::uint64_t>(i)) % kVocabulary));
      targets.push_back(
          static_cast<std::int32_t>(random.word(2 * static_cast<std::uint64_t>(i) + 1) % kVocabulary));
    }
    engine_.begin_step(0);
    engine_.upload_batch(inputs, targets, 0);
  }

  /// Moves every parameter by a normal number times `size`.
  void shake(double size) {
    for (const Parameter& parameter : engine_.parameters().all()) {
      const RandomStream random{hash_text(parameter.name), 0, 17};
      for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
        parameter.value.as<double>()[i] += size * random.normal(static_cast<std::uint64_t>(i));
      }
    }
  }
  double* value(const std::string& name) {
    const Parameter* found = engine_.parameters().find(name);
    EXPECT_NE(found, nullptr) << name;
    return found->value.as<double>();
  }

  void forward() {
    auto* memory = static_cast<double*>(sums_.data());
    std::fill_n(memory, kHeadLossSums + resolved_.sublayers.size() + 1, 0.0);
    engine_.forward(probes_, training_);
  }
  void forward_backward() {
    forward();
    engine_.zero_gradients();
    engine_.backward(probes_, 1 / probes_.loss_sums.as<double>()[kHeadLossRows], nullptr, training_);
  }

  /// |dL/dx_k| over all rows, after forward_backward().
  double gradient_norm(std::size_t k) const {
    return std::sqrt(probes_.stream_gradient[k].square.as<double>()[0]);
  }
  std::vector<double> stream(std::int64_t k) { return values(engine_.model().stream(context(), k)); }
  std::vector<double> branch(std::int64_t k) {
    return values(engine_.model().sublayer(k).branch_output(context()));
  }
  /// 2-norms of the rows.
  std::vector<double> row_norms(const std::vector<double>& x) const {
    const auto width = static_cast<std::size_t>(resolved_.width());
    std::vector<double> norms(x.size() / width, 0.0);
    for (std::size_t i = 0; i < x.size(); ++i) norms[i / width] += x[i] * x[i];
    for (double& norm : norms) norm = std::sqrt(norm);
    return norms;
  }
  double largest_row(const std::vector<double>& x) const { return largest_of(row_norms(x)); }
  /// Mean over rows of the variance of a row's entries.
  double entry_variance(const std::vector<double>& x) const {
    const auto width = static_cast<std::size_t>(resolved_.width());
    double sum = 0;
    for (std::size_t row = 0; row < x.size() / width; ++row) {
      double mean = 0, squares = 0;
      for (std::size_t i = 0; i < width; ++i) mean += x[row * width + i] / static_cast<double>(width);
      for (std::size_t i = 0; i < width; ++i) squares += std::pow(x[row * width + i] - mean, 2);
      sum += squares / static_cast<double>(width);
    }
    return sum / static_cast<double>(x.size() / width);
  }

  HostParameters parameters() {
    return download_parameters(*backend_, engine_.stream(), engine_.parameters());
  }
  const ResolvedModel& resolved() const { return resolved_; }
  std::int64_t sublayers() const { return static_cast<std::int64_t>(resolved_.sublayers.size()); }

 private:
  Context context() { return engine_.context(&probes_, training_); }
  static std::vector<double> values(const Tensor& tensor) {
    return {tensor.as<double>(), tensor.as<double>() + tensor.elements()};
  }

  bool training_;
  std::unique_ptr<Backend> backend_;
  ResolvedModel resolved_;
  Engine engine_;
  Buffer sums_;
  Probes probes_;
};

/// "model.width=16" and so on: the smallest model that has everything.
inline std::vector<std::string> small_model(std::vector<std::string> more = {}) {
  std::vector<std::string> settings = {"model.blocks=3", "model.width=16", "model.heads=2",
                                       "model.sequence_length=8", "model.ffn_hidden=24"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

}  // namespace plumb::test
