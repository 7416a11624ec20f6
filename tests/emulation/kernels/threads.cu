#include "kernels/kernels.h"

namespace plumb::test {
namespace {

__device__ unsigned rank_in_block() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
__device__ unsigned rank_in_grid() {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  return block * blockDim.x * blockDim.y * blockDim.z + rank_in_block();
}

}  // namespace

__global__ void write_places(unsigned* places) {
  unsigned* mine = places + rank_in_grid() * 12;
  const unsigned values[12] = {threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z,
                               blockDim.x,  blockDim.y,  blockDim.z,  gridDim.x,  gridDim.y,  gridDim.z};
  for (int i = 0; i < 12; ++i) mine[i] = values[i];
}

__global__ void write_order(unsigned* order, unsigned* counter) {
  order[atomicAdd(counter, 1U)] = rank_in_grid();
}

}  // namespace plumb::test
