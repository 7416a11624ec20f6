#include "host/api_call.h"

#include <fmt/format.h>

#include <thread>

#include "core/error.h"
#include "host/capture.h"
#include "host/device_fault.h"
#include "host/errors.h"

namespace plumb::emulation {

cudaError_t enter(const char* function, WhileCapturing rule) {
  static const std::thread::id caller = std::this_thread::get_id();
  PLUMB_CHECK(caller == std::this_thread::get_id(),
              "{}: the emulation models one host thread, and this is a second one", function);
  if (const char* operation = running_operation())
    return refuse(cudaErrorNotPermitted,
                  fmt::format("{} was called by stream operation '{}'", function, operation));
  if (lost_device() != cudaSuccess) return lost_device();
  if (rule == WhileCapturing::Forbidden && invalidate_captures(function))
    return refuse(cudaErrorStreamCaptureUnsupported, function);
  return cudaSuccess;
}

}  // namespace plumb::emulation
