#include "planned_run.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "backend_options.h"
#include "checkpointed_model.h"
#include "comm/host_sums.h"
#include "comm/planned_communicator.h"
#include "core/error.h"
#include "nn/initialization_memory.h"

namespace plumb {
namespace {

/// What operator new has handed out and that still lives.
std::size_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::size_t sum_of(const std::vector<MemoryShare>& shares) {
  std::size_t bytes = 0;
  for (const MemoryShare& share : shares) bytes += share.bytes;
  return bytes;
}

void add(std::vector<MemoryShare>& shares, std::string name, std::size_t bytes) {
  if (bytes > 0) shares.push_back({std::move(name), bytes});
}

}  // namespace

std::size_t RankMemory::device_bytes() const {
  return sum_of({steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(device_items)});
}
std::size_t RankMemory::step_bytes() const { return sum_of(steps); }
std::size_t RankMemory::peak_bytes() const {
  std::size_t most = 0;
  for (const MemoryShare& share : peaks) most = std::max(most, share.bytes);
  return step_bytes() + most;
}

LoadedConfig with_local_sequences(const LoadedConfig& loaded, std::int64_t local_sequences, int world) {
  LoadedConfig scaled = loaded;
  scaled.config.training.tokens_per_step = 0;
  scaled.config.training.sequences_per_step = local_sequences * world;
  return scaled;
}

std::unique_ptr<Session> planned_session(const PlannedRank& place, bool rounds) {
  const Launch launch{.launcher = place.world > 1 ? Launcher::OpenMpi : Launcher::None,
                      .rank = place.rank,
                      .world = place.world,
                      .local_rank = place.rank % place.ranks_per_host,
                      .local_size = std::min(place.ranks_per_host, place.world)};
  return std::make_unique<Session>(launch,
                                   std::make_unique<PlannedCommunicator>(
                                       place.rank, planned_hosts(place.world, place.ranks_per_host), rounds));
}

PlannedRun::PlannedRun(const LoadedConfig& loaded, const LanguageModelTask& task, const PlannedRank& place)
    : loaded_(loaded), place_(place), share_(check_batch(loaded_, place.world)), task_(task) {
  const Config& config = loaded_.config;
  const SumPath path = sum_path(config.communication);
  session_ = planned_session(place, path.rounding && place.world > place.ranks_per_host);
  backend_ = make_planned_memory(config.device, backend_options(config.compute, session_->launch()));
  const DType compute = resolve_compute_dtype(config.compute.dtype, *backend_);
  const std::size_t before = heap_bytes();
  loop_ = std::make_unique<TrainingLoop>(*session_, loaded_, share_, task_, *backend_, compute);
  heap_bytes_ = heap_bytes() - std::min(heap_bytes(), before);
}

RankMemory PlannedRun::memory() const {
  RankMemory memory;
  const Config& config = loaded_.config;
  for (const MemoryShare& share : loop_->memory_plan()) add(memory.steps, share.name, share.bytes);
  // What no item names is an error of the items, not of the sum.
  add(memory.steps, "other device memory",
      allocated_bytes() - std::min(allocated_bytes(), sum_of(memory.steps)));
  memory.device_items = memory.steps.size();
  memory.on_device = backend_->is_asynchronous();
  add(memory.steps, "staging of batches and statistics", backend_->host_bytes());
  add(memory.steps, "tables of the training loop", heap_bytes_);
  if (place_.world > 1 && !backend_->has_communicator())
    add(memory.steps, "buffers of sums by host", HostSums::segment_bytes());

  const std::int64_t largest = [&] {
    std::int64_t elements = 0;
    for (const Parameter& parameter : loop_->engine().parameters().all())
      elements = std::max(elements, parameter.shape.elements());
    return elements;
  }();
  add(memory.peaks, "drawing initial values", initialization_bytes(largest));
  const bool saves = config.checkpoint.every > 0 || config.checkpoint.at_end;
  if (saves && place_.rank == 0) add(memory.peaks, "saving a checkpoint", loop_->checkpoint_bytes());
  return memory;
}

std::vector<double> PlannedRun::bucket_bytes() const {
  const auto size = static_cast<double>(size_of(loop_->engine().parameters().flat_gradient().dtype));
  std::vector<double> bytes;
  for (const Bucket& bucket : loop_->reducer().layout().buckets)
    bytes.push_back(size * static_cast<double>(bucket.count));
  return bytes;
}

double PlannedRun::flops_per_sequence() const {
  const ModelConfig& model = loaded_.config.model;
  double elements = 0;
  for (const Parameter* parameter : loop_->engine().parameters().trainable()) {
    // A table is read, not multiplied, unless it is the head as well.
    const bool is_table =
        parameter->name == "embedding.position" || (parameter->name == "embedding.token" && !model.tied_head);
    if (parameter->shape.rank() >= 2 && !is_table)
      elements += static_cast<double>(parameter->shape.elements());
  }
  const auto tokens = static_cast<double>(model.sequence_length);
  const auto attended = static_cast<double>(model.blocks * model.sequence_length * model.width);
  return tokens * (6 * elements + 12 * attended);
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word) {
    std::size_t kibibytes = 0;
    if (word == "VmRSS:" && file >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace plumb
