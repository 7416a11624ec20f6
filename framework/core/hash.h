// 64-bit content hash (XXH3), used for manifests, checkpoints and replica checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace plumb {

std::uint64_t hash_bytes(const void* data, std::size_t bytes);
inline std::uint64_t hash_text(std::string_view text) { return hash_bytes(text.data(), text.size()); }
/// hash_bytes() of bytes that come piece by piece.
class PiecewiseHash {
 public:
  PiecewiseHash();
  ~PiecewiseHash();
  void add(const void* data, std::size_t bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Sixteen hexadecimal digits.
std::string hash_to_string(std::uint64_t hash);

}  // namespace plumb
