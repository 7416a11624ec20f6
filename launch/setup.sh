#!/usr/bin/env bash
# Installs everything that Plumb needs from Debian packages and fetches the sample text.
#   launch/setup.sh             build and run dependencies, sample text
#   launch/setup.sh --golden    also PyTorch, needed only to re-make the golden test files
#   launch/setup.sh --coverage  also gcovr, for launch/coverage.sh
#   launch/setup.sh --browser   also Chromium, which tests the pages of `plumb report`
#   launch/setup.sh --readers   also what exported files are read with (xarray, TensorBoard, transformers; PyTorch): some
#                               tests do so and are skipped without. TensorBoard and transformers come from PyPI into
#                               build/readers
#   launch/setup.sh --peers     also what tests/benchmarks compares with: Debian's PyTorch 1.13 with the libraries that make it
#                               fast, and the current PyTorch from PyPI, into build/peers (about 6 GB)
# Safe to run again: what is there already is left alone. Works as root and with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  g++ cmake ninja-build ccache git ca-certificates     # build
  openmpi-bin libopenmpi-dev                           # ranks
  libdnnl-dev                                          # matrix products on the CPU
  libjs-vega                                           # plots of `plumb report`
  libtomlplusplus-dev libcli11-dev libfmt-dev libspdlog-dev nlohmann-json3-dev libxxhash-dev
  libnetcdf-dev                                        # plumb export --format netcdf
  protobuf-compiler libprotobuf-dev                    # log.tensorboard
  libgtest-dev libgmock-dev libbenchmark-dev           # tests
  clang-format                                         # style check in CI
  procps iproute2 python3                              # used by tests: killed ranks, two hosts, mutants
)
optional=(bible-kjv)                                   # the sample text
readers=0
peers=0
for argument in "$@"; do
  case "$argument" in
    --golden) packages+=(python3-torch python3-numpy) ;;
    --coverage) packages+=(gcovr) ;;
    --browser) packages+=(chromium fonts-liberation) ;;
    --readers)
      readers=1
      packages+=(python3-torch python3-numpy python3-xarray python3-netcdf4 python3-venv)
      ;;
    --peers)
      peers=1
      packages+=(python3-torch python3-numpy python3-venv python3-dev libtcmalloc-minimal4 libopenblas0-openmp)
      ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "setup: unknown argument '$argument' (known: --golden, --coverage, --browser, --readers, --peers, --help)" >&2; exit 2 ;;
  esac
done

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else
    echo "setup: need root to run '$*'; run this script as root or install sudo" >&2
    exit 1
  fi
}
is_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
missing_of() { for package in "$@"; do is_installed "$package" || echo "$package"; done; }

if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here. Install by your own package manager: ${packages[*]}" >&2
  exit 1
fi
mapfile -t missing < <(missing_of "${packages[@]}")
mapfile -t missing_optional < <(missing_of "${optional[@]}")
if [ ${#missing[@]} -gt 0 ] || [ ${#missing_optional[@]} -gt 0 ]; then
  echo "setup: apt-get update"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "setup: all ${#packages[@]} packages are installed"
fi
if [ ${#missing_optional[@]} -gt 0 ]; then
  echo "setup: installing ${missing_optional[*]} (sample text)"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing_optional[@]}" >/dev/null ||
    echo "setup: ${missing_optional[*]} could not be installed; the quick start will use the built-in synthetic language"
fi

# The sample text: the King James Bible as Debian packages it, one verse per line.
text=data/king-james.txt
expected_lines=31102
expected_bytes=4404412
if [ -s "$text" ]; then
  echo "setup: sample text is there ($text)"
elif command -v bible >/dev/null; then
  mkdir -p data
  bible -f gen1:1-rev22:21 </dev/null >"$text.partial"
  lines=$(wc -l <"$text.partial")
  bytes=$(wc -c <"$text.partial")
  if [ "$lines" = "$expected_lines" ] && [ "$bytes" = "$expected_bytes" ]; then
    mv "$text.partial" "$text"
    echo "setup: sample text written to $text ($lines lines, $bytes bytes)"
  else
    rm -f "$text.partial"
    echo "setup: bible-kjv printed $lines lines, $bytes bytes instead of $expected_lines, $expected_bytes:" \
      "not used; the quick start will use the built-in synthetic language" >&2
  fi
else
  echo "setup: no sample text (package bible-kjv); the quick start will use the built-in synthetic language"
fi

# Programs that read what Plumb writes and that Debian does not package. The versions are those that go with Debian 12's
# PyTorch 1.13 and numpy 1.24.
if [ "$readers" = 1 ] && [ ! -e build/readers/complete ]; then
  echo "setup: installing TensorBoard and transformers into build/readers"
  /usr/bin/python3 -m venv --system-site-packages build/readers
  build/readers/bin/pip install --quiet --disable-pip-version-check \
    'tensorboard==2.14.*' 'transformers==4.30.*' 'numpy<1.25'
  touch build/readers/complete
fi

if [ "$peers" = 1 ] && [ ! -e build/peers/complete ]; then
  echo "setup: installing the current PyTorch into build/peers"
  /usr/bin/python3 -m venv build/peers
  build/peers/bin/pip install --quiet --disable-pip-version-check torch numpy
  touch build/peers/complete
fi

# Optional hardware: said here so that nobody wonders what the build will use.
if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
  echo "setup: a CUDA toolkit is installed: the CUDA backend will be built where cuDNN and NCCL are there too"
fi
echo "setup: done"
