#!/usr/bin/env bash
# The segmenter beside the bare network's forward passes in turns, and what only waits in place of a card: the network's batches, and a segmenter.
#   bench/segment.sh [TURNS]      5 turns
# Environment: WSP_BUILD_DIR (default build/release, configured with -DWSP_BUILD_BENCH=ON), WSP_THREADS (2), WSP_BENCH_MODELS (folder
# of bench/segment_models.py; made anew when not given).
set -euo pipefail
cd "$(dirname "$0")/.."
bench=${WSP_BUILD_DIR:-build/release}/bench/segment_bench
threads=${WSP_THREADS:-2}
[ -x "$bench" ] || { echo "segment.sh: no $bench: configure with -DWSP_BUILD_BENCH=ON and build segment_bench" >&2; exit 1; }
models=${WSP_BENCH_MODELS:-}
if [ -z "$models" ]; then
  models=$(mktemp -d)
  trap 'rm -rf "$models"' EXIT
  /usr/bin/python3 bench/segment_models.py "$models"
fi
for name in 2.5d-256 2d-512 3d-96; do
  "$bench" plumbing "$models/$name.json" --turns "${1:-5}" --threads "$threads"
done
"$bench" device --turns "${1:-5}" --threads "$threads"
"$bench" overlap --threads "$threads"
