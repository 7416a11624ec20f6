#include "host/nccl_communicator.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <set>
#include <thread>

#include "core/error.h"
#include "host/api_call.h"
#include "host/device_properties.h"
#include "host/environment.h"
#include "host/errors.h"
#include "host/nccl_group.h"
#include "host/streams.h"

namespace plumb::emulation {
namespace {

std::deque<ncclComm>& communicators() {
  static std::deque<ncclComm>& all = *std::make_unique<std::deque<ncclComm>>().release();
  return all;
}

std::string& last_error() {
  static std::string& text = *std::make_unique<std::string>().release();
  return text;
}

double& timeout() {
  static auto seconds = static_cast<double>(number_setting("PLUMB_EMULATION_NCCL_TIMEOUT", 60, 1));
  return seconds;
}

bool exists(const ncclComm* communicator) {
  return std::any_of(communicators().begin(), communicators().end(),
                     [&](const ncclComm& candidate) { return &candidate == communicator; });
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void fail_communicator(ncclComm& communicator, ncclResult_t result, std::string text) {
  communicator.state = ncclComm::State::Failed;
  communicator.error = refuse(result, std::move(text), &communicator);
  communicator.rendezvous.reset();
}

/// One look at whether the other ranks have come.
void join(ncclComm& communicator) {
  const auto members = communicator.rendezvous->poll();
  if (members) {
    communicator.members = *members;
    const std::string wrong = contradiction(*members);
    if (!wrong.empty()) return fail_communicator(communicator, ncclInvalidUsage, wrong);
    communicator.state = ncclComm::State::Ready;
    communicator.rendezvous.reset();
  } else if (seconds_since(communicator.began) > nccl_timeout()) {
    fail_communicator(
        communicator, ncclSystemError,
        fmt::format("ncclCommInitRank: rank {} of {} has waited {:.0f} s for {}", communicator.rank,
                    communicator.size, nccl_timeout(), communicator.rendezvous->missing()));
  }
}

Member describe_self(int size, int rank) {
  Member self{size, rank, world_rank(), physical_device(current_device()), {}};
  gethostname(self.host.data(), self.host.size() - 1);
  return self;
}

ncclResult_t init(const char* function, ncclComm_t* handle, int size, const ncclUniqueId& id, int rank,
                  bool blocking) {
  if (enter(function, WhileCapturing::Forbidden) != cudaSuccess)
    return refuse(ncclUnhandledCudaError, cudaGetErrorString(cudaPeekAtLastError()));
  if (handle == nullptr || size < 1 || rank < 0 || rank >= size || !channel_of(id))
    return refuse(ncclInvalidArgument, fmt::format("{}: rank {} of {}, or the id", function, rank, size));
  if (in_group()) fail("{} in a group is not modelled by the emulation", function);
  if (size > world_size())
    return refuse(ncclSystemError,
                  fmt::format("{}: {} ranks, but MPI joins {} process(es)", function, size, world_size()));
  ncclComm& communicator = communicators().emplace_back();
  communicator.rank = rank;
  communicator.size = size;
  communicator.device = current_device();
  communicator.channel = *channel_of(id);
  communicator.blocking = blocking;
  communicator.rendezvous = std::make_unique<Rendezvous>(id, describe_self(size, rank));
  communicator.began = std::chrono::steady_clock::now();
  *handle = &communicator;
  if (!blocking) return ncclInProgress;
  while (communicator.state == ncclComm::State::Joining) {
    join(communicator);
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  if (communicator.error != ncclSuccess) *handle = nullptr;
  return communicator.error;
}

bool quiet(const ncclComm& communicator) { return communicator.finished == communicator.issued; }

/// Until all collectives have run. Anything may have to run for that.
ncclResult_t flush(const char* function, ncclComm& communicator) {
  if (enter(function, WhileCapturing::Forbidden) != cudaSuccess)
    return refuse(ncclUnhandledCudaError, cudaGetErrorString(cudaPeekAtLastError()));
  run_until([&] { return quiet(communicator); }, nullptr);
  return lost_device() == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

}  // namespace

ncclResult_t refuse(ncclResult_t result, std::string text, ncclComm* communicator) {
  if (communicator != nullptr) communicator->error_text = text;
  last_error() = std::move(text);
  return result;
}

ncclResult_t check_ready(const char* function, ncclComm* communicator) {
  if (communicator == nullptr || !exists(communicator))
    return refuse(ncclInvalidArgument, fmt::format("{}: no such communicator", function));
  if (communicator->error != ncclSuccess) return communicator->error;
  // As commEnsureReady of NCCL's init.cc answers.
  if (communicator->state == ncclComm::State::Joining || !communicator->deferred.empty())
    return refuse(
        ncclInvalidArgument,
        fmt::format("{}: the communicator is used before ncclCommGetAsyncError has said that the previous "
                    "call succeeded",
                    function),
        communicator);
  if (communicator->state != ncclComm::State::Ready)
    return refuse(ncclInvalidArgument,
                  fmt::format("{}: the communicator is finalized, aborted or destroyed", function),
                  communicator);
  return ncclSuccess;
}

double nccl_timeout() { return timeout(); }
void set_nccl_timeout(double seconds) { timeout() = seconds; }

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = make_unique_id();
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* communicator, int size, ncclUniqueId id, int rank) {
  return init("ncclCommInitRank", communicator, size, id, rank, true);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  constexpr const char* kFunction = "ncclCommInitRankConfig";
  const ncclConfig_t defaults = NCCL_CONFIG_INITIALIZER;
  if (config != nullptr && (config->magic != defaults.magic || config->size != defaults.size))
    return refuse(ncclInvalidArgument,
                  "ncclCommInitRankConfig: the config is not from NCCL_CONFIG_INITIALIZER");
  const bool blocking = config == nullptr || config->blocking != 0;  // also when it is undefined
  return init(kFunction, communicator, size, id, rank, blocking);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* error) {
  if (communicator == nullptr || !exists(communicator) || error == nullptr ||
      communicator->state == ncclComm::State::Destroyed || communicator->state == ncclComm::State::Aborted)
    return refuse(ncclInvalidArgument, "ncclCommGetAsyncError: no such communicator");
  if (communicator->state == ncclComm::State::Joining) join(*communicator);
  carry_out_deferred(*communicator);
  const bool in_progress = communicator->state == ncclComm::State::Joining ||
                           !communicator->deferred.empty() ||
                           (communicator->state == ncclComm::State::Finalized && !quiet(*communicator));
  *error = communicator->error == ncclSuccess && in_progress ? ncclInProgress : communicator->error;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  if (const ncclResult_t result = check_ready("ncclCommFinalize", communicator)) return result;
  communicator->state = ncclComm::State::Finalized;
  if (!communicator->blocking) return ncclInProgress;
  return flush("ncclCommFinalize", *communicator);
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  if (communicator == nullptr) return ncclSuccess;
  if (!exists(communicator) || communicator->state == ncclComm::State::Destroyed ||
      communicator->state == ncclComm::State::Aborted || communicator->state == ncclComm::State::Joining ||
      !communicator->deferred.empty())
    return refuse(ncclInvalidArgument, "ncclCommDestroy: no such communicator, or one that is not ready");
  const bool usable = communicator->error == ncclSuccess && lost_device() == cudaSuccess;
  const ncclResult_t result = usable ? flush("ncclCommDestroy", *communicator) : ncclSuccess;
  communicator->state = ncclComm::State::Destroyed;
  return result;
}

// What is on streams ends without having done anything.
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  if (communicator == nullptr) return ncclSuccess;
  if (!exists(communicator) || communicator->state == ncclComm::State::Destroyed ||
      communicator->state == ncclComm::State::Aborted)
    return refuse(ncclInvalidArgument, "ncclCommAbort: no such communicator");
  communicator->state = ncclComm::State::Aborted;
  communicator->rendezvous.reset();
  communicator->deferred.clear();
  return ncclSuccess;
}

ncclResult_t ncclCommCount(ncclComm_t communicator, int* count) {
  if (const ncclResult_t result = check_ready("ncclCommCount", communicator)) return result;
  *count = communicator->size;
  return ncclSuccess;
}

ncclResult_t ncclCommUserRank(ncclComm_t communicator, int* rank) {
  if (const ncclResult_t result = check_ready("ncclCommUserRank", communicator)) return result;
  *rank = communicator->rank;
  return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(ncclComm_t communicator, int* device) {
  if (const ncclResult_t result = check_ready("ncclCommCuDevice", communicator)) return result;
  *device = communicator->device;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t communicator) {
  static std::set<std::string>& given_out = *std::make_unique<std::set<std::string>>().release();
  const bool own = communicator != nullptr && exists(communicator) && !communicator->error_text.empty();
  return given_out.insert(own ? communicator->error_text : last_error()).first->c_str();
}

}  // extern "C"
