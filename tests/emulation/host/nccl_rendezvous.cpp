#include "host/nccl_rendezvous.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace plumb::emulation {
namespace {

/// What stands in an ncclUniqueId.
struct Identity {
  std::uint64_t magic;
  std::int32_t world_rank;
  std::int32_t serial;
};
static_assert(sizeof(Identity) <= NCCL_UNIQUE_ID_BYTES);
constexpr std::uint64_t kMagic = 0x706c756d626e6363;
/// Tags are positive 32-bit numbers: so many processes, and so many communicators of each, fit.
constexpr int kIdsPerProcess = 1 << 12;
constexpr int kProcesses = 1 << 10;

std::optional<Identity> read(const ncclUniqueId& id) {
  Identity identity{};
  std::memcpy(&identity, &id, sizeof identity);
  if (identity.magic != kMagic || identity.world_rank >= kProcesses) return std::nullopt;
  return identity;
}

template <class T>
std::span<const std::byte> bytes_of(const T* values, std::size_t count) {
  return std::as_bytes(std::span(values, count));
}

}  // namespace

ncclUniqueId make_unique_id() {
  static std::int32_t serial = 0;
  const Identity identity{kMagic, world_rank(), serial++ % kIdsPerProcess};
  ncclUniqueId id{};
  std::memcpy(&id, &identity, sizeof identity);
  return id;
}

std::optional<int> channel_of(const ncclUniqueId& id) {
  const std::optional<Identity> identity = read(id);
  if (!identity) return std::nullopt;
  return identity->world_rank * kIdsPerProcess + identity->serial;
}

Rendezvous::Rendezvous(const ncclUniqueId& id, const Member& self)
    : self_(self), host_rank_(read(id)->world_rank), channel_(*channel_of(id)) {
  if (self.size == 1) return;
  if (is_host()) {
    for (int other = 1; other < self.size; ++other)
      arriving_.push_back(
          Message::receive(MPI_ANY_SOURCE, message_tag(channel_, MessageKind::Hello), sizeof(Member)));
    return;
  }
  leaving_.push_back(
      Message::send(host_rank_, message_tag(channel_, MessageKind::Hello), bytes_of(&self_, 1)));
  arriving_.push_back(Message::receive(host_rank_, message_tag(channel_, MessageKind::Table),
                                       sizeof(Member) * static_cast<std::size_t>(self.size)));
}

std::optional<std::vector<Member>> Rendezvous::poll() {
  if (!all_complete(arriving_)) return std::nullopt;
  if (members_.empty()) {
    if (is_host() || self_.size == 1) {
      members_.push_back(self_);
      for (const Message& message : arriving_)
        std::memcpy(&members_.emplace_back(), message.bytes().data(), sizeof(Member));
      std::stable_sort(members_.begin(), members_.end(),
                       [](const Member& a, const Member& b) { return a.rank < b.rank; });
      send_table();
    } else {
      members_.resize(static_cast<std::size_t>(self_.size));
      std::memcpy(members_.data(), arriving_.front().bytes().data(), arriving_.front().bytes().size());
    }
  }
  if (!all_complete(leaving_)) return std::nullopt;
  return members_;
}

void Rendezvous::send_table() {
  for (const Member& member : members_) {
    if (member.world_rank == self_.world_rank) continue;
    // Another size means another length of table; what it receives tells it as much.
    std::vector<Member> table = members_;
    table.resize(static_cast<std::size_t>(std::max(member.size, 1)));
    leaving_.push_back(Message::send(member.world_rank, message_tag(channel_, MessageKind::Table),
                                     bytes_of(table.data(), table.size())));
  }
}

std::string Rendezvous::missing() const {
  if (!is_host()) return fmt::format("the table from world rank {}, which made the ncclUniqueId", host_rank_);
  return fmt::format("some of the {} other ranks", self_.size - 1);
}

std::string contradiction(const std::vector<Member>& members) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Member& member = members[i];
    if (member.size != members.front().size)
      return fmt::format("world rank {} was told of {} ranks, world rank {} of {}",
                         members.front().world_rank, members.front().size, member.world_rank, member.size);
    if (member.rank != static_cast<int>(i))
      return fmt::format("world rank {} came as rank {}, and {} is missing", member.world_rank, member.rank,
                         i);
    for (std::size_t j = 0; j < i; ++j) {
      if (members[j].host == member.host && members[j].physical_device == member.physical_device)
        return fmt::format("Duplicate GPU detected : rank {} and rank {} both on CUDA device {:x}", i, j,
                           (1 + member.physical_device) << 12);
    }
  }
  return {};
}

}  // namespace plumb::emulation
