#include "backends/cpu/matmul.h"

#include <algorithm>
#include <array>
#include <oneapi/dnnl/dnnl.hpp>

#include "backends/cpu/widen.h"
#include "backends/cpu/workspace_carver.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

constexpr std::int64_t kCacheBytes = std::int64_t{1} << 20;  // c panels that stay in a core's L2
constexpr std::int64_t kWidenedRows = 256;                   // rows of a panel that is widened to fp32

struct Sizes {
  std::int64_t m, n, k;
};

Sizes sizes_of(const MatmulArguments& arguments) {
  const Tensor& a = arguments.a;
  const Tensor& b = arguments.b;
  const Sizes sizes{arguments.transpose_a ? a.cols() : a.rows(), arguments.transpose_b ? b.rows() : b.cols(),
                    arguments.transpose_a ? a.rows() : a.cols()};
  const std::int64_t k_of_b = arguments.transpose_b ? b.cols() : b.rows();
  PLUMB_CHECK(k_of_b == sizes.k, "inner dimensions differ: {} and {}", sizes.k, k_of_b);
  PLUMB_CHECK(arguments.c.rows() == sizes.m && arguments.c.cols() == sizes.n,
              "result is ({},{}), expected ({},{})", arguments.c.rows(), arguments.c.cols(), sizes.m,
              sizes.n);
  PLUMB_CHECK(a.dtype == b.dtype && (a.dtype == DType::Float32 || a.dtype == DType::BFloat16),
              "the cpu backend multiplies fp32 or bf16, got {} and {}", name_of(a.dtype), name_of(b.dtype));
  PLUMB_CHECK(arguments.c.dtype == DType::Float32 || arguments.c.dtype == a.dtype, "result is {}",
              name_of(arguments.c.dtype));
  PLUMB_CHECK(!arguments.bias.defined() || (!arguments.accumulate && arguments.bias.elements() == sizes.n &&
                                            arguments.bias.dtype == DType::Float32),
              "bias must be fp32 of {} elements and does not go with accumulation", sizes.n);
  return sizes;
}

void sgemm(bool transpose_a, bool transpose_b, const Sizes& sizes, const float* a, std::int64_t stride_a,
           const float* b, std::int64_t stride_b, float beta, float* c, std::int64_t stride_c) {
  const auto status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', sizes.m, sizes.n, sizes.k,
                                 1.0F, a, stride_a, b, stride_b, beta, c, stride_c);
  PLUMB_CHECK(status == dnnl_success, "oneDNN sgemm of ({},{},{}) failed with status {}", sizes.m, sizes.n,
              sizes.k, static_cast<int>(status));
}

void add_bias(float* c, std::int64_t stride, const float* bias, std::int64_t rows, std::int64_t cols) {
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / cols), [&](std::int64_t r) {
    float* row = c + r * stride;
    for (std::int64_t i = 0; i < cols; ++i) row[i] += bias[i];
  });
}

/// With a bias the rows are done in panels, so that it is added while the panel is in cache.
void multiply_fp32(const MatmulArguments& arguments, const Sizes& sizes) {
  const float beta = arguments.accumulate ? 1.0F : 0.0F;
  const auto* a = arguments.a.as<float>();
  const auto* b = arguments.b.as<float>();
  auto* c = arguments.c.as<float>();
  const std::int64_t stride_a = arguments.a.row_stride, stride_b = arguments.b.row_stride,
                     stride_c = arguments.c.row_stride;
  if (!arguments.bias.defined()) {
    sgemm(arguments.transpose_a, arguments.transpose_b, sizes, a, stride_a, b, stride_b, beta, c, stride_c);
    return;
  }
  const auto* bias = arguments.bias.as<float>();
  const std::int64_t panel =
      std::max<std::int64_t>(256, kCacheBytes / static_cast<std::int64_t>(sizeof(float)) / sizes.n);
  for (std::int64_t first = 0; first < sizes.m; first += panel) {
    const Sizes part{std::min(panel, sizes.m - first), sizes.n, sizes.k};
    const float* a_part = a + (arguments.transpose_a ? first : first * stride_a);
    float* c_part = c + first * stride_c;
    sgemm(arguments.transpose_a, arguments.transpose_b, part, a_part, stride_a, b, stride_b, 0.0F, c_part,
          stride_c);
    add_bias(c_part, stride_c, bias, part.m, part.n);
  }
}

