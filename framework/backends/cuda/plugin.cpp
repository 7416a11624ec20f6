// The one symbol that the plug-in shows.
#include "backend/plugin.h"

#include "backends/cuda/cuda_backend.h"
#include "core/error.h"
#include "core/log.h"

extern "C" __attribute__((visibility("default"))) plumb::Backend* plumb_make_backend(
    int abi, const plumb::PluginRequest* request) {
  PLUMB_CHECK(abi == plumb::kPluginAbi, "the program speaks plug-in ABI {}, this plug-in {}", abi,
              plumb::kPluginAbi);
  // The plug-in has a copy of its own of everything static in core.
  plumb::set_process_identity(request->identity);
  plumb::configure_logging(plumb::LogLevel::Info, request->identity.rank, request->identity.world);
  return plumb::cuda::make_cuda_backend(request->name, request->options).release();
}
