// What the emulated GPU has done so far. PLUMB_EMULATION_STATISTICS=1 prints it when the process ends.
#pragma once

#include <cstdint>
#include <string>

namespace plumb::emulation {

struct Statistics {
  std::uint64_t allocations = 0;  ///< calls of cudaMalloc and ncclMemAlloc that gave memory
  std::uint64_t frees = 0;
  std::uint64_t current_bytes = 0;  ///< of device memory, as asked for
  std::uint64_t peak_bytes = 0;
  std::uint64_t operations = 0;  ///< stream operations completed
  std::uint64_t launches = 0;    ///< kernels put on a stream
  std::uint64_t copies = 0;
  std::uint64_t products = 0;     ///< cublasLtMatmul
  std::uint64_t collectives = 0;  ///< NCCL collectives put on a stream
  std::uint64_t graph_launches = 0;
  std::uint64_t longest_queue = 0;
  std::uint64_t access_changes = 0;  ///< how often device memory was opened for stream operations
};

Statistics& statistics();
std::string describe(const Statistics& statistics);

}  // namespace plumb::emulation

/// The same for a program that has the plug-in loaded (dlsym): allocations so far, bytes now and at the peak.
extern "C" void plumb_emulation_memory(std::uint64_t* allocations, std::uint64_t* current_bytes,
                                       std::uint64_t* peak_bytes);
