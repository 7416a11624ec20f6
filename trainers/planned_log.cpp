#include "planned_log.h"

#include "stability/absent.h"
#include "stability/record_json.h"
#include "stability/statistics_table.h"
#include "stability/step_record.h"

namespace plumb {
namespace {

/// What a number of most records looks like, and a counter of them.
constexpr double kNumber = 0.012345678901234567, kCounter = 123456;

std::size_t line_bytes(StepRecord& record, std::string_view file, bool detailed) {
  for (const RecordField& field : record.layout->fields()) {
    const Statistic& statistic = *field.statistic;
    const double value = statistic.detailed && !detailed  ? kAbsent
                         : statistic.form == Form::Number ? kNumber
                                                          : kCounter;
    for (std::int64_t i = 0; i < field.count; ++i)
      record.values[static_cast<std::size_t>(field.place + i)] = value;
  }
  return record_line(record, file).size();
}

/// A line in every `every`-th step; 0 = in none.
double over(std::int64_t every, double bytes) { return every > 0 ? bytes / static_cast<double>(every) : 0; }

}  // namespace

LogBytes planned_log_bytes(const std::shared_ptr<const RecordLayout>& layout, const Config& config) {
  StepRecord record = make_step_record(layout);
  const auto bytes = [&](std::string_view file, bool detailed) {
    return static_cast<double>(line_bytes(record, file, detailed));
  };
  const double plain = bytes(log_file::kStability, false), full = bytes(log_file::kStability, true);
  return {.metrics = bytes(log_file::kMetrics, true),
          .stability =
              over(config.log.stability_every, plain + over(config.statistics.detail_every, full - plain)),
          .ranks = over(config.log.ranks_every, bytes(log_file::kRanks, true))};
}

}  // namespace plumb
