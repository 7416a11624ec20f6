// A language model with its optimiser and its statistics, for programs that time steps. A step computes what
// one of the training loop (trainers/training_loop.h) does on one rank; it has always the same batch, follows
// no schedule, makes no checkpoint, raises no alarm, and is waited for.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/local_communicator.h"
#include "config/config.h"
#include "nn/engine.h"
#include "optim/optimizer.h"
#include "stability/run_log.h"
#include "stability/step_statistics.h"
#include "step_parts.h"

namespace plumb::benchmarks {

struct ModelSize {
  std::int64_t blocks, width, heads, tokens, batch, vocabulary;
};

/// The configuration of that model: `settings` are lines of `plumb train --set`. Statistics at every step.
Config config_of(const ModelSize& size, const std::vector<std::string>& settings);

/// Seconds of a clock of clock_gettime.
double seconds_of(clockid_t clock);

/// A folder that goes away.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  double bytes() const;

 private:
  std::filesystem::path path_;
};

class BenchmarkModel {
 public:
  /// `clock`: CLOCK_MONOTONIC, or CLOCK_PROCESS_CPUTIME_ID for processor time of all threads. The backend
  /// must outlive it. With compute.captured_steps a step is replayed, as in a run.
  BenchmarkModel(const ModelSize& size, const Config& config, DType compute, clockid_t clock,
                 Backend& backend);

  /// One step that leaves its loss alone. Seconds.
  double plain_step();
  /// One step with the statistics of the configuration, written to the log.
  double step_with_statistics();

  std::int64_t parameters() const;
  /// Bytes that one rank puts into the two collectives of a step, and that a step writes to disk.
  struct Bytes {
    double summed, gathered, written;
  };
  Bytes bytes_per_step(int logged_steps);

 private:
  static std::vector<std::string> names(std::int64_t count);
  template <class Body>
  double timed(Body&& body);
  void pass(StepParts::Part part, const Probes& probes, UpdateResults results);

  ModelSize size_;
  clockid_t clock_;
  Backend& backend_;
  Engine engine_;
  Optimizer optimizer_;
  LocalCommunicator communicator_{"localhost"};
  StatisticsShape shape_;
  StatisticsSettings settings_;
  Cadence cadence_;
  StepStatistics statistics_;
  Buffer loss_;
  Probes plain_;
  StepParts parts_;
  std::vector<std::int32_t> tokens_;
  TemporaryFolder folder_;
  std::unique_ptr<RunLog> log_;
  std::int64_t step_ = 0;
};

}  // namespace plumb::benchmarks
