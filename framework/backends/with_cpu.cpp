#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/instruction_sets.h"
#include "backends/cpu_choice.h"

namespace plumb {

bool has_cpu_backend() { return true; }
void require_processor() { cpu::require_compiled_instruction_sets(); }
std::unique_ptr<Backend> make_cpu_backend_if_built(Communicator* communicator) {
  return make_cpu_backend(communicator);
}

}  // namespace plumb
