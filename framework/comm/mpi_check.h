// The one check of MPI calls. Only sources of this folder include it: mpi.h goes no further.
#pragma once

#include <mpi.h>

#include <string_view>

namespace plumb {

/// Throws Error with the expression, the place, the host, the rank and MPI's own text when `code` is not
/// MPI_SUCCESS. Needs MPI_ERRORS_RETURN on the communicator of the call. `collective`: its name, where there
/// is one.
void check_mpi(int code, const char* expression, const char* file, int line,
               std::string_view collective = {});

}  // namespace plumb

#define PLUMB_MPI(call) ::plumb::check_mpi((call), #call, __FILE__, __LINE__)
#define PLUMB_MPI_OF(collective, call) ::plumb::check_mpi((call), #call, __FILE__, __LINE__, collective)
