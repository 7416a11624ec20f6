#include "stability/step_record.h"

#include <utility>

#include "core/error.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {

std::span<const double> StepRecord::of(std::string_view file, std::string_view path) const {
  const RecordField* field = layout->find(file, path);
  PLUMB_CHECK(field != nullptr, "records of this run have no {} in {}", path, file);
  return of(*field);
}

void StepRecord::set(std::string_view path, double value) {
  const RecordField* field = layout->find(log_file::kMetrics, path);
  PLUMB_CHECK(field != nullptr && field->statistic->formula == nullptr, "{} is not the trainer's to set",
              path);
  values[static_cast<std::size_t>(field->place)] = value;
}

std::span<double> StepRecord::list(std::string_view path) {
  const RecordField* field = layout->find(log_file::kStability, path);
  PLUMB_CHECK(field != nullptr && field->statistic->formula == nullptr, "{} is not the trainer's to fill",
              path);
  return std::span(values).subspan(static_cast<std::size_t>(field->place),
                                   static_cast<std::size_t>(field->count));
}

StepRecord make_step_record(std::shared_ptr<const RecordLayout> layout) {
  StepRecord record;
  record.values.assign(static_cast<std::size_t>(layout->elements()), kAbsent);
  record.layout = std::move(layout);
  return record;
}

}  // namespace plumb
