#include "console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace plumb {
namespace {

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

std::string format_progress(const Progress& progress) {
  const auto digits = std::to_string(progress.steps).size();
  return fmt::format("step {:>{}}/{}  loss {:.4f}  |g| {:.3f}  lr {:.2e}  {:>6} tok/s  ETA {}", progress.step,
                     digits, progress.steps, progress.loss, progress.gradient_norm, progress.learning_rate,
                     format_rate(progress.tokens_per_second), format_duration(progress.seconds_left));
}

Console::Console() : terminal_(isatty(STDOUT_FILENO) != 0) {}

void Console::progress(const Progress& progress, std::int64_t every) {
  if (terminal_) {
    fmt::print("\r{}\x1b[K", format_progress(progress));
    open_ = true;
  } else if (every > 0 && (progress.step % every == 0 || progress.step == progress.steps)) {
    fmt::print("{}\n", format_progress(progress));
  }
  std::fflush(stdout);
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
