// The stack of a fiber: mapped memory that an overflow leaves through an inaccessible page.
#pragma once

#include <cstddef>

namespace plumb::emulation {

/// Owns its memory; pages are taken when first touched.
class Stack {
 public:
  Stack() = default;
  explicit Stack(std::size_t bytes);
  ~Stack();
  Stack(Stack&& other) noexcept;
  Stack& operator=(Stack&& other) noexcept;

  char* begin() const { return memory_; }
  std::size_t bytes() const { return bytes_; }

 private:
  char* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace plumb::emulation
