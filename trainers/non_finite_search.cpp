#include "non_finite_search.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/error.h"

namespace plumb {
namespace {

/// Every entry of a type that converts to double, row by row.
template <class T>
void look_at(const std::vector<char>& memory, const Tensor& tensor, BadTensor& bad) {
  const T* values = reinterpret_cast<const T*>(memory.data());
  for (std::int64_t row = 0; row < tensor.rows(); ++row) {
    for (std::int64_t column = 0; column < tensor.cols(); ++column) {
      const auto value = static_cast<double>(values[row * tensor.row_stride + column]);
      if (std::isfinite(value)) continue;
      if (bad.bad_entries == 0) bad.row = row, bad.column = column, bad.value = value;
      ++bad.bad_entries;
    }
  }
}

template <class T>
struct Half {
  T value;
  explicit operator double() const { return static_cast<double>(static_cast<float>(value)); }
};

/// What ops call activations and their gradients.
constexpr std::string_view kActivations[] = {"y",  "h",  "out", "x",  "dx", "dz",   "dx_block", "dpre",
                                             "dh", "dq", "dk",  "dv", "do", "mean", "rstd"};

}  // namespace

bool has_row_per_token(const BadTensor& bad, std::int64_t rows) {
  // The head's weight with its gains has the names of activations.
  const bool weight = bad.op.starts_with("row_gain") || bad.op.starts_with("coefficient_map");
  return !weight && bad.shape.rank() > 1 && Tensor(nullptr, bad.dtype, bad.shape).rows() == rows &&
         std::find(std::begin(kActivations), std::end(kActivations), bad.tensor) != std::end(kActivations);
}

std::optional<BadTensor> find_bad_entries(Backend& backend, Stream& stream, const Tensor& tensor) {
  if (tensor.elements() == 0) return std::nullopt;
  // Rows may be parts of longer ones: from the first entry to the last.
  const std::int64_t span = (tensor.rows() - 1) * tensor.row_stride + tensor.cols();
  std::vector<char> memory(static_cast<std::size_t>(span) * size_of(tensor.dtype));
  backend.download(stream, tensor.data, memory.data(), memory.size());
  stream.synchronize();
  BadTensor bad;
  bad.shape = tensor.shape;
  bad.dtype = tensor.dtype;
  if (tensor.dtype == DType::Float64) look_at<double>(memory, tensor, bad);
  if (tensor.dtype == DType::Float32) look_at<float>(memory, tensor, bad);
  if (tensor.dtype == DType::BFloat16) look_at<Half<bfloat16>>(memory, tensor, bad);
  if (tensor.dtype == DType::Float16) look_at<Half<float16>>(memory, tensor, bad);
  if (bad.bad_entries == 0) return std::nullopt;
  return bad;
}

/// Outside of every range lie the embedding and, in the forward pass after the sublayers, the final norm.
std::string NonFiniteSearch::part() const {
  if (!ranges_.empty()) return ranges_.back();
  return pass_ == "forward" && has_entered_ ? "final norm" : "embedding";
}

void NonFiniteSearch::wrote(Stream& stream, const char* op, const char* name, const Tensor& tensor) {
  if (found_) return;
  found_ = find_bad_entries(backend_, stream, tensor);
  if (!found_) return;
  found_->pass = pass_;
  found_->part = part();
  found_->op = op;
  found_->tensor = name;
}

}  // namespace plumb
