# Finds every dependency, and plumb_print_summary() says at the end of configure what was found, where, what it
# enables, and which variable to set for what was not.
set(PLUMB_SUMMARY "")
set(PLUMB_MISSING "")

# plumb_note(<name> <found?> <where> <what it enables> <how to get it>)
function(plumb_note name found where enables hint)
  if(found)
    string(APPEND PLUMB_SUMMARY "  [found]   ${name}: ${where} -- ${enables}\n")
  else()
    string(APPEND PLUMB_SUMMARY "  [missing] ${name} -- ${enables}; ${hint}\n")
    set(PLUMB_MISSING "${PLUMB_MISSING} ${name}" PARENT_SCOPE)
  endif()
  set(PLUMB_SUMMARY "${PLUMB_SUMMARY}" PARENT_SCOPE)
endfunction()

# The same for what Plumb is built without when it is missing.
function(plumb_note_optional name found where enables hint)
  if(found)
    set(PLUMB_SUMMARY "${PLUMB_SUMMARY}  [found]   ${name}: ${where} -- ${enables}\n" PARENT_SCOPE)
  else()
    set(PLUMB_SUMMARY "${PLUMB_SUMMARY}  [without] ${name} -- ${enables} is left out; ${hint}\n" PARENT_SCOPE)
  endif()
endfunction()

find_package(fmt QUIET)
plumb_note("fmt" "${fmt_FOUND}" "${fmt_DIR}" "text" "apt install libfmt-dev, or set fmt_DIR")
find_package(spdlog QUIET)
plumb_note("spdlog" "${spdlog_FOUND}" "${spdlog_DIR}" "logging" "apt install libspdlog-dev, or set spdlog_DIR")
find_package(nlohmann_json QUIET)
plumb_note("nlohmann-json" "${nlohmann_json_FOUND}" "${nlohmann_json_DIR}" "JSON logs and manifests"
  "apt install nlohmann-json3-dev, or set nlohmann_json_DIR")
find_package(tomlplusplus QUIET)
plumb_note("toml++" "${tomlplusplus_FOUND}" "${tomlplusplus_DIR}" "configuration"
  "apt install libtomlplusplus-dev, or set tomlplusplus_DIR")
find_package(CLI11 QUIET)
plumb_note("CLI11" "${CLI11_FOUND}" "${CLI11_DIR}" "command line" "apt install libcli11-dev, or set CLI11_DIR")

find_path(PLUMB_VEGA_DIR vega-view.min.js PATHS /usr/share/javascript/vega)
plumb_note_optional("Vega" "${PLUMB_VEGA_DIR}" "${PLUMB_VEGA_DIR}" "`plumb report`" "apt install libjs-vega, or set PLUMB_VEGA_DIR")

find_path(XXHASH_INCLUDE_DIR xxhash.h)
find_library(XXHASH_LIBRARY xxhash)
if(XXHASH_INCLUDE_DIR AND XXHASH_LIBRARY)
  set(xxhash_FOUND TRUE)
  add_library(xxhash::xxhash UNKNOWN IMPORTED)
  set_target_properties(xxhash::xxhash PROPERTIES IMPORTED_LOCATION ${XXHASH_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${XXHASH_INCLUDE_DIR})
endif()
plumb_note("xxHash" "${xxhash_FOUND}" "${XXHASH_LIBRARY}" "content hashes"
  "apt install libxxhash-dev, or set XXHASH_INCLUDE_DIR and XXHASH_LIBRARY")

find_path(NETCDF_INCLUDE_DIR netcdf.h)
find_library(NETCDF_LIBRARY netcdf)
set(PLUMB_NETCDF FALSE)
if(PLUMB_WITH_NETCDF AND NETCDF_INCLUDE_DIR AND NETCDF_LIBRARY)
  set(PLUMB_NETCDF TRUE)
  add_library(netcdf::netcdf UNKNOWN IMPORTED)
  set_target_properties(netcdf::netcdf PROPERTIES IMPORTED_LOCATION ${NETCDF_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${NETCDF_INCLUDE_DIR})
endif()
plumb_note_optional("NetCDF" "${PLUMB_NETCDF}" "${NETCDF_LIBRARY}" "plumb export --format netcdf"
  "apt install libnetcdf-dev, or set NETCDF_INCLUDE_DIR and NETCDF_LIBRARY")

find_package(Protobuf QUIET)
set(PLUMB_PROTOBUF FALSE)
if(Protobuf_FOUND AND TARGET protobuf::protoc AND TARGET protobuf::libprotobuf-lite)
  set(PLUMB_PROTOBUF TRUE)
endif()
plumb_note_optional("Protocol Buffers" "${PLUMB_PROTOBUF}" "${Protobuf_LITE_LIBRARY}" "TensorBoard events (log.tensorboard)"
  "apt install protobuf-compiler libprotobuf-dev, or set Protobuf_ROOT")

find_package(OpenMP QUIET COMPONENTS CXX)
plumb_note("OpenMP" "${OpenMP_CXX_FOUND}" "${OpenMP_CXX_FLAGS}" "vectorised loops of the cpu backend, and how many threads it gets by default" "use g++ or clang with libomp")

if(PLUMB_WITH_ONEDNN)
  # Debian's dnnl-config.cmake asks for OpenCL, which only oneDNN's GPU side uses.
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
  find_library(DNNL_LIBRARY dnnl)
  if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY)
    set(dnnl_FOUND TRUE)
    add_library(dnnl::dnnl UNKNOWN IMPORTED)
    set_target_properties(dnnl::dnnl PROPERTIES IMPORTED_LOCATION ${DNNL_LIBRARY}
      INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})
  endif()
  plumb_note("oneDNN" "${dnnl_FOUND}" "${DNNL_LIBRARY}" "matrix products of the cpu backend"
    "apt install libdnnl-dev, or set DNNL_INCLUDE_DIR and DNNL_LIBRARY, or -DPLUMB_WITH_ONEDNN=OFF")
