// Stream: an order of execution on a device. Ops are issued to a stream and run in its order; backends whose
// ops run at once (reference, cpu) use the stream as a mere token.
#pragma once

#include <cstddef>
#include <memory>

namespace plumb {

/// One order of execution. Created by Backend::create_stream; used by one host thread at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Blocks the host until everything issued so far has run.
  virtual void synchronize() = 0;
};

/// A point in a stream: recorded in one, waited for in another or by the host.
class Event {
 public:
  virtual ~Event() = default;
  virtual void record(Stream& stream) = 0;
  virtual void wait(Stream& stream) = 0;
  virtual void synchronize() = 0;
};

/// Work that was recorded once (a CUDA graph) and can be issued again with one call.
class Recording {
 public:
  virtual ~Recording() = default;
  /// Issues it to the stream that it was recorded from. What it reads from the device may have changed.
  virtual void replay(Stream& stream) = 0;
};

/// Scratch memory that an op may use while it runs; its content means nothing before and after.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

}  // namespace plumb
