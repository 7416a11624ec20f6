#include <cstring>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/row_segments.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/tensor_pieces.h"
#include "backends/cpu/thread_columns.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"
#include "core/word_hash.h"

namespace plumb::cpu {
namespace {

/// Calls body(element) with an element of any dtype.
template <class Body>
void with_any(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::Float64:
      return body(double{});
    case DType::Float32:
      return body(float{});
    case DType::BFloat16:
      return body(bfloat16{});
    case DType::Float16:
      return body(float16{});
    case DType::Int64:
      return body(std::int64_t{});
    case DType::Int32:
      return body(std::int32_t{});
  }
  fail("unknown dtype {}", static_cast<int>(dtype));
}

/// A sum is taken in the wider of the two types, bf16 and fp16 counting as float, and rounded once.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>, float, T>;

/// *out = value; a double becomes bf16 or fp16 by way of float, and so does an fp16 that becomes a number.
template <class From, class To>
PLUMB_VECTOR void assign(From value, To* out) {
  if constexpr (std::is_same_v<To, bfloat16>) {
    store(static_cast<float>(value), out);
  } else if constexpr (std::is_same_v<To, float16> || std::is_same_v<From, float16>) {
    *out = static_cast<To>(static_cast<float>(value));
  } else {
    *out = static_cast<To>(value);
  }
}

/// Calls body(x row, y row, elements) for pieces of equal-shaped tensors: rows, or all of them as one long
/// row cut into pieces where both are contiguous.
template <class From, class To, class Body>
void for_pieces(const Tensor& x, const Tensor& y, Body&& body) {
  auto* from = static_cast<From*>(x.data);
  auto* to = static_cast<To*>(y.data);
  if (x.contiguous() && y.contiguous()) {
    parallel_chunks(x.elements(), kCheapElements, [&](int, std::int64_t begin, std::int64_t end) {
      body(from + begin, to + begin, end - begin);
    });
    return;
  }
  const std::int64_t cols = x.cols();
  parallel_for(x.rows(), row_grain(cols, kCheapElements),
               [&](std::int64_t r) { body(from + r * x.row_stride, to + r * y.row_stride, cols); });
}

void check_pair(const char* op, const Tensor& x, const Tensor& y) {
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "y", y, y.dtype, x.rows(), x.cols());
}

template <class T>
double sum_of_squares_of(const T* x, std::int64_t begin, std::int64_t end) {
  double sum = 0;  // float64 throughout: squares of vanishing gradients would underflow in fp32
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = begin; i < end; ++i) {
    const auto value = static_cast<double>(static_cast<Arithmetic<T>>(x[i]));
    sum += value * value;
  }
  return sum;
}

template <class Word>
std::uint64_t hash_of(const void* data, std::int64_t begin, std::int64_t end) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = begin; i < end; ++i) {
    Word word;
    std::memcpy(&word, bytes + i * static_cast<std::int64_t>(sizeof(Word)), sizeof(Word));
    sum += hash_of_word(word, static_cast<std::uint64_t>(i));
  }
  return sum;
}

void check_groups(const char* op, std::int64_t groups, std::int64_t cols) {
  PLUMB_CHECK(groups >= 1 && cols % groups == 0, "{}: {} columns do not split into {} groups", op, cols,
              groups);
}

template <class T>
void gain_forward(const GroupGain& arguments) {
  const char* op = "group_gain_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const std::int64_t groups = arguments.groups, width = cols / groups;
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const float* gain = vector_of<float>(op, "gain", arguments.gain, groups);
  parallel_for(rows, row_grain(cols, kCheapElements), [&](std::int64_t r) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const T* from = x[r] + group * width;
      T* to = y[r] + group * width;
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i) store(gain[group] * static_cast<float>(from[i]), &to[i]);
    }
  });
}

ThreadColumns gain_sums(const GroupGainBackward& arguments, WorkspaceCarver& carver) {
  return ThreadColumns(carver, arguments.dgain.defined() ? 1 : 0, arguments.dy.cols());
}

