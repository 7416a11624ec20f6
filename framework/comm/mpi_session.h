// MpiSession: MPI is running while this object lives.
#pragma once

namespace plumb {

/// Starts MPI with MPI_THREAD_FUNNELED: only the thread that made the session calls MPI. MPI runs once in a
/// process, hence so does a session.
class MpiSession {
 public:
  MpiSession();
  /// Finalises MPI, unless an exception is in flight or abandon() was called: MPI_Finalize waits for all
  /// ranks, and the others do not know that this one has failed. main() then ends them with
  /// abort_all_ranks().
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// The destructor shall not finalise.
  void abandon() { abandoned_ = true; }

 private:
  bool abandoned_ = false;
};

}  // namespace plumb
