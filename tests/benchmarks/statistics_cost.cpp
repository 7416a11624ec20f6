// statistics_cost [--device NAME] [--pairs N] [--shape a|c] [--dtype fp32|bf16] [--threads N] [--clock
// wall|cpu]: what the default statistics cost when they are taken and logged at every step, as the ratio of a
// step with them to one without any. Steps come in pairs on one model, so that a change of the machine's
// speed meets both; of the pairs' ratios it prints the median and its 95 % confidence interval, and the bytes
// on the wire and on disk. --clock cpu: processor time of all threads, for a machine that others use too.
// --set statistics.attention=false and the like: what one key costs (log.stability_every=0: no record is
// made, statistics.detail_every=0: none is detailed).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>

#include "backend/loader.h"
#include "comm/local_communicator.h"
#include "config/load.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "nn/engine.h"
#include "nn/placement.h"
#include "optim/optimizer.h"
#include "stability/run_log.h"
#include "stability/step_statistics.h"

namespace plumb {
namespace {

struct Arguments {
  std::string device = "cpu", shape, dtype;
  std::vector<std::string> settings;
  int pairs = 200, threads = 0;
  bool processor_time = false;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; i += 2) {
    const std::string word = values[i];
    if (i + 1 == count) fail_input("{} needs a value", word);
    const std::string value = values[i + 1];
    if (word == "--device") {
      arguments.device = value;
    } else if (word == "--shape") {
      arguments.shape = value;
    } else if (word == "--dtype") {
      arguments.dtype = value;
    } else if (word == "--pairs") {
      arguments.pairs = std::stoi(value);
    } else if (word == "--clock") {
      if (value != "wall" && value != "cpu") fail_input("--clock {}: wall or cpu", value);
      arguments.processor_time = value == "cpu";
    } else if (word == "--set") {
      arguments.settings.push_back(value);
    } else if (word == "--threads") {
      arguments.threads = std::stoi(value);
    } else {
      fail_input(
          "unknown argument '{}'; known: --device, --pairs, --shape, --dtype, --threads, --clock, --set",
          word);
    }
  }
  return arguments;
}

struct Case {
  const char* name;
  std::int64_t blocks, width, heads, tokens, batch;
};
constexpr Case kCases[] = {{"a", 6, 384, 6, 256, 8}, {"c", 48, 128, 4, 128, 8}};
constexpr std::int64_t kVocabulary = 512;

Config config_of(const Case& one, const std::vector<std::string>& more) {
  std::vector<std::string> settings = {
      "model.placement=peri",
      fmt::format("model.blocks={}", one.blocks),
      fmt::format("model.width={}", one.width),
      fmt::format("model.heads={}", one.heads),
      fmt::format("model.sequence_length={}", one.tokens),
      fmt::format("training.sequences_per_step={}", one.batch),
      "data.kind=markov",
      "log.stability_every=1",
  };
  settings.insert(settings.end(), more.begin(), more.end());
  return load_config({ConfigSource{"statistics_cost", ""}}, settings, {placement_settings, placement_names})
      .config;
}

/// A folder that goes away.
struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               fmt::format("plumb_statistics_cost_{}", static_cast<long>(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  double bytes() const {
    double sum = 0;
    for (const auto& file : std::filesystem::directory_iterator(path))
      sum += static_cast<double>(file.file_size());
    return sum;
  }
};

double seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Steps of one model as the training loop makes them, with statistics and without.
class Model {
 public:
  Model(const Case& one, const Config& config, DType compute, clockid_t clock, Backend& backend)
      : one_(one),
        clock_(clock),
        backend_(backend),
        engine_(config.model, kVocabulary, {.batch = one.batch, .tokens = one.tokens, .compute = compute}, 1,
                backend),
        optimizer_({}, engine_.parameters(), backend),
        shape_(statistics_shape(engine_)),
        settings_(statistics_settings(config)),
        cadence_(config.log.stability_every == 0       ? Cadence::EveryStep
                 : config.statistics.detail_every == 0 ? Cadence::Sampled
                                                       : Cadence::Detailed),
        statistics_(shape_, settings_, backend, communicator_),
        loss_(backend.allocate(kHeadLossSums * sizeof(double))) {
    engine_.initialize();
    engine_.set_loss_scale(optimizer_.loss_scale());
    plain_.loss_sums = Tensor(loss_.data(), DType::Float64, {kHeadLossSums});
    for (const Parameter* parameter : engine_.parameters().trainable())
      gradients_.push_back(parameter->gradient);
    workspace_ = backend.allocate(backend.elementwise().sum_of_squares_workspace(gradients_));
    for (std::int64_t i = 0; i < one.batch * one.tokens; ++i)
      tokens_.push_back(static_cast<std::int32_t>((i * 2654435761 >> 8) % kVocabulary));
    log_ = std::make_unique<RunLog>(folder_.path, RunLogSettings{.layout = statistics_.record_layout(),
                                                                 .tensor_names = names(shape_.tensors),
                                                                 .norm_names = names(shape_.norms),
                                                                 .sublayer_names = names(shape_.sublayers)});
  }

  double plain_seconds() {
    return timed([&] {
      const Tensor loss = plain_.loss_sums;
      backend_.elementwise().fill(engine_.stream(), loss, 0);
      pass(plain_, UpdateResults::ClippingOnly, false);
      double host[kHeadLossSums];
      backend_.download(engine_.stream(), loss.data, host, sizeof host);
      engine_.stream().synchronize();
    });
  }

  double seconds_with_statistics() {
    return timed([&] {
      Stream& stream = engine_.stream();
      statistics_.begin_step(stream, cadence_);
      engine_.probe_norms(statistics_.probes());
      pass(statistics_.probes(), UpdateResults::All, true);
      statistics_.read_step(stream, {.step = step_,
                                     .tokens = step_,
                                     .step_tokens = one_.batch * one_.tokens,
                                     .sequences = one_.batch,
                                     .data_cursor = step_,
                                     .step_scalars = optimizer_.step_scalars(),
                                     .reduced_gradient_squares = optimizer_.gradient_squares(),
                                     .update_squares = optimizer_.update_squares(),
                                     .parameter_squares = optimizer_.parameter_squares(),
                                     .lag_squares = optimizer_.lag_squares(),
                                     .eps_dominated = optimizer_.eps_dominated()});
      log_->append(statistics_.finish_step(stream, {.step_seconds = 1}));
    });
  }

  /// Bytes that one rank puts into the two collectives of a step, and that a step writes.
  std::string bytes_per_step(int logged_steps) {
    log_->flush();
    const StatisticsLayout layout(shape_, settings_);
    const auto bytes = [](std::int64_t elements) { return static_cast<double>(elements) * sizeof(double); };
    return fmt::format("{:.1f} kB summed, {:.1f} kB gathered | {:.1f} kB",
                       bytes(layout.sum_elements(cadence_)) / 1e3, bytes(layout.row_elements(cadence_)) / 1e3,
                       folder_.bytes() / logged_steps / 1e3);
  }

 private:
  static std::vector<std::string> names(std::int64_t count) {
    std::vector<std::string> list;
    for (std::int64_t i = 0; i < count; ++i) list.push_back(std::to_string(i));
    return list;
  }

  template <class Body>
  double timed(Body&& body) {
    const double start = seconds_of(clock_);
    body();
    engine_.stream().synchronize();
    return seconds_of(clock_) - start;
  }

  void pass(const Probes& probes, UpdateResults results, bool local_squares) {
    Stream& stream = engine_.stream();
    engine_.begin_step(step_);
    optimizer_.begin_step(stream, step_, 1e-4);
    engine_.zero_gradients();
    engine_.upload_batch(tokens_, tokens_, 0);
    engine_.forward(probes, true);
    engine_.backward(probes, 1.0 / static_cast<double>(tokens_.size()), nullptr, true);
    if (local_squares) {
      backend_.elementwise().sum_of_squares(stream,
                                            {.squares = statistics_.gradient_squares_local(),
                                             .accumulate = false,
                                             .workspace = {workspace_.data(), workspace_.bytes()}},
                                            gradients_);
    }
    optimizer_.update(stream, results);
    ++step_;
  }

  Case one_;
  clockid_t clock_;
  Backend& backend_;
  Engine engine_;
  Optimizer optimizer_;
  LocalCommunicator communicator_{"localhost"};
  StatisticsShape shape_;
  StatisticsSettings settings_;
  Cadence cadence_;
  StepStatistics statistics_;
  Buffer loss_, workspace_;
  Probes plain_;
  std::vector<Tensor> gradients_;
  std::vector<std::int32_t> tokens_;
  Folder folder_;
  std::unique_ptr<RunLog> log_;
  std::int64_t step_ = 0;
};

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/// The order statistics between which the median lies with 95 %, whatever the distribution: ranks
/// n/2 -+ 1.96 sqrt(n)/2 (normal approximation of the binomial).
std::pair<double, double> interval_of_median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  const double half = 0.98 * std::sqrt(n);
  const double low = std::max(0.0, std::floor((n - 1) / 2 - half));
  const double high = std::min(n - 1, std::ceil((n - 1) / 2 + half));
  return {values[static_cast<std::size_t>(low)], values[static_cast<std::size_t>(high)]};
}

void measure(const Case& one, const std::string& dtype, const Arguments& arguments, Backend& backend) {
  const Config config = config_of(one, arguments.settings);
  Model model(one, config, dtype == "bf16" ? DType::BFloat16 : DType::Float32,
              arguments.processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, backend);
  std::vector<double> plain, with, ratios;
  constexpr int kWarmUp = 3;
  for (int pair = -kWarmUp; pair < arguments.pairs; ++pair) {
    // Neither is always the first.
    const bool plain_first = pair % 2 == 0;
    double without = plain_first ? model.plain_seconds() : 0;
    const double taken = model.seconds_with_statistics();
    if (!plain_first) without = model.plain_seconds();
    if (pair < 0) continue;
    plain.push_back(without);
    with.push_back(taken);
    ratios.push_back(taken / without);
  }
  const auto [low, high] = interval_of_median(ratios);
  fmt::print(
      "| {}: {} blocks, width {}, T {}, B {} | {} | {} | {:.2f} | {:.2f} | {:.4f} | {:.4f} to {:.4f} | {} "
      "|\n",
      one.name, one.blocks, one.width, one.tokens, one.batch, dtype, arguments.pairs, 1e3 * median_of(plain),
      1e3 * median_of(with), median_of(ratios), low, high, model.bytes_per_step(arguments.pairs + kWarmUp));
  std::fflush(stdout);
}

void run(const Arguments& arguments) {
  if (arguments.threads > 0) set_thread_count(arguments.threads);
  const auto backend = make_backend(arguments.device);
  fmt::print("Device {}, {} threads, {} time; default statistics at every step, all of them logged.\n\n",
             backend->facts().name, thread_count(), arguments.processor_time ? "processor" : "wall");
  fmt::print(
      "| shape | dtype | pairs | ms without | ms with | ratio, median | 95 % of the median | bytes per step "
      "and rank "
      "on the wire | on disk |\n|---|---|---|---|---|---|---|---|---|\n");
  for (const Case& one : kCases) {
    if (!arguments.shape.empty() && arguments.shape != one.name) continue;
    for (const char* dtype : {"fp32", "bf16"}) {
      if (arguments.dtype.empty() || arguments.dtype == dtype) measure(one, dtype, arguments, *backend);
    }
  }
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  try {
    plumb::run(plumb::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "statistics_cost: %s\n", error.what());
    return 1;
  }
}
