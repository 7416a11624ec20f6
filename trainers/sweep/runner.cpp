#include "sweep/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "console.h"
#include "core/file.h"
#include "core/log.h"
#include "cores.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

}  // namespace

std::string CellOutcome::text() const {
  if (failed()) return fmt::format("failed (status {})", status);
  return name_of(progress.state);
}

std::vector<std::vector<int>> processor_shares(int jobs) {
  std::vector<std::vector<int>> shares(static_cast<std::size_t>(jobs));
  if (jobs == 1) return shares;
  const std::vector<int> processors = allowed_processors(), cores = cores_of(processors);
  const std::size_t count = cores.size(), slots = shares.size();
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::size_t first = count >= slots ? slot * count / slots : slot % count;
    const std::size_t last = count >= slots ? (slot + 1) * count / slots : first + 1;
    for (const int processor : processors) {
      const int core = cores_of({processor}).front();
      const auto place =
          static_cast<std::size_t>(std::find(cores.begin(), cores.end(), core) - cores.begin());
      if (place >= first && place < last) shares[slot].push_back(processor);
    }
  }
  return shares;
}

SweepRunner::SweepRunner(const SweepPlan& plan, const SweepOptionsOfRuns& options,
                         const PresetProvider& presets)
    : plan_(plan), options_(options), presets_(presets), processors_(processor_shares(options.jobs)) {
  for (const SweepCell& cell : plan.cells)
    outcomes_.push_back({.progress = read_progress(cell, presets), .status = 0, .seconds = 0});
}

std::vector<CellProgress> SweepRunner::progress() const {
  std::vector<CellProgress> list;
  for (const CellOutcome& outcome : outcomes_) list.push_back(outcome.progress);
  return list;
}

std::vector<std::string> SweepRunner::command_of(std::size_t cell) const {
  std::vector<std::string> command = options_.launcher;
  command.insert(command.end(),
                 {options_.program, "train", plan_.cells[cell].file.string(), "--resume", "auto"});
  // Its steps can be had again only from the beginning.
  if (outcomes_[cell].progress.state == CellState::Lost)
    command.insert(command.end(), {"--set", "run.overwrite=true"});
  return command;
}

int SweepRunner::free_slot() const {
  for (int slot = 0; slot < options_.jobs; ++slot) {
    if (std::none_of(running_.begin(), running_.end(),
                     [&](const auto& entry) { return entry.second.slot == slot; }))
      return slot;
  }
  return -1;
}

void SweepRunner::start(std::size_t cell, int slot) {
  const pid_t child = start_child({.arguments = command_of(cell),
                                   .output = plan_.output_of(plan_.cells[cell]),
                                   .processors = processors_[static_cast<std::size_t>(slot)]});
  running_[child] = {.cell = cell, .slot = slot, .started = Clock::now()};
  const CellProgress& progress = outcomes_[cell].progress;
  const std::string from =
      progress.state == CellState::New ? "" : fmt::format(" ({})", name_of(progress.state));
  say(fmt::format("[{}/{}] {}{}", cell + 1, plan_.cells.size(), plan_.cells[cell].name, from));
}

void SweepRunner::finish(const ChildEnd& end, bool was_stopped) {
  const auto found = running_.find(end.child);
  if (found == running_.end()) return;
  const Running run = found->second;
  running_.erase(found);
  CellOutcome& outcome = outcomes_[run.cell];
  const SweepCell& cell = plan_.cells[run.cell];
  outcome.progress = read_progress(cell, presets_);
  outcome.status = was_stopped ? 0 : end.status;
  outcome.seconds = std::chrono::duration<double>(Clock::now() - run.started).count();
  say(fmt::format("[{}/{}] {}: {} at step {}, loss {:.4f}, {}", run.cell + 1, plan_.cells.size(), cell.name,
                  outcome.text(), outcome.progress.step, outcome.progress.training_loss,
                  format_duration(outcome.seconds)));
  if (outcome.failed())
    log_warning("{} failed; what it printed: {}", cell.name, plan_.output_of(cell).string());
}

int SweepRunner::run(const std::function<void()>& changed) {
  const SignalWatch watch;
  create_folders(plan_.output_folder());
  std::deque<std::size_t> waiting;
  for (std::size_t cell = 0; cell < plan_.cells.size(); ++cell) {
    if (outcomes_[cell].progress.state != CellState::Finished) waiting.push_back(cell);
  }
  int stop = 0;
  while (!running_.empty() || (stop == 0 && !waiting.empty())) {
    for (int slot = free_slot(); stop == 0 && slot >= 0 && !waiting.empty(); slot = free_slot()) {
      start(waiting.front(), slot);
      waiting.pop_front();
    }
    const int signal = watch.wait();
    if (signal != 0 && signal != SIGCHLD) {
      say(stop == 0 ? "stopping: the runs save a checkpoint and end; once more kills them"
                    : "killing the runs");
      for (const auto& [child, run] : running_) {
        if (stop == 0) {
          kill(child, SIGUSR1);  // which mpirun passes on at once
        } else {
          kill(-child, SIGKILL);
        }
      }
      stop = signal;
    }
    for (const ChildEnd& end : SignalWatch::ended()) {
      finish(end, stop != 0);
      changed();
    }
  }
  return stop;
}

}  // namespace plumb
