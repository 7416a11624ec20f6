#include "trace/chrome_trace.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plumb {
namespace {

constexpr int kTrainingThread = 0;

std::string quoted(std::string_view text) { return nlohmann::json(text).dump(); }

const char* category(TraceKind kind) {
  switch (kind) {
    case TraceKind::Phase:
      return "phase";
    case TraceKind::Op:
      return "op";
    case TraceKind::Call:
      return "call";
    case TraceKind::Wait:
      return "wait";
    case TraceKind::Collective:
      return "collective";
  }
  fail("a span of an unknown kind");
}

/// From this rank's clock to microseconds since the trace began, by that of rank 0.
class Clock {
 public:
  explicit Clock(const TracePart& part) : begin_(part.begin), end_(part.end) {}
  double microseconds(std::int64_t time) const {
    const auto span = static_cast<double>(end_.at - begin_.at);
    const double share = span > 0 ? static_cast<double>(time - begin_.at) / span : 0;
    const double drift = share * static_cast<double>(end_.offset - begin_.offset);
    return (static_cast<double>(time - begin_.offset - begin_.first_at) - drift) / 1000;
  }

 private:
  ClockOffset begin_, end_;
};

std::string head(const TracePart& part, const TraceRecorder& recorder) {
  const auto clock = [](const ClockOffset& offset) {
    return nlohmann::ordered_json{{"offset_us", static_cast<double>(offset.offset) / 1000},
                                  {"error_us", static_cast<double>(offset.error) / 1000},
                                  {"same_clock_as_rank_0", offset.same_clock}};
  };
  nlohmann::ordered_json other;
  other["trace"] = part.begin.first_at;  // the same on all ranks, and of no other trace
  other["rank"] = part.rank;
  other["world"] = part.world;
  other["host"] = part.host;
  other["backend"] = part.backend;
  other["op_times"] = part.runs_behind ? "of the calls on the host; the device runs behind them"
                                       : "of the calls, which return when the op is done";
  other["spans"] = recorder.events().size();
  other["spans_left_out"] = recorder.left_out();
  other["clock_at_begin"] = clock(part.begin);
  other["clock_at_end"] = clock(part.end);
  return fmt::format("{{\"displayTimeUnit\":\"ms\",\"otherData\":{},\"traceEvents\":[\n", other.dump());
}

std::string name_event(const char* what, const TracePart& part, std::string_view name) {
  return fmt::format(R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":{}}}}})", what, part.rank,
                     kTrainingThread, quoted(name));
}

std::string arguments_of(const TraceEvent& event) {
  std::string text = fmt::format("\"step\":{}", event.step);
  if (event.collective != nullptr)
    text += fmt::format(",\"collective\":\"{}\",\"bytes\":{}", event.collective, event.bytes);
  for (int i = 0; i < event.tensors; ++i) {
    const TraceEvent::Argument& argument = event.arguments[static_cast<std::size_t>(i)];
    text += fmt::format("{}\"{} {}\"", i == 0 ? ",\"shapes\":[" : ",", name_of(argument.dtype),
                        to_string(argument.shape));
  }
  return text + (event.tensors > 0 ? "]" : "");
}

/// A span of the training thread, or the two ends of a collective, which overlaps others.
std::string event_lines(const TraceEvent& event, std::size_t index, int rank, const Clock& clock) {
  const double begin = clock.microseconds(event.begin), end = clock.microseconds(event.end);
  const std::string common =
      fmt::format(R"("name":{},"cat":"{}","pid":{},"tid":{})", quoted(event.name.data()),
                  category(event.kind), rank, kTrainingThread);
  if (event.kind != TraceKind::Collective) {
    return fmt::format(R"({{"ph":"X",{},"ts":{:.3f},"dur":{:.3f},"args":{{{}}}}})", common, begin,
                       end - begin, arguments_of(event));
  }
  const std::string id = fmt::format(R"("id":"{}-{}")", rank, index);
  return fmt::format(
      "{{\"ph\":\"b\",{0},{1},\"ts\":{2:.3f},\"args\":{{{3}}}}},\n{{\"ph\":\"e\",{0},{1},\"ts\":{4:.3f}}}",
      common, id, begin, arguments_of(event), end);
}

}  // namespace

std::filesystem::path trace_part_path(const std::filesystem::path& run, int rank) {
  return run / "trace" / fmt::format("rank_{:05}.json", rank);
}

void write_trace_part(const std::filesystem::path& run, const TracePart& part,
                      const TraceRecorder& recorder) {
  const std::filesystem::path path = trace_part_path(run, part.rank);
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::ofstream file(path, std::ios::binary);
  const Clock clock(part);
  file << head(part, recorder)
       << name_event("process_name", part, fmt::format("rank {} on {}", part.rank, part.host)) << ",\n"
       << fmt::format(
              R"({{"ph":"M","name":"process_sort_index","pid":{0},"tid":{1},"args":{{"sort_index":{0}}}}})",
              part.rank, kTrainingThread)
       << ",\n"
       << name_event("thread_name", part, "training thread");
  for (std::size_t i = 0; i < recorder.events().size(); ++i)
    file << ",\n" << event_lines(recorder.events()[i], i, part.rank, clock);
  file << "\n]}\n";
  file.close();
  if (!file) fail_input("cannot write the trace '{}': {}", path.string(), std::strerror(errno));
}

}  // namespace plumb
