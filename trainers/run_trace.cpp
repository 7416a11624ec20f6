#include "run_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.h"
#include "core/log.h"
#include "trace/chrome_trace.h"
#include "trace/merge_traces.h"

namespace plumb {
namespace {

/// Without steps that were asked for: the first two allocate and record, as no later one does.
constexpr std::int64_t kSkipped = 2, kTraced = 3;

}  // namespace

std::optional<TraceSteps> trace_steps(const std::string& text) {
  if (text == "auto") return std::nullopt;
  const auto number = [](std::string_view part) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    return error == std::errc() && end == part.data() + part.size() ? value : 0;
  };
  const std::size_t dash = text.find('-');
  const std::string_view view = text;
  const std::int64_t first = number(view.substr(0, dash)),
                     last = dash == std::string::npos ? first : number(view.substr(dash + 1));
  if (first < 1 || last < first) {
    fail_input("--trace={} is not a range of steps; --trace=3-5 traces steps 3 to 5, --trace=7 step 7", text);
  }
  return TraceSteps{first, last};
}

RunTrace::RunTrace(Session& session, Backend& backend, std::optional<TraceSteps> steps)
    : session_(session), inner_(backend), recorder_(backend), observed_(backend, recorder_), steps_(steps) {
  session_.communicator().observe(&recorder_);
}

RunTrace::~RunTrace() { session_.communicator().observe(nullptr); }

void RunTrace::before_step(std::int64_t step) {
  if (!steps_) steps_ = TraceSteps{step + kSkipped, step + kSkipped + kTraced - 1};
  if (state_ == State::Recording && step > steps_->last) stop();
  if (state_ == State::Waiting && step >= steps_->first && step <= steps_->last) {
    begin_ = measure_clock_offset(session_.communicator());
    recorder_.start();
    state_ = State::Recording;
  }
  recorder_.set_step(step);
  if (state_ == State::Recording) last_step_ = step;
}

void RunTrace::stop() {
  recorder_.stop();
  state_ = State::Done;
  end_ = measure_clock_offset(session_.communicator());
}

bool RunTrace::write_part(const std::filesystem::path& run) const {
  const Communicator& communicator = session_.communicator();
  try {
    write_trace_part(run,
                     {.rank = session_.rank(),
                      .world = session_.world(),
                      .host = communicator.hosts()[static_cast<std::size_t>(session_.rank())],
                      .backend = std::string(inner_.name()),
                      .runs_behind = inner_.is_asynchronous(),
                      .begin = begin_,
                      .end = end_},
                     recorder_);
  } catch (const InputError& error) {
    log_warning("{}", error.what());
    return false;
  }
  return true;
}

void RunTrace::merge(const std::filesystem::path& run, double clock_error, double left_out) const {
  try {
    const MergedTrace merged = merge_traces(run);
    if (!merged.missing.empty()) {
      log_warning(
          "the trace's parts of {} ranks (the first is {}) are on other hosts, in {}: copy them here and "
          "type `plumb trace {}`",
          merged.missing.size(), merged.missing.front(), (run / "trace").string(), run.string());
    }
    std::string notes;
    if (session_.world() > 1) {
      notes += clock_error > 0 ? fmt::format("; clocks of ranks agree within {:.1f} us", clock_error / 1000)
                               : "; all ranks have one clock";
    }
    if (left_out > 0)
      notes += fmt::format("; {:.0f} spans had no room on some rank: trace fewer steps", left_out);
    fmt::print("trace of steps {} to {}: {}, for ui.perfetto.dev or chrome://tracing{}\n", steps_->first,
               last_step_, merged.path.string(), notes);
  } catch (const InputError& error) {
    log_warning("{}", error.what());
  }
}

void RunTrace::finish(const std::filesystem::path& run) {
  if (state_ == State::Waiting) {
    if (!session_.is_first() || !steps_) return;
    log_warning("nothing was traced: the run ended before step {}; --trace=FIRST-LAST names other steps",
                steps_->first);
    return;
  }
  if (state_ == State::Recording) stop();
  const bool written = write_part(run);
  std::array<double, 3> worst = {static_cast<double>(std::max(begin_.error, end_.error)),
                                 static_cast<double>(recorder_.left_out()), written ? 0.0 : 1.0};
  session_.communicator().all_reduce("trace", Tensor(worst.data(), DType::Float64, {3}), ReduceOp::Max);
  if (session_.is_first() && worst[2] == 0) merge(run, worst[0], worst[1]);
}

}  // namespace plumb