/// Floats of each widened block: b whole or in panels with a, whichever way keeps the reduction in one sgemm
/// per panel. Panels run over rows of a: over M, or over K where a is transposed.
struct WidenedSizes {
  std::int64_t panel, a, b, c;
};

WidenedSizes widened_sizes(const MatmulArguments& arguments, const Sizes& sizes) {
  const bool narrow_output = arguments.c.dtype == DType::BFloat16;
  if (!arguments.transpose_a) {
    const std::int64_t panel = std::min(kWidenedRows, sizes.m);
    return {panel, panel * sizes.k, sizes.k * sizes.n, narrow_output ? panel * sizes.n : 0};
  }
  // b's rows run over K only when it is not transposed; otherwise it is widened whole.
  const std::int64_t panel = std::min(kWidenedRows, sizes.k);
  return {panel, panel * sizes.m, arguments.transpose_b ? sizes.n * sizes.k : panel * sizes.n,
          narrow_output ? sizes.m * sizes.n : 0};
}

void widen_rows(const Tensor& source, std::int64_t first, std::int64_t rows, float* out) {
  const auto* data = source.as<bfloat16>();
  const std::int64_t cols = source.cols(), stride = source.row_stride;
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, cols)),
               [&](std::int64_t r) { widen(data + (first + r) * stride, out + r * cols, cols); });
}

void narrow_rows(const float* source, const Tensor& out, std::int64_t first, std::int64_t rows) {
  auto* data = out.as<bfloat16>();
  const std::int64_t cols = out.cols(), stride = out.row_stride;
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, cols)),
               [&](std::int64_t r) { narrow(source + r * cols, data + (first + r) * stride, cols); });
}

/// One panel of rows of a not transposed a: c rows are complete after it.
void multiply_widened_rows(const MatmulArguments& arguments, const Sizes& sizes, const WidenedSizes& widened,
                           float* a, float* b, float* c) {
  const bool narrow_output = widened.c > 0;
  widen_rows(arguments.b, 0, arguments.b.rows(), b);
  for (std::int64_t first = 0; first < sizes.m; first += widened.panel) {
    const Sizes part{std::min(widened.panel, sizes.m - first), sizes.n, sizes.k};
    widen_rows(arguments.a, first, part.m, a);
    float* c_part = narrow_output ? c : arguments.c.as<float>() + first * arguments.c.row_stride;
    const std::int64_t stride = narrow_output ? sizes.n : arguments.c.row_stride;
    if (narrow_output && arguments.accumulate) widen_rows(arguments.c, first, part.m, c);
    sgemm(false, arguments.transpose_b, part, a, sizes.k, b, arguments.b.cols(),
          arguments.accumulate ? 1.0F : 0.0F, c_part, stride);
    if (arguments.bias.defined()) {
      add_bias(c_part, stride, arguments.bias.as<float>(), part.m, part.n);
    }
    if (narrow_output) narrow_rows(c, arguments.c, first, part.m);
  }
}

