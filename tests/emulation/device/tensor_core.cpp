#include "tensor_core.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

#include "block_engine.h"
#include "places.h"

namespace plumb::emulation {
namespace {

constexpr unsigned kWholeWarp = 0xffffffffU;
constexpr std::size_t kRowBytes = 16;

struct ProductLane {
  float d[4];
  std::uint32_t a[4], b[2];
};

float lower_half(MatrixElement element, std::uint32_t pair) {
  const auto bits = static_cast<unsigned short>(pair);
  if (element == MatrixElement::BFloat16) return __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{bits}));
  return __half2float(__half(__half_raw{bits}));
}

/// Rows g and g + 8, columns 2t, 2t + 1, 2t + 8, 2t + 9 of a; column g, rows 2t, 2t + 1, 2t + 8, 2t + 9 of b;
/// g = lane / 4, t = lane % 4.
template <MatrixElement kElement>
void complete_product(WarpLanes& lanes) {
  float a[16][16], b[16][8], d[16][8];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const auto& mine = lanes.of<ProductLane>(lane);
    const unsigned group = lane / 4, column = lane % 4 * 2;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned r = group + i % 2 * 8, c = column + i / 2 * 8;
      a[r][c] = lower_half(kElement, mine.a[i]);
      a[r][c + 1] = lower_half(kElement, mine.a[i] >> 16);
      d[group + i / 2 * 8][column + i % 2] = mine.d[i];
    }
    for (unsigned i = 0; i < 2; ++i) {
      b[column + i * 8][group] = lower_half(kElement, mine.b[i]);
      b[column + i * 8 + 1][group] = lower_half(kElement, mine.b[i] >> 16);
    }
  }
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i)
      lanes.of<ProductLane>(lane).d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

struct LoadLane {
  unsigned short row[8];
  std::uint32_t registers[4];
};

template <int kMatrices, bool kTransposed>
void complete_load(WarpLanes& lanes) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    auto& mine = lanes.of<LoadLane>(lane);
    for (unsigned matrix = 0; matrix < kMatrices; ++matrix) {
      const auto element = [&](unsigned row, unsigned column) -> std::uint32_t {
        return lanes.of<LoadLane>(matrix * 8 + row).row[column];
      };
      const unsigned group = lane / 4, pair = lane % 4 * 2;
      mine.registers[matrix] = kTransposed ? element(pair, group) | element(pair + 1, group) << 16
                                           : element(group, pair) | element(group, pair + 1) << 16;
    }
  }
}

constexpr WarpOperation kProducts[] = {
    {"mma.sync.m16n8k16 (bf16)", complete_product<MatrixElement::BFloat16>, false, true},
    {"mma.sync.m16n8k16 (fp16)", complete_product<MatrixElement::Half>, false, true}};
constexpr WarpOperation kLoads[] = {{"ldmatrix.x2", complete_load<2, false>, false, true},
                                    {"ldmatrix.x2.trans", complete_load<2, true>, false, true},
                                    {"ldmatrix.x4", complete_load<4, false>, false, true},
                                    {"ldmatrix.x4.trans", complete_load<4, true>, false, true}};

bool aligned(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory) % kRowBytes == 0; }

void require_shared(Fiber& fiber, const char* operation, const void* memory, Location location) {
  if (!fiber.engine->shared_memory().holds(memory, kRowBytes))
    fiber.engine->fail(fiber, place(operation, location) + ": the address is not in a shared variable");
  if (!aligned(memory))
    fiber.engine->fail(fiber, place(operation, location) + ": the address in shared memory is misaligned");
}

}  // namespace

void multiply_m16n8k16(MatrixElement element, float (&d)[4], const std::uint32_t (&a)[4],
                       const std::uint32_t (&b)[2], Location location) {
  Fiber& fiber = Fiber::running();
  ProductLane mine;
  std::memcpy(mine.d, d, sizeof mine.d);
  std::memcpy(mine.a, a, sizeof mine.a);
  std::memcpy(mine.b, b, sizeof mine.b);
  fiber.engine->warp_operations().take_part(fiber, kProducts[static_cast<int>(element)], kWholeWarp, &mine,
                                            location);
  std::memcpy(d, mine.d, sizeof mine.d);
}

void load_matrices(int matrices, bool transposed, std::uint32_t* registers, const void* row,
                   Location location) {
  Fiber& fiber = Fiber::running();
  const WarpOperation& operation = kLoads[(matrices == 4 ? 2 : 0) + (transposed ? 1 : 0)];
  LoadLane mine{};
  if (fiber.rank % kLanes < static_cast<unsigned>(matrices) * 8) {
    require_shared(fiber, operation.name, row, location);
    sanitizer::reads(row, kRowBytes);
    std::memcpy(mine.row, row, kRowBytes);
  }
  fiber.engine->warp_operations().take_part(fiber, operation, kWholeWarp, &mine, location);
  std::memcpy(registers, mine.registers, static_cast<std::size_t>(matrices) * sizeof(std::uint32_t));
}

void start_copy(void* shared, const void* global, std::size_t bytes, Location location) {
  Fiber& fiber = Fiber::running();
  require_shared(fiber, "cp.async", shared, location);
  if (fiber.engine->shared_memory().holds(global, 1))
    fiber.engine->fail(fiber, place("cp.async", location) + ": the source is in shared memory");
  if (!aligned(global))
    fiber.engine->fail(fiber, place("cp.async", location) + ": the address in global memory is misaligned");
  fiber.copies.start(shared, kRowBytes, global, bytes);
}

void commit_copies() { Fiber::running().copies.commit(); }

void wait_for_copies(int groups_left) { Fiber::running().copies.wait(static_cast<unsigned>(groups_left)); }

}  // namespace plumb::emulation
