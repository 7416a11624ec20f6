#include "core/tensor.h"

#include "core/error.h"

namespace plumb {
namespace {
void* offset_by(const Tensor& tensor, std::int64_t elements) {
  if (tensor.data == nullptr) return nullptr;
  return static_cast<char*>(tensor.data) + elements * static_cast<std::int64_t>(size_of(tensor.dtype));
}
}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims) {
  PLUMB_CHECK(dims.size() <= kMaxRank, "a shape has at most {} dimensions, got {}", kMaxRank, dims.size());
  for (std::int64_t dim : dims) dims_[static_cast<std::size_t>(rank_++)] = dim;
}

void Tensor::require_dtype(DType asked) const {
  PLUMB_CHECK(dtype == asked, "tensor is {}, asked for as {}", name_of(dtype), name_of(asked));
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (int i = 0; i < shape.rank(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + ")";
}

Tensor Tensor::columns(std::int64_t first, std::int64_t count) const {
  PLUMB_CHECK(first >= 0 && first + count <= cols(), "columns {}..{} of a tensor of {} columns", first,
              first + count, cols());
  Tensor view(offset_by(*this, first), dtype, Shape{rows(), count});
  view.row_stride = row_stride;
  return view;
}

Tensor Tensor::row_range(std::int64_t first, std::int64_t count) const {
  PLUMB_CHECK(first >= 0 && first + count <= rows(), "rows {}..{} of a tensor of {} rows", first,
              first + count, rows());
  Tensor view(offset_by(*this, first * row_stride), dtype, Shape{count, cols()});
  view.row_stride = row_stride;
  return view;
}

Tensor Tensor::reshaped(Shape new_shape) const {
  PLUMB_CHECK(contiguous(), "only a contiguous tensor can be reshaped");
  PLUMB_CHECK(new_shape.elements() == elements(), "reshape {} to {}", to_string(shape), to_string(new_shape));
  return Tensor(data, dtype, new_shape);
}

}  // namespace plumb
