// What every function of the emulated CUDA runtime does first.
#pragma once

#include <cuda_runtime_api.h>

namespace plumb::emulation {

enum class WhileCapturing { Allowed, Forbidden };

/// cudaSuccess when the call may go on. Otherwise the error to return: the device is lost; the call comes
/// from inside a stream operation (cudaErrorNotPermitted); or it is Forbidden while this thread captures a
/// graph, which also invalidates the capture, as the programming guide says of calls that are unsafe in
/// cudaStreamCaptureModeGlobal and ThreadLocal. Calls from a second host thread are an Error: not modelled.
cudaError_t enter(const char* function, WhileCapturing rule);

}  // namespace plumb::emulation
