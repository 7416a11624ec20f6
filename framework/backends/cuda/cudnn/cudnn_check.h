// The one check of cuDNN calls.
#pragma once

#include <cudnn.h>

#include <source_location>
#include <string>

#include "core/error.h"

namespace plumb::cuda {

/// cuDNN's name for the status and what it last wrote about an error on this thread.
std::string cudnn_text(cudnnStatus_t status);

/// cuDNN does not take what it is given, or does not work with what is installed: it can be done without.
class CudnnRefusal : public Error {
 public:
  using Error::Error;
};

/// Whether a status is about the device, the driver's work on it or memory. That says nothing about the
/// request, and goes on as it came.
bool is_fault(cudnnStatus_t status);

/// Throws Error with cuDNN's own text, the call, the place, host, rank and device unless the status says
/// success; CudnnRefusal unless it is a fault. Costs nothing when there is none: it runs in every step.
void check_cudnn(cudnnStatus_t status, const char* call,
                 std::source_location where = std::source_location::current());

}  // namespace plumb::cuda

#define PLUMB_CUDNN(call) ::plumb::cuda::check_cudnn((call), #call)
