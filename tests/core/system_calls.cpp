#include "core/system_calls.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace {
bool recording = false;
int renames_before_failure = -1;
std::vector<std::string>& calls() {
  static std::vector<std::string> list;
  return list;
}
}  // namespace

extern "C" {

__attribute__((visibility("default"))) int fsync(int descriptor) {
  if (recording) {
    const auto link = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor));
    calls().push_back("sync " + link.string());
  }
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}

__attribute__((visibility("default"))) int rename(const char* from, const char* to) noexcept {
  if (recording) calls().push_back(std::string("rename ") + from + " " + to);
  if (renames_before_failure >= 0 && renames_before_failure-- == 0) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
}

namespace plumb::testing {

SystemCalls::SystemCalls() {
  calls().clear();
  recording = true;
}

SystemCalls::~SystemCalls() {
  recording = false;
  renames_before_failure = -1;
}

std::vector<std::string> SystemCalls::since_start(const std::string& folder) const {
  std::vector<std::string> relative = calls();
  for (std::string& call : relative) {
    for (std::size_t at = 0; (at = call.find(folder, at)) != std::string::npos;) {
      const bool inside = call.compare(at + folder.size(), 1, "/") == 0;
      call.replace(at, folder.size() + (inside ? 1 : 0), inside ? "" : ".");
    }
  }
  return relative;
}

void SystemCalls::fail_rename(int index) { renames_before_failure = index; }

}  // namespace plumb::testing
