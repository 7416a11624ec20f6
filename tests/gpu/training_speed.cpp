// training_speed [--device NAME] [--json FILE] [--small]: memory, throughput, model-FLOPs utilisation and the
// cost of statistics of whole training steps on one device, as a Markdown table. --small: a model that the
// emulation can run.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "backend/loader.h"
#include "comm/local_communicator.h"
#include "core/error.h"
#include "gpu/peaks.h"
#include "nn/engine.h"
#include "optim/optimizer.h"
#include "stability/step_statistics.h"

namespace plumb::gpu {
namespace {

struct Arguments {
  std::string device = "cuda", json;
  bool small = false;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string word = values[i];
    if (word == "--small") {
      arguments.small = true;
    } else if (word == "--device" && i + 1 < count) {
      arguments.device = values[++i];
    } else if (word == "--json" && i + 1 < count) {
      arguments.json = values[++i];
    } else {
      fail_input("unknown argument '{}'; known: --device NAME, --json FILE, --small", word);
    }
  }
  return arguments;
}

struct ModelCase {
  std::string name;
  std::int64_t blocks, width, heads, tokens, batch, vocabulary;
};

std::vector<ModelCase> model_cases(bool small) {
  if (small) return {{"tiny", 2, 32, 2, 16, 2, 64}};
  return {{"124M: 12 blocks of 768", 12, 768, 12, 1024, 16, 50304},
          {"deep: 96 blocks of 512", 96, 512, 8, 1024, 8, 50304}};
}

ModelConfig config_of(const ModelCase& one) {
  ModelConfig config;
  config.blocks = one.blocks;
  config.width = one.width;
  config.heads = one.heads;
  config.sequence_length = one.tokens;
  config.base.norm.in.kind = config.base.norm.out.kind = config.final_norm.kind = "layernorm";
  return config;
}

enum class Statistics { None, Rows, RowsAndColumns };

class Trainer {
 public:
  Trainer(Backend& backend, const ModelCase& one, DType compute)
      : backend_(backend),
        one_(one),
        engine_(config_of(one), one.vocabulary,
                {.batch = one.batch, .tokens = one.tokens, .compute = compute}, 1, backend),
        optimizer_({}, engine_.parameters(), backend),
        communicator_(""),
        statistics_(statistics_shape(engine_), {}, backend, communicator_) {
    engine_.initialize();
    const auto count = static_cast<std::size_t>(one.batch * one.tokens);
    for (std::size_t i = 0; i < count; ++i) {
      inputs_.push_back(
          static_cast<std::int32_t>((i * 2654435761U >> 8) % static_cast<std::size_t>(one.vocabulary)));
    }
  }

  void issue(Statistics kind) {
    Stream& stream = engine_.stream();
    statistics_.begin_step(stream,
                           kind == Statistics::RowsAndColumns ? Cadence::Sampled : Cadence::EveryStep);
    engine_.begin_step(step_);
    optimizer_.begin_step(stream, step_, 1e-4);
    engine_.upload_batch(inputs_, inputs_, 0);
    engine_.renew_gradients();
    Probes none;
    none.loss_sums = statistics_.probes().loss_sums;
    const Probes& probes = kind == Statistics::None ? none : statistics_.probes();
    engine_.forward_and_backward(probes, 1.0 / static_cast<double>(inputs_.size()), nullptr);
    optimizer_.update(stream, kind == Statistics::None ? UpdateResults::ClippingOnly : UpdateResults::All);
    ++step_;
  }
  double seconds_per_step(Statistics kind, int steps) {
    using Clock = std::chrono::steady_clock;
    issue(kind);
    engine_.stream().synchronize();
    const auto start = Clock::now();
    for (int i = 0; i < steps; ++i) issue(kind);
    engine_.stream().synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count() / steps;
  }
  std::size_t planned_bytes() const {
    std::size_t sum = optimizer_.bytes() + statistics_.bytes();
    for (const MemoryShare& share : engine_.memory_plan()) sum += share.bytes;
    return sum;
  }
  double tokens() const { return static_cast<double>(one_.batch * one_.tokens); }
  /// 6 per parameter of a matrix and token, and attention's 12 T C per block and token, halved by causality.
  double model_operations() const {
    const double blocks = static_cast<double>(one_.blocks), width = static_cast<double>(one_.width);
    const double matrices = 12 * blocks * width * width + static_cast<double>(one_.vocabulary) * width;
    return tokens() * (6 * matrices + 6 * blocks * width * static_cast<double>(one_.tokens));
  }

 private:
  Backend& backend_;
  ModelCase one_;
  Engine engine_;
  Optimizer optimizer_;
  LocalCommunicator communicator_;
  StepStatistics statistics_;
  std::vector<std::int32_t> inputs_;
  std::int64_t step_ = 0;
};

void run(const Arguments& arguments) {
  const auto backend = make_backend(arguments.device);
  const Peaks peaks = peaks_of(backend->facts().name);
  nlohmann::ordered_json json = {{"device", backend->facts().name}};
  fmt::print("Device: {}, bf16; utilisation of {} (dense bf16).\n\n", backend->facts().name, peaks.device);
  fmt::print(
      "| model | memory, MiB: planned, allocated, taken besides by driver and libraries | tokens/s | "
      "utilisation | statistics of rows | and of "
      "columns |\n");
  fmt::print("|---|---|---|---|---|---|\n");
  for (const ModelCase& one : model_cases(arguments.small)) {
    const std::size_t before = backend->memory_use().bytes, in_use_before = backend->device_bytes_in_use();
    Trainer trainer(*backend, one, DType::BFloat16);
    const std::size_t allocated = backend->memory_use().bytes - before;
    const int steps = arguments.small ? 2 : 20;
    // Interleaved, so that a change of clocks meets all three.
    double plain = 1e300, rows = 1e300, columns = 1e300;
    for (int repeat = 0; repeat < (arguments.small ? 1 : 3); ++repeat) {
      plain = std::min(plain, trainer.seconds_per_step(Statistics::None, steps));
      rows = std::min(rows, trainer.seconds_per_step(Statistics::Rows, steps));
      columns = std::min(columns, trainer.seconds_per_step(Statistics::RowsAndColumns, steps));
    }
    const std::size_t taken =
        backend->device_bytes_in_use() - in_use_before;  // libraries have seen all shapes
    const auto library = static_cast<double>(taken) - static_cast<double>(allocated);
    fmt::print("| {} | {:.1f}, {:.1f}, {:.1f} | {:.0f} | {:.1f} % | {:+.1f} % | {:+.1f} % |\n", one.name,
               static_cast<double>(trainer.planned_bytes()) / (1 << 20),
               static_cast<double>(allocated) / (1 << 20), library / (1 << 20), trainer.tokens() / plain,
               100 * trainer.model_operations() / plain / peaks.tensor_operations_per_second,
               100 * (rows / plain - 1), 100 * (columns / plain - 1));
    std::fflush(stdout);
    json["models"].push_back({{"name", one.name},
                              {"planned_bytes", trainer.planned_bytes()},
                              {"allocated_bytes", allocated},
                              {"library_bytes", library},
                              {"seconds", plain},
                              {"seconds_with_rows", rows},
                              {"seconds_with_columns", columns},
                              {"tokens_per_second", trainer.tokens() / plain}});
  }
  if (!arguments.json.empty()) std::ofstream(arguments.json) << json.dump(1) << "\n";
}

}  // namespace
}  // namespace plumb::gpu

int main(int argc, char** argv) {
  try {
    plumb::gpu::run(plumb::gpu::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_speed: %s\n", error.what());
    return 1;
  }
}
