// TensorboardLog: the scalars of a run as TensorBoard events, live.
#pragma once

#include <vector>

#include "export/event_file.h"
#include "stability/record_sink.h"

namespace plumb {

/// Writes of every record the numbers of metrics.jsonl, as "metrics/<path>", and of one that is in
/// stability.jsonl a few of its profiles, as "stability/<path>_<which entry>" (kExcerpts in the source). What
/// a record has not is left out. The descriptions are those of the table of statistics.
class TensorboardLog final : public RecordSink {
 public:
  /// See EventFile.
  TensorboardLog(const std::filesystem::path& folder, std::optional<std::int64_t> first_step,
                 const RecordLayout& layout);

  void append(const StepRecord& record) override;
  void roll_back(std::int64_t first_step) override { file_.restart(first_step); }
  void sync() override { file_.sync(); }

 private:
  /// One number of a list, or the number itself.
  using Choice = double (*)(std::span<const double> values);
  struct Series {
    RecordField field;
    Choice choice;
    EventScalar scalar;
  };

  EventFile file_;
  std::vector<Series> series_;
  std::vector<EventScalar> scalars_;
};

}  // namespace plumb
