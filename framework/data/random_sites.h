// Site numbers of everything in this folder that draws random numbers (RandomStream::site): far above those
// of the model, so that data and model never share a stream even under one seed.
#pragma once

#include <cstdint>

namespace plumb {

inline constexpr std::uint32_t kWindowOrderSite = 0xDA7A0000U;     ///< step = epoch
inline constexpr std::uint32_t kWindowOffsetSite = 0xDA7A0001U;    ///< index = epoch
inline constexpr std::uint32_t kMarkovTableSite = 0xDA7A0002U;     ///< index = entry of the table
inline constexpr std::uint32_t kMarkovPathSite = 0xDA7A0003U;      ///< index = sequence, step = position
inline constexpr std::uint32_t kCopySite = 0xDA7A0004U;            ///< index = sequence, step = position
inline constexpr std::uint32_t kInductionSite = 0xDA7A0005U;       ///< index = sequence
inline constexpr std::uint32_t kInductionOrderSite = 0xDA7A0006U;  ///< the pattern's permutation

}  // namespace plumb
