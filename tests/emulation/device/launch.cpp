#include "launch.h"

#include <utility>

#include "backends/cuda/check.h"
#include "backends/cuda/launch_rules.h"
#include "host/stream_queue.h"
#include "settings.h"
#include "shared_memory.h"

namespace plumb::emulation {

void launch_kernel(cudaStream_t stream, const void* kernel, const GridLaunch& launch,
                   std::function<void()> thread_body) {
  const auto check = [&](cudaError_t code, const char* what) {
    cuda::check_cuda(code, what, __FILE__, __LINE__);
  };
  settings();  // throws here, and not on the stream, if a variable of the environment is wrong
  const std::string reason = refusal(launch);
  if (!reason.empty()) check(cudaErrorInvalidConfiguration, reason.c_str());
  if (launch.asked_for_shared) cuda::allow_shared_memory(kernel, launch.shared_bytes, launch.name);
  check(check_shared_memory(kernel, launch.name, launch.shared_bytes), launch.name);
  check(enqueue(stream, launch.name,
                [launch, body = std::move(thread_body)] {
                  if (!run_grid(launch, body)) kernel_failed(last_error());
                  return Step::Done;
                }),
        launch.name);
}

}  // namespace plumb::emulation
