// MpiSharedWindow: memory of all ranks of a host. Only sources of this folder include it.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace plumb {

/// A shared-memory window of MPI-3 with a segment for each rank, page-aligned and zero-filled.
class MpiSharedWindow {
 public:
  /// Whether there is room for so many bytes where MPI puts such windows; asked of the lowest rank of a host
  /// before a window of that size in all is made, because Open MPI hangs when there is none.
  static bool has_room(std::size_t bytes);

  /// A collective over the ranks of a host, with as many bytes on each. Null on all of them where one cannot
  /// have it.
  static std::unique_ptr<MpiSharedWindow> make(MPI_Comm host, std::size_t bytes);
  /// A collective, unless an exception is in flight or abandon() was called.
  ~MpiSharedWindow();
  MpiSharedWindow(const MpiSharedWindow&) = delete;
  MpiSharedWindow& operator=(const MpiSharedWindow&) = delete;

  /// Of every rank of the host, as this process sees it.
  const std::vector<std::byte*>& segments() const { return segments_; }
  std::size_t bytes() const { return bytes_; }
  /// The destructor shall leave the window alone: the others do not free theirs.
  void abandon() { window_ = MPI_WIN_NULL; }

 private:
  MpiSharedWindow(MPI_Win window, std::size_t bytes) : window_(window), bytes_(bytes) {}
  bool map(MPI_Comm host);

  MPI_Win window_ = MPI_WIN_NULL;
  std::size_t bytes_ = 0;
  std::vector<std::byte*> segments_;
};

}  // namespace plumb
