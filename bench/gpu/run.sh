#!/usr/bin/env bash
# On a machine with a card: configures, builds, runs the GPU tests and every GPU benchmark in under nine minutes; the last thing
# printed is the table of docs/PERFORMANCE.md, and OUT/results.json has it for programs.
#   bench/gpu/run.sh [--out FOLDER] [--device cuda|cpu] [--quick]
# --device cpu --quick: every program at sizes that mean nothing, to see that all of it runs.
# Environment: WSP_PYTHON (default python3: a Python with PyTorch 2 or newer), CMAKE_PREFIX_PATH (default: that PyTorch's),
# WSP_DEPENDENCIES (folder of bench/gpu/dependencies.sh, where the machine lacks HDF5 and its like), WSP_BUILD_DIR (default
# build/gpu-node; one that is built already with WSP_NO_BUILD=1), WSP_CUDA_ARCHITECTURES.
# Exit: 0 all run, 1 a test failed or a row was not run, 77 no card here.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/gpu-results device=cuda quick=
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --device) device=${2:?--device needs cuda or cpu}; shift 2 ;;
    --quick) quick=--quick; shift ;;
    *) echo "run.sh: '$1' is no option; expected --out, --device or --quick" >&2; exit 2 ;;
  esac
done
python=${WSP_PYTHON:-python3}
build=${WSP_BUILD_DIR:-build/gpu-node}
began=$SECONDS tests=0
say() { printf '\n== %s\n' "$*"; }

# Never `program | grep -q` under pipefail: grep leaves at the first match, and the program's SIGPIPE then counts as failure.
cards=$([ "$device" = cpu ] || nvidia-smi -L 2>/dev/null || true)
if [ "$device" != cpu ] && [[ $cards != *GPU\ * ]]; then
  cat <<TEXT
*** NO CUDA CARD HERE: NOTHING WAS MEASURED ***
On a machine with one this command would configure and build the preset gpu-node, run 'ctest -L gpu', and measure, ours and
theirs in turns:
$(python3 bench/gpu/measure.py --list)
What runs without a card: bench/gpu/run.sh --device cpu --quick
TEXT
  exit 77
fi
mkdir -p "$out"

if [ -z "${WSP_NO_BUILD:-}" ]; then
  say "1/3  configure and build in $build"
  prefix=${CMAKE_PREFIX_PATH:-$("$python" -c 'import torch; print(torch.utils.cmake_prefix_path)' 2>/dev/null || true)}
  cmake --preset gpu-node -B "$build" -Wno-dev --log-level=NOTICE ${prefix:+-DCMAKE_PREFIX_PATH="$prefix"} \
    ${WSP_DEPENDENCIES:+-DWSP_DEPENDENCIES="$WSP_DEPENDENCIES"} \
    ${WSP_CUDA_ARCHITECTURES:+-DWSP_CUDA_ARCHITECTURES="$WSP_CUDA_ARCHITECTURES"}
  targets=gpu_benchmarks
  if [ -n "$(ninja -C "$build" -t targets all | grep '^gpu_tests:')" ]; then targets="$targets gpu_tests"; fi
  # What does not compile keeps nothing else from being measured.
  timeout 420 ninja -k 0 -C "$build" $targets >"$out/build.log" 2>&1 || {
    tests=1
    grep -E -A 12 '^FAILED|error:' "$out/build.log" | head -60 >&2 || tail -40 "$out/build.log" >&2
    echo "*** the build is not complete: see $out/build.log ***" >&2
  }
fi

if [ "$device" != cpu ]; then
  say "2/3  tests on the card"
  # A kernel that hangs must leave time for the rest.
  timeout 150 ctest --test-dir "$build" -L gpu --timeout 60 --output-on-failure --no-tests=error 2>&1 |
    tee "$out/tests.log" || tests=1
fi

say "3/3  benchmarks"
budget=$((520 - (SECONDS - began)))
rows=0
"$python" bench/gpu/measure.py --build "$build" --device "$device" --budget "$budget" --out "$out/results.json" $quick || rows=1
[ "$tests" -eq 0 ] || echo "*** build or tests on the card FAILED: see $out/build.log and $out/tests.log ***"
exit $((tests | rows))
