// CollectiveObserver: told of a communicator's collectives as they begin and end on this rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plumb {

/// Called on the thread that uses the communicator; must not use it, nor allocate.
class CollectiveObserver {
 public:
  virtual ~CollectiveObserver() = default;
  /// A call of the communicator: "all_reduce", its name, the bytes of this rank's tensor (of the whole one
  /// where ranks hold parts of it).
  virtual void call_began(const char* collective, std::string_view name, std::size_t bytes) = 0;
  virtual void call_ended() = 0;
  /// Within a call, where the host moves its collectives: it is operation `ticket`; tickets ascend.
  virtual void started(std::uint64_t ticket) = 0;
  /// All operations with lower tickets are through.
  virtual void finished_before(std::uint64_t ticket) = 0;
  /// The host waits for an operation of this name.
  virtual void wait_began(std::string_view name) = 0;
  virtual void wait_ended() = 0;
};

/// From the beginning of a call to its end; nothing without an observer.
class ObservedCall {
 public:
  ObservedCall(CollectiveObserver* observer, const char* collective, std::string_view name, std::size_t bytes)
      : observer_(observer) {
    if (observer_ != nullptr) observer_->call_began(collective, name, bytes);
  }
  ~ObservedCall() {
    if (observer_ != nullptr) observer_->call_ended();
  }
  ObservedCall(const ObservedCall&) = delete;
  ObservedCall& operator=(const ObservedCall&) = delete;

 private:
  CollectiveObserver* observer_;
};

/// The same of a wait.
class ObservedWait {
 public:
  ObservedWait(CollectiveObserver* observer, std::string_view name) : observer_(observer) {
    if (observer_ != nullptr) observer_->wait_began(name);
  }
  ~ObservedWait() {
    if (observer_ != nullptr) observer_->wait_ended();
  }
  ObservedWait(const ObservedWait&) = delete;
  ObservedWait& operator=(const ObservedWait&) = delete;

 private:
  CollectiveObserver* observer_;
};

}  // namespace plumb
