// Buffer: owned device memory. Arena: the one Buffer that holds every activation, sized before step 0.
#pragma once

#include <cstddef>
#include <functional>
#include <utility>

namespace plumb {

/// Move-only owner of device memory, aligned to 64 bytes at least, zero-filled when allocated.
class Buffer {
 public:
  using Free = std::function<void(void*, std::size_t)>;

  Buffer() = default;
  Buffer(void* data, std::size_t bytes, Free free) : data_(data), bytes_(bytes), free_(std::move(free)) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr && free_) free_(data_, bytes_);
  }

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(free_, other.free_);
  }

  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Free free_;
};

}  // namespace plumb
