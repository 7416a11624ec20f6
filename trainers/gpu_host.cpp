// GpuHost of this process: files, programs and libraries as they are.
#include <dlfcn.h>
#include <sys/resource.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "backend/loader.h"
#include "gpu_findings.h"

namespace plumb {
namespace {

std::optional<std::string> run_command(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen((command + " 2>/dev/null").c_str(), "r"), pclose);
  if (!pipe) return std::nullopt;
  std::string text;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), part.size(), pipe.get()) != nullptr) text += part.data();
  if (text.empty()) return std::nullopt;
  return text;
}

/// NCCL writes to an int, the others return the number.
std::optional<long> version_of(const char* library, const char* function) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) return std::nullopt;
  void* symbol = dlsym(handle, function);
  if (symbol == nullptr) return std::nullopt;
  if (std::string(function) == "ncclGetVersion") {
    int version = 0;
    if (reinterpret_cast<int (*)(int*)>(symbol)(&version) != 0) return std::nullopt;
    return version;
  }
  return static_cast<long>(reinterpret_cast<std::size_t (*)()>(symbol)());
}

std::vector<std::string> entries_of(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    names.push_back(entry.path().filename().string());
  return names;
}

std::string text_of(const std::string& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

}  // namespace

GpuHost this_gpu_host() {
  GpuHost host;
  host.driver = probe_cuda();
  host.absence = cuda_absence();
  host.emulation = has_emulated_cuda();
  host.architectures = PLUMB_CUDA_ARCHITECTURES;
  host.compiled = compiled_cuda_versions();
  host.run = run_command;
  host.library_version = version_of;
  host.list = entries_of;
  host.read = text_of;
  struct rlimit locked = {};
  getrlimit(RLIMIT_MEMLOCK, &locked);
  host.locked_memory_limit = locked.rlim_cur;
  return host;
}

}  // namespace plumb
