// What stands in the queue of a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <string>

namespace plumb::emulation {

/// Progress: something moved, but the operation has not finished.
enum class Advance { Done, Progress, Blocked };

class Operation {
 public:
  virtual ~Operation() = default;
  virtual Advance advance() = 0;
  virtual const char* name() const = 0;
  /// After Blocked: what it waits for, in words.
  virtual std::string waits_for() const { return "nothing that the emulation knows of"; }
  /// After Blocked: the stream whose operations must come first; null when there is none in this process.
  virtual cudaStream_t needs() const { return nullptr; }
  /// After Blocked: it waits for another process.
  virtual bool waits_outside() const { return false; }
};

/// Makes the operation at the moment when it is put on a stream: now, or at every launch of a captured graph.
using Recipe = std::function<std::unique_ptr<Operation>(cudaStream_t stream)>;

/// An operation that needs nothing and is done when `run` returns. `name` must stay.
Recipe immediate(const char* name, std::function<void()> run);

}  // namespace plumb::emulation
