#include "comm/mpi_session.h"

#include <exception>

#include "comm/mpi_check.h"
#include "core/error.h"

namespace plumb {

MpiSession::MpiSession() {
  int initialized = 0;
  PLUMB_MPI(MPI_Initialized(&initialized));
  PLUMB_CHECK(initialized == 0, "MPI can be started only once in a process");
  int provided = MPI_THREAD_SINGLE;
  PLUMB_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
  PLUMB_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  PLUMB_CHECK(provided >= MPI_THREAD_FUNNELED, "this MPI library was built without thread support (level {})",
              provided);
}

MpiSession::~MpiSession() {
  if (!abandoned_ && std::uncaught_exceptions() == 0) MPI_Finalize();
}

}  // namespace plumb
