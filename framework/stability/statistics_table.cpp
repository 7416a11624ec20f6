#include "stability/statistics_table.h"

namespace plumb {

std::span<const Statistic> statistics() {
  static const std::vector<Statistic> table = [] {
    std::vector<Statistic> rows;
    for (const auto part :
         {detail::step_rows(), detail::header_rows(), detail::activation_rows(), detail::residual_rows(),
          detail::attention_rows(), detail::feed_forward_rows(), detail::norm_rows(), detail::bound_rows(),
          detail::tensor_rows(), detail::rank_rows(), detail::event_rows()}) {
      rows.insert(rows.end(), part.begin(), part.end());
    }
    return rows;
  }();
  return table;
}

std::vector<std::string> expand_path(std::string_view path) {
  const auto open = path.find('{'), comma = path.find(',', open), close = path.find('}', open);
  if (open == std::string_view::npos) return {std::string(path)};
  const auto with = [&](std::string_view part) {
    return std::string(path.substr(0, open)).append(part).append(path.substr(close + 1));
  };
  return {with(path.substr(open + 1, comma - open - 1)), with(path.substr(comma + 1, close - comma - 1))};
}

}  // namespace plumb
