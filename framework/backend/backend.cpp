#include "backend/backend.h"

#if __has_include("comm/communicator.h")
#include "comm/communicator.h"
#endif

namespace plumb {

std::unique_ptr<Communicator> Backend::make_communicator() {
#if __has_include("comm/communicator.h")
  return nullptr;
#else
  fail("no communicator yet");
#endif
}

}  // namespace plumb
