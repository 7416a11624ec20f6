// When mpirun itself dies at its end.
#pragma once

#include <cstdlib>
#include <string>

namespace plumb::test {

/// The status that the ranks gave where mpirun fell over in PMIx_server_finalize while it cleaned up after
/// MPI_Abort (https://github.com/open-mpi/ompi/issues/13650 tells of the like; seen once in some tens of runs
/// on a loaded machine with Open MPI 4.1.4 and PMIx 4.2.2): the error code that its own message names. Any
/// other status is returned as it is.
inline int status_of_ranks(int status, const std::string& output) {
  constexpr int kSegmentationFault = 128 + 11;
  const std::string words = "with errorcode ";
  const std::size_t at = output.find(words);
  if (status != kSegmentationFault || output.find("(PMIx_server_finalize") == std::string::npos ||
      output.find("MPI_ABORT was invoked") == std::string::npos || at == std::string::npos)
    return status;
  return std::atoi(output.c_str() + at + words.size());
}

}  // namespace plumb::test
