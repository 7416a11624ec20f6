#include "comm/mpi_check.h"

#include <array>
#include <string>
#include <string_view>

#include "core/error.h"

namespace plumb {
namespace {
std::string_view hint_for(int error_class) {
  switch (error_class) {
    case MPI_ERR_TRUNCATE:
    case MPI_ERR_COUNT:
      return "the ranks do not agree on a collective: do they all run the same program and configuration?";
    case MPI_ERR_NO_MEM:
      return "the node is out of memory or of shared memory: look at `free -h` and `df -h /dev/shm`";
    case MPI_ERR_TYPE:
    case MPI_ERR_OP:
    case MPI_ERR_BUFFER:
    case MPI_ERR_COMM:
      return "a fault of this program: please report it";
    default:
      return "a rank or the network may be gone: look at the other ranks' output and at mpirun's message";
  }
}
}  // namespace

void check_mpi(int code, const char* expression, const char* file, int line, std::string_view collective) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  int error_class = MPI_ERR_UNKNOWN;
  MPI_Error_string(code, text.data(), &length);
  MPI_Error_class(code, &error_class);
  const ProcessIdentity& where = process_identity();
  fail("{}:{}: MPI: {}{}{}{} ({}; rank {} of {}, host {}); hint: {}", file, line,
       collective.empty() ? "" : "collective '", collective,
       collective.empty() ? "" : "': ", std::string_view(text.data(), static_cast<std::size_t>(length)),
       expression, where.rank, where.world, where.host, hint_for(error_class));
}

}  // namespace plumb
