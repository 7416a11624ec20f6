#include "nn/engine.h"

#include <cstring>

#include "core/error.h"

namespace plumb {

Engine::Engine(const ModelConfig& config, std::int64_t vocabulary, const ModelShape& shape,
               std::uint64_t seed, Backend& backend)
    : backend_(backend), seed_(seed), stream_(backend.create_stream()) {
  ModelShape planned = shape;
  planned.remakes = shape.remakes.value_or(backend.prefers_remaking());
  model_ = std::make_unique<Transformer>(config, vocabulary, planned, parameters_);
  parameters_.allocate(backend, shape.compute, shape.shards);
  model_->allocate(backend);
  model_->plan(backend, plan_);
  arena_ = std::make_unique<Arena>(backend, plan_);

  const std::size_t rows = static_cast<std::size_t>(shape.rows());
  const std::size_t padded_rows = (rows * sizeof(std::int32_t) + 63) / 64 * 64;
  batch_buffer_ = backend.allocate(2 * padded_rows + 64);
  auto* base = static_cast<char*>(batch_buffer_.data());
  inputs_ = Tensor(base, DType::Int32, {shape.rows()});
  targets_ = Tensor(base + padded_rows, DType::Int32, {shape.rows()});
  counters_ = Tensor(base + 2 * padded_rows, DType::Int64, {2});
  for (Staging& staging : staging_) {
    staging.memory = backend.allocate_host(batch_buffer_.bytes());
    staging.uploaded = backend.create_event();
    staging.uploaded->record(*stream_);
  }
}

Context Engine::context(const Probes* probes, bool training, GradientListener* listener) {
  return Context{.backend = pass_backend(),
                 .stream = *stream_,
                 .arena = *arena_,
                 .shape = model_->shape(),
                 .seed = seed_,
                 .counters = counters_,
                 .loss_scale = loss_scale_,
                 .training = training,
                 .probes = probes,
                 .listener = listener};
}

std::vector<MemoryShare> Engine::memory_plan() const {
  std::vector<MemoryShare> shares = parameters_.memory_plan();
  shares.push_back({"activations", plan_.lasting_bytes() + plan_.transient_bytes()});
  if (plan_.recomputed_bytes() > 0) shares.push_back({"recomputed activations", plan_.recomputed_bytes()});
  shares.push_back({"workspace of ops and libraries", plan_.workspace_bytes()});
  shares.push_back({"batch", batch_buffer_.bytes()});
  shares.push_back({"scheduled coefficients", model_->step_value_bytes()});
  return shares;
}

void Engine::begin_step(std::int64_t step) {
  step_ = step;
  model_->begin_step(*stream_, step);
}

void Engine::zero_gradients() { backend_.elementwise().fill(*stream_, parameters_.flat_gradient(), 0); }

void Engine::upload_batch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                          std::uint64_t first_sequence) {
  PLUMB_CHECK(
      static_cast<std::int64_t>(inputs.size()) == inputs_.elements() && inputs.size() == targets.size(),
      "a batch of {} tokens for a model planned for {}", inputs.size(), inputs_.elements());
  const PhaseRange range(backend_, "upload batch");
  Staging& staging = staging_[next_staging_];
  next_staging_ = (next_staging_ + 1) % staging_.size();
  staging.uploaded->synchronize();
  auto* host = static_cast<char*>(staging.memory.data());
  const auto place = [&](const Tensor& tensor) {
    return host + (static_cast<char*>(tensor.data) - static_cast<char*>(batch_buffer_.data()));
  };
  std::memcpy(place(inputs_), inputs.data(), inputs_.bytes());
  std::memcpy(place(targets_), targets.data(), targets_.bytes());
  const std::int64_t counters[2] = {step_, static_cast<std::int64_t>(first_sequence)};
  std::memcpy(place(counters_), counters, sizeof counters);
  backend_.upload(*stream_, host, batch_buffer_.data(), batch_buffer_.bytes());
  staging.uploaded->record(*stream_);
}

void Engine::forward(const Probes& probes, bool training) {
  const PhaseRange range(backend_, "forward");
  model_->forward(context(&probes, training), inputs_, targets_);
}

void Engine::probe_norms(const Probes& probes) {
  for (std::size_t i = 0; i < probes.norms.size(); ++i) {
    const NormParameters& norm = parameters_.norms()[i];
    const auto add = [&](const Parameter* parameter, const MomentsView& moments) {
      if (parameter == nullptr) return;
      backend_.moments().moments(*stream_, {.x = parameter->value.reshaped({1, parameter->value.elements()}),
                                            .moments = moments,
                                            .workspace = arena_->workspace()});
    };
    add(norm.gain, probes.norms[i].gain);
    add(norm.bias, probes.norms[i].bias);
  }
}

void Engine::backward(const Probes& probes, double gradient_scale, GradientListener* listener,
                      bool training) {
  const PhaseRange range(backend_, "backward");
  model_->backward(context(&probes, training, listener), inputs_, targets_, gradient_scale);
}

}  // namespace plumb
