#!/usr/bin/env bash
# Makes a liver network as that of models/liver, from synthetic anatomy alone: no patient's image goes in.
# Phantoms have changed since the shipped one was made: the weights differ (docs/LIVER.md).
#   bash tools/train-liver.sh [OUT]          out/liver; the model comes to OUT/model
# About an hour on 2 cores. Run again after an interruption, it goes on. Environment: WSP_BUILD_DIR (build/release).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/liver}
PATH="$PWD/${WSP_BUILD_DIR:-build/release}/tools:$PATH"
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
mkdir -p "$out"
run() { printf '   $ %s\n' "$*" | tee -a "$out/commands.txt"; "$@"; }
wsp-unet --version | tee -a "$out/commands.txt"

if [ ! -f "$out/data/dataset.json" ]; then
  run wsp-phantom --out "$out/cohort" --anatomy rich --subjects 560 --seed 500 --slices 12-36 --size 192 --format nifti --force
  run wsp-ingest "$out/cohort/export" --out "$out/data" --slices all --size 192 --masks "$out/cohort/truth" --ids keep --liver-model none
fi
run wsp-unet train "$out/data" --out "$out/run" --image-size 96 --width 16 --context-mm 6,16,40 --cut-context 0.3 --batch 16 --samples-per-epoch 4000 --epochs 14 --lr 2e-3 \
  --schedule cosine --warmup-epochs 0.3 --validate-every 2 --hold-back 0.04 --cache ram --min-crop-area 0.5 --gain 0.2 --noise 0.04 --seed 1 --resume
run wsp-unet export "$out/run" --model "$out/model/liver.json" --name wsp-liver --model-version 1.3.0 --half --refine --force \
  --comment "trained on 560 rich phantoms and on no patient; tools/train-liver.sh"
sha256sum "$out/model/liver.ts" | tee -a "$out/commands.txt"
