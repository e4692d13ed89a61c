#!/usr/bin/env bash
# What bench/gpu/run.sh does on a machine with a card, as far as it goes without one: against the LibTorch that such a machine has
# (pip's, with CUDA), not Debian's. Needs what tools/setup.sh installs, nvcc, python3-venv, some 10 GB and half an hour of two cores.
#   bench/gpu/rehearse.sh [--torch VERSION] [--out FOLDER]
# 1 PyTorch of that version in a virtual environment; 2 the preset gpu-node, every program, test and kernel of it, compiled and
# linked; 3 the CPU's tests of the training half; 4 the benchmarks and PyTorch's own baselines, on the CPU at toy sizes.
# A second call goes on where the first stopped. Environment: WSP_JOBS (default: all cores). Exit: 0 all is well, 1 a stage failed.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=2.11.0 out=build/rehearse
while [ $# -gt 0 ]; do
  case $1 in
    --torch) version=${2:?--torch needs a version}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    *) echo "rehearse.sh: '$1' is no option; expected --torch or --out" >&2; exit 2 ;;
  esac
done
jobs=${WSP_JOBS:-$(nproc)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
python=$out/venv/bin/python build=$out/build
failed=0 table=()
export OMP_WAIT_POLICY=passive

# stage NAME COMMAND...: its seconds and result stand in the table, its output in OUT/NAME.log
stage() {
  local name=$1 began=$SECONDS result=ok
  shift
  printf '== %s\n' "$name"
  "$@" >"$out/$name.log" 2>&1 || { result=FAILED; failed=1; tail -40 "$out/$name.log"; }
  table+=("$(printf '%-10s %6s s  %s  %s' "$name" $((SECONDS - began)) "$result" "$(last "$name")")")
  [ $result = ok ]
}
# The line of a log that says most.
last() { grep -E 'tests passed|tests failed|^\[[0-9]+/[0-9]+\]|rows? |Successfully' "$out/$1.log" | tail -1 | cut -c1-90 || true; }

pytorch() {
  [ -x "$python" ] || python3 -m venv "$out/venv"
  "$python" -c "import torch; assert torch.__version__.split('+')[0] == '$version'" 2>/dev/null ||
    "$python" -m pip install --quiet "torch==$version" numpy
  "$python" -c 'import torch; print("Successfully:", torch.__version__, "CUDA", torch.version.cuda)'
}
compile() {
  cmake --preset gpu-node -B "$build" -Wno-dev --log-level=NOTICE -DWSP_GPU_TESTS_ONLY=OFF -DWSP_WITH_CUDA=ON \
    -DCMAKE_PREFIX_PATH="$("$python" -c 'import torch; print(torch.utils.cmake_prefix_path)')"
  ninja -C "$build" -j "$jobs"
}
tests() { ctest --test-dir "$build" -LE 'gpu|cli|slow' -j "$jobs" --timeout 600 --output-on-failure --no-tests=error; }
toys() { WSP_PYTHON=$python WSP_BUILD_DIR=$build WSP_NO_BUILD=1 bench/gpu/run.sh --device cpu --quick --out "$out/results"; }

stage pytorch pytorch && stage compile compile && { stage tests tests || true; stage toys toys || true; }
printf '\nPyTorch %s, %s, %s\n' "$version" "$(nvcc --version 2>/dev/null | grep -oE 'release [0-9.]+' || echo 'no nvcc')" "$(date +%F)"
printf '%s\n' "${table[@]}"
exit $failed
