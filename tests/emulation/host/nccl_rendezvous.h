// How the ranks of an emulated NCCL communicator find each other: each sends what it knows of itself to the
// process that made the ncclUniqueId, which sends everyone the whole table.
#pragma once

#include <nccl.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "host/nccl_transport.h"

namespace plumb::emulation {

struct Member {
  int size = 0;  ///< of the communicator, as this member was told
  int rank = 0;
  int world_rank = 0;
  int physical_device = 0;
  std::array<char, 64> host{};
};

ncclUniqueId make_unique_id();
/// Channel of message_tag that belongs to the id; nothing when the id is not from make_unique_id.
std::optional<int> channel_of(const ncclUniqueId& id);

class Rendezvous {
 public:
  Rendezvous(const ncclUniqueId& id, const Member& self);

  /// Polls; the members in the order of their ranks once all have come. Some may contradict each other.
  std::optional<std::vector<Member>> poll();
  /// Ranks that are not here yet, as far as this process knows.
  std::string missing() const;

 private:
  bool is_host() const { return host_rank_ == self_.world_rank; }
  void send_table();

  Member self_;
  int host_rank_;  ///< in the world
  int channel_;
  std::vector<Message> arriving_;  ///< one from each other member, or the table
  std::vector<Message> leaving_;
  std::vector<Member> members_;
};

/// What is wrong with the members together; empty when nothing is.
std::string contradiction(const std::vector<Member>& members);

}  // namespace plumb::emulation
