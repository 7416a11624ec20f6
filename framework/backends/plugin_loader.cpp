#include "backends/plugin_loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "backend/plugin.h"
#include "core/error.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> plugin_folders() {
  std::vector<fs::path> folders;
  if (const char* chosen = std::getenv("PLUMB_PLUGIN_DIR")) folders.emplace_back(chosen);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    folders.push_back(program.parent_path());
    folders.push_back(program.parent_path().parent_path() / "lib" / "plumb");
  }
  folders.emplace_back(PLUMB_BUILD_PLUGIN_DIR);
  return folders;
}

}  // namespace

std::optional<fs::path> find_plugin(const std::string& stem) {
  for (const fs::path& folder : plugin_folders()) {
    const fs::path library = folder / ("libplumb_" + stem + ".so");
    std::error_code error;
    if (fs::exists(library, error)) return library;
  }
  return std::nullopt;
}

std::unique_ptr<Backend> make_plugin_backend(const fs::path& library, const char* name,
                                             const BackendOptions& options) {
  // Never closed: a backend's code must outlive its last object, and CUDA libraries do not unload cleanly.
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) fail("cannot open {}: {}", library.string(), dlerror());
  auto* make = reinterpret_cast<MakeBackend*>(dlsym(handle, kMakeBackendSymbol));
  if (make == nullptr) fail("{} is no Plumb backend: it has no {}", library.string(), kMakeBackendSymbol);
  const PluginRequest request{name, options, process_identity()};
  return std::unique_ptr<Backend>(make(kPluginAbi, &request));
}

}  // namespace plumb
