// RecordLayout: which fields the records of a run have, and where their values lie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "stability/statistic.h"
#include "stability/statistics_settings.h"
#include "stability/statistics_shape.h"

namespace plumb {

/// One field: a row of the table, or one of the two that a row with "{stream,branch}" stands for.
struct RecordField {
  const Statistic* statistic = nullptr;
  std::string path;
  std::int64_t first_index = 0;  ///< what the formula calls its entry 0
  std::int64_t place = 0;        ///< of entry 0 among the record's values
  std::int64_t count = 0;
  bool is_list = true;  ///< written as a list, also if it has one entry
};

class RecordLayout {
 public:
  RecordLayout(const StatisticsShape& shape, int world, const StatisticsSettings& settings);

  /// In the order of the table; the numbers only.
  const std::vector<RecordField>& fields() const { return fields_; }
  /// Null if records of this run have no such field.
  const RecordField* find(std::string_view file, std::string_view path) const;
  std::int64_t elements() const { return elements_; }
  const StatisticsShape& shape() const { return shape_; }
  int world() const { return world_; }

 private:
  StatisticsShape shape_;
  int world_;
  std::vector<RecordField> fields_;
  std::int64_t elements_ = 0;
};

}  // namespace plumb
