#include "context.h"

#include <cstdint>

// Pushes the registers that a callee must keep, changes the stack pointer, pops those of the other side.
// Signal masks and floating-point modes are the same on all our stacks and stay.
asm(R"(
.text
.hidden plumb_emulation_switch
.globl plumb_emulation_switch
.type plumb_emulation_switch, @function
plumb_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size plumb_emulation_switch, . - plumb_emulation_switch
)");

namespace plumb::emulation {

void Context::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  const auto end = reinterpret_cast<std::uintptr_t>(stack + bytes) & ~std::uintptr_t{15};
  auto* top = reinterpret_cast<std::uintptr_t*>(end);
  *--top = 0;  // as after a call: the return address of entry(), which nothing returns to
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = 0;
  stack_ = top;
}

}  // namespace plumb::emulation
