#include "backend/observed_backend.h"

#include "backend/observed_model_ops.h"
#include "backend/observed_other_ops.h"
#include "comm/communicator.h"

namespace plumb {

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
        stream_mix(inner.stream_mix(), observer),
        moments(inner.moments(), observer),
        observations(inner.observations(), observer),
        optimizer(inner.optimizer(), observer) {}

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
  ObservedMoments moments;
  ObservedObservations observations;
  ObservedOptimizer optimizer;
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
const MomentsOps& ObservedBackend::moments() const { return ops_->moments; }
const ObservationOps& ObservedBackend::observations() const { return ops_->observations; }
const OptimizerOps& ObservedBackend::optimizer() const { return ops_->optimizer; }

}  // namespace plumb
