#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

/// Closes a descriptor at the end of a scope.
struct DescriptorGuard {
  explicit DescriptorGuard(int owned) : descriptor(owned) {}
  ~DescriptorGuard() { ::close(descriptor); }
  DescriptorGuard(const DescriptorGuard&) = delete;
  DescriptorGuard& operator=(const DescriptorGuard&) = delete;

  const int descriptor;
};

int open_to_read(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_input("cannot open {}: {}", path.string(), std::strerror(errno));
  return descriptor;
}

/// Refuses what is no regular file; returns its size.
std::size_t size_of_regular_file(int descriptor, const fs::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    fail_input("cannot read {}: {}", path.string(), std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) fail_input("{} is not a regular file", path.string());
  return static_cast<std::size_t>(status.st_size);
}
}  // namespace

FileWriter::FileWriter(fs::path path, WriteMode mode) : path_(std::move(path)) {
  const int start = mode == WriteMode::Append ? O_APPEND : O_TRUNC;
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | start, 0666);
  if (descriptor_ < 0) fail_input("cannot write {}: {}", path_.string(), std::strerror(errno));
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Linux writes at most 2 GiB at a time.
    const std::size_t chunk = std::min(bytes.size(), std::size_t{1} << 30);
    const ssize_t written = ::write(descriptor_, bytes.data(), chunk);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write to {}: {}", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void FileWriter::sync() {
  // Pipes and some network file systems do not know fsync; what they were given is as safe as it gets.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail("cannot bring {} to the disk: {}", path_.string(), std::strerror(errno));
  }
}

void FileWriter::finish() {
  sync();
  // Network file systems report a full disk only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    fail("cannot close {}: {}", path_.string(), std::strerror(errno));
  }
}

MappedFile::MappedFile(fs::path path) : path_(std::move(path)) {
  const DescriptorGuard file(open_to_read(path_));
  bytes_ = size_of_regular_file(file.descriptor, path_);
  if (bytes_ == 0) return;  // an empty mapping is an error of mmap, an empty file is not
  void* mapping = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
  if (mapping == MAP_FAILED) fail_input("cannot map {}: {}", path_.string(), std::strerror(errno));
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

std::string read_whole_file(const fs::path& path) {
  const DescriptorGuard file(open_to_read(path));
  std::string content;
  content.reserve(size_of_regular_file(file.descriptor, path));
  std::array<char, std::size_t{1} << 16> chunk;
  while (true) {
    const ssize_t count = ::read(file.descriptor, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_input("cannot read {}: {}", path.string(), std::strerror(errno));
    if (count == 0) return content;
    content.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

void write_whole_file(const fs::path& path, std::initializer_list<std::span<const std::byte>> parts) {
  const fs::path partial = path.string() + ".partial";
  FileWriter writer(partial);
  try {
    for (const auto part : parts) writer.write(part);
    writer.finish();
    rename_path(partial, path);
  } catch (const Error&) {
    ::unlink(partial.c_str());
    throw;
  }
  sync_folder(parent_folder(path));
}

void sync_folder(const fs::path& folder) {
  const int opened = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // A folder may allow new names without being readable; there is no other way to flush it.
  if (opened < 0 && errno == EACCES) return;
  if (opened < 0) fail_input("cannot open folder {}: {}", folder.string(), std::strerror(errno));
  const DescriptorGuard guard(opened);
  // Some network file systems cannot flush a folder; the names are then as safe as they get.
  if (::fsync(guard.descriptor) != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail("cannot flush folder {}: {}", folder.string(), std::strerror(errno));
  }
}

void create_folders(const fs::path& folder) {
  if (is_folder(folder)) return;
  const fs::path parent = parent_folder(folder);
  if (parent != folder) create_folders(parent);
  std::error_code error;
  fs::create_directory(folder, error);
  if (error) fail_input("cannot create folder {}: {}", folder.string(), error.message());
  sync_folder(parent);
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  if (fs::status(folder, error).type() == fs::file_type::not_found) return entries;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    entries.push_back(entry->path());
  }
  if (error) fail_input("cannot list folder {}: {}", folder.string(), error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void rename_path(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    fail_input("cannot rename {} to {}: {}", from.string(), to.string(), std::strerror(errno));
  }
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail_input("cannot remove {}: {}", path.string(), error.message());
}

fs::path parent_folder(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace plumb
