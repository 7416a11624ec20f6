#include "comm/gather_texts.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace plumb {

std::vector<std::string> gather_texts(Communicator& communicator, std::string_view what,
                                      std::string_view own) {
  const int world = communicator.world();
  auto length = static_cast<std::int64_t>(own.size());
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(world));
  communicator.all_gather("lengths of " + std::string(what), Tensor(&length, DType::Int64, {1}),
                          Tensor(lengths.data(), DType::Int64, {world, 1}));
  std::vector<std::string> texts(static_cast<std::size_t>(world));
  const std::int64_t words = (*std::max_element(lengths.begin(), lengths.end()) + 7) / 8;
  if (words == 0) return texts;
  std::vector<std::int64_t> sent(static_cast<std::size_t>(words)),
      received(static_cast<std::size_t>(words * world));
  std::memcpy(sent.data(), own.data(), own.size());
  communicator.all_gather(std::string(what), Tensor(sent.data(), DType::Int64, {words}),
                          Tensor(received.data(), DType::Int64, {world, words}));
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    const auto* text =
        reinterpret_cast<const char*>(received.data() + rank * static_cast<std::size_t>(words));
    texts[rank].assign(text, static_cast<std::size_t>(lengths[rank]));
  }
  return texts;
}

}  // namespace plumb
