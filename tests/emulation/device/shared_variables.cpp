#include "shared_variables.h"

#include "block_engine.h"
#include "places.h"

namespace plumb::emulation {

void* shared_variable(const SharedDeclaration& declaration, std::source_location location) {
  Fiber& fiber = Fiber::running();
  SharedMemory& memory = fiber.engine->shared_memory();
  void* variable = memory.variable(declaration);
  if (variable == nullptr)
    fiber.engine->fail(fiber, place(declaration.name, location) + ": " + memory.error());
  return variable;
}

void* dynamic_shared_variable(std::source_location location) {
  Fiber& fiber = Fiber::running();
  SharedMemory& memory = fiber.engine->shared_memory();
  void* variable = memory.dynamic();
  if (variable == nullptr)
    fiber.engine->fail(fiber, place("PLUMB_DYNAMIC_SHARED", location) + ": " + memory.error());
  return variable;
}

}  // namespace plumb::emulation
