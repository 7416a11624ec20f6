#include "backends/cpu/sgemm.h"

#include <oneapi/dnnl/dnnl.h>

#include "backends/cpu/avx2_product.h"
#include "backends/cpu/processor.h"
#include "core/error.h"

namespace plumb::cpu {
bool takes_avx2_product(bool transpose_a, bool transpose_b) {
  static const bool processor_takes_it = [] {
    const ProcessorFacts facts = read_processor_facts();
    return facts.has("avx2") && facts.has("fma") && !facts.has("avx512f");
  }();
  return processor_takes_it && is_avx2_product(transpose_a, transpose_b);
}

std::int64_t sgemm_workspace(const ProductSizes& sizes, bool transpose_a, bool transpose_b) {
  return takes_avx2_product(transpose_a, transpose_b) ? avx2_product_workspace(sizes, transpose_a) : 0;
}

void sgemm(const Product& product, float* workspace) {
  if (takes_avx2_product(product.a.transposed, product.b.transposed)) {
    avx2_product(product, workspace);
  } else {
    library_sgemm(product);
  }
}

void library_sgemm(const Product& product) {
  const auto& [sizes, a, b, c, stride_c, accumulate, bias] = product;
  const auto status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', sizes.m, sizes.n, sizes.k, 1.0F, a.data,
                 a.stride, b.data, b.stride, accumulate ? 1.0F : 0.0F, c, stride_c);
  PLUMB_CHECK(status == dnnl_success, "oneDNN sgemm of ({},{},{}) failed with status {}", sizes.m, sizes.n,
              sizes.k, static_cast<int>(status));
  // The bias in a pass of its own: panels of rows that it would find in cache make the library pack its right
  // operand again for each, which costs more (3 to 8 % at the shapes of a small Transformer).
  if (bias != nullptr) add_bias(c, stride_c, bias, sizes.m, sizes.n);
}

}  // namespace plumb::cpu
