#!/usr/bin/env bash
# A training step on the CPU: eager python3-torch in NCHW, in channels-last, and ours, in turns; prints medians and the ratio.
#   bench/train_step.sh [ENCODER [TURNS]]      tinynet or resnet18 (default: both), 5 turns
# Environment: WSP_BUILD_DIR (default build/release, configured with -DWSP_BUILD_BENCH=ON), WSP_THREADS (2), WSP_STEPS (10).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${WSP_BUILD_DIR:-build/release}
threads=${WSP_THREADS:-2}
steps=${WSP_STEPS:-10}
encoders=${1:-tinynet resnet18}
turns=${2:-5}
bench=$build/bench/train_step_bench
[ -x "$bench" ] || { echo "train_step.sh: no $bench: configure with -DWSP_BUILD_BENCH=ON and build train_step_bench" >&2; exit 1; }
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for encoder in $encoders; do
  : >"$results"
  for ((turn = 0; turn < turns; ++turn)); do
    for layout in nchw channels_last; do
      /usr/bin/python3 bench/train_step.py --encoder "$encoder" --layout "$layout" --threads "$threads" \
        --steps "$steps" >>"$results"
    done
    "$bench" --encoder "$encoder" --threads "$threads" --steps "$steps" >>"$results"
  done
  /usr/bin/python3 - "$results" "$encoder" "$threads" <<'PY'
import statistics, sys
wall, cpu = {}, {}
for line in open(sys.argv[1]):
    name, *values = line.split()
    wall.setdefault(name, []).append(float(values[0]))
    cpu.setdefault(name, []).append(float(values[1]))
print(f"{sys.argv[2]}, {sys.argv[3]} threads")
print(f"{'':22}{'ms/step':>10}{'lowest':>10}{'highest':>10}{'CPU ms':>10}{'runs':>6}")
for name, times in wall.items():
    print(f"{name:22}{statistics.median(times):10.1f}{min(times):10.1f}{max(times):10.1f}"
          f"{statistics.median(cpu[name]):10.1f}{len(times):6}")
# Neighbouring measurements see the same load of the machine.
python = [name for name in wall if name != "ours"]
by_time = statistics.median(min(row) / ours for *row, ours in zip(*(wall[n] for n in python), wall["ours"]))
by_cpu = statistics.median(min(row) / ours for *row, ours in zip(*(cpu[n] for n in python), cpu["ours"]))
target = {"tinynet": 1.3, "resnet18": 1.05}.get(sys.argv[2], 1)
print(f"faster Python / ours: {by_time:.2f} by time, {by_cpu:.2f} by CPU time (target {target})")
PY
done
