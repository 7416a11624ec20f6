# The op tests on kernels that the thread sanitizer watches: every .cu of the backend, nothing else, is compiled for it,
# so that no file has to be listed. The program is test_backend linked anew; it finds this plug-in beside itself.
set(races_folder ${PROJECT_BINARY_DIR}/races)
# Test suites of tests/backend whose kernels are there: a line for each, and shapes that take too long. fp16 has the
# kernels of bf16.
set(race_suites
  ActivationOp AttentionOp ElementwiseOp EmbeddingOp GuardOp HeadLossOp MomentsOp NormOp ObservationsOp OptimizerOp
  ParameterOp RandomOp ResidualOp StreamMixOp StreamWeightsOp
)
set(race_left_out *cuda_emulated_fp16*)
list(TRANSFORM race_suites REPLACE "(.+)" "*\\1*")
list(JOIN race_suites ":" race_suites)
list(JOIN race_left_out ":" race_left_out)
set(race_filter "${race_suites}-${race_left_out}")

add_library(emulation_races_kernels OBJECT ${PLUMB_CUDA_DEVICE_SOURCES})
target_compile_options(emulation_races_kernels PRIVATE -O1 -g1 -fsanitize=thread)
target_link_libraries(emulation_races_kernels PRIVATE plumb_flags emulated_device_thread)

add_library(emulation_races_plugin MODULE $<FILTER:$<TARGET_OBJECTS:plumb_cuda_emulated_objects>,EXCLUDE,\\.cu\\.o$>)
set_target_properties(emulation_races_plugin PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${races_folder}
  OUTPUT_NAME plumb_cuda_emulated LINKER_LANGUAGE CXX)
target_link_libraries(emulation_races_plugin PRIVATE emulation_races_kernels emulated_device_thread
  ${emulated_plugin_libraries})
target_link_options(emulation_races_plugin PRIVATE -fsanitize=thread)

add_executable(emulation_races $<TARGET_OBJECTS:test_backend>)
set_target_properties(emulation_races PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${races_folder} LINKER_LANGUAGE CXX)
target_link_libraries(emulation_races PRIVATE plumb_flags plumb_backends plumb_tested_backends GTest::gmock GTest::gtest_main)
target_link_options(emulation_races PRIVATE -fsanitize=thread)
add_dependencies(emulation_races emulation_races_plugin)
# All of them take half an hour; an even sample, every 16th, is what CI has time for.
foreach(test emulation_races emulation_races_all)
  add_test(NAME ${test} COMMAND emulation_races --gtest_brief=1 "--gtest_filter=${race_filter}")
  set_tests_properties(${test} PROPERTIES LABELS emulation-full TIMEOUT 3600
    ENVIRONMENT "PLUMB_TEST_BACKENDS=cuda-emulated;OMP_NUM_THREADS=1;TSAN_OPTIONS=ignore_noninstrumented_modules=1")
endforeach()
set_tests_properties(emulation_races PROPERTIES LABELS emulation)
set_property(TEST emulation_races APPEND PROPERTY ENVIRONMENT "GTEST_TOTAL_SHARDS=16;GTEST_SHARD_INDEX=5")
