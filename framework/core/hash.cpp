#include "core/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "core/error.h"

namespace plumb {

std::uint64_t hash_bytes(const void* data, std::size_t bytes) { return XXH3_64bits(data, bytes); }

std::string hash_to_string(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace plumb
