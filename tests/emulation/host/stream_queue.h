// How device code gets onto the streams of the emulated GPU: all that launches, and stand-ins of libraries,
// need.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>

namespace plumb::emulation {

/// What a stream operation says when it is called: finished, or call again later.
enum class Step { Done, Pending };

/// Puts a kernel (or what stands for one) on `stream`. `run` is called later, once what is before it on the
/// stream has finished, with device memory accessible; while a graph is captured it is recorded instead, and
/// every replay starts from a fresh copy of it. `name` is for messages. Gives what a launch gives: the error
/// of an earlier failure, cudaErrorInvalidResourceHandle for a stream that is not there.
cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<Step()> run);

/// For an operation that fails while it runs: the device is lost with cudaErrorLaunchFailure, whose
/// cudaGetErrorString shows `report` from then on.
void kernel_failed(const std::string& report);

/// The check of a launch's dynamic shared memory: more than 48 KiB needs
/// cudaFuncAttributeMaxDynamicSharedMemorySize set for `kernel`. Gives cudaErrorInvalidValue otherwise.
cudaError_t check_shared_memory(const void* kernel, const char* name, std::size_t bytes);

}  // namespace plumb::emulation
