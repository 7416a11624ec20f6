#include "comm/rank_checks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "core/hash.h"

namespace plumb {
namespace {

/// The text of every rank; they may differ in length.
std::vector<std::string> gather_texts(Communicator& communicator, const char* what, const std::string& own) {
  const auto world = static_cast<std::int64_t>(communicator.world());
  std::int64_t length = std::ssize(own);
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(world));
  communicator.all_gather(what, Tensor(&length, DType::Int64, {1}),
                          Tensor(lengths.data(), DType::Int64, {world, 1}));
  const std::int64_t words = (*std::max_element(lengths.begin(), lengths.end()) + 3) / 4;
  std::vector<char> sent(static_cast<std::size_t>(4 * words)),
      received(static_cast<std::size_t>(4 * words * world));
  std::copy(own.begin(), own.end(), sent.begin());
  communicator.all_gather(what, Tensor(sent.data(), DType::Int32, {words}),
                          Tensor(received.data(), DType::Int32, {world, words}));
  std::vector<std::string> texts;
  for (std::int64_t r = 0; r < world; ++r) {
    const char* begin = received.data() + 4 * words * r;
    texts.emplace_back(begin, begin + lengths[static_cast<std::size_t>(r)]);
  }
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

/// Settings as one text, and back; a value of the environment holds no zero byte.
std::string join(const std::vector<std::string>& settings) {
  std::string text;
  for (const std::string& setting : settings) text += setting + '\0';
  return text;
}

using Settings = std::map<std::string, std::string, std::less<>>;

Settings parse_settings(std::string_view text) {
  Settings settings;
  for (std::size_t end = text.find('\0'); end != text.npos; end = text.find('\0')) {
    const std::string_view setting = text.substr(0, end);
    const std::size_t equals = std::min(setting.find('='), setting.size());
    settings.emplace(setting.substr(0, equals), setting.substr(std::min(equals + 1, setting.size())));
    text.remove_prefix(end + 1);
  }
  return settings;
}

/// What names a thing of one host, or only writes about NCCL's work, may be another on each.
bool may_differ(std::string_view name) {
  constexpr std::array<std::string_view, 9> kOfOneHost = {
      "NCCL_DEBUG",         "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS",   "NCCL_IB_GID_INDEX",   "NCCL_IB_HCA",
      "NCCL_SOCKET_IFNAME", "NCCL_TOPO_FILE",  "NCCL_TOPO_DUMP_FILE", "NCCL_GRAPH_DUMP_FILE"};
  return std::find(kOfOneHost.begin(), kOfOneHost.end(), name) != kOfOneHost.end();
}

/// "NCCL_ALGO differs between ranks: 'Ring' on rank 0 (host a) and 2 more, unset on rank 3 (host b)"; empty
/// when all ranks have one value.
std::string difference(const Communicator& communicator, const std::vector<Settings>& of_rank,
                       const std::string& name) {
  std::vector<std::pair<std::string, std::vector<std::size_t>>> values;  // and the ranks that have them
  for (std::size_t r = 0; r < of_rank.size(); ++r) {
    const auto found = of_rank[r].find(name);
    const std::string value = found == of_rank[r].end() ? "unset" : fmt::format("'{}'", found->second);
    auto known =
        std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.first == value; });
    if (known == values.end()) known = values.insert(known, {value, {}});
    known->second.push_back(r);
  }
  if (values.size() == 1) return "";
  std::string text;
  for (const auto& [value, ranks] : values) {
    text += fmt::format("{}{} on {}", text.empty() ? "" : ", ", value, name_of_rank(communicator, ranks[0]));
    if (ranks.size() > 1) text += fmt::format(" and {} more", ranks.size() - 1);
  }
  return fmt::format("{} differs between ranks: {}", name, text);
}

}  // namespace

void check_devices_differ(Communicator& communicator, const std::string& identity) {
  const std::vector<std::string> identities = gather_texts(communicator, "device identities", identity);
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

std::vector<std::string> check_settings_agree(Communicator& communicator,
                                              const std::vector<std::string>& own) {
  std::vector<Settings> of_rank;
  std::set<std::string> names;
  for (const std::string& text : gather_texts(communicator, "settings of NCCL", join(own))) {
    of_rank.push_back(parse_settings(text));
    for (const auto& [name, value] : of_rank.back()) names.insert(name);
  }
  std::vector<std::string> notes, faults;
  for (const std::string& name : names) {
    const std::string text = difference(communicator, of_rank, name);
    if (!text.empty()) (may_differ(name) ? notes : faults).push_back(text);
  }
  if (faults.empty()) return notes;
  fail_input(
      "{}; NCCL needs one value on all ranks, or it hangs or ends with an error (launch/hosts.sh passes "
      "the first host's on to all)",
      fmt::join(faults, "; "));
}

void check_models_agree(Communicator& communicator, const ModelHash& own) {
  check_agreement(communicator, own.tensors, "names, shapes and dtypes",
                  "do all hosts run the same build of this program?");
  check_agreement(communicator, own.values, "values",
                  "do all hosts run the same build of this program, and read the same checkpoint?");
}

}  // namespace plumb
