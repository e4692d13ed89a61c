#!/usr/bin/env bash
# What bench/gpu/run.sh does on a machine with a card, as far as it goes without one: against the LibTorch that such a machine
# has (pip's, with CUDA), not Debian's. Needs what tools/setup.sh test installs, nvcc of that CUDA, and some 10 GB.
#   bench/gpu/rehearse.sh [--torch VERSION] [--venv FOLDER] [--out FOLDER]
# 1 pytorch: that version in a virtual environment (in OUT, or --venv, or WSP_TORCH_VENV, which may have it already);
# 2 compile: the preset gpu-node with all its tests, every program, test and kernel of it compiled and linked;
# 3 tests: every test that needs no card; 4 toys: bench/gpu/run.sh and PyTorch's own baselines on the CPU, at toy sizes.
# A second call goes on where the first stopped. Environment: WSP_JOBS (default: all cores).
# Exit: 0 all is well, 1 a stage failed, 2 usage.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=2.11.0 out=build/rehearse venv=${WSP_TORCH_VENV:-}
while [ $# -gt 0 ]; do
  case $1 in
    --torch) version=${2:?--torch needs a version}; shift 2 ;;
    --venv) venv=${2:?--venv needs a folder}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    *) echo "rehearse.sh: '$1' is no option; expected --torch, --venv or --out" >&2; exit 2 ;;
  esac
done
jobs=${WSP_JOBS:-$(nproc)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
venv=$(realpath -m "${venv:-$out/venv}")
python=$venv/bin/python build=$out/build
code=0 table=()
export OMP_WAIT_POLICY=passive

# The line of a log that says most.
last() { grep -E 'tests passed|tests failed|^\[[0-9]+/[0-9]+\]|^rows |^torch ' "$out/$1.log" | tail -1 || true; }

# stage NAME: its seconds and result stand in the table, its output in OUT/NAME.log. A command of a stage that fails must
# return: within what || follows bash does not end by itself.
stage() {
  local began=$SECONDS result=ok
  printf '== %s\n' "$1"
  "$1" >"$out/$1.log" 2>&1 || { result=FAILED; code=1; tail -40 "$out/$1.log"; }
  table+=("$(printf '%-8s %6s s  %-6s  %s' "$1" $((SECONDS - began)) $result "$(last "$1")")")
  [ $result = ok ]
}

pytorch() {
  local is_it="import torch; print('torch', torch.__version__); assert torch.__version__.split('+')[0] == '$version'"
  [ -x "$python" ] || python3 -m venv "$venv" || return
  "$python" -c "$is_it" || { "$python" -m pip install --quiet "torch==$version" numpy && "$python" -c "$is_it"; }
}

compile() {
  cmake --preset gpu-node -B "$build" -Wno-dev --log-level=NOTICE -DWSP_GPU_TESTS_ONLY=OFF -DWSP_WITH_CUDA=ON \
    -DCMAKE_PREFIX_PATH="$("$python" -c 'import torch; print(torch.utils.cmake_prefix_path)')" || return
  # With a LibTorch of another CUDA than nvcc's the kernels would be compiled and nothing of them linked.
  if grep -q 'COMPILED ONLY' "$out/compile.log"; then return 1; fi
  ninja -C "$build" -j "$jobs"
}

tests() { ctest --test-dir "$build" -LE gpu -E '^cli_gpu' -j "$jobs" --timeout 1800 --output-on-failure --no-tests=error; }

# Every row is measured but those that only a card has.
toys() {
  WSP_PYTHON=$python WSP_BUILD_DIR=$build WSP_NO_BUILD=1 bench/gpu/run.sh --device cpu --quick --out "$out/results" || [ $? -eq 1 ] || return
  "$python" - "$out/results/results.json" <<'PYTHON'
import json
import sys

found = json.load(open(sys.argv[1]))
rows = found["rows"] + found["stages"]
missing = [row for row in rows if row["met"].startswith("not run")]
for_cards = [row for row in missing if row["met"].endswith(("needs a card", "counted on a card only"))]
print(f"rows measured {len(rows) - len(missing)}, for cards alone {len(for_cards)}, missing {len(missing) - len(for_cards)}")
sys.exit(len(missing) > len(for_cards))
PYTHON
}

if stage pytorch && stage compile; then
  stage tests || true
  stage toys || true
fi
printf '\nPyTorch %s, %s, %s, %s cores\n' "$version" "$(nvcc --version 2>/dev/null | grep -oE 'release [0-9.]+' || echo 'no nvcc')" \
  "$(date +%F)" "$jobs"
printf '%s\n' "${table[@]}"
exit $code
