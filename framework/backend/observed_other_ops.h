// The other families, observed: several streams, random numbers, parameters, statistics, updates.
#pragma once

#include "backend/observed_ops.h"

namespace plumb {

class ObservedRandom final : public Observed<RandomOps> {
 public:
  using Observed::Observed;
  void dropout(Stream& stream, const Dropout& arguments) const override {
    const ObservedOp op(observer_, "dropout", {&arguments.x});
    inner_.dropout(stream, arguments);
    tell(stream, "dropout", {{"y", arguments.y}});
  }
  void bernoulli_per_sequence(Stream& stream, const BernoulliPerSequence& arguments) const override {
    const ObservedOp op(observer_, "bernoulli_per_sequence", {&arguments.factor});
    inner_.bernoulli_per_sequence(stream, arguments);
    tell(stream, "bernoulli_per_sequence", {{"factor", arguments.factor}});
  }
};

class ObservedStreamMix final : public Observed<StreamMixOps> {
 public:
  using Observed::Observed;
  void stream_read(Stream& stream, const StreamRead& arguments) const override {
    const ObservedOp op(observer_, "stream_read", {&arguments.x});
    inner_.stream_read(stream, arguments);
    tell(stream, "stream_read", {{"h", arguments.h}});
  }
  void stream_read_backward(Stream& stream, const StreamReadBackward& arguments) const override {
    const ObservedOp op(observer_, "stream_read_backward", {&arguments.x});
    inner_.stream_read_backward(stream, arguments);
    tell(stream, "stream_read_backward", {{"dx", arguments.dx}, {"dweights", arguments.dweights}});
  }
  void stream_write(Stream& stream, const StreamWrite& arguments) const override {
    const ObservedOp op(observer_, "stream_write", {&arguments.x});
    inner_.stream_write(stream, arguments);
    tell(stream, "stream_write", {{"out", arguments.out}});
  }
  void stream_write_backward(Stream& stream, const StreamWriteBackward& arguments) const override {
    const ObservedOp op(observer_, "stream_write_backward", {&arguments.x});
    inner_.stream_write_backward(stream, arguments);
    tell(stream, "stream_write_backward",
         {{"dx", arguments.dx}, {"do", arguments.do_}, {"dweights", arguments.dweights}});
  }
  void stream_weights(Stream& stream, const StreamWeights& arguments) const override {
    const ObservedOp op(observer_, "stream_weights", {&arguments.raw});
    inner_.stream_weights(stream, arguments);
    tell(stream, "stream_weights", {{"weights", arguments.weights}});
  }
  void stream_weights_backward(Stream& stream, const StreamWeightsBackward& arguments) const override {
    const ObservedOp op(observer_, "stream_weights_backward", {&arguments.raw});
    inner_.stream_weights_backward(stream, arguments);
    tell(stream, "stream_weights_backward",
         {{"draw", arguments.draw}, {"dbase", arguments.dbase}, {"dscales", arguments.dscales}});
  }
  std::size_t stream_read_backward_workspace(const StreamReadBackward& arguments) const override {
    return inner_.stream_read_backward_workspace(arguments);
  }
  std::size_t stream_write_backward_workspace(const StreamWriteBackward& arguments) const override {
    return inner_.stream_write_backward_workspace(arguments);
  }
  std::size_t stream_weights_backward_workspace(const StreamWeightsBackward& arguments) const override {
    return inner_.stream_weights_backward_workspace(arguments);
  }
};

class ObservedElementwise final : public Observed<ElementwiseOps> {
 public:
  using Observed::Observed;
  void fill(Stream& stream, const Tensor& x, double value) const override {
    const ObservedOp op(observer_, "fill", {&x});
    inner_.fill(stream, x, value);
  }
  void fill_all(Stream& stream, std::span<const Tensor> tensors, double value) const override {
    const ObservedOp op(observer_, "fill_all", {});
    inner_.fill_all(stream, tensors, value);
  }
  void copy(Stream& stream, const Tensor& x, const Tensor& y) const override {
    const ObservedOp op(observer_, "copy", {&x, &y});
    inner_.copy(stream, x, y);
    tell(stream, "copy", {{"y", y}});
  }
  void add(Stream& stream, const Tensor& x, const Tensor& y) const override {
    const ObservedOp op(observer_, "add", {&x});
    inner_.add(stream, x, y);
    tell(stream, "add", {{"y", y}});
  }
  void sum_of_squares(Stream& stream, const SumOfSquares& arguments,
                      std::span<const Tensor> tensors) const override {
    const ObservedOp op(observer_, "sum_of_squares", {&arguments.squares});
    inner_.sum_of_squares(stream, arguments, tensors);
  }
  std::size_t sum_of_squares_workspace(std::span<const Tensor> tensors) const override {
    return inner_.sum_of_squares_workspace(tensors);
  }
  void hash(Stream& stream, const HashTensors& arguments, std::span<const Tensor> tensors) const override {
    const ObservedOp op(observer_, "hash", {&arguments.hashes});
    inner_.hash(stream, arguments, tensors);
  }
  std::size_t hash_workspace(std::span<const Tensor> tensors) const override {
    return inner_.hash_workspace(tensors);
  }
  void group_gain_forward(Stream& stream, const GroupGain& arguments) const override {
    const ObservedOp op(observer_, "group_gain_forward", {&arguments.x});
    inner_.group_gain_forward(stream, arguments);
    tell(stream, "group_gain_forward", {{"y", arguments.y}});
  }
  void group_gain_backward(Stream& stream, const GroupGainBackward& arguments) const override {
    const ObservedOp op(observer_, "group_gain_backward", {&arguments.x});
    inner_.group_gain_backward(stream, arguments);
    tell(stream, "group_gain_backward", {{"dx", arguments.dx}, {"dgain", arguments.dgain}});
  }
  std::size_t group_gain_backward_workspace(const GroupGainBackward& arguments) const override {
    return inner_.group_gain_backward_workspace(arguments);
  }
  void scalar_bias_forward(Stream& stream, const ScalarBias& arguments) const override {
    const ObservedOp op(observer_, "scalar_bias_forward", {&arguments.x});
    inner_.scalar_bias_forward(stream, arguments);
    tell(stream, "scalar_bias_forward", {{"y", arguments.y}});
  }
  void scalar_bias_backward(Stream& stream, const ScalarBiasBackward& arguments) const override {
    const ObservedOp op(observer_, "scalar_bias_backward", {&arguments.dy});
    inner_.scalar_bias_backward(stream, arguments);
    tell(stream, "scalar_bias_backward", {{"dbias", arguments.dbias}});
  }
  std::size_t scalar_bias_backward_workspace(const ScalarBiasBackward& arguments) const override {
    return inner_.scalar_bias_backward_workspace(arguments);
  }
};

class ObservedParameter final : public Observed<ParameterOps> {
 public:
  using Observed::Observed;
  void coefficient_map_forward(Stream& stream, const CoefficientMap& arguments) const override {
    const ObservedOp op(observer_, "coefficient_map_forward", {&arguments.x});
    inner_.coefficient_map_forward(stream, arguments);
    tell(stream, "coefficient_map_forward", {{"y", arguments.y}});
  }
  void coefficient_map_backward(Stream& stream, const CoefficientMapBackward& arguments) const override {
    const ObservedOp op(observer_, "coefficient_map_backward", {&arguments.x});
    inner_.coefficient_map_backward(stream, arguments);
    tell(stream, "coefficient_map_backward", {{"dx", arguments.dx}});
  }
  void row_gain_forward(Stream& stream, const RowGain& arguments) const override {
    const ObservedOp op(observer_, "row_gain_forward", {&arguments.x});
    inner_.row_gain_forward(stream, arguments);
    tell(stream, "row_gain_forward", {{"y", arguments.y}});
  }
  void row_gain_backward(Stream& stream, const RowGainBackward& arguments) const override {
    const ObservedOp op(observer_, "row_gain_backward", {&arguments.x});
    inner_.row_gain_backward(stream, arguments);
    tell(stream, "row_gain_backward", {{"dx", arguments.dx}, {"dgain", arguments.dgain}});
  }
  std::size_t row_gain_backward_workspace(const RowGainBackward& arguments) const override {
    return inner_.row_gain_backward_workspace(arguments);
  }
  void normalize_spheres(Stream& stream, const NormalizeSpheres& arguments,
                         std::span<const SphereWeight> weights) const override {
    const ObservedOp op(observer_, "normalize_spheres", {});
    inner_.normalize_spheres(stream, arguments, weights);
  }
  std::size_t normalize_spheres_workspace(std::span<const SphereWeight> weights) const override {
    return inner_.normalize_spheres_workspace(weights);
  }
};

class ObservedMoments final : public Observed<MomentsOps> {
 public:
  using Observed::Observed;
  void moments(Stream& stream, const MomentsArguments& arguments) const override {
    const ObservedOp op(observer_, "moments", {&arguments.x});
    inner_.moments(stream, arguments);
  }
  std::size_t moments_workspace(const MomentsArguments& arguments) const override {
    return inner_.moments_workspace(arguments);
  }
};

class ObservedObservations final : public Observed<ObservationOps> {
 public:
  using Observed::Observed;
  void row_squares(Stream& stream, const RowSquares& arguments) const override {
    const ObservedOp op(observer_, "row_squares", {&arguments.x});
    inner_.row_squares(stream, arguments);
  }
  void count_above(Stream& stream, const CountAbove& arguments) const override {
    const ObservedOp op(observer_, "count_above", {&arguments.x});
    inner_.count_above(stream, arguments);
  }
  void count_saturated(Stream& stream, const CountSaturated& arguments) const override {
    const ObservedOp op(observer_, "count_saturated", {&arguments.x});
    inner_.count_saturated(stream, arguments);
  }
  void column_maxima(Stream& stream, const ColumnMaxima& arguments) const override {
    const ObservedOp op(observer_, "column_maxima", {&arguments.x});
    inner_.column_maxima(stream, arguments);
  }
  void magnitude_histogram(Stream& stream, const MagnitudeHistogram& arguments) const override {
    const ObservedOp op(observer_, "magnitude_histogram", {&arguments.x});
    inner_.magnitude_histogram(stream, arguments);
  }
  void token_similarity(Stream& stream, const TokenSimilarity& arguments) const override {
    const ObservedOp op(observer_, "token_similarity", {&arguments.x});
    inner_.token_similarity(stream, arguments);
  }
  std::size_t row_squares_workspace(const RowSquares& arguments) const override {
    return inner_.row_squares_workspace(arguments);
  }
  std::size_t count_above_workspace(const CountAbove& arguments) const override {
    return inner_.count_above_workspace(arguments);
  }
  std::size_t count_saturated_workspace(const CountSaturated& arguments) const override {
    return inner_.count_saturated_workspace(arguments);
  }
  std::size_t column_maxima_workspace(const ColumnMaxima& arguments) const override {
    return inner_.column_maxima_workspace(arguments);
  }
  std::size_t magnitude_histogram_workspace(const MagnitudeHistogram& arguments) const override {
    return inner_.magnitude_histogram_workspace(arguments);
  }
  std::size_t token_similarity_workspace(const TokenSimilarity& arguments) const override {
    return inner_.token_similarity_workspace(arguments);
  }
};

class ObservedOptimizer final : public Observed<OptimizerOps> {
 public:
  using Observed::Observed;
  void adamw(Stream& stream, const AdamW& arguments, std::span<const UpdateTensor> tensors) const override {
    const Tensor all = all_entries(tensors);
    const ObservedOp op(observer_, "adamw", {&all});
    inner_.adamw(stream, arguments, tensors);
  }
  void sgd_momentum(Stream& stream, const SgdMomentum& arguments,
                    std::span<const UpdateTensor> tensors) const override {
    const Tensor all = all_entries(tensors);
    const ObservedOp op(observer_, "sgd_momentum", {&all});
    inner_.sgd_momentum(stream, arguments, tensors);
  }
  std::size_t update_workspace(std::span<const UpdateTensor> tensors) const override {
    return inner_.update_workspace(tensors);
  }
  void clip(Stream& stream, const Clip& arguments) const override {
    const ObservedOp op(observer_, "clip", {&arguments.squares});
    inner_.clip(stream, arguments);
  }
  void guard_step(Stream& stream, const StepGuard& arguments) const override {
    const ObservedOp op(observer_, "guard_step", {});
    inner_.guard_step(stream, arguments);
  }
  void adapt_loss_scale(Stream& stream, const LossScaling& arguments) const override {
    const ObservedOp op(observer_, "adapt_loss_scale", {});
    inner_.adapt_loss_scale(stream, arguments);
  }

 private:
  /// As many entries as all parameters of the update have.
  static Tensor all_entries(std::span<const UpdateTensor> tensors) {
    std::int64_t entries = 0;
    for (const UpdateTensor& tensor : tensors) entries += tensor.parameter.elements();
    return tensors.empty() ? Tensor() : Tensor(nullptr, tensors.front().parameter.dtype, {entries});
  }
};

}  // namespace plumb
