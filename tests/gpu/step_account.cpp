#include "gpu/step_account.h"

#include <algorithm>

#include "comm/local_communicator.h"
#include "nn/engine.h"
#include "optim/optimizer.h"
#include "stability/step_statistics.h"

namespace plumb::gpu {
namespace {

ModelConfig gpt2(const KernelSizes& sizes) {
  ModelConfig config;
  config.blocks = sizes.blocks;
  config.width = sizes.width;
  config.heads = sizes.heads;
  config.sequence_length = sizes.tokens;
  config.base.norm.in.kind = config.final_norm.kind = "layernorm";
  return config;
}

std::vector<CountedKernel> kernels_of_step(const KernelSizes& sizes) {
  std::vector<CountedKernel> kernels;
  const auto backend = make_counting_backend(kernels);
  Engine engine(gpt2(sizes), sizes.vocabulary,
                {.batch = sizes.batch, .tokens = sizes.tokens, .compute = sizes.compute}, 1, *backend);
  Optimizer optimizer({}, engine.parameters(), *backend);
  LocalCommunicator communicator("");
  StepStatistics statistics(statistics_shape(engine), {}, *backend, communicator);
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(sizes.rows()), 0);
  kernels.clear();  // of what comes once
  statistics.begin_step(engine.stream(), Cadence::EveryStep);
  engine.begin_step(0);
  optimizer.begin_step(engine.stream(), 0, 1e-4);
  engine.upload_batch(tokens, tokens, 0);
  engine.renew_gradients();
  engine.forward_and_backward(statistics.probes(), 1.0 / static_cast<double>(sizes.rows()), nullptr);
  optimizer.update(engine.stream(), UpdateResults::All);
  return kernels;
}

bool is_same(const CountedKernel& one, const CountedKernel& other) {
  return one.name == other.name && one.shape == other.shape && one.bytes == other.bytes;
}

}  // namespace

std::vector<AccountRow> account_of_step(const KernelSizes& sizes) {
  std::vector<AccountRow> rows;
  for (const CountedKernel& kernel : kernels_of_step(sizes)) {
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const AccountRow& r) { return is_same(r.kernel, kernel); });
    if (row == rows.end()) {
      rows.push_back({kernel, 1});
    } else {
      row->times += 1;
    }
  }
  return rows;
}

double predicted_seconds(const CountedKernel& kernel, const Peaks& peaks) {
  const double rate = kernel.tensor_cores ? peaks.tensor_operations_per_second : peaks.operations_per_second;
  return std::max(kernel.bytes / peaks.bytes_per_second, kernel.operations / rate);
}

}  // namespace plumb::gpu
