// Every operator new of one thread while a window is open, and who asked for it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace plumb::test {

struct AllocationReport {
  std::int64_t count = 0;
  /// By the file name of the shared object whose code asked (past libstdc++ and libfmt, which ask for
  /// others); the program itself is "plumb".
  std::map<std::string, std::int64_t> by_object;
  /// Of the first of the program's own, for the message: one line per frame.
  std::vector<std::string> first_own;
  std::int64_t own() const {
    const auto found = by_object.find("plumb");
    return found == by_object.end() ? 0 : found->second;
  }
};

/// Runs `body`; what the calling thread takes from operator new while `open()` holds is reported. `open` must
/// not allocate.
AllocationReport record_allocations(bool (*open)(), const std::function<void()>& body);

}  // namespace plumb::test
