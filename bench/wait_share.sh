#!/usr/bin/env bash
# The share of a step that a training run waits for data, as metrics.jsonl has it, once the loader's ring is full.
#   bench/wait_share.sh [DATASET [STEPS]]   DATASET (512² slices) is made where absent (default: a temporary directory); 24 steps
# Environment: WSP_BUILD_DIR (default build/release, configured with -DWSP_BUILD_BENCH=ON), WSP_DEVICE (cpu), WSP_BATCH (16), WSP_SIZE (160).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${WSP_BUILD_DIR:-build/release}
steps=${2:-24}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dataset=${1:-$work/dataset}
for tool in bench/loader_bench tools/wsp-train; do
  [ -x "$build/$tool" ] || { echo "wait_share.sh: no $build/$tool: configure with -DWSP_BUILD_BENCH=ON and build" >&2; exit 1; }
done
"$build/bench/loader_bench" "$dataset" --only-make
for encoder in tinynet resnet18; do
  for cache in none ram; do
    "$build/tools/wsp-train" "$dataset" --out "$work/$encoder-$cache" --encoder "$encoder" --image-size "${WSP_SIZE:-160}" \
      --batch "${WSP_BATCH:-16}" --device "${WSP_DEVICE:-cpu}" --cache "$cache" --hold-back 0 --probe-every 0 --epochs 1 \
      --samples-per-epoch 100000 --max-steps "$steps" --log-every 1 --no-tensorboard --log-level warn >/dev/null 2>"$work/log" ||
      { cat "$work/log" >&2; exit 1; }
  done
done
/usr/bin/python3 - "$work" "${WSP_BATCH:-16}" <<'PY'
import json, pathlib, statistics, sys
batch = int(sys.argv[2])
print(f"{'':18}{'ms/step':>10}{'waiting':>10}{'largest':>10}   (target: below 2 %)")
for run in sorted(pathlib.Path(sys.argv[1]).glob("*-*")):
    lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
    lines = [line for line in lines if line["kind"] == "train"][4:]  # the ring is full by then
    shares = [line["wait_share"] for line in lines]
    step = 1000 * batch / statistics.median(line["slices_per_s"] for line in lines)
    print(f"{run.name:18}{step:10.1f}{100 * statistics.mean(shares):8.2f} %{100 * max(shares):8.2f} %")
PY
