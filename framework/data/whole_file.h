// Writing a file so that it is either whole or absent under its name.
#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <span>

namespace plumb {

/// Writes the parts one after the other to "<path>.partial", flushes that to the disk and renames it to
/// `path` (which is replaced); a reader never sees half a file. Throws InputError with the system's reason
/// when the place cannot be written; the partial file is then removed.
void write_whole_file(const std::filesystem::path& path,
                      std::initializer_list<std::span<const std::byte>> parts);

}  // namespace plumb
