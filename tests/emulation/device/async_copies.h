// The asynchronous copies of one thread: started, closed into groups, waited for.
#pragma once

#include <cstddef>
#include <vector>

namespace plumb::emulation {

/// The hardware may copy at any time between start and wait. Here the target turns to NaN at the start and is
/// written by the wait, so that reading too early and overwriting what others still read are both seen.
class AsyncCopies {
 public:
  /// `bytes` from source; the rest of the `target_bytes` becomes zero.
  void start(void* target, std::size_t target_bytes, const void* source, std::size_t bytes);
  /// Closes the group of the copies started since the last call; it may be empty.
  void commit() { ++groups_; }
  /// Ends all groups but the last `groups_left`; copies in no group go on.
  void wait(unsigned groups_left);
  /// Whether a copy was started that nothing waited for.
  bool under_way() const { return !copies_.empty(); }
  void forget();

 private:
  struct Copy {
    void* target;
    std::size_t target_bytes;
    const void* source;
    std::size_t bytes;
    unsigned group;
  };
  std::vector<Copy> copies_;
  unsigned groups_ = 0;  ///< closed so far
};

}  // namespace plumb::emulation
