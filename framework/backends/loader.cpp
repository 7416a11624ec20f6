#include "backend/loader.h"

#include <fmt/ranges.h>

#include "backends/cpu_choice.h"
#include "backends/cuda_probe.h"
#include "backends/planning/planning_backend.h"
#include "backends/plugin_loader.h"
#include "backends/reference/reference_backend.h"
#include "core/error.h"

namespace plumb {
namespace {

constexpr const char* kCuda = "cuda";
constexpr const char* kEmulated = "cuda-emulated";

[[noreturn]] void fail_absent(const std::string& name, const std::string& reason) {
  fail_input("device = \"{}\" cannot be had here: {}; there are \"{}\"", name, reason,
             fmt::join(backend_names(), "\", \""));
}

void require_auto_attention(const std::string& name, const BackendOptions& options) {
  if (options.attention == AttentionChoice::Auto) return;
  fail_input(
      "compute.attention = \"{}\" chooses between attentions of a CUDA device, and the device here is "
      "\"{}\"; "
      "leave it at \"auto\"",
      options.attention == AttentionChoice::Own ? "own" : "library", name);
}

std::unique_ptr<Backend> make_emulated(const BackendOptions& options) {
  const auto library = find_plugin("cuda_emulated");
  if (!library) {
    fail_absent(
        kEmulated,
        "this build has no libplumb_cuda_emulated.so; install the CUDA toolkit, whose headers it needs, "
        "and run launch/test.sh or `cmake --build`");
  }
  return make_plugin_backend(*library, kEmulated, options);
}

}  // namespace

std::string cuda_absence() {
  if (probe_cuda().devices == 0) return probe_cuda().reason;
  if (!find_plugin("cuda")) {
    return "there is a GPU, but this build has no libplumb_cuda.so; install the CUDA toolkit (nvcc, cuBLAS, "
           "cuDNN, "
           "NCCL) and build again";
  }
  return "";
}

bool has_emulated_cuda() { return find_plugin("cuda_emulated").has_value(); }

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  if (cuda_absence().empty()) names.emplace_back(kCuda);
  if (has_cpu_backend()) names.emplace_back("cpu");
  names.emplace_back("reference");
  if (has_emulated_cuda()) names.emplace_back(kEmulated);
  return names;
}

bool chooses_attention(const std::string& name) {
  if (name == "auto") return chooses_attention(backend_names().front());
  return name == kCuda || name == kEmulated;
}

std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options) {
  // For every name: the linker may have kept the cpu backend's copy of an inline function that others use
  // too.
  require_processor();
  if (name == "auto") return make_backend(backend_names().front(), options);
  if (name == "cpu" || name == "reference") require_auto_attention(name, options);
  if (name == "cpu") return make_cpu_backend_if_built(options.communicator);
  if (name == "reference") return make_reference_backend();
  if (name == kEmulated) return make_emulated(options);
  if (name != kCuda) {
    fail_input("device = \"{}\" is unknown; there are \"auto\", \"{}\"", name,
               fmt::join(backend_names(), "\", \""));
  }
  const std::string absence = cuda_absence();
  if (!absence.empty()) fail_absent(kCuda, absence);
  return make_plugin_backend(*find_plugin("cuda"), kCuda, options);
}

std::unique_ptr<PlannedMemory> make_planned_memory(const std::string& name, const BackendOptions& options) {
  return make_planning_backend(make_backend(name, options));
}

}  // namespace plumb
