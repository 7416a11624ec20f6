// AppendFile: a file that only grows, by whole lines.
#pragma once

#include <filesystem>
#include <string_view>

namespace plumb {

class AppendFile {
 public:
  /// Creates the file if need be. InputError when the system refuses.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Hands the text to the system in one call where the system takes it whole. Throws Error naming the file.
  void append(std::string_view text);
  /// Returns when all is on the disk.
  void sync();
  /// Bytes in the file.
  std::uintmax_t size() const { return std::filesystem::file_size(path_); }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace plumb
