// The memory of the emulated GPU: an address range of its own that host code cannot touch, filled with NaN
// when it is given out, and never given out twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace plumb::emulation {

struct Allocation {
  std::size_t bytes = 0;  ///< as asked for
  int device = 0;
  std::uint64_t number = 0;                  ///< counts from 1, in messages
  int registrations = 0;                     ///< with NCCL communicators; must be 0 when it is freed
  std::size_t first_page = 0, end_page = 0;  ///< offsets of its own pages
};

class DeviceMemory {
 public:
  DeviceMemory();
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Null when the device has less than that left. Every byte is 0xff: NaN in each floating-point type.
  void* allocate(std::size_t bytes, int device, std::size_t alignment = 256);
  /// `data` must be what allocate gave.
  void release(void* data);

  /// The allocation that starts at `data`, or null.
  Allocation* starting_at(const void* data);
  /// The live allocation that holds [data, data + bytes) as a whole, or null.
  Allocation* holding(const void* data, std::size_t bytes);
  /// Whether an address is in the range that device memory comes from, live or not.
  bool covers(const void* data) const;
  /// "the 8 bytes at +120 of allocation 3 (128 bytes)", for messages.
  std::string describe(const void* data, std::size_t bytes) const;

  /// "something wrote behind allocation 3 (128 bytes)" when the red zone of a live allocation has changed.
  std::string overrun(const void* data) const;
  std::string any_overrun() const;

  std::size_t capacity() const { return capacity_; }
  /// What of a device's capacity is left.
  std::size_t left(int device) const;

  void set_accessible(bool accessible);
  bool accessible() const { return accessible_; }

 private:
  void retire(char* begin, std::size_t bytes);

  std::size_t capacity_;  ///< of each device
  char* begin_ = nullptr;
  std::size_t used_ = 0;
  bool accessible_ = false;
  std::map<const char*, Allocation> live_;
  std::map<int, std::size_t> bytes_of_device_;
  std::map<std::size_t, std::size_t> retired_;  ///< offsets of pages given back: begin, end
};

DeviceMemory& device_memory();

/// While one lives, device memory can be read and written. Stream operations run inside of one; host code
/// does not, so a host access to device memory faults, as on a real GPU.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

/// "cudaMemcpyAsync: source: ..." unless the range lies in one live allocation; empty when it does.
std::string range_fault(const char* function, const char* argument, const void* data, std::size_t bytes);

}  // namespace plumb::emulation
