// The door to a vendor's attention: cuDNN in the plug-in (cudnn/), a host computation in its emulated build.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

#include "backends/cuda/attention_request.h"

namespace plumb::cuda {

/// Attention without soft cap and dropout. Results are a function of the arguments alone: the same bits in
/// every run. Used by one host thread.
class AttentionLibrary {
 public:
  virtual ~AttentionLibrary() = default;

  /// "cuDNN 9.19.0".
  virtual std::string name() const = 0;
  /// Why it does not take such a call, in words that follow "because"; empty when it does. May take a second
  /// when a request is new: the library compiles for it. Error when the device or its memory fails: that is
  /// no refusal, and is not remembered.
  virtual std::string refusal(const AttentionRequest& request) const = 0;
  /// How it serves a request that it does not refuse, for the log.
  virtual std::string plan(const AttentionRequest& request) const = 0;
  /// Bytes, for a request that it does not refuse.
  virtual std::size_t workspace(const AttentionRequest& request) const = 0;

  /// As the contract of AttentionOps says, but for max_logit, which no library gives: it is not touched.
  /// Error when refusal() is not empty.
  virtual void forward(cudaStream_t stream, const AttentionForward& arguments) const = 0;
  virtual void backward(cudaStream_t stream, const AttentionBackward& arguments) const = 0;
};

/// Of the device of this thread. Cheap: the library is loaded when it is first asked something.
std::unique_ptr<AttentionLibrary> make_attention_library();

}  // namespace plumb::cuda
