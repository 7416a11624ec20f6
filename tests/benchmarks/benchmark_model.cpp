#include "benchmark_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include "config/load.h"
#include "nn/placement.h"

namespace plumb::benchmarks {

Config config_of(const ModelSize& size, const std::vector<std::string>& more) {
  std::vector<std::string> settings = {
      fmt::format("model.blocks={}", size.blocks),
      fmt::format("model.width={}", size.width),
      fmt::format("model.heads={}", size.heads),
      fmt::format("model.sequence_length={}", size.tokens),
      fmt::format("training.sequences_per_step={}", size.batch),
      "data.kind=markov",
      "log.stability_every=1",
  };
  settings.insert(settings.end(), more.begin(), more.end());
  return load_config({ConfigSource{"benchmark", ""}}, settings, {placement_settings, placement_names}).config;
}

double seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TemporaryFolder::TemporaryFolder()
    : path_(std::filesystem::temp_directory_path() /
            fmt::format("plumb_benchmark_{}", static_cast<long>(::getpid()))) {
  std::filesystem::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

double TemporaryFolder::bytes() const {
  double sum = 0;
  for (const auto& file : std::filesystem::directory_iterator(path_))
    sum += static_cast<double>(file.file_size());
  return sum;
}

template <class Body>
double BenchmarkModel::timed(Body&& body) {
  const double start = seconds_of(clock_);
  body();
  engine_.stream().synchronize();
  return seconds_of(clock_) - start;
}

BenchmarkModel::BenchmarkModel(const ModelSize& size, const Config& config, DType compute, clockid_t clock,
                               Backend& backend)
    : size_(size),
      clock_(clock),
      backend_(backend),
      engine_(config.model, size.vocabulary, {.batch = size.batch, .tokens = size.tokens, .compute = compute},
              1, backend),
      optimizer_({}, engine_.parameters(), backend),
      shape_(statistics_shape(engine_)),
      settings_(statistics_settings(config)),
      cadence_(config.log.stability_every == 0       ? Cadence::EveryStep
               : config.statistics.detail_every == 0 ? Cadence::Sampled
                                                     : Cadence::Detailed),
      statistics_(shape_, settings_, backend, communicator_),
      loss_(backend.allocate(kHeadLossSums * sizeof(double))),
      parts_(backend, engine_.stream(), config.compute.captured_steps) {
  engine_.initialize();
  engine_.set_loss_scale(optimizer_.loss_scale());
  plain_.loss_sums = Tensor(loss_.data(), DType::Float64, {kHeadLossSums});
  for (std::int64_t i = 0; i < size.batch * size.tokens; ++i)
    tokens_.push_back(static_cast<std::int32_t>((i * 2654435761 >> 8) % size.vocabulary));
  log_ = std::make_unique<RunLog>(folder_.path(), RunLogSettings{.layout = statistics_.record_layout(),
                                                                 .tensor_names = names(shape_.tensors),
                                                                 .norm_names = names(shape_.norms),
                                                                 .sublayer_names = names(shape_.sublayers)});
}

double BenchmarkModel::plain_step() {
  return timed([&] {
    const Tensor loss = plain_.loss_sums;
    backend_.elementwise().fill(engine_.stream(), loss, 0);
    pass(StepParts::kAccumulate, plain_, UpdateResults::ClippingOnly);
    double host[kHeadLossSums];
    backend_.download(engine_.stream(), loss.data, host, sizeof host);
    engine_.stream().synchronize();
  });
}

double BenchmarkModel::step_with_statistics() {
  return timed([&] {
    Stream& stream = engine_.stream();
    statistics_.begin_step(stream, cadence_);
    engine_.probe_norms(statistics_.probes());
    pass(StepParts::kReduceAndUpdate, statistics_.probes(), UpdateResults::All);
    statistics_.read_step(stream, {.step = step_,
                                   .tokens = step_,
                                   .step_tokens = size_.batch * size_.tokens,
                                   .sequences = size_.batch,
                                   .data_cursor = step_,
                                   .step_scalars = optimizer_.step_scalars(),
                                   .reduced_gradient_squares = optimizer_.gradient_squares(),
                                   .update_squares = optimizer_.update_squares(),
                                   .parameter_squares = optimizer_.parameter_squares(),
                                   .lag_squares = optimizer_.lag_squares(),
                                   .eps_dominated = optimizer_.eps_dominated(),
                                   .local_gradient_squares = optimizer_.gradient_squares()});
    log_->append(statistics_.finish_step(stream, {.step_seconds = 1}));
  });
}

std::int64_t BenchmarkModel::parameters() const {
  std::int64_t sum = 0;
  for (const Parameter* parameter : engine_.parameters().trainable()) sum += parameter->shape.elements();
  return sum;
}

BenchmarkModel::Bytes BenchmarkModel::bytes_per_step(int logged_steps) {
  log_->flush();
  const StatisticsLayout layout(shape_, settings_);
  const auto bytes = [](std::int64_t elements) { return static_cast<double>(elements) * sizeof(double); };
  return {bytes(layout.sum_elements(cadence_)), bytes(layout.row_elements(cadence_)),
          folder_.bytes() / logged_steps};
}

std::vector<std::string> BenchmarkModel::names(std::int64_t count) {
  std::vector<std::string> list;
  for (std::int64_t i = 0; i < count; ++i) list.push_back(std::to_string(i));
  return list;
}

/// `part` tells the two kinds of step apart for the recordings.
void BenchmarkModel::pass(StepParts::Part part, const Probes& probes, UpdateResults results) {
  Stream& stream = engine_.stream();
  engine_.begin_step(step_);
  optimizer_.begin_step(stream, step_, 1e-4);
  engine_.renew_gradients();
  engine_.upload_batch(tokens_, tokens_, 0);
  parts_.run(part, cadence_, [&] {
    engine_.forward_and_backward(probes, 1.0 / static_cast<double>(tokens_.size()), nullptr);
    optimizer_.update(stream, results);
  });
  ++step_;
}

}  // namespace plumb::benchmarks
