// __syncthreads and its relatives.
#pragma once

#include <source_location>

namespace plumb::emulation {

using Location = std::source_location;

void sync_threads(Location location);
int sync_threads_count(int predicate, Location location);
int sync_threads_and(int predicate, Location location);
int sync_threads_or(int predicate, Location location);

}  // namespace plumb::emulation

// The default argument is the place of the call: a barrier has an identity.
inline void __syncthreads(std::source_location location = std::source_location::current()) {
  plumb::emulation::sync_threads(location);
}
inline int __syncthreads_count(int predicate,
                               std::source_location location = std::source_location::current()) {
  return plumb::emulation::sync_threads_count(predicate, location);
}
inline int __syncthreads_and(int predicate, std::source_location location = std::source_location::current()) {
  return plumb::emulation::sync_threads_and(predicate, location);
}
inline int __syncthreads_or(int predicate, std::source_location location = std::source_location::current()) {
  return plumb::emulation::sync_threads_or(predicate, location);
}
