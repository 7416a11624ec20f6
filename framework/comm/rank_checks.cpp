#include "comm/rank_checks.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "core/hash.h"

namespace plumb {
namespace {

constexpr std::int64_t kIdentityBytes = 128;

std::vector<std::string> gather_texts(Communicator& communicator, const std::string& own) {
  PLUMB_CHECK(std::ssize(own) < kIdentityBytes, "'{}' is too long to be exchanged", own);
  const auto world = static_cast<std::int64_t>(communicator.world());
  std::vector<char> sent(kIdentityBytes), received(static_cast<std::size_t>(kIdentityBytes * world));
  std::copy(own.begin(), own.end(), sent.begin());
  constexpr std::int64_t kWords = kIdentityBytes / 4;
  communicator.all_gather("device identities", Tensor(sent.data(), DType::Int32, {kWords}),
                          Tensor(received.data(), DType::Int32, {world, kWords}));
  std::vector<std::string> texts;
  for (std::int64_t r = 0; r < world; ++r) texts.emplace_back(received.data() + r * kIdentityBytes);
  return texts;
}

/// "rank 1 (host a)".
std::string name_of_rank(const Communicator& communicator, std::size_t rank) {
  return fmt::format("rank {} (host {})", rank, communicator.hosts()[rank]);
}

/// The value that most ranks have; of several the one of the lowest rank.
std::int64_t most_common(const std::vector<std::int64_t>& values) {
  std::int64_t best = values.front();
  for (const std::int64_t value : values) {
    if (std::count(values.begin(), values.end(), value) > std::count(values.begin(), values.end(), best))
      best = value;
  }
  return best;
}

std::vector<std::int64_t> gather_words(Communicator& communicator, std::uint64_t own) {
  auto sent = std::bit_cast<std::int64_t>(own);
  std::vector<std::int64_t> all(static_cast<std::size_t>(communicator.world()));
  communicator.all_gather("model hashes", Tensor(&sent, DType::Int64, {1}),
                          Tensor(all.data(), DType::Int64, {communicator.world(), 1}));
  return all;
}

void check_agreement(Communicator& communicator, std::uint64_t own, const char* what, const char* hint) {
  const std::vector<std::int64_t> all = gather_words(communicator, own);
  const std::int64_t common = most_common(all);
  std::string others;
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r] == common) continue;
    others += fmt::format("{}{} has {}", others.empty() ? "" : ", ", name_of_rank(communicator, r),
                          hash_to_string(std::bit_cast<std::uint64_t>(all[r])));
  }
  if (others.empty()) return;
  fail("the ranks start with different models: {} of {} ranks have the hash {} of {}, but {}; {}",
       std::count(all.begin(), all.end(), common), all.size(),
       hash_to_string(std::bit_cast<std::uint64_t>(common)), what, others, hint);
}

}  // namespace

void check_devices_differ(Communicator& communicator, const std::string& identity) {
  const std::vector<std::string> identities = gather_texts(communicator, identity);
  for (std::size_t r = 0; r < identities.size(); ++r) {
    const auto first = std::find(identities.begin(), identities.end(), identities[r]);
    const auto earlier = static_cast<std::size_t>(first - identities.begin());
    if (identities[r].empty() || earlier == r) continue;
    fail_input(
        "{} and {} use the same GPU ({}): two ranks cannot share one; start no more ranks on a host than it "
        "has "
        "GPUs, and let CUDA_VISIBLE_DEVICES either show all of them to every rank or another one to each",
        name_of_rank(communicator, earlier), name_of_rank(communicator, r), identities[r]);
  }
}

void check_models_agree(Communicator& communicator, const ModelHash& own) {
  check_agreement(communicator, own.tensors, "names, shapes and dtypes",
                  "do all hosts run the same build of this program?");
  check_agreement(communicator, own.values, "values",
                  "do all hosts run the same build of this program, and read the same checkpoint?");
}

}  // namespace plumb
