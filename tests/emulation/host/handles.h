// Opaque handles of the emulated libraries: one that is not there (any more) is recognised.
#pragma once

#include <map>
#include <memory>
#include <utility>

namespace plumb::emulation {

/// Objects of one kind behind the addresses that callers hold.
template <class T>
class Handles {
 public:
  T* add(T value) {
    auto owned = std::make_unique<T>(std::move(value));
    T* handle = owned.get();
    owned_.emplace(handle, std::move(owned));
    return handle;
  }
  /// Null when `handle` is not one of these.
  T* find(const void* handle) const {
    const auto found = owned_.find(handle);
    return found == owned_.end() ? nullptr : found->second.get();
  }
  bool remove(const void* handle) { return owned_.erase(handle) == 1; }

 private:
  std::map<const void*, std::unique_ptr<T>> owned_;
};

/// Never destroyed: static objects give their handles back after main.
template <class T>
Handles<T>& handles() {
  static Handles<T>& instance = *std::make_unique<Handles<T>>().release();
  return instance;
}

}  // namespace plumb::emulation
