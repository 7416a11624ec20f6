// StallNotes: how a rank that waits too long learns which ranks it waits for. Only sources of this folder
// include it.
#pragma once

#include <mpi.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

/// Name of a collective, cut to 47 characters: fixed size, so that naming one allocates nothing.
struct CollectiveName {
  std::array<char, 48> text{};

  CollectiveName() = default;
  explicit CollectiveName(std::string_view name);
  std::string_view view() const { return text.data(); }
};

/// A rank that has waited for half of its deadline sends every other rank a short note: "I wait in collective
/// number n, called so". Whoever waits and gets a note answers with its own. When the deadline comes, the
/// ranks whose note is missing are those that are waited for. No collective is involved, and nothing is sent
/// as long as all is well.
class StallNotes {
 public:
  StallNotes(int rank, int world);
  /// Frees its communicator, unless an exception is in flight or a note could not be delivered.
  ~StallNotes();
  StallNotes(const StallNotes&) = delete;
  StallNotes& operator=(const StallNotes&) = delete;

  /// Sends the note, once for each collective.
  void announce(std::uint64_t ticket, const CollectiveName& name);
  /// Reads what has come; answers when another rank has sent a note since this one's last.
  void listen(std::uint64_t ticket, const CollectiveName& name);
  /// "rank 0 waits in it too; nothing was heard of rank 2 (host b): ...".
  std::string describe(std::uint64_t ticket, const CollectiveName& name,
                       const std::vector<std::string>& hosts) const;

 private:
  struct Note {
    std::uint64_t ticket = 0;  ///< 0: none has come
    CollectiveName name;
  };

  int rank_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  Note own_;
  std::vector<Note> latest_;        ///< of every rank
  std::vector<MPI_Request> sends_;  ///< of own_, one for each rank
};

}  // namespace plumb
