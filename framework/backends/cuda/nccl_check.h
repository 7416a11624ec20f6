// The one check of NCCL calls.
#pragma once

#include <nccl.h>

#include <string>

namespace plumb::cuda {

/// "remote process exited or there was a network error: <NCCL's own last words>", on one line.
std::string nccl_text(ncclResult_t code);

/// Throws Error with the expression, the place, host, rank, device and NCCL's text unless the code says
/// success or, as calls on a non-blocking communicator may, "in progress".
void check_nccl(ncclResult_t code, const char* expression, const char* file, int line);

}  // namespace plumb::cuda

#define PLUMB_NCCL(call) ::plumb::cuda::check_nccl((call), #call, __FILE__, __LINE__)
