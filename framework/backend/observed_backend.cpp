#include "backend/observed_backend.h"

#include <initializer_list>

#include "comm/communicator.h"

namespace plumb {
namespace {

struct Written {
  const char* name;
  const Tensor& tensor;
};

template <class Ops>
class Observed : public Ops {
 public:
  Observed(const Ops& inner, OpObserver& observer) : inner_(inner), observer_(observer) {}

 protected:
  void tell(Stream& stream, const char* op, std::initializer_list<Written> list) const {
    for (const Written& written : list)
      if (written.tensor.defined()) observer_.wrote(stream, op, written.name, written.tensor);
  }
  void tell(Stream& stream, const char* op, const char* name, const CoefficientGradient& gradient) const {
    tell(stream, op, {{name, gradient.feature}});
  }

  const Ops& inner_;
  OpObserver& observer_;
};

class ObservedNorm final : public Observed<NormOps> {
 public:
  using Observed::Observed;
  void norm_forward(Stream& stream, const NormForward& arguments) const override {
    inner_.norm_forward(stream, arguments);
    tell(stream, "norm_forward", {{"y", arguments.y}, {"mean", arguments.mean}, {"rstd", arguments.rstd}});
  }
  void norm_backward(Stream& stream, const NormBackward& arguments) const override {
    inner_.norm_backward(stream, arguments);
    tell(stream, "norm_backward",
         {{"dx", arguments.dx},
          {"dgain", arguments.dgain},
          {"dbias", arguments.dbias},
          {"dalpha", arguments.dalpha},
          {"doffset", arguments.doffset}});
    tell(stream, "norm_backward", "dscale", arguments.dscale);
  }
  std::size_t norm_forward_workspace(const NormForward& arguments) const override {
    return inner_.norm_forward_workspace(arguments);
  }
  std::size_t norm_backward_workspace(const NormBackward& arguments) const override {
    return inner_.norm_backward_workspace(arguments);
  }
};

class ObservedResidual final : public Observed<ResidualOps> {
 public:
  using Observed::Observed;
  void residual_forward(Stream& stream, const ResidualForward& arguments) const override {
    inner_.residual_forward(stream, arguments);
    tell(stream, "residual_forward", {{"out", arguments.out}});
  }
  void residual_backward(Stream& stream, const ResidualBackward& arguments) const override {
    inner_.residual_backward(stream, arguments);
    tell(stream, "residual_backward",
         {{"dx", arguments.dx}, {"dz", arguments.dz}, {"dx_block", arguments.dx_block}});
    tell(stream, "residual_backward", "da", arguments.da);
    tell(stream, "residual_backward", "db", arguments.db);
    tell(stream, "residual_backward", "de", arguments.de);
    tell(stream, "residual_backward", "dp", arguments.dp);
  }
  std::size_t residual_forward_workspace(const ResidualForward& arguments) const override {
    return inner_.residual_forward_workspace(arguments);
  }
  std::size_t residual_backward_workspace(const ResidualBackward& arguments) const override {
    return inner_.residual_backward_workspace(arguments);
  }
};

class ObservedLinear final : public Observed<LinearOps> {
 public:
  using Observed::Observed;
  void linear_forward(Stream& stream, const LinearForward& arguments) const override {
    inner_.linear_forward(stream, arguments);
    tell(stream, "linear_forward", {{"y", arguments.y}});
  }
  void linear_backward_input(Stream& stream, const LinearBackwardInput& arguments) const override {
    inner_.linear_backward_input(stream, arguments);
    tell(stream, "linear_backward_input", {{"dx", arguments.dx}});
  }
  void linear_backward_weight(Stream& stream, const LinearBackwardWeight& arguments) const override {
    inner_.linear_backward_weight(stream, arguments);
    tell(stream, "linear_backward_weight", {{"dweight", arguments.dweight}, {"dbias", arguments.dbias}});
  }
  std::size_t linear_forward_workspace(const LinearForward& arguments) const override {
    return inner_.linear_forward_workspace(arguments);
  }
  std::size_t linear_backward_input_workspace(const LinearBackwardInput& arguments) const override {
    return inner_.linear_backward_input_workspace(arguments);
  }
  std::size_t linear_backward_weight_workspace(const LinearBackwardWeight& arguments) const override {
    return inner_.linear_backward_weight_workspace(arguments);
  }
};

class ObservedActivation final : public Observed<ActivationOps> {
 public:
  using Observed::Observed;
  void activation_forward(Stream& stream, const ActivationForward& arguments) const override {
    inner_.activation_forward(stream, arguments);
    tell(stream, "activation_forward", {{"h", arguments.h}});
  }
  void activation_backward(Stream& stream, const ActivationBackward& arguments) const override {
    inner_.activation_backward(stream, arguments);
    tell(stream, "activation_backward", {{"dpre", arguments.dpre}, {"dbias", arguments.dbias}});
  }
  std::size_t activation_backward_workspace(const ActivationBackward& arguments) const override {
    return inner_.activation_backward_workspace(arguments);
  }
};

class ObservedAttention final : public Observed<AttentionOps> {
 public:
  using Observed::Observed;
  void attention_forward(Stream& stream, const AttentionForward& arguments) const override {
    inner_.attention_forward(stream, arguments);
    tell(stream, "attention_forward", {{"out", arguments.out}, {"log_sum_exp", arguments.log_sum_exp}});
  }
  void attention_backward(Stream& stream, const AttentionBackward& arguments) const override {
    inner_.attention_backward(stream, arguments);
    tell(stream, "attention_backward", {{"dq", arguments.dq}, {"dk", arguments.dk}, {"dv", arguments.dv}});
  }
  void rotary(Stream& stream, const Rotary& arguments) const override {
    inner_.rotary(stream, arguments);
    tell(stream, "rotary", {{"x", arguments.x}});
  }
  void prepare_rotary(const Rotary& arguments) const override { inner_.prepare_rotary(arguments); }
  std::size_t attention_forward_workspace(const AttentionForward& arguments) const override {
    return inner_.attention_forward_workspace(arguments);
  }
  std::size_t attention_backward_workspace(const AttentionBackward& arguments) const override {
    return inner_.attention_backward_workspace(arguments);
  }
};

class ObservedEmbedding final : public Observed<EmbeddingOps> {
 public:
  using Observed::Observed;
  void embedding_forward(Stream& stream, const EmbeddingForward& arguments) const override {
    inner_.embedding_forward(stream, arguments);
    tell(stream, "embedding_forward", {{"out", arguments.out}});
  }
  void embedding_backward(Stream& stream, const EmbeddingBackward& arguments) const override {
    inner_.embedding_backward(stream, arguments);
    tell(stream, "embedding_backward",
         {{"dtoken_table", arguments.dtoken_table}, {"dposition_table", arguments.dposition_table}});
  }
  std::size_t embedding_backward_workspace(const EmbeddingBackward& arguments) const override {
    return inner_.embedding_backward_workspace(arguments);
  }
};

class ObservedHeadLoss final : public Observed<HeadLossOps> {
 public:
  using Observed::Observed;
  void head_loss_forward(Stream& stream, const HeadLossForward& arguments) const override {
    inner_.head_loss_forward(stream, arguments);
    tell(stream, "head_loss_forward", {{"log_z", arguments.log_z}, {"sums", arguments.sums}});
  }
  void head_loss_backward(Stream& stream, const HeadLossBackward& arguments) const override {
    inner_.head_loss_backward(stream, arguments);
    tell(stream, "head_loss_backward",
         {{"dh", arguments.dh}, {"dweight", arguments.dweight}, {"dbias", arguments.dbias}});
  }
  std::size_t head_loss_forward_workspace(const HeadLossForward& arguments) const override {
    return inner_.head_loss_forward_workspace(arguments);
  }
  std::size_t head_loss_backward_workspace(const HeadLossBackward& arguments) const override {
    return inner_.head_loss_backward_workspace(arguments);
  }
};

class ObservedRandom final : public Observed<RandomOps> {
 public:
  using Observed::Observed;
  void dropout(Stream& stream, const Dropout& arguments) const override {
    inner_.dropout(stream, arguments);
    tell(stream, "dropout", {{"y", arguments.y}});
  }
  void bernoulli_per_sequence(Stream& stream, const BernoulliPerSequence& arguments) const override {
    inner_.bernoulli_per_sequence(stream, arguments);
    tell(stream, "bernoulli_per_sequence", {{"factor", arguments.factor}});
  }
};

class ObservedStreamMix final : public Observed<StreamMixOps> {
 public:
  using Observed::Observed;
  void stream_read(Stream& stream, const StreamRead& arguments) const override {
    inner_.stream_read(stream, arguments);
    tell(stream, "stream_read", {{"h", arguments.h}});
  }
  void stream_read_backward(Stream& stream, const StreamReadBackward& arguments) const override {
    inner_.stream_read_backward(stream, arguments);
    tell(stream, "stream_read_backward", {{"dx", arguments.dx}, {"dweights", arguments.dweights}});
  }
  void stream_write(Stream& stream, const StreamWrite& arguments) const override {
    inner_.stream_write(stream, arguments);
    tell(stream, "stream_write", {{"out", arguments.out}});
  }
  void stream_write_backward(Stream& stream, const StreamWriteBackward& arguments) const override {
    inner_.stream_write_backward(stream, arguments);
    tell(stream, "stream_write_backward",
         {{"dx", arguments.dx}, {"do", arguments.do_}, {"dweights", arguments.dweights}});
  }
  void stream_weights(Stream& stream, const StreamWeights& arguments) const override {
    inner_.stream_weights(stream, arguments);
    tell(stream, "stream_weights", {{"weights", arguments.weights}});
  }
  void stream_weights_backward(Stream& stream, const StreamWeightsBackward& arguments) const override {
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
  void fill(Stream& stream, const Tensor& x, double value) const override { inner_.fill(stream, x, value); }
  void copy(Stream& stream, const Tensor& x, const Tensor& y) const override {
    inner_.copy(stream, x, y);
    tell(stream, "copy", {{"y", y}});
  }
  void add(Stream& stream, const Tensor& x, const Tensor& y) const override {
    inner_.add(stream, x, y);
    tell(stream, "add", {{"y", y}});
  }
  void sum_of_squares(Stream& stream, const SumOfSquares& arguments,
                      std::span<const Tensor> tensors) const override {
    inner_.sum_of_squares(stream, arguments, tensors);
  }
  std::size_t sum_of_squares_workspace(std::span<const Tensor> tensors) const override {
    return inner_.sum_of_squares_workspace(tensors);
  }
  void hash(Stream& stream, const HashTensors& arguments, std::span<const Tensor> tensors) const override {
    inner_.hash(stream, arguments, tensors);
  }
  std::size_t hash_workspace(std::span<const Tensor> tensors) const override {
    return inner_.hash_workspace(tensors);
  }
  void group_gain_forward(Stream& stream, const GroupGain& arguments) const override {
    inner_.group_gain_forward(stream, arguments);
    tell(stream, "group_gain_forward", {{"y", arguments.y}});
  }
  void group_gain_backward(Stream& stream, const GroupGainBackward& arguments) const override {
    inner_.group_gain_backward(stream, arguments);
    tell(stream, "group_gain_backward", {{"dx", arguments.dx}, {"dgain", arguments.dgain}});
  }
  std::size_t group_gain_backward_workspace(const GroupGainBackward& arguments) const override {
    return inner_.group_gain_backward_workspace(arguments);
  }
  void scalar_bias_forward(Stream& stream, const ScalarBias& arguments) const override {
    inner_.scalar_bias_forward(stream, arguments);
    tell(stream, "scalar_bias_forward", {{"y", arguments.y}});
  }
  void scalar_bias_backward(Stream& stream, const ScalarBiasBackward& arguments) const override {
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
    inner_.coefficient_map_forward(stream, arguments);
    tell(stream, "coefficient_map_forward", {{"y", arguments.y}});
  }
  void coefficient_map_backward(Stream& stream, const CoefficientMapBackward& arguments) const override {
    inner_.coefficient_map_backward(stream, arguments);
    tell(stream, "coefficient_map_backward", {{"dx", arguments.dx}});
  }
  void row_gain_forward(Stream& stream, const RowGain& arguments) const override {
    inner_.row_gain_forward(stream, arguments);
    tell(stream, "row_gain_forward", {{"y", arguments.y}});
  }
  void row_gain_backward(Stream& stream, const RowGainBackward& arguments) const override {
    inner_.row_gain_backward(stream, arguments);
    tell(stream, "row_gain_backward", {{"dx", arguments.dx}, {"dgain", arguments.dgain}});
  }
  std::size_t row_gain_backward_workspace(const RowGainBackward& arguments) const override {
    return inner_.row_gain_backward_workspace(arguments);
  }
  void normalize_spheres(Stream& stream, const NormalizeSpheres& arguments,
                         std::span<const SphereWeight> weights) const override {
    inner_.normalize_spheres(stream, arguments, weights);
  }
  std::size_t normalize_spheres_workspace(std::span<const SphereWeight> weights) const override {
    return inner_.normalize_spheres_workspace(weights);
  }
};

}  // namespace

struct ObservedBackend::Ops {
  Ops(const Backend& inner, OpObserver& observer)
      : norm(inner.norm(), observer),
        residual(inner.residual(), observer),
        linear(inner.linear(), observer),
        activation(inner.activation(), observer),
        attention(inner.attention(), observer),
        embedding(inner.embedding(), observer),
        head_loss(inner.head_loss(), observer),
        elementwise(inner.elementwise(), observer),
        random(inner.random(), observer),
        parameter(inner.parameter(), observer),
        stream_mix(inner.stream_mix(), observer) {}

