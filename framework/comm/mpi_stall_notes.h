// MpiStallNotes: stall notes by point-to-point messages. Only sources of this folder include it.
#pragma once

#include <mpi.h>

#include <vector>

#include "comm/stall_notes.h"

namespace plumb {

class MpiStallNotes final : public StallNotes {
 public:
  /// A collective. `hosts`: name of every rank's host, which must outlive the notes.
  MpiStallNotes(int rank, const std::vector<std::string>& hosts);
  /// Frees its communicator, unless an exception is in flight or a note could not be delivered.
  ~MpiStallNotes() override;

  void announce(std::uint64_t number, const CollectiveName& name) override;
  void listen(std::uint64_t number, const CollectiveName& name) override;
  bool left_to_another(std::uint64_t number) const override;
  std::string describe(std::uint64_t number, const CollectiveName& name) const override;

 private:
  struct Note {
    std::uint64_t number = 0;  ///< 0: none has come
    CollectiveName name;
  };
  struct Heard {
    Note note;
    /// It came during this rank's present wait; one that was there before may be from a wait that has ended.
    bool is_fresh = false;
  };

  bool waits_in(int rank, std::uint64_t number, const CollectiveName& name) const;
  bool waits_before(int rank, std::uint64_t number) const;

  int rank_;
  const std::vector<std::string>& hosts_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  Note own_;
  std::vector<Heard> latest_;       ///< of every rank
  std::uint64_t listens_in_ = 0;    ///< number of the collective that was waited for at the last listen()
  std::vector<MPI_Request> sends_;  ///< of own_, one for each rank
};

}  // namespace plumb
