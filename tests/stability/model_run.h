// A tiny model as the training loop runs it, on every rank of the test, with every raw tensor of all ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "nn/engine.h"
#include "optim/optimizer.h"
#include "stability/step_statistics.h"

namespace plumb::test {

/// Fixed factor of b; the other one is the trained vector <sublayer>.b.
inline constexpr double kResidualStep = 0.7;
/// Of a sequence.
inline constexpr std::int64_t kTokens = 5;

/// "blocks.1.ffn": sublayers are attention and FFN in turn.
inline std::string sublayer_name(std::int64_t k) {
  return "blocks." + std::to_string(k / 2) + (k % 2 == 0 ? ".attention" : ".ffn");
}

/// (rows, columns)
struct Matrix {
  std::int64_t columns = 0;
  std::vector<double> values;

  std::int64_t rows() const { return static_cast<std::int64_t>(values.size()) / columns; }
  const double* row(std::int64_t r) const { return &values[static_cast<std::size_t>(r * columns)]; }
  double at(std::int64_t r, std::int64_t i) const { return row(r)[i]; }
};

/// What one rank had in one step. K sublayers, P trainable tensors.
struct RankTensors {
  std::int64_t sequences = 0;
  std::vector<int> targets;                    ///< (rows)
  std::vector<Matrix> stream, branch;          ///< (K+1), (K)
  std::vector<Matrix> norm_out_input;          ///< (K) what N_out reads
  std::vector<Matrix> stream_gradient;         ///< (K+1) dL/dx, L over the targets of all ranks
  std::vector<Matrix> branch_gradient;         ///< (K) dL/dz
  Matrix logits;                               ///< (rows, V)
  std::vector<std::vector<double>> gradients;  ///< (P) of the mean loss over the rank's own targets
};

/// The same on all ranks.
struct SharedTensors {
  std::vector<std::string> names;                       ///< (P)
  std::vector<std::vector<double>> gradients;           ///< (P) reduced
  std::vector<std::vector<double>> old_values, values;  ///< (P) before and after the update
};

class ModelRun {
 public:
  static constexpr std::int64_t kVocabulary = 9, kMicroSteps = 2;
  static constexpr double kLearningRate = 0.01, kEpsilon = 1e-3, kBeta2 = 0.95;

  ModelRun(const ModelConfig& config, const std::string& backend, DType compute, Communicator& communicator);

  /// One step; every raw tensor is read only if `keep`.
  const StepRecord& step(bool keep);
  const std::vector<RankTensors>& ranks() const { return ranks_; }
  const SharedTensors& shared() const { return shared_; }
  const ModelConfig& config() const { return config_; }
  const StatisticsShape& shape() const { return shape_; }
  Engine& engine() { return engine_; }
  Backend& backend() { return *backend_; }
  std::vector<double> read(const Tensor& tensor);
  std::vector<double> parameter(const std::string& name);

 private:
  void upload(std::int64_t micro_step);
  void keep_forward(RankTensors& own);
  void keep_activation_gradients(RankTensors& own);
  void keep_gradients(RankTensors& own);
  double loss_from(std::int64_t k, const std::vector<int>& targets);
  Matrix logits_of(const Matrix& x);
  void gather(const RankTensors& own);

  ModelConfig config_;
  Communicator& communicator_;
  std::unique_ptr<Backend> backend_;
  std::int64_t batch_;  ///< sequences of a micro-batch of this rank
  Engine engine_;
  Optimizer optimizer_;
  StatisticsShape shape_;
  StepStatistics statistics_;
  Buffer workspace_;
  std::vector<Tensor> gradients_;
  std::int64_t step_ = 0;
  double gradient_scale_ = 1;  ///< 1 / targets of all ranks
  std::vector<RankTensors> ranks_;
  SharedTensors shared_;
};

/// Of row r, by its definition.
std::vector<double> layer_norm(const Matrix& x, std::int64_t r, const std::vector<double>& gain,
                               const std::vector<double>& bias, double epsilon);
double log_z(const Matrix& logits, std::int64_t r);

}  // namespace plumb::test
