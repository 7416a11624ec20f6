#include "host/errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

namespace plumb::emulation {
namespace {

struct CodeText {
  cudaError_t code;
  const char* name;
  const char* text;
};

#define PLUMB_CODE(code, text) \
  CodeText { code, #code, text }
constexpr std::array kTexts{
    PLUMB_CODE(cudaSuccess, "no error"),
    PLUMB_CODE(cudaErrorInvalidValue, "invalid argument"),
    PLUMB_CODE(cudaErrorMemoryAllocation, "out of memory"),
    PLUMB_CODE(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    PLUMB_CODE(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    PLUMB_CODE(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    PLUMB_CODE(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    PLUMB_CODE(cudaErrorInvalidDevice, "invalid device ordinal"),
    PLUMB_CODE(cudaErrorInvalidDeviceFunction, "invalid device function"),
    PLUMB_CODE(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    PLUMB_CODE(cudaErrorNotReady, "device not ready"),
    PLUMB_CODE(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    PLUMB_CODE(cudaErrorLaunchFailure, "unspecified launch failure"),
    PLUMB_CODE(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    PLUMB_CODE(cudaErrorMisalignedAddress, "misaligned address"),
    PLUMB_CODE(cudaErrorHostMemoryAlreadyRegistered,
               "part or all of the requested memory range is already mapped"),
    PLUMB_CODE(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    PLUMB_CODE(cudaErrorNotPermitted, "operation not permitted"),
    PLUMB_CODE(cudaErrorNotSupported, "operation not supported"),
    PLUMB_CODE(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    PLUMB_CODE(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    PLUMB_CODE(cudaErrorStreamCaptureMerge,
               "operation would result in a merge of separate capture sequences"),
    PLUMB_CODE(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    PLUMB_CODE(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    PLUMB_CODE(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    PLUMB_CODE(cudaErrorStreamCaptureImplicit,
               "operation would make the legacy stream depend on a capturing stream"),
    PLUMB_CODE(cudaErrorCapturedEvent,
               "operation not permitted on an event last recorded in a capturing stream"),
};
#undef PLUMB_CODE

const CodeText* text_of(cudaError_t code) {
  const auto found =
      std::find_if(kTexts.begin(), kTexts.end(), [&](const CodeText& t) { return t.code == code; });
  return found == kTexts.end() ? nullptr : &*found;
}

struct ErrorState {
  cudaError_t last = cudaSuccess;
  cudaError_t sticky = cudaSuccess;
  std::map<cudaError_t, std::string> reasons;
  std::set<std::string> given_out;  ///< texts live as long as the process: callers hold pointers to them
};

ErrorState& state() {
  static ErrorState instance;
  return instance;
}

}  // namespace

cudaError_t refuse(cudaError_t code, std::string reason) {
  if (code == cudaSuccess) return code;
  state().last = code;
  state().reasons[code] = std::move(reason);
  return code;
}

void lose_device(cudaError_t code, std::string reason) {
  if (state().sticky != cudaSuccess) return;
  state().sticky = state().last = code;
  state().reasons[code] = std::move(reason);
}

cudaError_t lost_device() { return state().sticky; }

void forget_errors() {
  state().last = state().sticky = cudaSuccess;
  state().reasons.clear();
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaGetLastError() { return std::exchange(state().last, state().sticky); }

cudaError_t cudaPeekAtLastError() { return state().last; }

const char* cudaGetErrorName(cudaError_t code) {
  const CodeText* known = text_of(code);
  return known == nullptr ? "unrecognized error code" : known->name;
}

const char* cudaGetErrorString(cudaError_t code) {
  const CodeText* known = text_of(code);
  std::string text = known == nullptr ? fmt::format("error {}", static_cast<int>(code)) : known->text;
  const auto reason = state().reasons.find(code);
  if (reason != state().reasons.end() && !reason->second.empty()) text += ": " + reason->second;
  return state().given_out.insert(std::move(text)).first->c_str();
}

}  // extern "C"
