// The ops of the counting backend: what each of them costs on the CUDA backend.
#pragma once

#include <initializer_list>
#include <vector>

#include "gpu/counting_backend.h"

namespace plumb::gpu {

/// Where the kernels of all ops go.
class KernelList {
 public:
  explicit KernelList(std::vector<CountedKernel>& kernels) : kernels_(kernels) {}

  /// A kernel that moves these tensors, of which empty ones are none. `shape`: that of the work.
  void moves(const char* name, const Tensor& shape, std::initializer_list<Tensor> read,
             std::initializer_list<Tensor> written, bool statistics = false) const;
  /// result (m, n) (+)= a product over k.
  void multiplies(const char* name, std::int64_t m, std::int64_t n, std::int64_t k,
                  std::initializer_list<Tensor> read, std::initializer_list<Tensor> written) const;
  void add(CountedKernel kernel) const { kernels_.push_back(std::move(kernel)); }

 private:
  std::vector<CountedKernel>& kernels_;
};

class CountedNorm final : public NormOps {
 public:
  explicit CountedNorm(const KernelList& list) : list_(list) {}
  void norm_forward(Stream&, const NormForward& arguments) const override;
  void norm_backward(Stream&, const NormBackward& arguments) const override;
  std::size_t norm_forward_workspace(const NormForward&) const override { return 0; }
  std::size_t norm_backward_workspace(const NormBackward&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedResidual final : public ResidualOps {
 public:
  explicit CountedResidual(const KernelList& list) : list_(list) {}
  void residual_forward(Stream&, const ResidualForward& arguments) const override;
  void residual_backward(Stream&, const ResidualBackward& arguments) const override;
  std::size_t residual_forward_workspace(const ResidualForward&) const override { return 0; }
  std::size_t residual_backward_workspace(const ResidualBackward&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedLinear final : public LinearOps {
 public:
  explicit CountedLinear(const KernelList& list) : list_(list) {}
  void linear_forward(Stream&, const LinearForward& arguments) const override;
  void linear_backward_input(Stream&, const LinearBackwardInput& arguments) const override;
  void linear_backward_weight(Stream&, const LinearBackwardWeight& arguments) const override;
  std::size_t linear_forward_workspace(const LinearForward&) const override { return 0; }
  std::size_t linear_backward_input_workspace(const LinearBackwardInput&) const override { return 0; }
  std::size_t linear_backward_weight_workspace(const LinearBackwardWeight&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedActivation final : public ActivationOps {
 public:
  explicit CountedActivation(const KernelList& list) : list_(list) {}
  void activation_forward(Stream&, const ActivationForward& arguments) const override;
  void activation_backward(Stream&, const ActivationBackward& arguments) const override;
  std::size_t activation_backward_workspace(const ActivationBackward&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedAttention final : public AttentionOps {
 public:
  explicit CountedAttention(const KernelList& list) : list_(list) {}
  void attention_forward(Stream&, const AttentionForward& arguments) const override;
  void attention_backward(Stream&, const AttentionBackward& arguments) const override;
  void rotary(Stream&, const Rotary& arguments) const override;
  std::size_t attention_forward_workspace(const AttentionForward&) const override { return 0; }
  std::size_t attention_backward_workspace(const AttentionBackward&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedEmbedding final : public EmbeddingOps {
 public:
  explicit CountedEmbedding(const KernelList& list) : list_(list) {}
  void embedding_forward(Stream&, const EmbeddingForward& arguments) const override;
  void embedding_backward(Stream&, const EmbeddingBackward& arguments) const override;
  std::size_t embedding_backward_workspace(const EmbeddingBackward&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedHeadLoss final : public HeadLossOps {
 public:
  explicit CountedHeadLoss(const KernelList& list) : list_(list) {}
  void head_loss_forward(Stream&, const HeadLossForward& arguments) const override;
  void head_loss_backward(Stream&, const HeadLossBackward& arguments) const override;
  std::size_t head_loss_forward_workspace(const HeadLossForward&) const override { return 0; }
  std::size_t head_loss_backward_workspace(const HeadLossBackward&) const override { return 0; }
  bool joins_head_loss() const override { return true; }
  void head_loss_both(Stream&, const HeadLossBoth& arguments) const override;

 private:
  const KernelList& list_;
};

class CountedOptimizer final : public OptimizerOps {
 public:
  explicit CountedOptimizer(const KernelList& list) : list_(list) {}
  void adamw(Stream&, const AdamW& arguments, std::span<const UpdateTensor> tensors) const override;
  void sgd_momentum(Stream&, const SgdMomentum& arguments,
                    std::span<const UpdateTensor> tensors) const override;
  std::size_t update_workspace(std::span<const UpdateTensor>) const override { return 0; }
  void clip(Stream&, const Clip&) const override {}
  void guard_step(Stream&, const StepGuard&) const override {}
  void adapt_loss_scale(Stream&, const LossScaling&) const override {}

 private:
  const KernelList& list_;
};

class CountedElementwise final : public ElementwiseOps {
 public:
  explicit CountedElementwise(const KernelList& list) : list_(list) {}
  void fill(Stream&, const Tensor& x, double value) const override;
  void fill_all(Stream&, std::span<const Tensor> tensors, double value) const override;
  void copy(Stream&, const Tensor& x, const Tensor& y) const override;
  void add(Stream&, const Tensor& x, const Tensor& y) const override;
  void sum_of_squares(Stream&, const SumOfSquares& arguments, std::span<const Tensor> tensors) const override;
  std::size_t sum_of_squares_workspace(std::span<const Tensor>) const override { return 0; }
  void hash(Stream&, const HashTensors&, std::span<const Tensor>) const override;
  std::size_t hash_workspace(std::span<const Tensor>) const override { return 0; }
  void group_gain_forward(Stream&, const GroupGain&) const override;
  void group_gain_backward(Stream&, const GroupGainBackward&) const override;
  std::size_t group_gain_backward_workspace(const GroupGainBackward&) const override { return 0; }
  void scalar_bias_forward(Stream&, const ScalarBias&) const override;
  void scalar_bias_backward(Stream&, const ScalarBiasBackward&) const override;
  std::size_t scalar_bias_backward_workspace(const ScalarBiasBackward&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedMoments final : public MomentsOps {
 public:
  explicit CountedMoments(const KernelList& list) : list_(list) {}
  void moments(Stream&, const MomentsArguments& arguments) const override;
  std::size_t moments_workspace(const MomentsArguments&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedObservations final : public ObservationOps {
 public:
  explicit CountedObservations(const KernelList& list) : list_(list) {}
  void row_squares(Stream&, const RowSquares& arguments) const override;
  void count_above(Stream&, const CountAbove& arguments) const override;
  void count_saturated(Stream&, const CountSaturated& arguments) const override;
  void column_maxima(Stream&, const ColumnMaxima& arguments) const override;
  void magnitude_histogram(Stream&, const MagnitudeHistogram& arguments) const override;
  void token_similarity(Stream&, const TokenSimilarity& arguments) const override;
  std::size_t row_squares_workspace(const RowSquares&) const override { return 0; }
  std::size_t count_above_workspace(const CountAbove&) const override { return 0; }
  std::size_t count_saturated_workspace(const CountSaturated&) const override { return 0; }
  std::size_t column_maxima_workspace(const ColumnMaxima&) const override { return 0; }
  std::size_t magnitude_histogram_workspace(const MagnitudeHistogram&) const override { return 0; }
  std::size_t token_similarity_workspace(const TokenSimilarity&) const override { return 0; }

 private:
  const KernelList& list_;
};

class CountedRandom final : public RandomOps {
 public:
  explicit CountedRandom(const KernelList& list) : list_(list) {}
  void dropout(Stream&, const Dropout& arguments) const override;
  void bernoulli_per_sequence(Stream&, const BernoulliPerSequence&) const override {}

 private:
  const KernelList& list_;
};

class CountedParameter final : public ParameterOps {
 public:
  void coefficient_map_forward(Stream&, const CoefficientMap&) const override {}
  void coefficient_map_backward(Stream&, const CoefficientMapBackward&) const override {}
  void row_gain_forward(Stream&, const RowGain&) const override;
  void row_gain_backward(Stream&, const RowGainBackward&) const override;
  std::size_t row_gain_backward_workspace(const RowGainBackward&) const override { return 0; }
  void normalize_spheres(Stream&, const NormalizeSpheres&, std::span<const SphereWeight>) const override;
  std::size_t normalize_spheres_workspace(std::span<const SphereWeight>) const override { return 0; }
};

struct CountedOps {
  explicit CountedOps(std::vector<CountedKernel>& kernels) : list(kernels) {}

  KernelList list;
  CountedNorm norm{list};
  CountedResidual residual{list};
  CountedLinear linear{list};
  CountedActivation activation{list};
  CountedAttention attention{list};
  CountedEmbedding embedding{list};
  CountedHeadLoss head_loss{list};
  CountedOptimizer optimizer{list};
  CountedElementwise elementwise{list};
  CountedMoments moments{list};
  CountedObservations observations{list};
  CountedRandom random{list};
  CountedParameter parameter;
};

}  // namespace plumb::gpu
