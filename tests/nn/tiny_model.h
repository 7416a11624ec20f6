// A small model on the reference backend (float64), with everything that a test wants to read or change.
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

namespace plumb::test {

inline ModelConfig tiny_config() {
  ModelConfig config;
  config.blocks = 2;
  config.width = 12;
  config.heads = 2;
  config.sequence_length = 5;
  config.init.standard_deviation = 0.3;
  config.init.embedding_standard_deviation = 0.7;
  config.init.position_standard_deviation = 0.4;
  return config;
}

/// Sets the norm slots as the rows of nn/placement_rows.cpp do.
inline void use_placement(ModelConfig& config, const std::string& placement) {
  if (placement == "pre" || placement == "peri") {
    config.base.norm.in.kind = "layernorm";
    config.final_norm.kind = "layernorm";
  }
  if (placement == "peri") config.base.norm.out.kind = "layernorm";
  if (placement == "post") config.base.norm.post.kind = "layernorm";
}

class TinyModel {
 public:
  static constexpr std::int64_t kVocabulary = 9;

  explicit TinyModel(const ModelConfig& config, std::int64_t batch = 2, bool training = false)
      : training_(training),
        backend_(make_backend("reference")),
        engine_(config, kVocabulary,
                {.batch = batch, .tokens = config.sequence_length, .compute = DType::Float64}, 7, *backend_),
        loss_sums_(backend_->allocate(kHeadLossSums * sizeof(double))) {
    engine_.initialize();
    // Gains of 1 and biases of 0 hide mistakes: move every parameter off its starting value.
    for (const Parameter& parameter : engine_.parameters().all()) {
      const RandomStream random{hash_text(parameter.name), 0, 99};
      for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
        value(parameter)[i] += 0.1 * random.normal(static_cast<std::uint64_t>(i));
      }
    }
    const RandomStream random{5, 0, 1};
    for (std::int64_t i = 0; i < batch * config.sequence_length; ++i) {
      inputs_.push_back(
          static_cast<std::int32_t>(random.word(2 * static_cast<std::uint64_t>(i)) % kVocabulary));
      targets_.push_back(
          static_cast<std::int32_t>(random.word(2 * static_cast<std::uint64_t>(i) + 1) % kVocabulary));
    }
    targets_[1] = -1;
    probes_.loss_sums = Tensor(loss_sums_.data(), DType::Float64, {kHeadLossSums});
    engine_.begin_step(3);
    engine_.upload_batch(inputs_, targets_, 40);
  }

  static double* value(const Parameter& parameter) { return parameter.value.as<double>(); }
  Parameter& parameter(const std::string& name) {
    Parameter* found = engine_.parameters().find(name);
    EXPECT_NE(found, nullptr) << name;
    return *found;
  }

  /// Mean loss over targets, z-loss included.
  double forward() {
    double* sums = probes_.loss_sums.as<double>();
    for (int i = 0; i < kHeadLossSums; ++i) sums[i] = 0;
    engine_.forward(probes_, training_);
    return (sums[kHeadLossCrossEntropy] + engine_.model().config().z_loss * sums[kHeadLossLogZSquared]) /
           sums[kHeadLossRows];
  }
  double forward_backward() {
    const double loss = forward();
    engine_.zero_gradients();
    engine_.backward(probes_, 1 / probes_.loss_sums.as<double>()[kHeadLossRows], nullptr, training_);
    return loss;
  }
  std::vector<double> stream(std::int64_t k) {
    const Tensor x = engine_.model().stream(engine_.context(&probes_, training_), k);
    return {x.as<double>(), x.as<double>() + x.elements()};
  }
  static std::vector<double> gradient(const Parameter& parameter) {
    const auto* data = parameter.gradient.as<double>();
    return {data, data + parameter.gradient.elements()};
  }

  Engine& engine() { return engine_; }
  Probes& probes() { return probes_; }

 private:
  bool training_;
  std::unique_ptr<Backend> backend_;
  Engine engine_;
  Buffer loss_sums_;
  Probes probes_;
  std::vector<std::int32_t> inputs_, targets_;
};

/// Gives `to` the weights of `from`, tensor by tensor of the same name; the others stay.
inline void copy_weights(TinyModel& from, TinyModel& to) {
  for (const Parameter& parameter : to.engine().parameters().all()) {
    const Parameter* same = from.engine().parameters().find(parameter.name);
    if (same == nullptr) continue;
    std::copy(TinyModel::value(*same), TinyModel::value(*same) + same->shape.elements(),
              TinyModel::value(parameter));
  }
}

inline double norm_of(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v * v;
  return std::sqrt(sum);
}

inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

}  // namespace plumb::test
