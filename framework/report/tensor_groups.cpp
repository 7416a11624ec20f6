#include "report/tensor_groups.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

namespace plumb {
namespace {

constexpr std::string_view kBlocks = "blocks.";

/// n of "blocks.<n>.<kind>", and what follows.
std::optional<std::size_t> block_of(std::string_view name, std::string_view& kind) {
  kind = name;
  if (!name.starts_with(kBlocks)) return std::nullopt;
  std::size_t block = 0;
  const char* first = name.data() + kBlocks.size();
  const auto [rest, error] = std::from_chars(first, name.data() + name.size(), block);
  if (error != std::errc() || rest == name.data() + name.size() || *rest != '.' || block > 100000) {
    return std::nullopt;
  }
  kind = name.substr(static_cast<std::size_t>(rest + 1 - name.data()));
  return block;
}

float median(std::vector<float>& values) {
  if (values.empty()) return std::numeric_limits<float>::quiet_NaN();
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  const float upper = *middle;
  if (values.size() % 2 == 1) return upper;
  return (*std::max_element(values.begin(), middle) + upper) / 2;
}

float norm(std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return values.empty() ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(std::sqrt(sum));
}

/// One column per group: `combine` of the finite values of its tensors.
template <class Combine>
RecordMatrix combine_groups(const RecordMatrix& tensors, const std::vector<std::vector<std::size_t>>& groups,
                            Combine&& combine) {
  RecordMatrix result{.columns = groups.size(), .values = {}};
  std::vector<float> values;
  for (std::size_t row = 0; row < tensors.rows(); ++row) {
    for (const std::vector<std::size_t>& group : groups) {
      values.clear();
      for (const std::size_t tensor : group) {
        const float value = tensors.row(row)[tensor];
        if (std::isfinite(value)) values.push_back(value);
      }
      result.values.push_back(combine(values));
    }
  }
  return result;
}

}  // namespace

TensorGroups group_tensors(const std::vector<std::string>& names) {
  TensorGroups groups;
  // Tensors are listed from the top of the model down (the order of backward); blocks are shown from below.
  for (std::size_t i = names.size(); i-- > 0;) {
    std::string_view kind;
    const std::optional<std::size_t> block = block_of(names[i], kind);
    const auto found = std::find(groups.kinds.begin(), groups.kinds.end(), kind);
    const auto place = static_cast<std::size_t>(found - groups.kinds.begin());
    if (found == groups.kinds.end()) {
      groups.kinds.emplace_back(kind);
      groups.by_kind.emplace_back();
    }
    groups.by_kind[place].push_back(i);
    if (!block) continue;
    if (groups.by_block.size() <= *block) {
      groups.by_block.resize(*block + 1);
      groups.block_weights.resize(*block + 1);
    }
    groups.by_block[*block].push_back(i);
    if (kind.ends_with("weight")) groups.block_weights[*block].push_back(i);
  }
  for (std::size_t block = 0; block < groups.by_block.size(); ++block) {
    if (groups.block_weights[block].empty()) groups.block_weights[block] = groups.by_block[block];
  }
  return groups;
}

std::vector<std::string> add_tensor_groups(RunData& run) {
  const TensorGroups groups = group_tensors(run.tensors);
  auto& arrays = run.stability.arrays;
  const auto usable = [&](const char* id) -> const RecordMatrix* {
    const auto found = arrays.find(id);
    return found != arrays.end() && found->second.columns == run.tensors.size() ? &found->second : nullptr;
  };
  if (const RecordMatrix* ratios = usable("tensors.update_ratio")) {
    RecordMatrix kinds = combine_groups(*ratios, groups.by_kind, median);
    RecordMatrix blocks = combine_groups(*ratios, groups.block_weights, median);
    arrays["kind.update_ratio"] = std::move(kinds);
    if (!groups.by_block.empty()) arrays["block.update_ratio"] = std::move(blocks);
  }
  if (const RecordMatrix* lags = usable("tensors.adam_lag")) {
    arrays["kind.adam_lag"] = combine_groups(*lags, groups.by_kind, median);
  }
  if (const RecordMatrix* norms = usable("tensors.grad_norm"); norms != nullptr && !groups.by_block.empty()) {
    arrays["block.grad_norm"] = combine_groups(*norms, groups.by_block, norm);
  }
  return groups.kinds;
}

}  // namespace plumb
