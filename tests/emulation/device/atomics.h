// Atomic functions on the integers that CUDA has them for. Those on floating-point numbers are left out on
// purpose: their order of sums would differ from run to run, and our results may not. Fences.
#pragma once

#include <atomic>
#include <concepts>
#include <type_traits>

namespace plumb::emulation {

/// __threadfence: what this thread did before is before what another does after its own fence.
void thread_fence();

template <class T>
concept AtomicInteger = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, long long> ||
    std::same_as<T, unsigned long long>;

/// Replaces *address by change(*address); returns what it was. Relaxed, as on the GPU.
template <AtomicInteger T, class Change>
T atomic_change(T* address, Change change) {
  std::atomic_ref<T> target(*address);
  T old = target.load(std::memory_order_relaxed);
  while (!target.compare_exchange_weak(old, change(old), std::memory_order_relaxed)) {
  }
  return old;
}

}  // namespace plumb::emulation

// The second argument takes part in no deduction: atomicAdd(&counter, 1) converts, as CUDA's overloads do.
template <plumb::emulation::AtomicInteger T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <plumb::emulation::AtomicInteger T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_sub(value, std::memory_order_relaxed);
}
template <plumb::emulation::AtomicInteger T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).exchange(value, std::memory_order_relaxed);
}
template <plumb::emulation::AtomicInteger T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return plumb::emulation::atomic_change(address, [value](T old) { return value < old ? value : old; });
}
template <plumb::emulation::AtomicInteger T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return plumb::emulation::atomic_change(address, [value](T old) { return old < value ? value : old; });
}
template <plumb::emulation::AtomicInteger T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_and(value, std::memory_order_relaxed);
}
template <plumb::emulation::AtomicInteger T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_or(value, std::memory_order_relaxed);
}
template <plumb::emulation::AtomicInteger T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_xor(value, std::memory_order_relaxed);
}
template <plumb::emulation::AtomicInteger T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*address).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}
/// old >= limit ? 0 : old + 1
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return plumb::emulation::atomic_change(address,
                                         [limit](unsigned old) { return old >= limit ? 0 : old + 1; });
}
/// old == 0 || old > limit ? limit : old - 1
inline unsigned atomicDec(unsigned* address, unsigned limit) {
  return plumb::emulation::atomic_change(
      address, [limit](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}

inline void __threadfence() { plumb::emulation::thread_fence(); }
inline void __threadfence_block() { plumb::emulation::thread_fence(); }
inline void __threadfence_system() { plumb::emulation::thread_fence(); }
