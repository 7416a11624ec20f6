#include "host/device_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

#include "core/error.h"
#include "host/address_sanitizer.h"
#include "host/device_fault.h"
#include "host/environment.h"
#include "host/statistics.h"

namespace plumb::emulation {
namespace {

constexpr std::size_t kPage = 4096;
/// Address space, of which only what is in use is backed by memory. The thread sanitizer leaves programs less
/// than two TiB in one piece.
constexpr std::size_t kReserved = std::size_t{1} << 38;
constexpr std::size_t kRedZone = 256;
/// Every allocation has pages of its own, which go back to the system when it is freed: the time to open and
/// close device memory then follows what is live, not all that ever was. It starts this far behind the
/// beginning of a page, because cudaMalloc promises an alignment to 256 bytes and no more.
constexpr std::size_t kBehindPage = 256;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// A red zone holds NaN too, in each floating-point type, but another one at every address: a kernel that
/// runs over the end of its input and its output alike would otherwise put back what was there.
char red_zone_byte(const char* address) {
  const auto place = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address) / 2);
  const std::uint32_t half = 0x7fc0U | (place * 0x9e3779b1U >> 26U);
  return static_cast<char>(reinterpret_cast<std::uintptr_t>(address) % 2 == 0 ? half & 0xffU : half >> 8U);
}

void protect(char* begin, std::size_t bytes, bool accessible) {
  if (bytes == 0) return;
  const int rights = accessible ? PROT_READ | PROT_WRITE : PROT_NONE;
  PLUMB_CHECK(mprotect(begin, bytes, rights) == 0, "mprotect: {}", std::strerror(errno));
}

}  // namespace

DeviceMemory::DeviceMemory()
    : capacity_(static_cast<std::size_t>(number_setting("PLUMB_EMULATION_DEVICE_MIB", 16 * 1024, 1)) << 20) {
  void* range = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  PLUMB_CHECK(range != MAP_FAILED, "cannot reserve an address range for device memory: {}",
              std::strerror(errno));
  begin_ = static_cast<char*>(range);
  explain_device_faults();
}

DeviceMemory::~DeviceMemory() { munmap(begin_, kReserved); }

void* DeviceMemory::allocate(std::size_t bytes, int device, std::size_t alignment) {
  if (bytes > left(device)) return nullptr;
  const std::size_t start = round_up(used_ + kBehindPage, alignment);
  const std::size_t end = round_up(start + bytes + kRedZone, kPage);
  PLUMB_CHECK(end <= kReserved, "the emulation never reuses device addresses, and its {} bytes are spent",
              kReserved);
  char* data = begin_ + start;
  live_[data] = {.bytes = bytes,
                 .device = device,
                 .number = statistics().allocations + 1,
                 .first_page = used_,
                 .end_page = end};
  used_ = end;
  bytes_of_device_[device] += bytes;

  const DeviceAccess access;  // host code allocates, so none was open before
  allow_access(data, end - start);
  std::memset(data, 0xff, bytes);
  for (char* at = data + bytes; at < begin_ + end; ++at) *at = red_zone_byte(at);
  forbid_access(data + bytes, end - start - bytes);
  Statistics& counters = statistics();
  ++counters.allocations;
  counters.current_bytes += bytes;
  counters.peak_bytes = std::max(counters.peak_bytes, counters.current_bytes);
  return data;
}

void DeviceMemory::release(void* data) {
  const auto found = live_.find(static_cast<const char*>(data));
  PLUMB_CHECK(found != live_.end(), "release of what was not allocated");
  const Allocation allocation = found->second;
  const std::size_t bytes = allocation.bytes;
  bytes_of_device_[allocation.device] -= bytes;
  live_.erase(found);
  ++statistics().frees;
  statistics().current_bytes -= bytes;
  retire(begin_ + allocation.first_page, allocation.end_page - allocation.first_page);
  forbid_access(static_cast<char*>(data), bytes);
}