  ObservedNorm norm;
  ObservedResidual residual;
  ObservedLinear linear;
  ObservedActivation activation;
  ObservedAttention attention;
  ObservedEmbedding embedding;
  ObservedHeadLoss head_loss;
  ObservedElementwise elementwise;
  ObservedRandom random;
  ObservedParameter parameter;
  ObservedStreamMix stream_mix;
};

ObservedBackend::ObservedBackend(Backend& inner, OpObserver& observer)
    : inner_(inner), observer_(observer), ops_(std::make_unique<Ops>(inner, observer)) {}
ObservedBackend::~ObservedBackend() = default;

std::unique_ptr<Communicator> ObservedBackend::make_communicator(Communicator& host, Stream& compute) {
  return inner_.make_communicator(host, compute);
}

void ObservedBackend::push_range(const char* name) {
  observer_.entered(name);
  inner_.push_range(name);
}
void ObservedBackend::pop_range() {
  inner_.pop_range();
  observer_.left();
}

const NormOps& ObservedBackend::norm() const { return ops_->norm; }
const ResidualOps& ObservedBackend::residual() const { return ops_->residual; }
const LinearOps& ObservedBackend::linear() const { return ops_->linear; }
const ActivationOps& ObservedBackend::activation() const { return ops_->activation; }
const AttentionOps& ObservedBackend::attention() const { return ops_->attention; }
const EmbeddingOps& ObservedBackend::embedding() const { return ops_->embedding; }
const HeadLossOps& ObservedBackend::head_loss() const { return ops_->head_loss; }
const ElementwiseOps& ObservedBackend::elementwise() const { return ops_->elementwise; }
const RandomOps& ObservedBackend::random() const { return ops_->random; }
const ParameterOps& ObservedBackend::parameter() const { return ops_->parameter; }
const StreamMixOps& ObservedBackend::stream_mix() const { return ops_->stream_mix; }

}  // namespace plumb
