#include "data/whole_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {
/// An open file that is closed and removed unless it is kept.
class PartialFile {
 public:
  PartialFile(std::filesystem::path path, std::filesystem::path final_path)
      : path_(std::move(path)), final_path_(std::move(final_path)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail_with_reason();
  }
  ~PartialFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!kept_) ::unlink(path_.c_str());
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // Linux writes at most 2 GiB at a time.
      const ssize_t written =
          ::write(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), std::size_t{1} << 30));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_with_reason();
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void keep() {
    if (::fsync(descriptor_) != 0) fail_with_reason();
    // Network file systems report a full disk only here.
    if (::close(std::exchange(descriptor_, -1)) != 0) fail_with_reason();
    if (::rename(path_.c_str(), final_path_.c_str()) != 0) fail_with_reason();
    kept_ = true;
  }

 private:
  [[noreturn]] void fail_with_reason() const {
    fail_input("cannot write {}: {}", final_path_.string(), std::strerror(errno));
  }

  std::filesystem::path path_, final_path_;
  int descriptor_ = -1;
  bool kept_ = false;
};
}  // namespace

void write_whole_file(const std::filesystem::path& path,
                      std::initializer_list<std::span<const std::byte>> parts) {
  PartialFile file(path.string() + ".partial", path);
  for (const auto part : parts) file.write(part);
  file.keep();
}

}  // namespace plumb
