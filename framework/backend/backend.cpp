#include "backend/backend.h"

#include "comm/communicator.h"

namespace plumb {

Buffer Backend::allocate_for_communication(std::size_t bytes) { return allocate(bytes); }
std::unique_ptr<Communicator> Backend::make_communicator(Communicator&, Stream&) { return nullptr; }

}  // namespace plumb