/// a transposed: panels over the reduction, the first one overwrites or adds as asked, the others add.
void multiply_widened_reduction(const MatmulArguments& arguments, const Sizes& sizes,
                                const WidenedSizes& widened, float* a, float* b, float* c) {
  const bool narrow_output = widened.c > 0;
  float* target = narrow_output ? c : arguments.c.as<float>();
  const std::int64_t stride = narrow_output ? sizes.n : arguments.c.row_stride;
  if (narrow_output && arguments.accumulate) widen_rows(arguments.c, 0, sizes.m, c);
  if (arguments.transpose_b) widen_rows(arguments.b, 0, sizes.n, b);
  for (std::int64_t first = 0; first < sizes.k; first += widened.panel) {
    const Sizes part{sizes.m, sizes.n, std::min(widened.panel, sizes.k - first)};
    widen_rows(arguments.a, first, part.k, a);
    if (!arguments.transpose_b) widen_rows(arguments.b, first, part.k, b);
    sgemm(true, arguments.transpose_b, part, a, sizes.m, arguments.transpose_b ? b + first : b,
          arguments.b.cols(), arguments.accumulate || first > 0 ? 1.0F : 0.0F, target, stride);
  }
  if (arguments.bias.defined()) {
    add_bias(target, stride, arguments.bias.as<float>(), sizes.m, sizes.n);
  }
  if (narrow_output) narrow_rows(c, arguments.c, 0, sizes.m);
}

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

const dnnl::stream& cpu_stream() {
  static const dnnl::stream stream(cpu_engine());
  return stream;
}

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t cols, std::int64_t stride, bool transposed,
                          dnnl::memory::data_type type) {
  return {{rows, cols}, type, transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1}};
}

