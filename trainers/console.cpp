#include "console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "comm/bootstrap.h"
#include "core/error.h"

namespace plumb {
namespace {

/// Name and parent of a process; the name is empty when there is none.
struct Process {
  std::string name;
  long parent = 0;
};

Process look_up(long id) {
  Process process;
  std::ifstream(fmt::format("/proc/{}/comm", id)) >> process.name;
  std::ifstream status(fmt::format("/proc/{}/status", id));
  for (std::string word; status >> word;) {
    if (word == "PPid:" && status >> process.parent) break;
  }
  return process;
}

/// mpirun gives rank 0 a pseudo-terminal whatever it writes to itself, so its own output is what counts.
bool mpirun_writes_to_terminal() {
  for (long id = getppid(); id > 1;) {
    const Process process = look_up(id);
    if (process.name == "mpirun" || process.name == "mpiexec" || process.name == "orterun" ||
        process.name == "prterun") {
      // O_NONBLOCK: opening a FIFO that nobody reads would wait for a reader.
      const int output =
          open(fmt::format("/proc/{}/fd/1", id).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
      if (output < 0) return false;
      const bool terminal = isatty(output) != 0;
      close(output);
      return terminal;
    }
    id = process.parent;
  }
  return false;
}

bool watched() {
  if (isatty(STDOUT_FILENO) == 0) return false;
  return detect_launch().launcher != Launcher::OpenMpi || mpirun_writes_to_terminal();
}

std::string format_rate(double per_second) {
  if (per_second >= 1e6) return fmt::format("{:.2f}M", per_second / 1e6);
  if (per_second >= 1e3) return fmt::format("{:.1f}k", per_second / 1e3);
  return fmt::format("{:.0f}", per_second);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

Console::Console() : terminal_(watched()) {}

void Console::progress(const Progress& progress, std::int64_t every) {
  if (every <= 0) return;
  const bool due = progress.step % every == 0 || progress.step == progress.steps;
  if (!terminal_ && !due) return;
  // Between two steps nothing is allocated: the line is made in place.
  fmt::memory_buffer line;
  const auto digits = std::to_string(progress.steps).size();
  fmt::format_to(std::back_inserter(line),
                 "{}step {:>{}}/{}  loss {:.4f}  |g| {:.3f}  lr {:.2e}  {:>6} tok/s  ETA {}{}",
                 terminal_ ? "\r" : "", progress.step, digits, progress.steps, progress.loss,
                 progress.gradient_norm, progress.learning_rate, format_rate(progress.tokens_per_second),
                 format_duration(progress.seconds_left), terminal_ ? "\x1b[K" : "\n");
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
  open_ = terminal_;
}

void Console::line(const std::string& text) {
  fmt::print("{}{}\n", open_ ? "\r\x1b[K" : "", text);
  open_ = false;
  std::fflush(stdout);
}

void Console::finish() {
  if (open_) fmt::print("\n");
  open_ = false;
}

}  // namespace plumb
