// Cuts a Workspace into typed parts, each on its own cache line. The same code carves when an op runs and
// adds up bytes when memory is planned, so the two cannot disagree.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/stream.h"
#include "core/error.h"

namespace plumb::cpu {

class WorkspaceCarver {
 public:
  /// Planning: take() returns null and only counts.
  WorkspaceCarver() = default;
  /// Running: take() throws when the workspace is smaller than what planning asked for.
  explicit WorkspaceCarver(const Workspace& workspace)
      : data_(static_cast<std::byte*>(workspace.data)), available_(workspace.bytes), planning_(false) {
    const auto misaligned = reinterpret_cast<std::uintptr_t>(data_) % kAlignment;
    if (misaligned != 0) used_ = kAlignment - misaligned;
  }

  template <class T>
  T* take(std::int64_t count) {
    const std::size_t bytes =
        (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    const std::size_t offset = used_;
    used_ += bytes;
    if (planning_ || bytes == 0) return nullptr;
    PLUMB_CHECK(used_ <= available_, "workspace of {} bytes is too small: at least {} are needed", available_,
                used_);
    return reinterpret_cast<T*>(data_ + offset);
  }
  /// What is left, for an op called from within this one.
  Workspace rest() const {
    if (planning_ || used_ >= available_) return {};
    return {data_ + used_, available_ - used_};
  }
  std::size_t used() const { return used_; }
  /// Bytes to ask for, with room to align a workspace that starts in the middle of a cache line.
  std::size_t bytes() const { return used_ == 0 ? 0 : used_ + kAlignment; }

 private:
  static constexpr std::size_t kAlignment = 64;

  std::byte* data_ = nullptr;
  std::size_t available_ = 0;
  std::size_t used_ = 0;
  bool planning_ = true;
};

}  // namespace plumb::cpu
