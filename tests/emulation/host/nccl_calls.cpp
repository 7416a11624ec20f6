// The collectives that programs call, and NCCL's memory, of the emulated NCCL.
#include <fmt/format.h>

#include "core/error.h"
#include "host/api_call.h"
#include "host/device_memory.h"
#include "host/device_properties.h"
#include "host/errors.h"
#include "host/faults.h"
#include "host/handles.h"
#include "host/nccl_collective.h"
#include "host/nccl_group.h"
#include "host/nccl_reduction.h"
#include "host/statistics.h"
#include "host/streams.h"

namespace plumb::emulation {
namespace {

/// NCCL_WIN_REQUIRED_ALIGNMENT, so that memory of ncclMemAlloc can be registered as a window.
constexpr std::size_t kAlignment = NCCL_WIN_REQUIRED_ALIGNMENT;

struct Registration {
  ncclComm* communicator;
  const void* data;
};

ncclResult_t cuda_failed(cudaError_t code) {
  return refuse(ncclUnhandledCudaError, cudaGetErrorString(code));
}

ncclResult_t check_call(const char* function, const CollectiveCall& call, ncclComm* communicator) {
  if (const cudaError_t code = enter(function, WhileCapturing::Allowed)) return cuda_failed(code);
  if (const ncclResult_t result = check_ready(function, communicator)) return result;
  const auto invalid = [&](const std::string& reason) {
    return refuse(ncclInvalidArgument, fmt::format("{}: {}", function, reason), communicator);
  };
  if (element_bytes(call.type) == 0)
    fail("{}: data type {} is not modelled by the emulation", function, static_cast<int>(call.type));
  if (!is_modelled(call.reduction))
    fail("{}: reduction {} is not modelled by the emulation", function, static_cast<int>(call.reduction));
  if (call.kind == CollectiveKind::Broadcast && (call.root < 0 || call.root >= communicator->size))
    return invalid(fmt::format("root {} of {} ranks", call.root, communicator->size));
  if (communicator->device != current_device())
    return invalid(fmt::format("the communicator is of device {}, the current one is {}",
                               communicator->device, current_device()));
  const std::string fault = buffer_fault(call, *communicator);
  return fault.empty() ? ncclSuccess : invalid(fault);
}

ncclResult_t call_collective(const char* function, const CollectiveCall& call, ncclComm* communicator,
                             cudaStream_t stream) {
  if (const ncclResult_t result = check_call(function, call, communicator)) return spoil_group(result);
  if (find_stream(function, stream) == nullptr)
    return spoil_group(cuda_failed(cudaErrorInvalidResourceHandle));
  if (call.count == 0 || strikes(Fault::NcclSkip)) return ncclSuccess;
  ++statistics().collectives;
  return issue(function, *communicator, [=] {
    const cudaError_t code = submit(function, stream, collective(*communicator, call));
    return code == cudaSuccess ? ncclSuccess : cuda_failed(code);
  });
}

}  // namespace
}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t reduction, ncclComm_t communicator, cudaStream_t stream) {
  return call_collective("ncclAllReduce", {CollectiveKind::AllReduce, send, receive, count, type, reduction},
                         communicator, stream);
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t reduction, ncclComm_t communicator, cudaStream_t stream) {
  return call_collective("ncclReduceScatter",
                         {CollectiveKind::ReduceScatter, send, receive, count, type, reduction}, communicator,
                         stream);
}

ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclComm_t communicator, cudaStream_t stream) {
  return call_collective("ncclAllGather", {CollectiveKind::AllGather, send, receive, count, type},
                         communicator, stream);
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  return call_collective("ncclBroadcast",
                         {CollectiveKind::Broadcast, send, receive, count, type, ncclSum, root}, communicator,
                         stream);
}

ncclResult_t ncclMemAlloc(void** data, size_t bytes) {
  if (const cudaError_t code = enter("ncclMemAlloc", WhileCapturing::Forbidden)) return cuda_failed(code);
  if (data == nullptr || bytes == 0) return refuse(ncclInvalidArgument, "ncclMemAlloc");
  *data = device_memory().allocate(bytes, current_device(), kAlignment);
  if (*data != nullptr) return ncclSuccess;
  return refuse(ncclUnhandledCudaError, fmt::format("ncclMemAlloc: out of memory: {} bytes", bytes));
}

ncclResult_t ncclMemFree(void* data) {
  const cudaError_t code = cudaFree(data);
  return code == cudaSuccess ? ncclSuccess : cuda_failed(code);
}

ncclResult_t ncclCommRegister(ncclComm_t communicator, void* data, size_t bytes, void** handle) {
  if (const ncclResult_t result = check_ready("ncclCommRegister", communicator)) return result;
  Allocation* allocation = device_memory().holding(data, bytes);
  if (handle == nullptr || allocation == nullptr || bytes == 0)
    return refuse(ncclInvalidArgument, range_fault("ncclCommRegister", "buffer", data, bytes), communicator);
  ++allocation->registrations;
  *handle = handles<Registration>().add({communicator, data});
  return ncclSuccess;
}

ncclResult_t ncclCommDeregister(ncclComm_t communicator, void* handle) {
  const Registration* registration = handles<Registration>().find(handle);
  if (registration == nullptr || registration->communicator != communicator)
    return refuse(ncclInvalidArgument, "ncclCommDeregister: no such registration", nullptr);
  --device_memory().holding(registration->data, 1)->registrations;
  handles<Registration>().remove(handle);
  return ncclSuccess;
}

}  // extern "C"
