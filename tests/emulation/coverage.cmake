# A plug-in whose kernels count which of their lines ran (launch/coverage.sh). Built only when it is asked for.
add_library(emulation_coverage_kernels OBJECT EXCLUDE_FROM_ALL ${PLUMB_CUDA_DEVICE_SOURCES})
target_compile_options(emulation_coverage_kernels PRIVATE -O1 --coverage -fno-inline)
target_link_libraries(emulation_coverage_kernels PRIVATE plumb_flags plumb_emulated_device)

add_library(emulation_coverage_plugin MODULE EXCLUDE_FROM_ALL
  $<FILTER:$<TARGET_OBJECTS:plumb_cuda_emulated_objects>,EXCLUDE,\\.cu\\.o$>)
set_target_properties(emulation_coverage_plugin PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/coverage
  OUTPUT_NAME plumb_cuda_emulated LINKER_LANGUAGE CXX)
target_link_libraries(emulation_coverage_plugin PRIVATE emulation_coverage_kernels plumb_emulated_device
  ${emulated_plugin_libraries})
target_link_options(emulation_coverage_plugin PRIVATE --coverage)
