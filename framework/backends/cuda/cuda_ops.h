// The op families of the CUDA backend; contracts in backend/ops/. The .cpp file of a family checks arguments
// and lays out workspaces on the host, its .cu file holds the kernels.
#pragma once

#include "backend/backend.h"
#include "backends/cuda/attention_choice.h"
#include "backends/cuda/head_chunks.h"
#include "backends/cuda/matrix_product.h"

namespace plumb::cuda {

class CudaNorm final : public NormOps {
 public:
  void norm_forward(Stream& stream, const NormForward& arguments) const override;
  void norm_backward(Stream& stream, const NormBackward& arguments) const override;
  std::size_t norm_forward_workspace(const NormForward& arguments) const override;
  std::size_t norm_backward_workspace(const NormBackward& arguments) const override;
};

class CudaResidual final : public ResidualOps {
 public:
  void residual_forward(Stream& stream, const ResidualForward& arguments) const override;
  void residual_backward(Stream& stream, const ResidualBackward& arguments) const override;
  std::size_t residual_forward_workspace(const ResidualForward& arguments) const override;
  std::size_t residual_backward_workspace(const ResidualBackward& arguments) const override;
};

class CudaLinear final : public LinearOps {
 public:
  explicit CudaLinear(const MatrixProducts& products) : products_(products) {}
  void linear_forward(Stream& stream, const LinearForward& arguments) const override;
  void linear_backward_input(Stream& stream, const LinearBackwardInput& arguments) const override;
  void linear_backward_weight(Stream& stream, const LinearBackwardWeight& arguments) const override;
  std::size_t linear_forward_workspace(const LinearForward& arguments) const override;
  std::size_t linear_backward_input_workspace(const LinearBackwardInput& arguments) const override;
  std::size_t linear_backward_weight_workspace(const LinearBackwardWeight& arguments) const override;

 private:
  const MatrixProducts& products_;
};

class CudaActivation final : public ActivationOps {
 public:
  void activation_forward(Stream& stream, const ActivationForward& arguments) const override;
  void activation_backward(Stream& stream, const ActivationBackward& arguments) const override;
  std::size_t activation_backward_workspace(const ActivationBackward& arguments) const override;
};

class CudaAttention final : public AttentionOps {
 public:
  explicit CudaAttention(AttentionChoice choice) : chooser_(choice, make_attention_library()) {}
  void attention_forward(Stream& stream, const AttentionForward& arguments) const override;
  void attention_backward(Stream& stream, const AttentionBackward& arguments) const override;
  std::size_t attention_forward_workspace(const AttentionForward& arguments) const override;
  std::size_t attention_backward_workspace(const AttentionBackward& arguments) const override;
  void rotary(Stream& stream, const Rotary& arguments) const override;
  void prepare_rotary(const Rotary& arguments) const override;

 private:
  AttentionChooser chooser_;
};

class CudaEmbedding final : public EmbeddingOps {
 public:
  void embedding_forward(Stream& stream, const EmbeddingForward& arguments) const override;
  void embedding_backward(Stream& stream, const EmbeddingBackward& arguments) const override;
  std::size_t embedding_backward_workspace(const EmbeddingBackward& arguments) const override;
};

class CudaHeadLoss final : public HeadLossOps {
 public:
  /// `chunk_logits`: the most logits that exist at once; `joined_rows`: what head_loss_both takes at once,
  /// if that makes more logits; tests take few.
  explicit CudaHeadLoss(const MatrixProducts& products, std::int64_t chunk_logits = kChunkLogits,
                        std::int64_t joined_rows = kJoinedRows)
      : products_(products), chunk_logits_(chunk_logits), joined_rows_(joined_rows) {}
  void head_loss_forward(Stream& stream, const HeadLossForward& arguments) const override;
  void head_loss_backward(Stream& stream, const HeadLossBackward& arguments) const override;
  std::size_t head_loss_forward_workspace(const HeadLossForward& arguments) const override;
  std::size_t head_loss_backward_workspace(const HeadLossBackward& arguments) const override;
  bool joins_head_loss() const override { return true; }
  void head_loss_both(Stream& stream, const HeadLossBoth& arguments) const override;
  std::size_t head_loss_both_workspace(const HeadLossBoth& arguments) const override;

