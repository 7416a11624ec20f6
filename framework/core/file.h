// Files and folders on POSIX: owned descriptors and mappings, writes that reach the disk, names that last.
// A place that cannot be opened, created, listed, renamed or read is an InputError (a path or a permission is
// wrong); a write or a flush that the system refuses (full disk, failing device) is an Error. Both name the
// path and the system's reason in one line.
#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

enum class WriteMode { Replace, Append };

/// Creates a file, or opens it to write it anew or to go on at its end.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path path, WriteMode mode = WriteMode::Replace);
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&& other) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Hands the bytes to the system in one call where the system takes them whole.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Returns when all is on the disk (fsync).
  void sync();
  /// sync() and close; without it the destructor only closes.
  void finish();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// A whole file mapped read-only. InputError when it is no regular file.
class MappedFile {
 public:
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  /// Page-aligned; null for an empty file.
  const std::byte* data() const { return static_cast<const std::byte*>(data_); }
  std::size_t bytes() const { return bytes_; }
  std::string_view text() const { return {static_cast<const char*>(data_), bytes_}; }

 private:
  std::filesystem::path path_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A regular file's content. Unlike a mapping, a device that fails while reading is an InputError.
std::string read_whole_file(const std::filesystem::path& path);

/// Writes the parts one after the other to "<path>.partial", flushes that to the disk and renames it to
/// `path` (which is replaced): a reader never sees half a file, and after the return a crash does not undo
/// it. The partial file of a failed call is removed.
void write_whole_file(const std::filesystem::path& path,
                      std::initializer_list<std::span<const std::byte>> parts);

/// fsyncs a folder: makes the names in it durable.
void sync_folder(const std::filesystem::path& folder);
/// Creates the folder and its missing parents, each durably; one that exists already is no error.
void create_folders(const std::filesystem::path& folder);
/// What a folder holds, sorted by name. Empty when there is no such folder.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);
/// False for anything but a folder or a link to one, also where the system cannot tell.
bool is_folder(const std::filesystem::path& path);
/// Replaces a file at `to`. Not durable before sync_folder(parent_folder(to)).
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Removes a file or a folder with everything in it; nothing there is no error.
void remove_tree(const std::filesystem::path& path);
/// The folder that holds `path`; "." for a bare name.
std::filesystem::path parent_folder(const std::filesystem::path& path);

}  // namespace plumb