template <class T>
void gain_backward(const GroupGainBackward& arguments) {
  const char* op = "group_gain_backward";
  const std::int64_t rows = arguments.dy.rows(), cols = arguments.dy.cols();
  const std::int64_t groups = arguments.groups, width = cols / groups;
  const Rows<T> x(op, "x", arguments.x, rows, cols), dy(op, "dy", arguments.dy, rows, cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, cols);
  const float* gain = vector_of<float>(op, "gain", arguments.gain, groups);
  float* dgain = optional_vector<float>(op, "dgain", arguments.dgain, groups);
  WorkspaceCarver carver(arguments.workspace);
  const ThreadColumns sums = gain_sums(arguments, carver);
  parallel_chunks(
      rows, row_grain(cols, kCheapElements), [&](int thread, std::int64_t begin, std::int64_t end) {
        ThreadColumns::Partial partial = sums.begin(thread);
        for (std::int64_t r = begin; r < end; ++r) {
          const T *upstream = dy[r], *data = x[r];  // dy is read before dx, which may be the same view
          if (dgain != nullptr) {
            float* products = partial.array(0);
#pragma omp simd
            for (std::int64_t i = 0; i < cols; ++i)
              products[i] += static_cast<float>(upstream[i]) * static_cast<float>(data[i]);
          }
          for (std::int64_t group = 0; group < groups; ++group) {
            const T* from = upstream + group * width;
            T* to = dx[r] + group * width;
#pragma omp simd
            for (std::int64_t i = 0; i < width; ++i) store(gain[group] * static_cast<float>(from[i]), &to[i]);
          }
          partial.end_rows(1);
        }
        partial.flush();
      });
  sums.combine();
  if (dgain == nullptr) return;
  for (std::int64_t group = 0; group < groups; ++group) {
    double sum = 0;
    for (std::int64_t i = group * width; i < (group + 1) * width; ++i) sum += sums.total(0)[i];
    dgain[group] = static_cast<float>(dgain[group] + sum);
  }
}

template <class T>
void bias_forward(const ScalarBias& arguments) {
  const char* op = "scalar_bias_forward";
  check_pair(op, arguments.x, arguments.y);
  require_vector(op, "x", arguments.x, dtype_of<T>, arguments.x.elements());
  require_rows(op, "y", arguments.y, dtype_of<T>, arguments.x.rows(), arguments.x.cols());
  const float bias = *vector_of<float>(op, "bias", arguments.bias, 1);
  for_pieces<const T, T>(arguments.x, arguments.y, [bias](const T* from, T* to, std::int64_t n) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(static_cast<float>(from[i]) + bias, &to[i]);
  });
}

RowSegments bias_segments(const ScalarBiasBackward& arguments, WorkspaceCarver& carver) {
  return RowSegments(carver, arguments.dy.rows(), row_grain(arguments.dy.cols(), kCheapElements), 1);
}

template <class T>
void bias_backward(const ScalarBiasBackward& arguments) {
  const char* op = "scalar_bias_backward";
  const std::int64_t cols = arguments.dy.cols();
  const Rows<T> dy(op, "dy", arguments.dy, arguments.dy.rows(), cols);
  float* dbias = vector_of<float>(op, "dbias", arguments.dbias, 1);
  WorkspaceCarver carver(arguments.workspace);
  const RowSegments segments = bias_segments(arguments, carver);
  segments.run([&](int, std::int64_t begin, std::int64_t end, double* sums) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = dy[r];
      const auto add = [row](auto load, std::int64_t i, auto& sum, auto&) { sum += load(row + i); };
      sums[0] += static_cast<double>(sum_two(cols, add).first);
    }
  });
  segments.add_to(dbias, 0, 1);
}

}  // namespace

void CpuElementwise::fill(Stream&, const Tensor& x, double value) const {
  require_rows("fill", "x", x, x.dtype, x.rows(), x.cols());
  with_any(x.dtype, [&](auto element) {
    using T = decltype(element);
    T filling;
    assign(value, &filling);
    for_pieces<T, T>(x, x, [&](T*, T* to, std::int64_t n) { std::fill(to, to + n, filling); });
  });
}

void CpuElementwise::copy(Stream&, const Tensor& x, const Tensor& y) const {
  check_pair("copy", x, y);
  with_any(x.dtype, [&](auto source) {
    with_any(y.dtype, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      for_pieces<const From, To>(x, y, [](const From* from, To* to, std::int64_t n) {
        if constexpr (std::is_same_v<From, To>) {
          std::memmove(to, from, static_cast<std::size_t>(n) * sizeof(To));
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) assign(static_cast<Arithmetic<From>>(from[i]), &to[i]);
        }
      });
    });
  });
}

void CpuElementwise::add(Stream&, const Tensor& x, const Tensor& y) const {
  check_pair("add", x, y);
  with_any(x.dtype, [&](auto source) {
    with_any(y.dtype, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      using Wide = std::common_type_t<Arithmetic<From>, Arithmetic<To>>;
      for_pieces<const From, To>(x, y, [](const From* from, To* to, std::int64_t n) {
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i)
          assign(static_cast<Wide>(static_cast<Arithmetic<To>>(to[i])) +
                     static_cast<Wide>(static_cast<Arithmetic<From>>(from[i])),
                 &to[i]);
      });
    });
  });
}

