// Engine: one model on one backend, ready to run: parameters, arena, batch buffers. Shared by every
// subcommand that runs a model; it knows nothing of optimisers, files or ranks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/arena.h"
#include "backend/backend.h"
#include "config/model_config.h"
#include "nn/transformer.h"

namespace plumb {

class Engine {
 public:
  /// Everything is allocated here; afterwards no tensor or device memory is. `shape.batch` is the
  /// micro-batch.
  Engine(const ModelConfig& config, std::int64_t vocabulary, const ModelShape& shape, std::uint64_t seed,
         Backend& backend);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Draws the initial values (from the seed).
  void initialize() { parameters_.initialize(*stream_, seed_); }
  /// Knobs that depend on the optimiser step, and the step that dropout is drawn for. The stream may be a few
  /// steps behind (StepValues).
  void begin_step(std::int64_t step);
  void zero_gradients();
  /// As zero_gradients, for one pass: what the next backward can write it will write, and is left as it is.
  /// Not before passes of which one is recorded and played back as another.
  void renew_gradients();
  /// (1) float64 on the device, which backward multiplies gradients by from now on; empty = 1.
  void set_loss_scale(const Tensor& loss_scale) { loss_scale_ = loss_scale; }
  /// inputs, targets: (B*T) int32 on the host, which may be reused when the call returns. first_sequence:
  /// global index of the first sequence, for dropout.
  void upload_batch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                    std::uint64_t first_sequence);
  /// Forward pass of the uploaded batch; adds to the probes (loss_sums at least).
  void forward(const Probes& probes, bool training);
  /// Adds the moments of the norms' gains and biases to their probes, once for a step.
  void probe_norms(const Probes& probes);
  /// The embedding of the uploaded batch, and then one sublayer at a time, without probes.
  void forward_embedding(bool training) { model_->embed(context(nullptr, training), inputs_); }
  void forward_sublayer(std::int64_t k, bool training) {
    model_->forward_sublayer(context(nullptr, training), k);
  }
  /// Backward pass after forward with the same probes and training flag; see Transformer::backward.
  void backward(const Probes& probes, double gradient_scale, GradientListener* listener, bool training);

  /// forward and backward in training, of which nobody looks at what is between them: with the head's two
  /// passes in one where the backend joins them.
  void forward_and_backward(const Probes& probes, double gradient_scale, GradientListener* listener);

  /// Passes go by way of this backend, which is the engine's own with something around it
  /// (backend/observed_backend.h), until it is set to another; null: its own. It must outlive them. Returns
  /// the one before.
  Backend* pass_through(Backend* around) { return std::exchange(around_, around); }
  /// What passes go by way of now.
  Backend& pass_backend() { return around_ != nullptr ? *around_ : backend_; }

  Backend& backend() { return backend_; }
  Stream& stream() { return *stream_; }
  ParameterStore& parameters() { return parameters_; }
  const ParameterStore& parameters() const { return parameters_; }
  Transformer& model() { return *model_; }
  const Transformer& model() const { return *model_; }
  const ArenaPlan& plan() const { return plan_; }
  /// All device memory of the engine, by what it is for.
  std::vector<MemoryShare> memory_plan() const;
  /// For reading activations of the last pass (Transformer::stream and others).
  Context context(const Probes* probes, bool training, GradientListener* listener = nullptr);

 private:
  Backend& backend_;
  std::uint64_t seed_;
  std::unique_ptr<Stream> stream_;
  ParameterStore parameters_;
  std::unique_ptr<Transformer> model_;
  ArenaPlan plan_;
  std::unique_ptr<Arena> arena_;
  Buffer batch_buffer_;
  Tensor inputs_, targets_, counters_, loss_scale_;
  std::vector<Tensor> added_to_;  ///< the gradients that backward does not write
  bool overwrites_gradients_ = false;
  std::int64_t step_ = 0;
  Backend* around_ = nullptr;

  /// Host side of an upload, laid out as the batch buffer is; it must stay as it is until the stream has
  /// passed it.
  struct Staging {
    Buffer memory;
    std::unique_ptr<Event> uploaded;
  };
  std::array<Staging, 2> staging_;  ///< one fills while the other is under way
  std::size_t next_staging_ = 0;
};

}  // namespace plumb
