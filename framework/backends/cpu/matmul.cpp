#include "backends/cpu/matmul.h"

#include <algorithm>
#include <array>
#include <oneapi/dnnl/dnnl.hpp>

#include "backends/cpu/arguments.h"
#include "backends/cpu/avx2_product.h"
#include "backends/cpu/processor.h"
#include "backends/cpu/product_parts.h"
#include "backends/cpu/sgemm.h"
#include "backends/cpu/widened_matmul.h"
#include "backends/cpu/workspace_carver.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

ProductSizes sizes_of(const MatmulArguments& arguments) {
  const Tensor& a = arguments.a;
  const Tensor& b = arguments.b;
  const ProductSizes sizes{arguments.transpose_a ? a.cols() : a.rows(),
                           arguments.transpose_b ? b.rows() : b.cols(),
                           arguments.transpose_a ? a.rows() : a.cols()};
  const std::int64_t k_of_b = arguments.transpose_b ? b.cols() : b.rows();
  const char* op = arguments.op;
  PLUMB_CHECK(k_of_b == sizes.k && (sizes.k > 0 || sizes.m == 0 || sizes.n == 0),
              "{}: inner dimensions must be equal and positive, got {} and {}", op, sizes.k, k_of_b);
  PLUMB_CHECK(arguments.c.rows() == sizes.m && arguments.c.cols() == sizes.n,
              "{}: the product is ({},{}), expected ({},{})", op, arguments.c.rows(), arguments.c.cols(),
              sizes.m, sizes.n);
  PLUMB_CHECK(a.dtype == b.dtype && (a.dtype == DType::Float32 || a.dtype == DType::BFloat16),
              "{}: the cpu backend multiplies fp32 or bf16, got {} and {}", op, name_of(a.dtype),
              name_of(b.dtype));
  PLUMB_CHECK(arguments.c.dtype == DType::Float32 || arguments.c.dtype == a.dtype, "{}: the product is {}",
              op, name_of(arguments.c.dtype));
  PLUMB_CHECK(!arguments.bias.defined() || (!arguments.accumulate && arguments.bias.elements() == sizes.n &&
                                            arguments.bias.dtype == DType::Float32),
              "{}: bias must be fp32 of {} elements and does not go with accumulation", op, sizes.n);
  return sizes;
}

void multiply_fp32(const MatmulArguments& arguments, const ProductSizes& sizes) {
  WorkspaceCarver carver(arguments.workspace);
  const Tensor &a = arguments.a, &b = arguments.b, &c = arguments.c;
  sgemm({.sizes = sizes,
         .a = {a.as<float>(), a.row_stride, arguments.transpose_a},
         .b = {b.as<float>(), b.row_stride, arguments.transpose_b},
         .c = c.as<float>(),
         .stride_c = c.row_stride,
         .accumulate = arguments.accumulate,
         .bias = arguments.bias.defined() ? arguments.bias.as<float>() : nullptr},
        carver.take<float>(sgemm_workspace(sizes, arguments.transpose_a, arguments.transpose_b)));
}

std::size_t fp32_workspace(const MatmulArguments& arguments, const ProductSizes& sizes) {
  WorkspaceCarver carver;
  carver.take<float>(sgemm_workspace(sizes, arguments.transpose_a, arguments.transpose_b));
  return carver.bytes();
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
                                          key.part,
                                          (key.transpose_a ? 1 : 0) | (key.transpose_b ? 2 : 0) |
                                              (key.accumulate ? 4 : 0) | (key.bias ? 8 : 0) |
                                              (key.wide_output ? 16 : 0)};
  return hash_bytes(words.data(), sizeof words);
}

Matmul::Key Matmul::key_of(const MatmulArguments& arguments, std::int64_t part) {
  const ProductSizes sizes = sizes_of(arguments);
  return {sizes.m,
          sizes.n,
          sizes.k,
          arguments.a.row_stride,
          arguments.b.row_stride,
          arguments.c.row_stride,
          part,
          arguments.transpose_a,
          arguments.transpose_b,
          arguments.accumulate,
          arguments.bias.defined(),
          arguments.c.dtype == DType::Float32};
}

bool has_bf16_primitives() { return library_has_bf16(); }

// Without tiles (AMX) oneDNN's bf16 products are half as fast as fp32 ones, which widened operands get.
Matmul::Matmul(Bf16Products products)
    : use_primitives_(library_has_bf16() &&
                      (products == Bf16Products::Primitives ||
                       (products == Bf16Products::Best && read_processor_facts().has("amx_bf16")))),
      packs_(products == Bf16Products::Packed ||
             (products == Bf16Products::Best && takes_avx2_product(false, false))) {}
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
  const ProductSizes sizes = sizes_of(arguments);
  if (sizes.m == 0 || sizes.n == 0) return;
  for (const Tensor* tensor : {&arguments.a, &arguments.b, &arguments.c})
    require_rows(arguments.op, "a matrix", *tensor, tensor->dtype, tensor->rows(), tensor->cols());
  const ProductParts parts(sizes);
  const bool primitives = uses_primitives(arguments);
  // Each part has as much workspace as the largest needs. Primitives are made here, not in the parts.
  const std::size_t bytes = part_workspace(arguments, parts);
  WorkspaceCarver carver(arguments.workspace);
  auto* scratch = carver.take<std::byte>(static_cast<std::int64_t>(bytes) * parts.count());
  parallel_for(parts.count(), 1, [&](std::int64_t part) {
    MatmulArguments own = parts.arguments(arguments, part);
    own.workspace = {scratch + static_cast<std::size_t>(part) * bytes, bytes};
    if (primitives) {
      primitives_.find(key_of(own, part))->second->execute(own);
    } else if (own.a.dtype == DType::Float32) {
      multiply_fp32(own, parts.sizes(part));
    } else {
      multiply_widened(own, parts.sizes(part), widening_of(own));
    }
  });
}

bool Matmul::uses_primitives(const MatmulArguments& arguments) const {
  return use_primitives_ && arguments.a.dtype == DType::BFloat16;
}

Widening Matmul::widening_of(const MatmulArguments& arguments) const {
  const bool packs = packs_ && is_avx2_product(arguments.transpose_a, arguments.transpose_b);
  return packs ? Widening::AsPacked : Widening::InBlocks;
}

std::size_t Matmul::part_workspace(const MatmulArguments& arguments, const ProductParts& parts) const {
  std::size_t bytes = 0;
  for (std::int64_t part = 0; part < parts.count(); ++part) {
    if (arguments.a.dtype == DType::Float32) {
      bytes = std::max(bytes, fp32_workspace(arguments, parts.sizes(part)));
      continue;
    }
    const MatmulArguments own = parts.arguments(arguments, part);
    bytes =
        std::max(bytes, uses_primitives(own) ? primitive_workspace(own, part)
                                             : widened_workspace(own, parts.sizes(part), widening_of(own)));
  }
  return bytes;
}

std::size_t Matmul::primitive_workspace(const MatmulArguments& arguments, std::int64_t part) const {
  WorkspaceCarver carver;
  carver.take<std::byte>(static_cast<std::int64_t>(prepared(key_of(arguments, part)).scratch_bytes));
  return carver.bytes();
}

std::size_t Matmul::workspace(const MatmulArguments& arguments) const {
  const ProductSizes sizes = sizes_of(arguments);
  if (sizes.m == 0 || sizes.n == 0) return 0;
  const ProductParts parts(sizes);
  WorkspaceCarver carver;
  carver.take<std::byte>(static_cast<std::int64_t>(part_workspace(arguments, parts)) * parts.count());
  return carver.bytes();
}

}  // namespace plumb::cpu