void CpuElementwise::sum_of_squares(Stream&, const SumOfSquares& arguments,
                                    std::span<const Tensor> tensors) const {
  const char* op = "sum_of_squares";
  const auto count = static_cast<std::int64_t>(tensors.size());
  double* results = vector_of<double>(op, "squares", arguments.squares, count);
  for (const Tensor& tensor : tensors) {
    require_vector(op, "tensor", tensor, tensor.dtype, tensor.elements());
    PLUMB_CHECK(tensor.dtype != DType::Int64 && tensor.dtype != DType::Int32, "{}: a tensor is {}", op,
                name_of(tensor.dtype));
  }
  for_tensor_pieces<1>(
      count, [&](std::int64_t n) { return tensors[static_cast<std::size_t>(n)].elements(); },
      [&](std::int64_t n, std::int64_t begin, std::int64_t end) -> PieceSums<1> {
        const Tensor& tensor = tensors[static_cast<std::size_t>(n)];
        if (tensor.dtype == DType::Float32)
          return {sum_of_squares_of(static_cast<const float*>(tensor.data), begin, end)};
        if (tensor.dtype == DType::BFloat16)
          return {sum_of_squares_of(static_cast<const bfloat16*>(tensor.data), begin, end)};
        return {sum_of_squares_of(static_cast<const double*>(tensor.data), begin, end)};
      },
      [&](std::int64_t n, const PieceSums<1>& sums) {
        results[n] = (arguments.accumulate ? results[n] : 0.0) + sums[0];
      });
}

std::size_t CpuElementwise::sum_of_squares_workspace(std::span<const Tensor>) const { return 0; }

void CpuElementwise::hash(Stream&, const HashTensors& arguments, std::span<const Tensor> tensors) const {
  const auto count = static_cast<std::int64_t>(tensors.size());
  auto* results = vector_of<std::int64_t>("hash", "hashes", arguments.hashes, count);
  for (const Tensor& tensor : tensors)
    require_vector("hash", "tensor", tensor, tensor.dtype, tensor.elements());
  const auto words_of = [&](std::int64_t n) {
    const Tensor& tensor = tensors[static_cast<std::size_t>(n)];
    return size_of(tensor.dtype) == 8 ? 2 * tensor.elements() : tensor.elements();
  };
  for_tensor_pieces<1, std::uint64_t>(
      count, words_of,
      [&](std::int64_t n, std::int64_t begin, std::int64_t end) -> PieceSums<1, std::uint64_t> {
        const Tensor& tensor = tensors[static_cast<std::size_t>(n)];
        return {size_of(tensor.dtype) == 2 ? hash_of<std::uint16_t>(tensor.data, begin, end)
                                           : hash_of<std::uint32_t>(tensor.data, begin, end)};
      },
      [&](std::int64_t n, const PieceSums<1, std::uint64_t>& sums) {
        results[n] = static_cast<std::int64_t>(sums[0]);
      });
}

std::size_t CpuElementwise::hash_workspace(std::span<const Tensor>) const { return 0; }

void CpuElementwise::group_gain_forward(Stream&, const GroupGain& arguments) const {
  check_groups("group_gain_forward", arguments.groups, arguments.x.cols());
  with_compute("group_gain_forward", arguments.x.dtype,
               [&](auto element) { gain_forward<decltype(element)>(arguments); });
}

void CpuElementwise::group_gain_backward(Stream&, const GroupGainBackward& arguments) const {
  check_groups("group_gain_backward", arguments.groups, arguments.dy.cols());
  with_compute("group_gain_backward", arguments.dy.dtype,
               [&](auto element) { gain_backward<decltype(element)>(arguments); });
}

std::size_t CpuElementwise::group_gain_backward_workspace(const GroupGainBackward& arguments) const {
  WorkspaceCarver carver;
  gain_sums(arguments, carver);
  return carver.bytes();
}

void CpuElementwise::scalar_bias_forward(Stream&, const ScalarBias& arguments) const {
  with_compute("scalar_bias_forward", arguments.x.dtype,
               [&](auto element) { bias_forward<decltype(element)>(arguments); });
}

void CpuElementwise::scalar_bias_backward(Stream&, const ScalarBiasBackward& arguments) const {
  with_compute("scalar_bias_backward", arguments.dy.dtype,
               [&](auto element) { bias_backward<decltype(element)>(arguments); });
}

std::size_t CpuElementwise::scalar_bias_backward_workspace(const ScalarBiasBackward& arguments) const {
  WorkspaceCarver carver;
  bias_segments(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
