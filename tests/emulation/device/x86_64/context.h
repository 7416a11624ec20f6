// Switching between stacks on x86-64 (System V ABI): a stopped flow of control is its stack pointer.
#pragma once

#include <cstddef>

extern "C" void plumb_emulation_switch(void** stopped_stack, void* resumed_stack);

namespace plumb::emulation {

class Context {
 public:
  /// Begins with entry(), which must not return, on that stack.
  void prepare(char* stack, std::size_t bytes, void (*entry)());
  /// Stops the caller as `from`, goes on with `to`.
  static void change(Context& from, Context& to) { plumb_emulation_switch(&from.stack_, to.stack_); }

 private:
  void* stack_ = nullptr;
};

}  // namespace plumb::emulation
