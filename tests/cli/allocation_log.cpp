#include "allocation_log.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <new>

namespace {

constexpr int kFrames = 20;
constexpr std::int64_t kKept = 100000;

struct Trace {
  std::array<void*, kFrames> frames;
  int depth;
};

/// Room for the traces, taken before the window opens.
Trace* traces = nullptr;
std::int64_t count = 0;
bool (*is_open)() = nullptr;
thread_local bool recorded_thread = false;

void record() {
  if (!recorded_thread || !is_open()) return;
  recorded_thread = false;  // what backtrace() itself takes is not counted
  if (count < kKept) traces[count].depth = backtrace(traces[count].frames.data(), kFrames);
  ++count;
  recorded_thread = true;
}

void* take(std::size_t bytes) {
  record();
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

void* take_aligned(std::size_t bytes, std::align_val_t alignment) {
  record();
  const auto unit = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit)) return memory;
  throw std::bad_alloc();
}

std::string file_name(const char* path) {
  const std::string text = path == nullptr ? "unknown" : path;
  return text.substr(text.rfind('/') + 1);
}

bool asks_for_others(const std::string& object) {
  return object.rfind("libstdc++", 0) == 0 || object.rfind("libfmt", 0) == 0;
}

std::string symbol(const Dl_info& place, void* address) {
  if (place.dli_sname == nullptr) {
    const auto offset = static_cast<char*>(address) - static_cast<char*>(place.dli_fbase);
    return file_name(place.dli_fname) + " +" + std::to_string(offset);
  }
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(place.dli_sname, nullptr, nullptr, &status), std::free);
  return file_name(place.dli_fname) + " " + (status == 0 ? text.get() : place.dli_sname);
}

/// Frames of this file, which are those between the caller and backtrace().
bool is_operator_new(const Dl_info& place) {
  const std::string name = place.dli_sname == nullptr ? "" : place.dli_sname;
  return name.rfind("_Znw", 0) == 0 || name.rfind("_Zna", 0) == 0;
}

}  // namespace

void* operator new(std::size_t bytes) { return take(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return take_aligned(bytes, alignment); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return take(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace plumb::test {
namespace {

void attribute(const Trace& trace, AllocationReport& report) {
  Dl_info own{};
  dladdr(reinterpret_cast<void*>(&attribute), &own);
  // The innermost frames are record(), take() and operator new, which the compiler may have joined.
  int frame = 0;
  for (int i = 0; i < trace.depth; ++i) {
    Dl_info place{};
    if (dladdr(trace.frames[static_cast<std::size_t>(i)], &place) != 0 && is_operator_new(place))
      frame = i + 1;
    if (frame > 0) break;
  }
  for (; frame < trace.depth; ++frame) {
    Dl_info place{};
    void* address = trace.frames[static_cast<std::size_t>(frame)];
    if (dladdr(address, &place) == 0) continue;
    const bool ours = place.dli_fbase == own.dli_fbase;
    if (!ours && asks_for_others(file_name(place.dli_fname))) continue;
    ++report.by_object[ours ? "plumb" : file_name(place.dli_fname)];
    if (ours && report.first_own.empty()) {
      for (int i = frame; i < trace.depth; ++i) {
        Dl_info caller{};
        void* at = trace.frames[static_cast<std::size_t>(i)];
        if (dladdr(at, &caller) != 0) report.first_own.push_back(symbol(caller, at));
      }
    }
    return;
  }
  ++report.by_object["unknown"];
}

}  // namespace

AllocationReport record_allocations(bool (*open)(), const std::function<void()>& body) {
  const std::unique_ptr<Trace[]> room(new Trace[kKept]);
  traces = room.get();
  count = 0;
  is_open = open;
  Trace first;
  backtrace(first.frames.data(), kFrames);  // loads what it needs
  recorded_thread = true;
  body();
  recorded_thread = false;

  AllocationReport report;
  report.count = count;
  for (std::int64_t i = 0; i < std::min(count, kKept); ++i) attribute(traces[i], report);
  if (count > kKept) report.by_object["unknown"] += count - kKept;
  traces = nullptr;
  return report;
}

}  // namespace plumb::test
