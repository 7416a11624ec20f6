// A build with PLUMB_WITH_ONEDNN=OFF.
#include "backends/cpu_choice.h"
#include "core/error.h"

namespace plumb {

bool has_cpu_backend() { return false; }
void require_processor() {}
std::unique_ptr<Backend> make_cpu_backend_if_built(Communicator*) {
  fail_input(
      "device = \"cpu\" is not in this build (PLUMB_WITH_ONEDNN=OFF); install libdnnl-dev and build with it, "
      "or "
      "take \"reference\"");
}

}  // namespace plumb