/// Gives pages back to the system. Nothing can read or write there any more.
void DeviceMemory::retire(char* begin, std::size_t bytes) {
  protect(begin, bytes, false);
  PLUMB_CHECK(madvise(begin, bytes, MADV_DONTNEED) == 0, "madvise: {}", std::strerror(errno));
  auto from = static_cast<std::size_t>(begin - begin_);
  std::size_t to = from + bytes;
  const auto next = retired_.find(to);
  if (next != retired_.end()) {
    to = next->second;
    retired_.erase(next);
  }
  auto previous = retired_.lower_bound(from);
  if (previous != retired_.begin() && std::prev(previous)->second == from) {
    std::prev(previous)->second = to;
  } else {
    retired_[from] = to;
  }
}

Allocation* DeviceMemory::starting_at(const void* data) {
  const auto found = live_.find(static_cast<const char*>(data));
  return found == live_.end() ? nullptr : &found->second;
}

Allocation* DeviceMemory::holding(const void* data, std::size_t bytes) {
  const char* first = static_cast<const char*>(data);
  auto after = live_.upper_bound(first);
  if (after == live_.begin()) return nullptr;
  auto& [start, allocation] = *std::prev(after);
  const auto offset = static_cast<std::size_t>(first - start);
  return offset <= allocation.bytes && bytes <= allocation.bytes - offset ? &allocation : nullptr;
}

bool DeviceMemory::covers(const void* data) const {
  const char* address = static_cast<const char*>(data);
  return address >= begin_ && address < begin_ + kReserved;
}

std::string DeviceMemory::describe(const void* data, std::size_t bytes) const {
  const char* address = static_cast<const char*>(data);
  if (!covers(data)) return fmt::format("the {} bytes at {}, which is host memory", bytes, data);
  auto after = live_.upper_bound(address);
  if (after == live_.begin()) return fmt::format("the {} bytes at {}, which is not allocated", bytes, data);
  const auto& [start, allocation] = *std::prev(after);
  const auto offset = static_cast<std::size_t>(address - start);
  // Far behind the nearest live allocation it is no overrun but memory that was freed.
  if (offset > allocation.bytes + (1 << 20))
    return fmt::format("the {} bytes at {}, which is not allocated (any more)", bytes, data);
  return fmt::format("the {} bytes at +{} of allocation {} ({} bytes)", bytes, offset, allocation.number,
                     allocation.bytes);
}

std::string DeviceMemory::overrun(const void* data) const {
  const auto& [start, allocation] = *live_.find(static_cast<const char*>(data));
  const char* red_zone = start + allocation.bytes;
  const DeviceAccess access;
  allow_access(red_zone, kRedZone);
  bool intact = true;
  for (const char* at = red_zone; at < red_zone + kRedZone; ++at) intact = intact && *at == red_zone_byte(at);
  forbid_access(red_zone, kRedZone);
  if (intact) return {};
  return fmt::format("something wrote behind allocation {} ({} bytes)", allocation.number, allocation.bytes);
}

std::string DeviceMemory::any_overrun() const {
  for (const auto& [start, allocation] : live_) {
    std::string found = overrun(start);
    if (!found.empty()) return found;
  }
  return {};
}

std::size_t DeviceMemory::left(int device) const {
  const auto found = bytes_of_device_.find(device);
  return capacity_ - (found == bytes_of_device_.end() ? 0 : found->second);
}

void DeviceMemory::set_accessible(bool accessible) {
  accessible_ = accessible;
  if (accessible) ++statistics().access_changes;
  std::size_t at = 0;
  for (const auto& [from, to] : retired_) {
    protect(begin_ + at, from - at, accessible);
    at = to;
  }
  protect(begin_ + at, round_up(used_, kPage) - std::min(at, round_up(used_, kPage)), accessible);
}

DeviceMemory& device_memory() {
  // Never destroyed: handles in static objects are freed after main.
  static DeviceMemory& memory = *std::make_unique<DeviceMemory>().release();
  return memory;
}

namespace {
int open_accesses = 0;
}

DeviceAccess::DeviceAccess() {
  if (++open_accesses == 1) device_memory().set_accessible(true);
}
DeviceAccess::~DeviceAccess() {
  if (--open_accesses == 0) device_memory().set_accessible(false);
}

std::string range_fault(const char* function, const char* argument, const void* data, std::size_t bytes) {
  if (bytes == 0 || device_memory().holding(data, bytes) != nullptr) return {};
  return fmt::format("{}: {}: {} are not in one live device allocation", function, argument,
                     device_memory().describe(data, bytes));
}

}  // namespace plumb::emulation
