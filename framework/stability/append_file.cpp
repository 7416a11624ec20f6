#include "stability/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace plumb {

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    fail_input("'{}' cannot be written: {}; choose another run.dir or free this one", path_.string(),
               std::strerror(errno));
  }
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::append(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("'{}' cannot be written to: {}", path_.string(), std::strerror(errno));
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AppendFile::sync() {
  // Pipes and some network file systems do not know fsync; what they were given is as safe as it gets.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail("'{}' cannot be brought to the disk: {}", path_.string(), std::strerror(errno));
  }
}

}  // namespace plumb