/// Whether oneDNN has any bf16 product for this processor: asked once.
bool library_has_bf16() {
  static const bool available = [] {
    using Type = dnnl::memory::data_type;
    try {
      const dnnl::matmul::desc problem(matrix(16, 16, 16, false, Type::bf16),
                                       matrix(16, 16, 16, false, Type::bf16),
                                       matrix(16, 16, 16, false, Type::f32));
      dnnl::matmul::primitive_desc(problem, cpu_engine());
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return available;
}

}  // namespace

struct Matmul::Primitive {
  explicit Primitive(const Key& key);
  void execute(const MatmulArguments& arguments);

  std::size_t scratch_bytes = 0;
  dnnl::matmul primitive;
  dnnl::memory a, b, c, bias, scratch;
};

Matmul::Primitive::Primitive(const Key& key) {
  using Type = dnnl::memory::data_type;
  const auto a_desc = matrix(key.m, key.k, key.stride_a, key.transpose_a, Type::bf16);
  const auto b_desc = matrix(key.k, key.n, key.stride_b, key.transpose_b, Type::bf16);
  const auto c_desc = matrix(key.m, key.n, key.stride_c, false, key.wide_output ? Type::f32 : Type::bf16);
  const auto bias_desc = matrix(1, key.n, key.n, false, Type::f32);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  const auto problem = key.bias ? dnnl::matmul::desc(a_desc, b_desc, bias_desc, c_desc)
                                : dnnl::matmul::desc(a_desc, b_desc, c_desc);
  const dnnl::matmul::primitive_desc description(problem, attributes, cpu_engine());
  scratch_bytes = description.scratchpad_desc().get_size();
  primitive = dnnl::matmul(description);
  // Memory objects are made once, without memory; each call points them at its own.
  a = dnnl::memory(a_desc, cpu_engine(), DNNL_MEMORY_NONE);
  b = dnnl::memory(b_desc, cpu_engine(), DNNL_MEMORY_NONE);
  c = dnnl::memory(c_desc, cpu_engine(), DNNL_MEMORY_NONE);
  if (key.bias) bias = dnnl::memory(bias_desc, cpu_engine(), DNNL_MEMORY_NONE);
  scratch = dnnl::memory(description.scratchpad_desc(), cpu_engine(), DNNL_MEMORY_NONE);
}

/// Through the C interface: the C++ one builds a hash map of its arguments in every call.
void Matmul::Primitive::execute(const MatmulArguments& arguments) {
  WorkspaceCarver carver(arguments.workspace);
  a.set_data_handle(arguments.a.data);
  b.set_data_handle(arguments.b.data);
  c.set_data_handle(arguments.c.data);
  scratch.set_data_handle(carver.take<std::byte>(static_cast<std::int64_t>(scratch_bytes)));
  std::array<dnnl_exec_arg_t, 5> list{{{DNNL_ARG_SRC, a.get()},
                                       {DNNL_ARG_WEIGHTS, b.get()},
                                       {DNNL_ARG_DST, c.get()},
                                       {DNNL_ARG_SCRATCHPAD, scratch.get()},
                                       {DNNL_ARG_BIAS, nullptr}}};
  int count = 4;
  if (arguments.bias.defined()) {
    bias.set_data_handle(arguments.bias.data);
    list[4].memory = bias.get();
    count = 5;
  }
  const auto status = dnnl_primitive_execute(primitive.get(), cpu_stream().get(), count, list.data());
  PLUMB_CHECK(status == dnnl_success, "oneDNN bf16 product failed with status {}", static_cast<int>(status));
}

std::size_t Matmul::KeyHash::operator()(const Key& key) const {
  const std::array<std::int64_t, 8> words{key.m,
                                          key.n,
                                          key.k,
                                          key.stride_a,
                                          key.stride_b,
                                          key.stride_c,
                                          key.threads,
                                          (key.transpose_a ? 1 : 0) | (key.transpose_b ? 2 : 0) |
                                              (key.accumulate ? 4 : 0) | (key.bias ? 8 : 0) |
                                              (key.wide_output ? 16 : 0)};
  return hash_bytes(words.data(), sizeof words);
}

Matmul::Key Matmul::key_of(const MatmulArguments& arguments) {
  const Sizes sizes = sizes_of(arguments);
  return {sizes.m,
          sizes.n,
          sizes.k,
          arguments.a.row_stride,
          arguments.b.row_stride,
          arguments.c.row_stride,
          thread_count(),
          arguments.transpose_a,
          arguments.transpose_b,
          arguments.accumulate,
          arguments.bias.defined(),
          arguments.c.dtype == DType::Float32};
}

Matmul::Matmul(bool use_bf16_primitives) : use_primitives_(use_bf16_primitives && library_has_bf16()) {}
Matmul::~Matmul() = default;

Matmul::Primitive& Matmul::prepared(const Key& key) const {
  const auto found = primitives_.find(key);
  if (found != primitives_.end()) return *found->second;
  try {
    return *primitives_.emplace(key, std::make_unique<Primitive>(key)).first->second;
  } catch (const dnnl::error& error) {
    fail("oneDNN cannot make a bf16 product of ({},{},{}): {}", key.m, key.n, key.k, error.what());
  }
}

void Matmul::run(const MatmulArguments& arguments) const {
  const Sizes sizes = sizes_of(arguments);
  if (sizes.m == 0 || sizes.n == 0) return;
  if (arguments.a.dtype == DType::Float32) {
    multiply_fp32(arguments, sizes);
    return;
  }
  if (use_primitives_) {
    prepared(key_of(arguments)).execute(arguments);
    return;
  }
  const WidenedSizes widened = widened_sizes(arguments, sizes);
  WorkspaceCarver carver(arguments.workspace);
  auto* a = carver.take<float>(widened.a);
  auto* b = carver.take<float>(widened.b);
  auto* c = carver.take<float>(widened.c);
  if (arguments.transpose_a) {
    multiply_widened_reduction(arguments, sizes, widened, a, b, c);
  } else {
    multiply_widened_rows(arguments, sizes, widened, a, b, c);
  }
}

std::size_t Matmul::workspace(const MatmulArguments& arguments) const {
  const Sizes sizes = sizes_of(arguments);
  if (arguments.a.dtype == DType::Float32 || sizes.m == 0 || sizes.n == 0) return 0;
  WorkspaceCarver carver;
  if (use_primitives_) {
    carver.take<std::byte>(static_cast<std::int64_t>(prepared(key_of(arguments)).scratch_bytes));
  } else {
    const WidenedSizes widened = widened_sizes(arguments, sizes);
    carver.take<float>(widened.a);
    carver.take<float>(widened.b);
    carver.take<float>(widened.c);
  }
  return carver.bytes();
}

}  // namespace plumb::cpu