 private:
  std::int64_t joined_rows(const HeadLossForward& arguments) const;
  const MatrixProducts& products_;
  std::int64_t chunk_logits_, joined_rows_;
};

class CudaOptimizer final : public OptimizerOps {
 public:
  void adamw(Stream& stream, const AdamW& arguments, std::span<const UpdateTensor> tensors) const override;
  void sgd_momentum(Stream& stream, const SgdMomentum& arguments,
                    std::span<const UpdateTensor> tensors) const override;
  std::size_t update_workspace(std::span<const UpdateTensor> tensors) const override;
  void clip(Stream& stream, const Clip& arguments) const override;
  void guard_step(Stream& stream, const StepGuard& arguments) const override;
  void adapt_loss_scale(Stream& stream, const LossScaling& arguments) const override;
};

/// fill, copy and add take every dtype.
class CudaElementwise final : public ElementwiseOps {
 public:
  void fill(Stream& stream, const Tensor& x, double value) const override;
  void fill_all(Stream& stream, std::span<const Tensor> tensors, double value) const override;
  void copy(Stream& stream, const Tensor& x, const Tensor& y) const override;
  void add(Stream& stream, const Tensor& x, const Tensor& y) const override;
  void sum_of_squares(Stream& stream, const SumOfSquares& arguments,
                      std::span<const Tensor> tensors) const override;
  std::size_t sum_of_squares_workspace(std::span<const Tensor> tensors) const override;
  void hash(Stream& stream, const HashTensors& arguments, std::span<const Tensor> tensors) const override;
  std::size_t hash_workspace(std::span<const Tensor> tensors) const override;
  void group_gain_forward(Stream& stream, const GroupGain& arguments) const override;
  void group_gain_backward(Stream& stream, const GroupGainBackward& arguments) const override;
  std::size_t group_gain_backward_workspace(const GroupGainBackward& arguments) const override;
  void scalar_bias_forward(Stream& stream, const ScalarBias& arguments) const override;
  void scalar_bias_backward(Stream& stream, const ScalarBiasBackward& arguments) const override;
  std::size_t scalar_bias_backward_workspace(const ScalarBiasBackward& arguments) const override;
};

class CudaMoments final : public MomentsOps {
 public:
  void moments(Stream& stream, const MomentsArguments& arguments) const override;
  std::size_t moments_workspace(const MomentsArguments& arguments) const override;
};

class CudaObservations final : public ObservationOps {
 public:
  void row_squares(Stream& stream, const RowSquares& arguments) const override;
  void count_above(Stream& stream, const CountAbove& arguments) const override;
  void count_saturated(Stream& stream, const CountSaturated& arguments) const override;
  void column_maxima(Stream& stream, const ColumnMaxima& arguments) const override;
  void magnitude_histogram(Stream& stream, const MagnitudeHistogram& arguments) const override;
  void token_similarity(Stream& stream, const TokenSimilarity& arguments) const override;
  std::size_t row_squares_workspace(const RowSquares& arguments) const override;
  std::size_t count_above_workspace(const CountAbove& arguments) const override;
  std::size_t count_saturated_workspace(const CountSaturated& arguments) const override;
  std::size_t column_maxima_workspace(const ColumnMaxima& arguments) const override;
  std::size_t magnitude_histogram_workspace(const MagnitudeHistogram& arguments) const override;
  std::size_t token_similarity_workspace(const TokenSimilarity& arguments) const override;
};

class CudaRandom final : public RandomOps {
 public:
  void dropout(Stream& stream, const Dropout& arguments) const override;
  void bernoulli_per_sequence(Stream& stream, const BernoulliPerSequence& arguments) const override;
};

class CudaParameter final : public ParameterOps {
 public:
  void coefficient_map_forward(Stream& stream, const CoefficientMap& arguments) const override;
  void coefficient_map_backward(Stream& stream, const CoefficientMapBackward& arguments) const override;
  void row_gain_forward(Stream& stream, const RowGain& arguments) const override;
  void row_gain_backward(Stream& stream, const RowGainBackward& arguments) const override;
  std::size_t row_gain_backward_workspace(const RowGainBackward& arguments) const override;
  void normalize_spheres(Stream& stream, const NormalizeSpheres& arguments,
                         std::span<const SphereWeight> weights) const override;
  std::size_t normalize_spheres_workspace(std::span<const SphereWeight> weights) const override;
};

class CudaStreamMix final : public StreamMixOps {
 public:
  void stream_read(Stream& stream, const StreamRead& arguments) const override;
  void stream_read_backward(Stream& stream, const StreamReadBackward& arguments) const override;
  std::size_t stream_read_backward_workspace(const StreamReadBackward& arguments) const override;
  void stream_write(Stream& stream, const StreamWrite& arguments) const override;
  void stream_write_backward(Stream& stream, const StreamWriteBackward& arguments) const override;
  std::size_t stream_write_backward_workspace(const StreamWriteBackward& arguments) const override;
  void stream_weights(Stream& stream, const StreamWeights& arguments) const override;
  void stream_weights_backward(Stream& stream, const StreamWeightsBackward& arguments) const override;
  std::size_t stream_weights_backward_workspace(const StreamWeightsBackward& arguments) const override;
};

}  // namespace plumb::cuda
