#include "stability/record_layout.h"

#include "core/error.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

std::int64_t count_of(Probe probe, const StatisticsShape& shape, int world) {
  switch (probe) {
    case Probe::Text:
      return 0;
    case Probe::Step:
      return 1;
    case Probe::Activations:
      return shape.probes();
    case Probe::Stream:
      return shape.sublayers + 1;
    case Probe::Sublayer:
      return shape.sublayers;
    case Probe::Norm:
      return shape.norms;
    case Probe::Tensor:
      return shape.tensors;
    case Probe::Rank:
      return world;
  }
  fail("a statistic of an unknown probe");
}

}  // namespace

RecordLayout::RecordLayout(const StatisticsShape& shape, int world, const StatisticsSettings& settings)
    : shape_(shape), world_(world) {
  const auto add = [this](const Statistic& statistic, const std::string& path, std::int64_t first_index,
                          std::int64_t count) {
    fields_.push_back({.statistic = &statistic,
                       .path = path,
                       .first_index = first_index,
                       .place = elements_,
                       .count = count,
                       .is_list = statistic.probe != Probe::Step});
    elements_ += count;
  };
  for (const Statistic& statistic : statistics()) {
    if (statistic.probe == Probe::Text || !settings.has(statistic.key) || world < statistic.least_ranks) {
      continue;
    }
    const std::vector<std::string> paths = expand_path(statistic.path);
    if (statistic.probe == Probe::Activations) {
      PLUMB_CHECK(paths.size() == 2, "{} must be of stream and branch", statistic.path);
      add(statistic, paths[0], 0, shape.sublayers + 1);
      add(statistic, paths[1], shape.sublayers + 1, shape.sublayers);
    } else {
      PLUMB_CHECK(paths.size() == 1, "{} stands for one field only", statistic.path);
      add(statistic, paths[0], 0, count_of(statistic.probe, shape, world));
    }
  }
}

const RecordField* RecordLayout::find(std::string_view file, std::string_view path) const {
  for (const RecordField& field : fields_) {
    if (field.statistic->file == file && field.path == path) return &field;
  }
  return nullptr;
}

}  // namespace plumb
