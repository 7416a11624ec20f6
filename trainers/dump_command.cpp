// plumb dump: everything that an outside implementation needs to check one step of ours, in one file:
//   inputs, targets (B,T) int32; parameter/<name>; stream/<k> (B,T,C), k = 0..K; branch/<k>; loss (1);
//   gradient/<name> of the mean loss. Metadata: configuration, step, compute dtype.
#include <fmt/format.h>

#include "backend/loader.h"
#include "backend_options.h"
#include "checkpointed_model.h"
#include "commands.h"
#include "config/batch.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "data/sampler.h"
#include "lm_task.h"
#include "model_state.h"
#include "nn/admin_profile.h"
#include "nn/placement.h"
#include "session.h"

namespace plumb {
namespace {

std::vector<NamedTensor> activations(Engine& engine, const Probes& probes) {
  const Context context = engine.context(&probes, true);
  const ModelShape& shape = engine.model().shape();
  const Shape branch_shape{shape.batch, shape.tokens, engine.model().config().width};
  const Shape stream_shape = engine.model().stream_shape();
  std::vector<NamedTensor> list;
  for (std::int64_t k = 0; k <= engine.model().sublayers(); ++k) {
    list.push_back({fmt::format("stream/{}", k), engine.model().stream(context, k).reshaped(stream_shape)});
  }
  for (std::int64_t k = 0; k < engine.model().sublayers(); ++k) {
    list.push_back({fmt::format("branch/{}", k),
                    engine.model().sublayer(k).branch_output(context).reshaped(branch_shape)});
  }
  return list;
}

}  // namespace

int run_dump(const DumpOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb dump")) return 2;
  const LoadedConfig loaded =
      load_config(session.read_config(options.configs), options.overrides, placement_presets());
  const Config& config = loaded.config;
  const BatchShare batch_share = check_batch(loaded, 1);
  const LanguageModelTask task = make_language_model_task(config);
  set_thread_count(config.compute.threads > 0 ? config.compute.threads : session.default_thread_count());
  const auto backend = make_backend(config.device, backend_options(config.compute, session.launch()));
  const DType compute = resolve_compute_dtype(config.compute.dtype, *backend);
  const std::int64_t rows = batch_share.local_sequences;
  Engine engine(
      config.model, task.vocabulary,
      ModelShape{
          .batch = rows, .tokens = config.model.sequence_length, .compute = compute, .keep_branches = true},
      config.training.seed, *backend);
  engine.initialize();
  engine.begin_step(options.step);

  Batch batch;
  fill_batch(*task.train, static_cast<std::uint64_t>(options.step * rows), rows, batch);
  if (config.model.init.profile == "admin") {
    profile_admin_skips(engine, {.load =
                                     [&](std::int64_t) {
                                       engine.upload_batch(batch.inputs, batch.targets, batch.first_sequence);
                                     },
                                 .sum_over_ranks = [](std::span<double>) {}});
  }
  engine.upload_batch(batch.inputs, batch.targets, batch.first_sequence);
  Buffer sums = backend->allocate(kHeadLossSums * sizeof(double));
  Probes probes;
  probes.loss_sums = Tensor(sums.data(), DType::Float64, {kHeadLossSums});
  engine.forward(probes, true);
  double host_sums[kHeadLossSums] = {};
  backend->download(engine.stream(), sums.data(), host_sums, sizeof host_sums);
  engine.stream().synchronize();
  double loss = (host_sums[kHeadLossCrossEntropy] + config.model.z_loss * host_sums[kHeadLossLogZSquared]) /
                host_sums[kHeadLossRows];

  // Activations are read before backward, which reuses some of their memory.
  const HostTensors streams(*backend, engine.stream(), activations(engine, probes));
  engine.zero_gradients();
  engine.backward(probes, 1 / host_sums[kHeadLossRows], nullptr, true);
  std::vector<NamedTensor> device;
  for (const NamedTensor& named : parameter_tensors(engine.parameters())) {
    device.push_back({"parameter/" + named.name, named.tensor});
  }
  for (const Parameter* parameter : engine.parameters().trainable()) {
    device.push_back({"gradient/" + parameter->name, parameter->gradient});
  }
  const HostTensors tensors(*backend, engine.stream(), device);

  std::vector<NamedTensor> all = tensors.list();
  all.insert(all.end(), streams.list().begin(), streams.list().end());
  const Shape batch_shape{rows, config.model.sequence_length};
  all.push_back({"inputs", Tensor(batch.inputs.data(), DType::Int32, batch_shape)});
  all.push_back({"targets", Tensor(batch.targets.data(), DType::Int32, batch_shape)});
  all.push_back({"loss", Tensor(&loss, DType::Float64, {1})});
  write_safetensors(options.output, all,
                    {{"config", dump_config(loaded)},
                     {"step", std::to_string(options.step)},
                     {"compute_dtype", std::string(name_of(compute))}});
  fmt::print("{} tensors in {}; loss {:.9g} nats per target at step {}\n", all.size(), options.output, loss,
             options.step);
  return 0;
}

}  // namespace plumb
