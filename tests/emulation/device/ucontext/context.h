// Switching between stacks by POSIX's swapcontext, for machines that have no version of their own: several
// times slower, because it also saves the signal mask by a system call.
#pragma once

#include <ucontext.h>

#include <cstddef>

namespace plumb::emulation {

class Context {
 public:
  /// Begins with entry(), which must not return, on that stack.
  void prepare(char* stack, std::size_t bytes, void (*entry)()) {
    getcontext(&state_);
    state_.uc_stack.ss_sp = stack;
    state_.uc_stack.ss_size = bytes;
    state_.uc_link = nullptr;
    makecontext(&state_, entry, 0);
  }
  /// Stops the caller as `from`, goes on with `to`.
  static void change(Context& from, Context& to) { swapcontext(&from.state_, &to.state_); }

 private:
  ucontext_t state_{};
};

}  // namespace plumb::emulation
