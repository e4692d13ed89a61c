#!/usr/bin/env bash
# On a machine with a card: configures, builds, runs the GPU tests and every GPU benchmark in under nine minutes; the last things
# printed are the tables of docs/PERFORMANCE.md, the short one last, and OUT/results.json has them for programs.
#   bench/gpu/run.sh [--out FOLDER] [--device cuda|cpu] [--quick] [--tflops N --gbps N]
# --device cpu --quick: every program at sizes that mean nothing, to see that all of it runs. --tflops, --gbps: the peaks of a card
# that bench/gpu/roofline.py does not know by name, from its data sheet.
# The benchmarks always have 200 s or more, and all that is left of 520: a build that is not done in the first 300 is kept, and the
# same command goes on with it; tests have up to 150, and what the build left of it.
# Environment: WSP_PYTHON (default python3: a Python with PyTorch 2 or newer), CMAKE_PREFIX_PATH (default: that PyTorch's),
# WSP_DEPENDENCIES (folder of bench/gpu/dependencies.sh, where the machine lacks HDF5 and its like), WSP_BUILD_DIR (default
# build/gpu-node; one that is built already with WSP_NO_BUILD=1), WSP_CUDA_ARCHITECTURES, WSP_SECONDS (default 520) for all of it and
# WSP_BENCH_SECONDS (default 200) of them kept for the benchmarks.
# Exit: 0 all run, 1 a test failed or a row was not run, 75 run the same again, 77 no card here.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/gpu-results device=cuda quick= peaks=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --device) device=${2:?--device needs cuda or cpu}; shift 2 ;;
    --quick) quick=--quick; shift ;;
    --tflops | --gbps) peaks+=("$1" "${2:?$1 needs a number}"); shift 2 ;;
    *) echo "run.sh: '$1' is no option; expected --out, --device, --quick, --tflops or --gbps" >&2; exit 2 ;;
  esac
done
python=${WSP_PYTHON:-python3}
build=${WSP_BUILD_DIR:-build/gpu-node}
seconds=${WSP_SECONDS:-520} kept=${WSP_BENCH_SECONDS:-200}
least_tests=20  # of the time that is not the benchmarks'
began=$SECONDS tests=0
left() { echo $((seconds - (SECONDS - began))); }
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
  limit=$(($(left) - kept - least_tests))
  done=0
  timeout "$((limit > 1 ? limit : 1))" ninja -k 0 -C "$build" $targets >"$out/build.log" 2>&1 || done=$?
  if [ "$done" -eq 124 ]; then
    echo "*** THE BUILD IS NOT DONE in $((seconds - $(left))) s: $(grep -oE '^\[[0-9]+/[0-9]+\]' "$out/build.log" | tail -1). What is built is kept:"
    echo "*** run the same command again, which goes on there and then measures ***"
    exit 75
  elif [ "$done" -ne 0 ]; then
    # What does not compile keeps nothing else from being measured.
    tests=1
    grep -E -A 12 '^FAILED|error:' "$out/build.log" | head -60 >&2 || tail -40 "$out/build.log" >&2
    echo "*** the build is not complete: see $out/build.log ***" >&2
  fi
fi

if [ "$device" != cpu ]; then
  say "2/3  tests on the card"
  # A kernel that hangs must leave time for the rest.
  limit=$(($(left) - kept))
  limit=$((limit > 150 ? 150 : limit < least_tests ? least_tests : limit))
  timeout "$limit" ctest --test-dir "$build" -L gpu --timeout 60 --output-on-failure --no-tests=error 2>&1 |
    tee "$out/tests.log" || {
    codes=("${PIPESTATUS[@]}") tests=1
    if [ "${codes[0]}" -eq 124 ]; then
      echo "*** the tests were not done in $limit s; run again: what is built is kept, and they have more time ***" | tee -a "$out/tests.log"
    fi
  }
fi

say "3/3  benchmarks"
rows=0
"$python" bench/gpu/measure.py --build "$build" --device "$device" --budget "$(left)" --out "$out/results.json" \
  $quick "${peaks[@]}" || rows=1
[ "$tests" -eq 0 ] || echo "*** build or tests on the card FAILED: see $out/build.log and $out/tests.log ***"
exit $((tests | rows))
