#!/usr/bin/env bash
# Compiles the CUDA backend for every GPU that Plumb is made for: sm 80 (A100), 90 (H100, H200), 100 (B200).
#   launch/cuda_architectures.sh [FOLDER]    into build/cuda unless a folder is named
# A register spill or a warning is an error. Says at the end of each architecture whether all its kernels are clean;
# FOLDER/kernels.tsv has registers and spilled bytes of every kernel. Exit code 1 if one is not clean.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
folder=${1:-build/cuda}
architectures=(80 90 100)
list=$(IFS=';'; echo "${architectures[*]}")
cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DPLUMB_CUDA_ARCHITECTURES=$list" \
  "-DCMAKE_CUDA_FLAGS=-Xptxas -v" -DPLUMB_BUILD_TESTS=OFF

# From the beginning, and on after an error: what ptxas says of a kernel is said only while it is compiled.
log=$folder/ptxas.log
built=yes
cmake --build "$folder" --target clean >/dev/null
if ! cmake --build "$folder" --target plumb_cuda -- -k 0 2>&1 | tee "$log" |
  { grep --line-buffered -vE '^ptxas info|^ +[0-9]+ bytes stack frame' || true; }; then
  built=no
fi

awk -v OFS='\t' '
  BEGIN { print "sm", "kernel", "registers", "spill stores", "spill loads" }
  /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; sm = substr(part[4], 4); stores = loads = 0 }
  /bytes spill stores/ { stores += $5; loads += $9 }
  /Used [0-9]+ registers/ && kernel != "" {
    for (i = 1; i < NF; ++i) if ($i == "Used") print sm, kernel, $(i + 1), stores, loads
    kernel = ""
  }' "$log" | c++filt >"$folder/kernels.tsv"

clean=yes
for sm in "${architectures[@]}"; do
  awk -F '\t' -v sm="$sm" -v others="$(awk -F '\t' 'NR > 1 { print $2 }' "$folder/kernels.tsv" | sort -u | wc -l)" '
    $1 == sm { if (!seen[$2]++) ++kernels; if ($3 > most) most = $3; if ($4 + $5 > 0) ++spilling }
    END {
      clean = kernels > 0 && kernels == others && spilling == 0
      printf "sm %s: %s, %d of %d kernels compiled, %d with spills, at most %d registers\n", sm,
             clean ? "clean" : "NOT CLEAN", kernels, others, spilling, most
      exit !clean
    }' "$folder/kernels.tsv" || clean=no
done
if [ "$built" = no ]; then echo "cuda_architectures: the build failed, see $log" >&2; fi
if [ "$built" = no ] || [ "$clean" = no ]; then exit 1; fi
ls -l "$folder/lib/libplumb_cuda.so"
