// The instructions of framework/backends/cuda/nvcc/tensor_core_instructions.cuh, on the emulated GPU.
#pragma once

#include <source_location>

#include "portability.cuh"
#include "tensor_core.h"

namespace plumb::cuda {

template <class T>
void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  std::source_location location = std::source_location::current());
template <>
inline void mma_m16n8k16<__nv_bfloat16>(float (&d)[4], const std::uint32_t (&a)[4],
                                        const std::uint32_t (&b)[2], std::source_location location) {
  emulation::multiply_m16n8k16(emulation::MatrixElement::BFloat16, d, a, b, location);
}
template <>
inline void mma_m16n8k16<__half>(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                 std::source_location location) {
  emulation::multiply_m16n8k16(emulation::MatrixElement::Half, d, a, b, location);
}

inline void load_matrix_x2(std::uint32_t (&registers)[2], const void* shared_row,
                           std::source_location location = std::source_location::current()) {
  emulation::load_matrices(2, false, registers, shared_row, location);
}
inline void load_matrix_x2_transposed(std::uint32_t (&registers)[2], const void* shared_row,
                                      std::source_location location = std::source_location::current()) {
  emulation::load_matrices(2, true, registers, shared_row, location);
}
inline void load_matrix_x4(std::uint32_t (&registers)[4], const void* shared_row,
                           std::source_location location = std::source_location::current()) {
  emulation::load_matrices(4, false, registers, shared_row, location);
}
inline void load_matrix_x4_transposed(std::uint32_t (&registers)[4], const void* shared_row,
                                      std::source_location location = std::source_location::current()) {
  emulation::load_matrices(4, true, registers, shared_row, location);
}

inline void copy_async_16(void* shared, const void* global,
                          std::source_location location = std::source_location::current()) {
  emulation::start_copy(shared, global, 16, location);
}
inline void copy_async_16_or_zero(void* shared, const void* global, bool copied,
                                  std::source_location location = std::source_location::current()) {
  emulation::start_copy(shared, global, copied ? 16 : 0, location);
}
inline void copy_async_commit() { emulation::commit_copies(); }
template <int kGroups>
void copy_async_wait() {
  emulation::wait_for_copies(kGroups);
}

}  // namespace plumb::cuda
