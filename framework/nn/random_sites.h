// Site numbers of everything that draws random numbers during training (RandomStream::site).
#pragma once

#include <cstdint>

namespace plumb {

/// What draws inside sublayer k.
enum class RandomPurpose : std::uint32_t {
  AttentionDropout = 0,
  BranchDropout,
  KnobA,
  KnobB,
  KnobC,
  KnobE,
  KnobP
};

/// Sites below 2^20 belong to the embedding, 16 sites from 2^20 + 16 k to sublayer k.
inline std::uint32_t random_site(std::int64_t sublayer, RandomPurpose purpose) {
  return (1U << 20U) + static_cast<std::uint32_t>(sublayer) * 16U + static_cast<std::uint32_t>(purpose);
}
inline constexpr std::uint32_t kEmbeddingDropoutSite = 1;

}  // namespace plumb
