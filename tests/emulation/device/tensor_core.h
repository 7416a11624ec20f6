// Warp-level matrix instructions and asynchronous copies (PTX ISA, "Warp-Level Matrix Instructions" and "Data
// Movement and Conversion Instructions: cp.async").
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace plumb::emulation {

using Location = std::source_location;

enum class MatrixElement { BFloat16, Half };

/// d += a b; framework/backends/cuda/nvcc/tensor_core_instructions.cuh has the layouts. Products and sums in
/// fp32, one after another: the hardware's order is not documented.
void multiply_m16n8k16(MatrixElement element, float (&d)[4], const std::uint32_t (&a)[4],
                       const std::uint32_t (&b)[2], Location location);

/// ldmatrix of `matrices` (2 or 4) matrices of 8x8 elements of 16 bits. Lane 8 m + r gives the address of row
/// r of matrix m; registers[m] receives two elements of matrix m.
void load_matrices(int matrices, bool transposed, std::uint32_t* registers, const void* row,
                   Location location);

/// cp.async of 16 bytes, of which `bytes` come from global and the rest is zero.
void start_copy(void* shared, const void* global, std::size_t bytes, Location location);
void commit_copies();
void wait_for_copies(int groups_left);

}  // namespace plumb::emulation
