// Shape and Tensor: a non-owning view of memory that some Buffer or Arena owns.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/dtype.h"

namespace plumb {

/// Up to four dimensions, outermost first. A default Shape has no dimensions and no elements.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t elements() const {
    if (rank_ == 0) return 0;
    std::int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= (*this)[i];
    return product;
  }
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// "(2,128,64)".
std::string to_string(const Shape& shape);

/// A view of (rows, cols) elements: cols is the last dimension, rows the product of the others. Inside a row
/// elements are adjacent; successive rows are row_stride elements apart (more than cols for a column slice).
/// Non-owning and trivially copyable; a default Tensor is empty (no data), which ops take as "not there".
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::Float32;
  Shape shape;
  std::int64_t row_stride = 0;

  Tensor() = default;
  Tensor(void* data_in, DType dtype_in, Shape shape_in)
      : data(data_in), dtype(dtype_in), shape(shape_in), row_stride(cols()) {}

  /// True when the view has elements by its shape; at planning time data is still null.
  bool defined() const { return shape.rank() > 0; }
  std::int64_t elements() const { return shape.elements(); }
  std::int64_t cols() const { return shape.rank() == 0 ? 0 : shape[shape.rank() - 1]; }
  std::int64_t rows() const { return cols() == 0 ? 0 : elements() / cols(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
  bool contiguous() const { return row_stride == cols(); }

  /// Typed pointer; throws when T is not the tensor's dtype.
  template <class T>
  T* as() const {
    require_dtype(dtype_of<T>);
    return static_cast<T*>(data);
  }
  /// The columns [first, first + count) of every row.
  Tensor columns(std::int64_t first, std::int64_t count) const;
  /// The rows [first, first + count) as a (count, cols) view.
  Tensor row_range(std::int64_t first, std::int64_t count) const;
  /// The same elements under another shape (contiguous views only).
  Tensor reshaped(Shape new_shape) const;

 private:
  void require_dtype(DType asked) const;
};

}  // namespace plumb
