#include "nn/streams/stream_adapter.h"

#include "core/error.h"
#include "nn/observe.h"
#include "nn/streams/mixed_streams.h"
#include "nn/streams/second_stream.h"
#include "nn/streams/single_stream.h"

namespace plumb {

void StreamAdapter::probe_state(const Context& context, std::int64_t k) const {
  if (context.probes == nullptr || context.probes->stream.empty()) return;
  context.backend.moments().moments(context.stream,
                                    {.x = state(context, k),
                                     .moments = context.probes->stream[static_cast<std::size_t>(k)],
                                     .workspace = context.workspace()});
}

void StreamAdapter::observe_state(const Context& context, std::int64_t k) const {
  if (context.probes == nullptr || context.probes->stream_values.empty()) return;
  const ActivationProbe& probe = context.probes->stream_values[static_cast<std::size_t>(k)];
  observe_magnitudes(context, state(context, k), probe);
  for (std::int64_t i = 0; i < interleaved_streams(); ++i) {
    observe_similarity(context, interleaved_stream(context, k, i), probe);
  }
}

Slot StreamAdapter::plan_state(ArenaPlan& plan, std::int64_t k, std::int64_t sublayers_per_block, DType dtype,
                               Shape shape) {
  std::string name = fmt::format("stream.{}", k);
  return k % sublayers_per_block == 0 ? plan.lasting(std::move(name), dtype, shape)
                                      : plan.persistent(std::move(name), dtype, shape);
}

void StreamAdapter::plan_probe(Backend& backend, ArenaPlan& plan, const ModelShape& shape, std::int64_t rows,
                               std::int64_t width) {
  MomentsArguments moments;
  moments.x = Tensor(nullptr, shape.compute, {rows, width});
  moments.moments.scalars = Tensor(nullptr, DType::Float64, {kMomentScalars});
  moments.moments.column_sum = Tensor(nullptr, DType::Float64, {width});
  moments.moments.column_square = moments.moments.shift = moments.moments.column_sum;
  plan.require_workspace(backend.moments().moments_workspace(moments));
  plan_gradient_observation(backend, plan, moments.x);
  plan_activation_observation(backend, plan, moments.x, shape.tokens);
}

std::unique_ptr<StreamAdapter> make_stream_adapter(const StreamAdapterParts& parts) {
  const std::string& kind = parts.model.streams.kind;
  if (kind == "single") return std::make_unique<SingleStream>(parts);
  if (kind == "residual" || kind == "siamese") return std::make_unique<SecondStream>(parts);
  if (kind == "hyper" || kind == "mhc") return std::make_unique<MixedStreams>(parts);
  fail_input("model.streams.kind = \"{}\" is unknown; known: single, residual, siamese, hyper, mhc", kind);
}

}  // namespace plumb
