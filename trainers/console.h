// The progress line that a person watches.
#pragma once

#include <cstdint>
#include <string>

namespace plumb {

struct Progress {
  std::int64_t step = 0, steps = 0;  ///< step just done, counted from 1
  double loss = 0;                   ///< nats per token
  double gradient_norm = 0, learning_rate = 0;
  double tokens_per_second = 0;
  double seconds_left = 0;
};

/// "step  1200/7200  loss 1.8123  |g| 0.412  lr 9.80e-04   12.3k tok/s  ETA 3:21". On a terminal the line is
/// rewritten in place; otherwise (also where mpirun's output is none) every call is a plain line of its own.
/// Only rank 0 prints.
class Console {
 public:
  Console();
  /// Rewrites the progress line; off a terminal it prints only every `every`-th step. No allocation.
  void progress(const Progress& progress, std::int64_t every);
  /// A line that stays, above the progress line.
  void line(const std::string& text);
  /// Ends the progress line.
  void finish();

 private:
  bool terminal_;
  bool open_ = false;
};

/// "3:21", "1:02:03".
std::string format_duration(double seconds);

}  // namespace plumb
