#!/usr/bin/env bash
# Compiles the CUDA backend for every GPU that Plumb is made for: sm 80 (A100), 90 (H100, H200), 100 (B200).
#   launch/cuda_architectures.sh [FOLDER]    into build/cuda unless a folder is named
# A register spill or a warning is an error (but for the exceptions in framework/backends/cuda/CMakeLists.txt).
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
folder=${1:-build/cuda}
cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DPLUMB_CUDA_ARCHITECTURES=80;90;100" -DPLUMB_BUILD_TESTS=OFF
cmake --build "$folder" --target plumb_cuda
ls -l "$folder/lib/libplumb_cuda.so"
