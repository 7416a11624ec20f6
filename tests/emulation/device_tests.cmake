# Tests of the emulated device. Kernels are device sources: compiled by the host's compiler here, and by nvcc, where it
# is, to see that they are CUDA.
set(device_test_kernels kernels/atomics.cu kernels/barriers.cu kernels/faults.cu kernels/functions.cu kernels/shared.cu
  kernels/tensor_core.cu kernels/threads.cu kernels/warps.cu)
set(device_tests device_test.cpp device_atomics_test.cpp device_barriers_test.cpp device_diagnostics_test.cpp
  device_functions_test.cpp device_shared_memory_test.cpp device_tensor_core_test.cpp device_threads_test.cpp
  device_warps_test.cpp)
set_source_files_properties(${device_test_kernels} kernels/bugs.cu PROPERTIES LANGUAGE CXX
  COMPILE_OPTIONS "-x;c++;-fno-strict-aliasing;-Wno-unknown-pragmas")
if(PLUMB_CUDA)
  add_subdirectory(kernels)
endif()

# Its kernels have options of their own, for which precompiled headers would not do.
plumb_test(emulated_device SOURCES ${device_tests} ${device_test_kernels} DEPENDS emulated_device OWN_FLAGS)
if(NOT PLUMB_SANITIZE)
  # The same with the way to change stacks that any machine has.
  plumb_device_library(emulated_device_ucontext none ucontext)
  plumb_test(emulated_device_ucontext SOURCES $<TARGET_OBJECTS:test_emulated_device> DEPENDS flags
    LINKS emulated_device_ucontext)
endif()

# Programs with planted bugs, whatever this build's own sanitizers are. The thread sanitizer sees the kernels only.
plumb_device_library(emulated_device_plain none ${device_context})
plumb_device_library(emulated_device_address address ${device_context})
target_compile_options(emulated_device_address PRIVATE -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined
  -fno-sanitize-recover=all)
plumb_device_library(emulated_device_thread thread ${device_context})

# planted_bugs(<suffix> <device library> <options for kernels and link>)
function(planted_bugs suffix device)
  add_library(planted_bug_kernels_${suffix} OBJECT kernels/bugs.cu)
  target_link_libraries(planted_bug_kernels_${suffix} PRIVATE ${device})
  target_compile_options(planted_bug_kernels_${suffix} PRIVATE ${ARGN})
  add_executable(planted_bugs_${suffix} planted_bugs.cpp)
  target_link_libraries(planted_bugs_${suffix} PRIVATE planted_bug_kernels_${suffix} ${device})
  target_link_options(planted_bugs_${suffix} PRIVATE ${ARGN})
endfunction()
planted_bugs(plain emulated_device_plain)
planted_bugs(address emulated_device_address -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined
  -fno-sanitize-recover=all)
planted_bugs(thread emulated_device_thread -O1 -g1 -fsanitize=thread)

plumb_test(planted_bugs SOURCES planted_bugs_test.cpp ../cli/program.cpp DEPENDS flags LABELS emulation)
target_compile_definitions(test_planted_bugs PRIVATE PLUMB_PROGRAM="" PLUMB_MPIEXEC=""
  PLUMB_PLANTED_BUGS="$<TARGET_FILE:planted_bugs_plain>"
  PLUMB_PLANTED_BUGS_ADDRESS="$<TARGET_FILE:planted_bugs_address>"
  PLUMB_PLANTED_BUGS_THREAD="$<TARGET_FILE:planted_bugs_thread>")
add_dependencies(test_planted_bugs planted_bugs_plain planted_bugs_address planted_bugs_thread)

find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME mutation_operators COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/mutation/operators_test.py)
  set_tests_properties(mutation_operators PROPERTIES LABELS fast)
endif()
