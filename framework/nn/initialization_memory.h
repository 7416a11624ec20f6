// What ParameterStore::initialize() takes of the host's memory meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plumb {

/// Of a store whose largest tensor has so many elements: it draws them by pieces.
std::size_t initialization_bytes(std::int64_t largest);

}  // namespace plumb
