// AppendFile: a file that only grows, by whole lines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/file.h"

namespace plumb {

class AppendFile {
 public:
  /// Creates the file if need be. InputError when the system refuses.
  explicit AppendFile(const std::filesystem::path& path);

  /// Hands the text to the system in one call where the system takes it whole. Throws Error naming the file.
  void append(std::string_view text) { writer_.write(text); }
  /// Returns when all is on the disk.
  void sync() { writer_.sync(); }
  /// Bytes in the file.
  std::uintmax_t size() const { return std::filesystem::file_size(writer_.path()); }

 private:
  FileWriter writer_;
};

}  // namespace plumb
