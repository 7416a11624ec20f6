// Files that must be whole or absent: RAII around descriptors and mappings, writes that reach the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace plumb {

/// Creates (or empties) a file and writes to it. Errors throw Error and name the file and the system's
/// reason.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, std::size_t bytes);
  /// Flushes to the disk (fsync) and closes; without it the destructor only closes.
  void finish();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// A whole file mapped read-only. Throws InputError when it cannot be opened or is no regular file.
class MappedFile {
 public:
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  const std::byte* data() const { return static_cast<const std::byte*>(data_); }
  std::size_t bytes() const { return bytes_; }
  std::string_view text() const { return {static_cast<const char*>(data_), bytes_}; }

 private:
  std::filesystem::path path_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Writes a file and fsyncs it.
void write_file(const std::filesystem::path& path, std::string_view content);
/// fsyncs a folder: makes the names in it durable.
void sync_folder(const std::filesystem::path& folder);

}  // namespace plumb
