#!/usr/bin/env bash
# wsp-qa on 1,000 cases x 40 slices at 512^2, reading the same pixels once with h5py, and opening the page; each in turn.
#   bench/qa.sh [DATASET [TURNS]]          DATASET is made where absent (default: a temporary directory; some 5 GB)
# Environment: WSP_BUILD_DIR (default build/release, configured with -DWSP_BUILD_BENCH=ON), WSP_CASES (1000), WSP_SLICES (40), WSP_THREADS (2).
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${WSP_BUILD_DIR:-build/release}")
dataset=${1:-}
turns=${2:-3}
if [ -z "$dataset" ]; then
  dataset=$(mktemp -d)/dataset
  trap 'rm -rf "$(dirname "$dataset")"' EXIT
fi
[ -x "$build/bench/qa_dataset" ] || { echo "qa.sh: no $build/bench/qa_dataset: configure with -DWSP_BUILD_BENCH=ON and build qa_dataset wsp-qa" >&2; exit 1; }
[ -f "$dataset/dataset.json" ] || "$build/bench/qa_dataset" "$dataset" "${WSP_CASES:-1000}" "${WSP_SLICES:-40}"
for ((turn = 0; turn < turns; ++turn)); do
  rm -rf "$dataset/qa"  # a first run, which writes its pictures too
  /usr/bin/python3 - "$build/tools/wsp-qa" "$dataset" "${WSP_THREADS:-2}" <<'PY'
import resource, subprocess, sys, time
began = time.monotonic()
subprocess.run([sys.argv[1], sys.argv[2], "--fail-on", "never", "--threads", sys.argv[3], "--json"], check=True, stdout=subprocess.DEVNULL)
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"wsp-qa           {time.monotonic() - began:7.1f} s   CPU {use.ru_utime + use.ru_stime:7.1f} s   resident {use.ru_maxrss / 1024:6.0f} MiB")
PY
  /usr/bin/python3 - "$dataset" <<'PY' || echo "qa.sh: h5py's part did not run: it needs python3-h5py python3-hdf5plugin" >&2
import glob, sys, time
import h5py, hdf5plugin
began, cpu, n = time.monotonic(), time.process_time(), 0
for path in sorted(glob.glob(sys.argv[1] + "/state-*/shards/*.h5")):
    with h5py.File(path) as f:
        for k in range(len(f["slices/image"])):
            f["slices/image"][k], f["slices/mask"][k]
            n += 1
print(f"h5py, read once  {time.monotonic() - began:7.1f} s   CPU {time.process_time() - cpu:7.1f} s   {n} slices, one thread")
PY
  WSP_TOOLS_DIR=$build/tools WSP_SOURCE_DIR=$PWD /usr/bin/python3 - "$(realpath "$dataset")/qa/report.html" <<'PY' || echo "qa.sh: the page was not opened: it needs chromium" >&2
import os, sys
sys.path.insert(0, "tests/cli")
import chromium
with chromium.Browser() as page:
    print(f"page opens       {page.open(sys.argv[1]):7.2f} s   {os.path.getsize(sys.argv[1]) / 2**20:.1f} MiB")
PY
done
