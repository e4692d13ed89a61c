#!/usr/bin/env bash
# The loader, bare pread + Blosc, wsp.Loader in Python, and Python's h5py + DataLoader in turns on the same shards; prints medians.
#   bench/loader.sh [DATASET [TURNS]]      DATASET is made where absent (default: a temporary directory)
# Environment: WSP_BUILD_DIR (default build/release, configured with -DWSP_BUILD_BENCH=ON), WSP_WORKERS (2), WSP_BATCHES (24).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${WSP_BUILD_DIR:-build/release}
workers=${WSP_WORKERS:-2}
batches=${WSP_BATCHES:-24}
turns=${2:-5}
dataset=${1:-}
if [ -z "$dataset" ]; then
  dataset=$(mktemp -d)/dataset
  trap 'rm -rf "$(dirname "$dataset")"' EXIT
fi
bench=$build/bench/loader_bench
[ -x "$bench" ] || { echo "loader.sh: no $bench: configure with -DWSP_BUILD_BENCH=ON and build loader_bench" >&2; exit 1; }
results=$(mktemp)
"$bench" "$dataset" --only-make
for ((turn = 0; turn < turns; ++turn)); do
  "$bench" "$dataset" --workers "$workers" --batches "$batches" --rounds 2 >>"$results"
  PYTHONPATH=$build/python /usr/bin/python3 bench/loader_bench.py wsp "$dataset" "$batches" "$workers" 64 >>"$results" ||
    echo "loader.sh: no Python package in $build/python: build wsp_python (pybind11-dev, python3-dev)" >&2
  /usr/bin/python3 bench/loader_bench.py python "$dataset" "$batches" "$workers" 64 >>"$results" ||
    echo "loader.sh: Python's part did not run: it needs python3-h5py python3-hdf5plugin python3-torch" >&2
done
/usr/bin/python3 - "$results" <<'PY'
import statistics, sys
rate, cpu = {}, {}
for line in open(sys.argv[1]):
    name, *values = line.split()
    rate.setdefault(name, []).append(float(values[0]))
    cpu.setdefault(name, []).extend(float(v) for v in values[1:])
median = {name: statistics.median(v) for name, v in rate.items()}
print(f"{'':8}{'slices/s':>10}{'lowest':>10}{'highest':>10}{'CPU ms/slice':>14}{'runs':>6}")
for name in ("bare", "loader", "wsp", "python"):
    if name in rate:
        print(f"{name:8}{median[name]:10.0f}{min(rate[name]):10.0f}{max(rate[name]):10.0f}"
              f"{statistics.median(cpu[name]):14.3f}{len(rate[name]):6}")
# Neighbouring measurements see the same load of the machine.
ratios = [l / b for b, l in zip(rate["bare"], rate["loader"])]
print(f"loader / bare: {statistics.median(ratios):.2f} by time, "
      f"{statistics.median(cpu['bare']) / statistics.median(cpu['loader']):.2f} by CPU time (target 0.70)")
if "python" in rate:
    print(f"loader / python: {median['loader'] / median['python']:.1f} by time, "
          f"{statistics.median(cpu['python']) / statistics.median(cpu['loader']):.1f} by CPU time (target 5)")
if "wsp" in rate:
    print(f"wsp.Loader / loader: {median['wsp'] / median['loader']:.2f} by time; {median['wsp']:.0f} slices/s (target 20000)")
if "wsp" in rate and "python" in rate:
    print(f"wsp.Loader / python: {median['wsp'] / median['python']:.1f} by time, "
          f"{statistics.median(cpu['python']) / statistics.median(cpu['wsp']):.1f} by CPU time (target 5)")
print(f"resident {max(rate['resident_mib']):.0f} MiB, of which the ring {median['ring_mib']:.0f} MiB; "
      f"chunks compressed {median['compression']:.2f} : 1")
PY
rm -f "$results"
