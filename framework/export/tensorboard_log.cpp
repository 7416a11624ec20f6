#include "export/tensorboard_log.h"

#include <algorithm>

#include "core/maximum.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

double first(std::span<const double> values) { return values.front(); }
double last(std::span<const double> values) { return values.back(); }

/// Over the entries that exist; a NaN among them is not lost.
template <double (*better)(double, double)>
double extreme(std::span<const double> values) {
  double found = kAbsent;
  for (const double value : values) {
    if (is_absent(value)) continue;
    found = is_absent(found) ? value : better(value, found);
  }
  return found;
}

double larger(double value, double found) { return maximum_or_nan(value, found); }
double smaller(double value, double found) { return -maximum_or_nan(-value, -found); }

/// What of stability.jsonl is worth a curve: where the stream ends, the ends of the gradient, the worst
/// place.
struct Excerpt {
  std::string_view path;
  std::string_view which;  ///< empty: it is one number
  double (*choice)(std::span<const double>);
};

constexpr Excerpt kExcerpts[] = {
    {"profiles.stream.mean_abs", "last", last},
    {"profiles.stream.entry_variance", "last", last},
    {"profiles.stream.data_variance", "last", last},
    {"profiles.stream.max_abs", "max", extreme<larger>},
    {"profiles.branch.rms", "max", extreme<larger>},
    {"profiles.stream.gradient_norm", "first", first},
    {"profiles.stream.gradient_norm", "last", last},
    {"gradient_bottom_top", "", first},
    {"attention.max_logit", "max", extreme<larger>},
    {"attention.normalised_entropy.min", "min", extreme<smaller>},
    {"tensors.grad_norm", "max", extreme<larger>},
    {"tensors.update_ratio", "max", extreme<larger>},
};

std::string flat(std::string_view path) {
  std::string name(path);
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

/// Vertical bars and underscores are marks in Markdown.
std::string description_of(const Statistic& statistic, std::string_view which) {
  return fmt::format("`{}`{}, in {}: {} (source: {})", statistic.path,
                     which.empty() ? "" : fmt::format(", {} entry", which), statistic.unit,
                     statistic.definition, statistic.source);
}

}  // namespace

TensorboardLog::TensorboardLog(const std::filesystem::path& folder, std::optional<std::int64_t> first_step,
                               const RecordLayout& layout)
    : file_(folder, first_step) {
  for (const RecordField& field : layout.fields()) {
    if (field.statistic->file != log_file::kMetrics || field.is_list || field.path == "step") continue;
    series_.push_back(
        {field, first, {"metrics/" + flat(field.path), 0, description_of(*field.statistic, "")}});
  }
  for (const Excerpt& excerpt : kExcerpts) {
    const RecordField* field = layout.find(log_file::kStability, excerpt.path);
    if (field == nullptr || field->count == 0) continue;  // a statistic that is off
    const std::string suffix = excerpt.which.empty() ? "" : fmt::format("_{}", excerpt.which);
    series_.push_back(
        {*field,
         excerpt.choice,
         {"stability/" + flat(excerpt.path) + suffix, 0, description_of(*field->statistic, excerpt.which)}});
  }
}

void TensorboardLog::append(const StepRecord& record) {
  scalars_.clear();
  for (Series& series : series_) {
    if (series.field.statistic->file == log_file::kStability && !record.sampled) continue;
    series.scalar.value = series.choice(record.of(series.field));
    if (!is_absent(series.scalar.value)) scalars_.push_back(series.scalar);
  }
  file_.add(record.step, scalars_);
}

}  // namespace plumb
