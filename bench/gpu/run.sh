#!/usr/bin/env bash
# On a machine with a card: configures, builds, runs the GPU tests and every GPU benchmark, prints the tables of docs/PERFORMANCE.md,
# and OUT/results.json has them for programs.
#   bench/gpu/run.sh [--out FOLDER] [--device cuda|cpu] [--quick] [--tflops N --gbps N]
# --device cpu --quick: every program at sizes that mean nothing, to see that all of it runs. --tflops, --gbps: the peaks of a card
# that bench/gpu/roofline.py does not know by name, from its data sheet.
# Five stages: build, tests, benchmarks, sanitizer (compute-sanitizer over the kernels' tests) and profile (ncu: occupancy and
# throughput of our kernels), the last two where those programs are. Each leaves its results in OUT as it goes. A call takes under
# nine minutes; where it ends before the last stage it says so with exit 75, and the same command goes on there: what is done is not
# done again while the sources and the card stay the same (OUT/stages; remove it to begin anew).
# The benchmarks have 200 s or more of a call, and all that is left of 520; tests have up to 150, and what the build left of it.
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
began=$SECONDS
left() { echo $((seconds - (SECONDS - began))); }
say() { printf '\n== %s\n' "$*"; }
# What became of a stage: nothing yet, ok, or what went wrong. It stands while the key does.
state() { cat "$out/stages/$1" 2>/dev/null || true; }
mark() { printf '%s\n' "${*:2}" >"$out/stages/$1"; }

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

key=$({ echo "$cards $device $quick $build"; find bench cmake libs tests tools -type f -print0 | LC_ALL=C sort -z |
  xargs -0 sha256sum; } | sha256sum | cut -d' ' -f1)
[ "$(state key)" = "$key" ] || rm -rf "$out/stages"
mkdir -p "$out/stages"
mark key "$key"

build() {
  say "1/5  configure and build in $build"
  local prefix=${CMAKE_PREFIX_PATH:-$("$python" -c 'import torch; print(torch.utils.cmake_prefix_path)' 2>/dev/null || true)}
  cmake --preset gpu-node -B "$build" -Wno-dev --log-level=NOTICE ${prefix:+-DCMAKE_PREFIX_PATH="$prefix"} \
    ${WSP_DEPENDENCIES:+-DWSP_DEPENDENCIES="$WSP_DEPENDENCIES"} \
    ${WSP_CUDA_ARCHITECTURES:+-DWSP_CUDA_ARCHITECTURES="$WSP_CUDA_ARCHITECTURES"}
  local targets=gpu_benchmarks done=0 limit=$(($(left) - kept - least_tests))
  if [ -n "$(ninja -C "$build" -t targets all | grep '^gpu_tests:')" ]; then targets="$targets gpu_tests"; fi
  timeout "$((limit > 1 ? limit : 1))" ninja -k 0 -C "$build" $targets >"$out/build.log" 2>&1 || done=$?
  if [ "$done" -eq 124 ]; then
    echo "*** THE BUILD IS NOT DONE in $((seconds - $(left))) s: $(grep -oE '^\[[0-9]+/[0-9]+\]' "$out/build.log" | tail -1). What is built is kept:"
    echo "*** run the same command again, which goes on there and then measures ***"
    exit 75
  elif [ "$done" -ne 0 ]; then
    # What does not compile keeps nothing else from being measured.
    grep -E -A 12 '^FAILED|error:' "$out/build.log" | head -60 >&2 || tail -40 "$out/build.log" >&2
    mark build "the build is not complete: see $out/build.log"
  else
    mark build ok
  fi
}

tests() {
  say "2/5  tests on the card"
  # A kernel that hangs must leave time for the rest.
  local limit=$(($(left) - kept)) codes
  limit=$((limit > 150 ? 150 : limit < least_tests ? least_tests : limit))
  if timeout "$limit" ctest --test-dir "$build" -L gpu --timeout 60 --output-on-failure --no-tests=error 2>&1 |
    tee "$out/tests.log"; then
    mark tests ok
    return
  fi
  codes=("${PIPESTATUS[@]}")
  mark tests "tests on the card failed: see $out/tests.log"
  if [ "${codes[0]}" -eq 124 ]; then
    mark tests "the tests were not done in $limit s; run again: what is built is kept, and they have more time"
    again=tests
  fi
}

benchmarks() {
  say "3/5  benchmarks"
  local code=0
  "$python" bench/gpu/measure.py --build "$build" --device "$device" --budget "$(left)" --out "$out/results.json" --go-on "$key" \
    $quick "${peaks[@]}" >"$out/tables.txt" || code=$?
  case $code in
    0) mark benchmarks ok ;;
    75) left_over=$left_over' benchmarks' ;;
    *) mark benchmarks "a row was not run: see $out/results.json" ;;
  esac
}

# checked NAME COMMAND...: its output in OUT/NAME.log.
checked() {
  local code=0 limit
  limit=$(($(left) > 180 ? 180 : $(left)))
  timeout "$limit" "${@:2}" >"$out/$1.log" 2>&1 || code=$?
  tail -3 "$out/$1.log"
  return $code
}

sanitizer() {
  say "4/5  compute-sanitizer over the kernels' tests"
  local tool name=cuda_kernels_test wrong=
  for tool in memcheck racecheck; do
    checked $tool compute-sanitizer --tool $tool --error-exitcode 9 "$build/tests/train/gpu/$name" || wrong="$wrong $tool"
  done
  mark sanitizer "${wrong:+compute-sanitizer found something or did not end:$wrong: see $out/*check.log}"
  [ -n "$wrong" ] || mark sanitizer ok
}

# Counters of a card may be closed to users: that is no fault of ours, and ncu's own words say so.
profile() {
  say "5/5  ncu: occupancy and throughput of our kernels"
  local part
  for part in augmentation loss pooling; do
    checked ncu-$part ncu --section LaunchStats --section Occupancy --section SpeedOfLight --kernel-name-base demangled \
      --kernel-name 'regex:wsp::train' --launch-count 12 "$build/bench/gpu/gpu_bench" $part --device "$device" --turns 1 --calls 1 ||
      echo "*** ncu could not profile $part: see $out/ncu-$part.log"
  done
  mark profile ok
}

# stage NAME SECONDS PROGRAM: does it unless it is done, where the call has as much time left and the program is there.
again= left_over=
stage() {
  case $(state "$1") in
    '') ;;
    ok) return 0 ;;
    *) [ "$1" = build ] || return 0 ;;  # what it lacked may be there now
  esac
  if [ -n "$3" ] && ! command -v "$3" >/dev/null; then
    echo "*** $3 is not here: no $1 ***"
  elif [ "$(left)" -lt "$2" ]; then
    left_over="$left_over $1"
  else
    "$1"
  fi
}
[ -n "${WSP_NO_BUILD:-}" ] || stage build 0 ""
if [ "$device" != cpu ]; then stage tests 0 ""; fi
stage benchmarks 0 ""
if [ "$device" != cpu ]; then
  stage sanitizer 30 compute-sanitizer
  stage profile 30 ncu
fi

code=0
for name in build tests sanitizer benchmarks; do
  case $(state $name) in
    '' | ok) ;;
    *) code=1; echo "*** $(state $name) ***" ;;
  esac
done
if [ -n "$again" ]; then
  rm "$out/stages/tests"
elif [ -n "$left_over" ]; then
  echo "*** LEFT FOR THE NEXT CALL:$left_over. Run the same command again, which goes on there ***"
  code=75
fi
say "results"
cat "$out/tables.txt"
exit $code