endif()

if(PLUMB_WITH_MPI)
  # Only the C API: the C++ bindings of MPI are gone from the standard and do not pass -Wpedantic.
  set(MPI_CXX_SKIP_MPICXX TRUE)
  find_package(MPI QUIET COMPONENTS CXX)
  if(MPI_CXX_FOUND)
    add_library(plumb_mpi INTERFACE)
    target_link_libraries(plumb_mpi INTERFACE MPI::MPI_CXX)
    target_include_directories(plumb_mpi SYSTEM INTERFACE ${MPI_CXX_INCLUDE_DIRS})
    target_compile_definitions(plumb_mpi INTERFACE OMPI_SKIP_MPICXX=1)
  endif()
  plumb_note("Open MPI" "${MPI_CXX_FOUND}" "${MPIEXEC_EXECUTABLE}" "several ranks"
    "apt install libopenmpi-dev openmpi-bin, or set MPI_HOME, or -DPLUMB_WITH_MPI=OFF")
endif()

find_package(Threads REQUIRED)

# CUDA is optional: with its headers the emulated backend is built, with nvcc and the libraries the real one.
set(PLUMB_CUDA_HEADERS FALSE)
set(PLUMB_CUDA FALSE)
if(NOT PLUMB_WITH_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND)
    find_path(PLUMB_CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    find_library(PLUMB_CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
    find_path(PLUMB_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    find_library(PLUMB_NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
    if(PLUMB_CUDNN_INCLUDE_DIR AND PLUMB_NCCL_INCLUDE_DIR)
      set(PLUMB_CUDA_HEADERS TRUE)
      add_library(plumb_cuda_headers INTERFACE)
      target_include_directories(plumb_cuda_headers SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS}
        ${PLUMB_CUDNN_INCLUDE_DIR} ${PLUMB_NCCL_INCLUDE_DIR})
      # Sanitizers are for the host compiler: such a build has the emulated backend only.
      if(TARGET CUDA::cublasLt AND PLUMB_CUDNN_LIBRARY AND PLUMB_NCCL_LIBRARY AND NOT PLUMB_SANITIZE)
        set(PLUMB_CUDA TRUE)
      endif()
    endif()
  endif()
endif()
plumb_note_optional("CUDA" "${PLUMB_CUDA}" "${CUDAToolkit_BIN_DIR}" "the cuda backend"
  "install the CUDA toolkit with cuBLAS, cuDNN and NCCL, or set CUDAToolkit_ROOT")

if(PLUMB_BUILD_TESTS)
  find_package(GTest QUIET)
  plumb_note("GoogleTest" "${GTest_FOUND}" "${GTest_DIR}" "tests" "apt install libgtest-dev libgmock-dev, or -DPLUMB_BUILD_TESTS=OFF")
endif()
if(PLUMB_BUILD_BENCHMARKS)
  find_package(benchmark QUIET)
  plumb_note_optional("Google Benchmark" "${benchmark_FOUND}" "${benchmark_DIR}" "benchmarks" "apt install libbenchmark-dev")
endif()

function(plumb_print_summary)
  set(PLUMB_HOST_BACKENDS "reference")
  if(PLUMB_WITH_ONEDNN)
    string(APPEND PLUMB_HOST_BACKENDS ", cpu")
  endif()
  set(PLUMB_CUDA_BACKENDS "")
  if(PLUMB_CUDA)
    string(APPEND PLUMB_CUDA_BACKENDS ", cuda (sm ${CMAKE_CUDA_ARCHITECTURES})")
  endif()
  if(TARGET plumb_cuda_emulated)
    string(APPEND PLUMB_CUDA_BACKENDS ", cuda-emulated")
  endif()
  string(TOUPPER "${CMAKE_BUILD_TYPE}" upper_type)
  message(STATUS "Plumb ${PROJECT_VERSION}\n"
    "  build type ${CMAKE_BUILD_TYPE} (${CMAKE_CXX_FLAGS_${upper_type}}), cpu backend -march=${PLUMB_CPU_ARCH}, "
    "tests ${PLUMB_BUILD_TESTS}, benchmarks ${PLUMB_BUILD_BENCHMARKS}, sanitizers '${PLUMB_SANITIZE}'\n"
    "${PLUMB_SUMMARY}"
    "  backends: ${PLUMB_HOST_BACKENDS}${PLUMB_CUDA_BACKENDS}")
endfunction()

if(PLUMB_MISSING)
  message(FATAL_ERROR "Plumb cannot be built without:${PLUMB_MISSING}\n${PLUMB_SUMMARY}launch/setup.sh installs all of them.")
endif()
