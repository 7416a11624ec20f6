#include "backend/loader.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/instruction_sets.h"
#include "backends/reference/reference_backend.h"
#include "core/error.h"

namespace plumb {

std::vector<std::string> backend_names() { return {"cpu", "reference"}; }

std::unique_ptr<Backend> make_backend(const std::string& name) {
  // For every name: the linker may have kept the cpu backend's copy of an inline function that others use
  // too.
  cpu::require_compiled_instruction_sets();
  if (name == "cpu" || name == "auto") return make_cpu_backend();
  if (name == "reference") return make_reference_backend();
  fail_input("device = \"{}\" is not in this build; there are \"auto\", \"cpu\" and \"reference\"", name);
}

}  // namespace plumb
