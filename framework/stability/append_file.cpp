#include "stability/append_file.h"

#include "core/error.h"

namespace plumb {
namespace {
FileWriter open_log(const std::filesystem::path& path) {
  try {
    return FileWriter(path, WriteMode::Append);
  } catch (const InputError& error) {
    fail_input("{}; choose another run.dir or free this one", error.what());
  }
}
}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path) : writer_(open_log(path)) {}

}  // namespace plumb
