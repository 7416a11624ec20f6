#include "report/rank_document.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "report/downsample.h"

namespace plumb {
namespace {

using Json = ReportJson;

constexpr std::size_t kPoints = 300, kCurves = 8, kTableRows = 64, kOutliers = 500;

std::vector<double> column(const RecordMatrix& matrix, std::size_t rank) {
  std::vector<double> values;
  for (std::size_t i = 0; i < matrix.rows(); ++i) values.push_back(matrix.row(i)[rank]);
  return values;
}

/// By bin: smallest, middle and largest over ranks and records.
Json band_json(const RecordMatrix& matrix, const std::vector<StepBin>& bins) {
  std::vector<double> smallest, middle, largest;
  for (const StepBin& bin : bins) {
    std::vector<double> values;
    for (std::size_t i = bin.begin; i < bin.end; ++i) {
      for (std::size_t rank = 0; rank < matrix.columns; ++rank) {
        if (std::isfinite(matrix.row(i)[rank])) values.push_back(matrix.row(i)[rank]);
      }
    }
    std::sort(values.begin(), values.end());
    const BinValues found = summarise(values);
    smallest.push_back(found.smallest);
    largest.push_back(found.largest);
    middle.push_back(values.empty() ? found.mean : values[values.size() / 2]);
  }
  return {{"min", rounded_list(smallest)}, {"median", rounded_list(middle)}, {"max", rounded_list(largest)}};
}

Json curve_json(const RecordMatrix& matrix, std::size_t rank, const std::vector<StepBin>& bins) {
  const std::vector<double> values = column(matrix, rank);
  std::vector<double> mean;
  for (const StepBin& bin : bins) {
    mean.push_back(summarise(std::span(values).subspan(bin.begin, bin.end - bin.begin)).mean);
  }
  return rounded_list(mean);
}

double mean_of(const RecordMatrix* matrix, std::size_t rank) {
  if (matrix == nullptr || rank >= matrix->columns) return std::nan("");
  return summarise(column(*matrix, rank)).mean;
}

/// Ranks, those whose mean ratio is farthest from 1 first.
std::vector<std::size_t> by_difference(const std::vector<double>& ratios) {
  std::vector<std::size_t> ranks(ratios.size());
  std::iota(ranks.begin(), ranks.end(), std::size_t{0});
  const auto size = [&](std::size_t rank) {
    return std::isfinite(ratios[rank]) ? std::abs(std::log(ratios[rank])) : INFINITY;
  };
  std::stable_sort(ranks.begin(), ranks.end(), [&](auto a, auto b) { return size(a) > size(b); });
  return ranks;
}

Json table_json(const RunData& run, const std::vector<double>& ratios,
                const std::vector<RankOutlier>& outliers, std::vector<std::size_t> ranks) {
  if (ranks.size() > kTableRows) ranks.resize(kTableRows);
  std::sort(ranks.begin(), ranks.end());
  Json rows = Json::array();
  for (const std::size_t rank : ranks) {
    const auto count = std::count_if(outliers.begin(), outliers.end(),
                                     [&](const RankOutlier& outlier) { return outlier.rank == rank; });
    rows.push_back({{"rank", rank},
                    {"host", rank < run.hosts.size() ? run.hosts[rank] : ""},
                    {"ratio", rounded(ratios[rank])},
                    {"outliers", count},
                    {"step_seconds", rounded(mean_of(find_array(run, "ranks.step_seconds"), rank))},
                    {"wait_seconds", rounded(mean_of(find_array(run, "ranks.wait_seconds"), rank))}});
  }
  return rows;
}

}  // namespace

ReportJson rank_document(const RunData& run, const std::vector<RankOutlier>& outliers) {
  const RecordMatrix* norms = find_array(run, "ranks.grad_norm");
  if (norms == nullptr) return nullptr;
  if (norms->columns == 1) return {{"world", 1}};
  const std::vector<StepBin> bins = step_bins(run.ranks.steps, kPoints);
  const std::vector<double> ratios = mean_rank_ratios(*norms);
  const std::vector<std::size_t> ranks = by_difference(ratios);
  std::vector<std::size_t> drawn(
      ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(std::min(kCurves, ranks.size())));
  std::sort(drawn.begin(), drawn.end());

  Json json = {{"world", norms->columns}, {"records", run.ranks.steps.size()}, {"step", Json::array()}};
  for (const StepBin& bin : bins) json["step"].push_back(run.ranks.steps[bin.begin]);
  json["drawn"] = drawn;
  for (const char* id : {"ranks.grad_norm", "ranks.loss"}) {
    const RecordMatrix* matrix = find_array(run, id);
    if (matrix == nullptr || matrix->columns != norms->columns) continue;
    Json curves = Json::array();
    for (const std::size_t rank : drawn) curves.push_back(curve_json(*matrix, rank, bins));
    json["values"][id] = {{"band", band_json(*matrix, bins)}, {"curves", curves}};
  }
  Json points = Json::array();
  for (const RankOutlier& outlier : outliers) {
    if (points.size() == kOutliers) break;
    points.push_back({run.ranks.steps[outlier.record], outlier.rank,
                      rounded(norms->row(outlier.record)[outlier.rank]), rounded(outlier.deviation)});
  }
  json["outliers"] = {{"count", outliers.size()}, {"points", points}};
  json["table"] = table_json(run, ratios, outliers, ranks);
  return json;
}

}  // namespace plumb
