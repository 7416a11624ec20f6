#include "checkpoint/file_io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {
/// Closes a descriptor at the end of a scope.
struct DescriptorGuard {
  int descriptor;
  ~DescriptorGuard() { ::close(descriptor); }
};
}  // namespace

FileWriter::FileWriter(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("cannot create {}: {}", path_.string(), std::strerror(errno));
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileWriter::write(const void* data, std::size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    // Linux writes at most 2 GiB at a time.
    const ssize_t written = ::write(descriptor_, next, std::min<std::size_t>(bytes, std::size_t{1} << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void FileWriter::finish() {
  if (::fsync(descriptor_) != 0) fail("cannot flush {}: {}", path_.string(), std::strerror(errno));
  // Network file systems report a full disk only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    fail("cannot close {}: {}", path_.string(), std::strerror(errno));
  }
}

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_input("cannot open {}: {}", path_.string(), std::strerror(errno));
  const DescriptorGuard guard{descriptor};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0)
    fail_input("cannot read {}: {}", path_.string(), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail_input("{} is not a regular file", path_.string());
  bytes_ = static_cast<std::size_t>(status.st_size);
  if (bytes_ == 0) return;  // an empty mapping is an error of mmap, an empty file is not
  void* mapping = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapping == MAP_FAILED) fail("cannot map {}: {}", path_.string(), std::strerror(errno));
  data_ = mapping;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  FileWriter writer(path);
  writer.write(content.data(), content.size());
  writer.finish();
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail("cannot open folder {}: {}", folder.string(), std::strerror(errno));
  const DescriptorGuard guard{descriptor};
  // Some network file systems cannot flush a folder and say so by EINVAL; the names are then as safe as they
  // get.
  if (::fsync(descriptor) != 0 && errno != EINVAL) {
    fail("cannot flush folder {}: {}", folder.string(), std::strerror(errno));
  }
}

}  // namespace plumb
