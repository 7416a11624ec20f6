// Training on one device against the reference backend: loss and gradients of every step of a small model,
// with dropout, clipping and AdamW; fp16 with its loss scale; recorded steps; memory as planned.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include "backend/loader.h"
#include "backend/tested_backends.h"
#include "core/rng.h"
#include "nn/engine.h"
#include "optim/optimizer.h"

namespace plumb::gpu {
namespace {

constexpr std::int64_t kVocabulary = 19, kBatch = 3, kTokens = 12;
constexpr int kSteps = 5;

ModelConfig model_config() {
  ModelConfig config;
  config.blocks = 2;
  config.width = 24;
  config.heads = 2;
  config.sequence_length = kTokens;
  config.dropout_embedding = config.dropout_branch = 0.1;
  config.base.norm.in.kind = config.base.norm.out.kind = config.final_norm.kind = "layernorm";
  return config;
}

OptimizerSettings optimizer_settings(DType compute) {
  OptimizerSettings settings;
  settings.clip_norm = 0.5;
  settings.epsilon = 1e-4;  // AdamW then does not blow up gradients that are rounding errors
  settings.scales_loss = compute == DType::Float16;
  return settings;
}

std::vector<double> to_doubles(const Tensor& shape_of, const std::vector<char>& bytes) {
  std::vector<double> values(static_cast<std::size_t>(shape_of.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = shape_of.dtype == DType::Float64
                    ? reinterpret_cast<const double*>(bytes.data())[i]
                    : static_cast<double>(reinterpret_cast<const float*>(bytes.data())[i]);
  }
  return values;
}

class Trainer {
 public:
  Trainer(Backend& backend, DType compute)
      : backend_(backend),
        engine_(model_config(), kVocabulary, {.batch = kBatch, .tokens = kTokens, .compute = compute}, 5,
                backend),
        optimizer_(optimizer_settings(compute), engine_.parameters(), backend),
        loss_sums_(backend.allocate(kHeadLossSums * sizeof(double))) {
    probes_.loss_sums = Tensor(loss_sums_.data(), DType::Float64, {kHeadLossSums});
    engine_.initialize();
    engine_.set_loss_scale(optimizer_.loss_scale());
  }

  /// Mean loss of the step.
  double step(std::int64_t index) {
    begin(index);
    body();
    return read(probes_.loss_sums)[kHeadLossCrossEntropy] / (kBatch * kTokens);
  }
  /// Uploads what differs between steps.
  void begin(std::int64_t index) {
    const RandomStream random{5, 0, 1};
    std::vector<std::int32_t> inputs, targets;
    for (std::uint64_t i = 0; i < kBatch * kTokens; ++i) {
      inputs.push_back(static_cast<std::int32_t>(
          random.word(2 * i + 100 * static_cast<std::uint64_t>(index)) % kVocabulary));
      targets.push_back((inputs.back() * 3 + 1) % kVocabulary);
    }
    engine_.begin_step(index);
    optimizer_.begin_step(engine_.stream(), index, 1e-2);
    engine_.upload_batch(inputs, targets, static_cast<std::uint64_t>(kBatch * index));
  }
  /// What is the same in every step.
  void body() {
    backend_.elementwise().fill(engine_.stream(), probes_.loss_sums, 0);
    engine_.renew_gradients();
    engine_.forward_and_backward(probes_, 1.0 / (kBatch * kTokens), nullptr);
    optimizer_.update(engine_.stream());
  }
  std::vector<double> gradient() {
    std::vector<double> values = read(engine_.parameters().flat_gradient());
    const double scale = read(optimizer_.step_scalars())[kStepAppliedLossScale];
    for (double& value : values) value /= scale;
    return values;
  }
  std::vector<double> parameters() {
    std::vector<double> all;
    for (const Parameter& parameter : engine_.parameters().all()) {
      const std::vector<double> values = read(parameter.value);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
  std::vector<double> read(const Tensor& tensor) {
    std::vector<char> bytes(tensor.bytes());
    backend_.download(engine_.stream(), tensor.data, bytes.data(), bytes.size());
    engine_.stream().synchronize();
    return to_doubles(tensor, bytes);
  }
  std::size_t planned_bytes() const {
    std::size_t sum = optimizer_.bytes() + loss_sums_.bytes();
    for (const MemoryShare& share : engine_.memory_plan()) sum += share.bytes;
    return sum;
  }
  Engine& engine() { return engine_; }

 private:
  Backend& backend_;
  Engine engine_;
  Optimizer optimizer_;
  Buffer loss_sums_;
  Probes probes_;
};

double distance(const std::vector<double>& values, const std::vector<double>& expected) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += (values[i] - expected[i]) * (values[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

struct Case {
  std::string backend;
  DType compute;
  double tolerance;
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.backend << " " << name_of(one.compute); }

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const std::string& backend : test::tested_backends()) {
    if (backend == "reference") continue;
    list.push_back({backend, DType::Float32, 1e-5});
    list.push_back({backend, DType::BFloat16, 2e-2});  // seen: 1.4e-2
    if (backend != "cpu") list.push_back({backend, DType::Float16, 5e-3});
  }
  return list;
}

class DeviceTraining : public ::testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend(GetParam().backend);
};

TEST_P(DeviceTraining, LossAndGradientsEqualTheReference) {
  const auto reference_backend = make_backend("reference");
  Trainer reference(*reference_backend, DType::Float64), device(*backend_, GetParam().compute);
  double largest = 0;
  for (int index = 0; index < kSteps; ++index) {
    const double expected = reference.step(index), loss = device.step(index);
    EXPECT_NEAR(loss, expected, GetParam().tolerance * expected) << "step " << index;
    const double off = distance(device.gradient(), reference.gradient());
    EXPECT_LE(off, GetParam().tolerance) << "step " << index;
    largest = std::max(largest, off);
  }
  std::printf("gradients: at most %.2g off, %.2g allowed\n", largest, GetParam().tolerance);
}

TEST_P(DeviceTraining, TwoRunsHaveTheSameBits) {
  Trainer first(*backend_, GetParam().compute), second(*backend_, GetParam().compute);
  for (int index = 0; index < kSteps; ++index) EXPECT_EQ(first.step(index), second.step(index));
  EXPECT_EQ(first.parameters(), second.parameters());
}

TEST_P(DeviceTraining, ARecordedStepIsTheStep) {
  if (!backend_->is_asynchronous()) GTEST_SKIP() << "the " << backend_->name() << " backend records nothing";
  Trainer plain(*backend_, GetParam().compute), recorded(*backend_, GetParam().compute);
  std::unique_ptr<Recording> recording;
  for (int index = 0; index < kSteps; ++index) {
    plain.step(index);
    recorded.begin(index);
    if (index == 0) {
      recorded.body();  // libraries choose their algorithms
    } else {
      if (!recording) recording = backend_->record(recorded.engine().stream(), [&] { recorded.body(); });
      recording->replay(recorded.engine().stream());
    }
    EXPECT_EQ(recorded.gradient(), plain.gradient()) << "step " << index;
  }
  EXPECT_EQ(recorded.parameters(), plain.parameters());
}

TEST_P(DeviceTraining, MemoryIsWhatWasPlannedAndStepsTakeNone) {
  const std::size_t before = backend_->memory_use().bytes;
  Trainer trainer(*backend_, GetParam().compute);
  EXPECT_EQ(backend_->memory_use().bytes - before, trainer.planned_bytes());
  trainer.step(0);
  const std::size_t allocations = backend_->memory_use().allocations;
  trainer.step(1);
  EXPECT_EQ(backend_->memory_use().allocations, allocations);
  EXPECT_GT(allocations, 0U);
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceTraining, ::testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = fmt::format("{}_{}", info.param.backend, name_of(info.param.compute));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace plumb::gpu
