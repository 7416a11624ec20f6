// PlannedRun: a run as one rank of a world would build it, on memory that is only counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "config/batch.h"
#include "config/load.h"
#include "lm_task.h"
#include "planned_log.h"
#include "session.h"
#include "training_loop.h"

namespace plumb {

/// Which rank of which world, and how it is placed.
struct PlannedRank {
  int rank = 0;
  int world = 1;
  int ranks_per_host = 1;
};

/// Memory of a rank. "Steps": what is there in every step; peak: the most that there is at any time.
struct RankMemory {
  std::vector<MemoryShare> steps;  ///< the device's, item by item, then the host's
  std::vector<MemoryShare> peaks;  ///< what is there for a while; these do not overlap in time
  bool on_device = false;          ///< whether the first `device_items` are not the host's memory
  std::size_t device_items = 0;

  std::size_t device_bytes() const;  ///< of the backend's allocations
  std::size_t step_bytes() const;    ///< host and device
  std::size_t peak_bytes() const;    ///< with the largest of `peaks`
};

/// The configuration for a world of so many ranks, each of which makes `local_sequences` in a step.
LoadedConfig with_local_sequences(const LoadedConfig& loaded, std::int64_t local_sequences, int world);

/// A session whose other ranks are not there.
std::unique_ptr<Session> planned_session(const PlannedRank& place, bool rounds);

class PlannedRun {
 public:
  /// Builds the TrainingLoop that `plumb train` would, by the same constructor; threads
  /// (core/parallel_for.h) are set already. `task`: with data, which must fit the model. InputError where
  /// training could not start either.
  PlannedRun(const LoadedConfig& loaded, const LanguageModelTask& task, const PlannedRank& place);

  /// Without what a process takes before it builds anything (process_base_bytes).
  RankMemory memory() const;
  /// What the backend would have handed out: MemoryUse::bytes of a run on it.
  std::size_t allocated_bytes() const { return backend_->memory_use().bytes; }
  std::int64_t parameters() const { return loop_->engine().parameters().trainable_elements(); }
  /// Of every gradient bucket.
  std::vector<double> bucket_bytes() const;
  /// Of a forward and a backward pass over one sequence: 6 per matrix element and token, and 12 L T C per
  /// token for attention's products (PaLM, arXiv 2204.02311, appendix B; causal masks not halved).
  double flops_per_sequence() const;
  /// What rank 0 writes.
  LogBytes log_bytes() const { return planned_log_bytes(loop_->log_settings().layout, loaded_.config); }
  bool is_asynchronous() const { return backend_->is_asynchronous(); }
  std::string device() const { return std::string(backend_->name()); }
  const BatchShare& batch_share() const { return share_; }

 private:
  LoadedConfig loaded_;
  PlannedRank place_;
  BatchShare share_;
  LanguageModelTask task_;
  std::unique_ptr<PlannedMemory> backend_;
  std::unique_ptr<Session> session_;
  std::size_t heap_bytes_ = 0;  ///< that operator new gave the loop
  std::unique_ptr<TrainingLoop> loop_;
};

/// Resident memory of this process, in bytes: of a process that has built nothing, what training takes
/// before it builds (the program, its libraries, MPI where it runs).
std::size_t resident_bytes();

}  // namespace plumb
