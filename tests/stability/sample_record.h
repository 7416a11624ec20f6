// A record with every field set to a value of its own, for the tests of the run log.
#pragma once

#include <memory>
#include <string_view>

#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_record.h"

namespace plumb::test {

inline StatisticsShape sample_shape() {
  return {.sublayers = 2, .width = 4, .tensors = 3, .norms = 1, .norm_entries = {4, 0}};
}

/// All statistics.
inline std::shared_ptr<const RecordLayout> sample_layout(int world) {
  return std::make_shared<RecordLayout>(sample_shape(), world, all_statistics());
}

inline void set(StepRecord& record, std::string_view file, std::string_view path, std::size_t entry,
                double value) {
  record.values[static_cast<std::size_t>(record.layout->find(file, path)->place) + entry] = value;
}

inline StepRecord sample_record(std::int64_t step, int world) {
  StepRecord record = make_step_record(sample_layout(world));
  record.step = step;
  record.sampled = true;
  double next = 0.5;
  for (const RecordField& field : record.layout->fields()) {
    for (std::int64_t i = 0; i < field.count; ++i) {
      double& value = record.values[static_cast<std::size_t>(field.place + i)];
      if (field.path == "step") {
        value = static_cast<double>(step);
      } else if (field.statistic->form == Form::Flag) {
        value = 0;
      } else if (field.statistic->form == Form::Integer) {
        value = static_cast<double>(256 * step);
      } else {
        value = next += 0.1;
      }
    }
  }
  for (const char* validation : {"val_loss", "val_bits_per_byte"}) record.set(validation, kAbsent);
  set(record, log_file::kMetrics, "loss", 0, 2.0 / 3.0 + static_cast<double>(step));
  return record;
}

inline std::vector<double> values_of(const StepRecord& record, std::string_view file, std::string_view path) {
  const auto values = record.of(file, path);
  return {values.begin(), values.end()};
}

}  // namespace plumb::test
