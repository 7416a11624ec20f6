# The emulated device: kernels as fibers. One library per sanitizer, because it must be told of the fibers.
set(device_folder ${CMAKE_CURRENT_LIST_DIR})
set(device_sources async_copies.cpp atomics.cpp barrier_intrinsics.cpp block_barrier.cpp block_engine.cpp grid.cpp
  launch.cpp places.cpp thread_scheduler.cpp settings.cpp shared_memory.cpp shared_variables.cpp stack.cpp tensor_core.cpp
  warp_intrinsics.cpp warp_operations.cpp)
set(device_context ucontext)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(device_context x86_64)
endif()

# plumb_device_library(<name> <sanitizer: none, address or thread> <context: x86_64 or ucontext>)
function(plumb_device_library name sanitizer context)
  set(sources ${device_sources})
  if(context STREQUAL x86_64)
    list(APPEND sources x86_64/context.cpp)
  endif()
  list(TRANSFORM sources PREPEND ${device_folder}/)
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${device_folder} ${device_folder}/.. ${PROJECT_SOURCE_DIR}/framework
    PRIVATE ${device_folder}/${context} ${device_folder}/sanitizers/${sanitizer})
  target_link_libraries(${name} PUBLIC plumb_cuda_headers Threads::Threads)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic $<$<BOOL:${PLUMB_WARNINGS_AS_ERRORS}>:-Werror>)
endfunction()

if(PLUMB_SANITIZE MATCHES address)
  plumb_device_library(plumb_emulated_device address ${device_context})
else()
  plumb_device_library(plumb_emulated_device none ${device_context})
endif()
target_link_libraries(plumb_emulated_device PRIVATE plumb_flags)
