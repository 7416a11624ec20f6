// The shared memory of the running block.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace plumb::emulation {

/// Limits of sm_90 (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
inline constexpr std::size_t kStaticSharedBytes = 48 * 1024;
inline constexpr std::size_t kSharedBytesWithoutOptIn = 48 * 1024;

/// One PLUMB_SHARED of a kernel; its address says which.
struct SharedDeclaration {
  const char* name;
  std::size_t bytes;
};

/// Shared variables come into being, filled with NaN, when the first thread of a block meets their
/// declaration. Each lies between guards, which the address sanitizer does not let anyone touch and whose
/// change is otherwise found at the end of the block.
class SharedMemory {
 public:
  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// `most_bytes`: of static and dynamic variables together.
  void begin_block(std::size_t dynamic_bytes, std::size_t most_bytes);
  /// The variable, aligned to 128 bytes; null when there is no room for it: error() says why.
  void* variable(const SharedDeclaration& declaration);
  void* dynamic() { return variable(dynamic_); }
  /// Empty unless a guard was written to.
  std::string damage() const;
  const std::string& error() const { return error_; }
  /// Whether all these bytes lie in one variable.
  bool holds(const void* memory, std::size_t bytes) const;

 private:
  struct Slot {
    const SharedDeclaration* declaration;
    char* memory;
  };
  char* take(const SharedDeclaration& declaration);
  void renew();

  char* memory_ = nullptr;
  std::size_t used_ = 0, static_bytes_ = 0, most_bytes_ = 0;
  SharedDeclaration dynamic_{"dynamic shared memory", 0};
  std::vector<Slot> slots_;
  std::string error_;
};

}  // namespace plumb::emulation
