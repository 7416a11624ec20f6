#include "core/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "core/error.h"

namespace plumb {

std::uint64_t hash_bytes(const void* data, std::size_t bytes) { return XXH3_64bits(data, bytes); }

struct PiecewiseHash::State {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> xxh3{XXH3_createState(), XXH3_freeState};
};

PiecewiseHash::PiecewiseHash() : state_(std::make_unique<State>()) {
  PLUMB_CHECK(state_->xxh3 != nullptr, "no memory for the state of a hash");
  XXH3_64bits_reset(state_->xxh3.get());
}
PiecewiseHash::~PiecewiseHash() = default;
void PiecewiseHash::add(const void* data, std::size_t bytes) {
  XXH3_64bits_update(state_->xxh3.get(), data, bytes);
}
std::uint64_t PiecewiseHash::value() const { return XXH3_64bits_digest(state_->xxh3.get()); }

std::string hash_to_string(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace plumb
