# Tests of the emulated device. Kernels are device sources: compiled by the host's compiler here, and by nvcc, where it
# is, to see that they are CUDA.
set(device_test_kernels kernels/atomics.cu kernels/barriers.cu kernels/faults.cu kernels/functions.cu kernels/shared.cu
  kernels/tensor_core.cu kernels/threads.cu kernels/warps.cu)
set(device_tests device_test.cpp device_atomics_test.cpp device_barriers_test.cpp device_diagnostics_test.cpp
  device_functions_test.cpp device_shared_memory_test.cpp device_tensor_core_test.cpp device_threads_test.cpp
  device_warps_test.cpp)
set_source_files_properties(${device_test_kernels} PROPERTIES LANGUAGE CXX
  COMPILE_OPTIONS "-x;c++;-fno-strict-aliasing;-Wno-unknown-pragmas")
if(PLUMB_CUDA)
  add_subdirectory(kernels)
endif()

plumb_test(emulated_device SOURCES ${device_tests} ${device_test_kernels} DEPENDS emulated_device)
