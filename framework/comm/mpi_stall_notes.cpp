#include "comm/mpi_stall_notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "comm/mpi_check.h"
#include "core/error.h"

namespace plumb {
namespace {
constexpr int kTag = 1;

/// "ranks 0, 1, 5 and 12 more".
std::string list_ranks(const std::vector<int>& ranks, const std::vector<std::string>* hosts) {
  constexpr std::size_t kShown = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < std::min(ranks.size(), kShown); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
    if (hosts) text += fmt::format(" (host {})", (*hosts)[static_cast<std::size_t>(ranks[i])]);
  }
  if (ranks.size() > kShown) text += fmt::format(" and {} more", ranks.size() - kShown);
  return text;
}
}  // namespace

MpiStallNotes::MpiStallNotes(int rank, const std::vector<std::string>& hosts)
    : rank_(rank), hosts_(hosts), latest_(hosts.size()), sends_(hosts.size(), MPI_REQUEST_NULL) {
  PLUMB_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &communicator_));
  PLUMB_MPI(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
}

MpiStallNotes::~MpiStallNotes() {
  if (std::uncaught_exceptions() > 0) return;
  int delivered = 0;
  MPI_Testall(static_cast<int>(sends_.size()), sends_.data(), &delivered, MPI_STATUSES_IGNORE);
  if (delivered) MPI_Comm_free(&communicator_);
}

void MpiStallNotes::announce(std::uint64_t number, const CollectiveName& name) {
  if (own_.number == number) return;
  int delivered = 0;
  PLUMB_MPI(MPI_Testall(static_cast<int>(sends_.size()), sends_.data(), &delivered, MPI_STATUSES_IGNORE));
  if (!delivered) return;  // own_ is still being sent; the next call tries again
  own_ = {number, name};
  for (int to = 0; to < static_cast<int>(sends_.size()); ++to) {
    if (to == rank_) continue;
    PLUMB_MPI(MPI_Isend(&own_, static_cast<int>(sizeof own_), MPI_BYTE, to, kTag, communicator_,
                        &sends_[static_cast<std::size_t>(to)]));
  }
}

void MpiStallNotes::listen(std::uint64_t number, const CollectiveName& name) {
  const bool is_new_wait = listens_in_ != number;
  listens_in_ = number;
  if (is_new_wait) {
    for (Heard& heard : latest_) heard.is_fresh = false;
  }
  bool news = false;
  for (;;) {
    int waiting = 0;
    MPI_Status status;
    PLUMB_MPI(MPI_Iprobe(MPI_ANY_SOURCE, kTag, communicator_, &waiting, &status));
    if (!waiting) break;
    Heard& heard = latest_[static_cast<std::size_t>(status.MPI_SOURCE)];
    PLUMB_MPI(MPI_Recv(&heard.note, static_cast<int>(sizeof heard.note), MPI_BYTE, status.MPI_SOURCE, kTag,
                       communicator_, MPI_STATUS_IGNORE));
    heard.is_fresh = !is_new_wait;
    // An old note, of a wait that has ended since, asks for no answer.
    news = news || heard.is_fresh || heard.note.number >= number;
  }
  if (news) announce(number, name);
}

bool MpiStallNotes::waits_in(int rank, std::uint64_t number, const CollectiveName& name) const {
  const Note& note = latest_[static_cast<std::size_t>(rank)].note;
  return note.number == number && note.name.view() == name.view();
}

bool MpiStallNotes::waits_before(int rank, std::uint64_t number) const {
  const Heard& heard = latest_[static_cast<std::size_t>(rank)];
  return heard.is_fresh && heard.note.number < number;
}

bool MpiStallNotes::left_to_another(std::uint64_t number) const {
  for (int other = 0; other < static_cast<int>(latest_.size()); ++other) {
    if (other != rank_ && waits_before(other, number)) return true;
    if (other < rank_ && latest_[static_cast<std::size_t>(other)].note.number == number) return true;
  }
  return false;
}

std::string MpiStallNotes::describe(std::uint64_t number, const CollectiveName& name) const {
  std::vector<int> with_us, silent;
  std::string elsewhere;
  for (int other = 0; other < static_cast<int>(latest_.size()); ++other) {
    const Note& note = latest_[static_cast<std::size_t>(other)].note;
    if (other == rank_) continue;
    if (waits_in(other, number, name)) {
      with_us.push_back(other);
    } else if (note.number >= number || waits_before(other, number)) {
      elsewhere += fmt::format("; rank {} (host {}) waits in '{}' instead (number {})", other,
                               hosts_[static_cast<std::size_t>(other)], note.name.view(), note.number);
    } else {
      silent.push_back(other);
    }
  }
  std::string text;
  if (!silent.empty()) {
    text += fmt::format("; nothing was heard of {}: still computing, stopped or cut off",
                        list_ranks(silent, &hosts_));
  }
  text += elsewhere;
  if (!with_us.empty()) {
    text +=
        fmt::format("; {} wait{} in it too", list_ranks(with_us, nullptr), with_us.size() == 1 ? "s" : "");
  }
  return text;
}

}  // namespace plumb
