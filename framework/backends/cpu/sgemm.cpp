#include "backends/cpu/sgemm.h"

#include <oneapi/dnnl/dnnl.h>

#include "backends/cpu/avx2_product.h"
#include "backends/cpu/processor.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

/// Asked once.
bool takes_avx2_product() {
  static const bool takes = [] {
    const ProcessorFacts facts = read_processor_facts();
    return facts.has("avx2") && facts.has("fma") && !facts.has("avx512f");
  }();
  return takes;
}

/// The bias in a pass of its own: panels of rows that it would find in cache make the product pack its right
/// operand again for each, which costs more (3 to 8 % at the shapes of a small Transformer).
void library_product(const Product& product) {
  const auto& [sizes, a, b, c, stride_c, accumulate, bias] = product;
  const auto status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', sizes.m, sizes.n, sizes.k, 1.0F, a.data,
                 a.stride, b.data, b.stride, accumulate ? 1.0F : 0.0F, c, stride_c);
  PLUMB_CHECK(status == dnnl_success, "oneDNN sgemm of ({},{},{}) failed with status {}", sizes.m, sizes.n,
              sizes.k, static_cast<int>(status));
  if (bias != nullptr) add_bias(c, stride_c, bias, sizes.m, sizes.n);
}

}  // namespace

std::int64_t sgemm_workspace(const ProductSizes& sizes) {
  return takes_avx2_product() ? avx2_product_workspace(sizes) : 0;
}

/// Ours for weight gradients alone: of the two other forms oneDNN's is the faster one at wide shapes.
void sgemm(const Product& product, float* workspace) {
  const bool ours = takes_avx2_product() && product.a.transposed && !product.b.transposed;
  ours ? avx2_product(product, workspace) : library_product(product);
}

}  // namespace plumb::cpu
