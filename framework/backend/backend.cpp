#include "backend/backend.h"

#include "comm/communicator.h"

namespace plumb {

std::unique_ptr<Communicator> Backend::make_communicator() { return nullptr; }

}  // namespace plumb
