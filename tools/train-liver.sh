#!/usr/bin/env bash
# Makes the liver network of models/liver again, from synthetic anatomy alone: no patient's image goes in.
#   bash tools/train-liver.sh [OUT]          out/liver; the model comes to OUT/model
# It is the mean of two networks. The first, wsp-liver 1.2.0, comes out of the repository's history: it was made by this
# script as it was then, and phantoms have changed since (models/liver/README.md). The second goes on from it with images
# of 256² on phantoms of today. Some 15 minutes on a core or two. Run again after an interruption, it goes on.
# Environment: WSP_BUILD_DIR (build/release).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/liver}
PATH="$PWD/${WSP_BUILD_DIR:-build/release}/tools:$PATH"
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
mkdir -p "$out/first"
run() { printf '   $ %s\n' "$*" | tee -a "$out/commands.txt"; "$@"; }
wsp-unet --version | tee -a "$out/commands.txt"

for file in liver.json liver.ts; do
  git show cbb7fbc:models/liver/$file > "$out/first/$file" || { echo "train-liver.sh: needs the repository with its history" >&2; exit 1; }
done
if [ ! -f "$out/data/dataset.json" ]; then
  run wsp-phantom --out "$out/cohort" --anatomy rich --subjects 66 --seed 700 --slices 12-36 --size 256 --format nifti --force
  run wsp-ingest make "$out/cohort/export" --out "$out/data" --slices all --size 256 --masks "$out/cohort/truth" --ids keep \
    --liver-model none
fi
# One thread: the number of threads orders sums, and so changes the last digits.
run wsp-unet train "$out/data" --init "$out/first/liver.json" --out "$out/run" --image-size 128 --batch 16 \
  --samples-per-epoch 1024 --epochs 4 --lr 3e-4 --schedule cosine --warmup-epochs 0.2 --validate-every 0 --hold-back 0.04 \
  --cache ram --min-crop-area 0.5 --gain 0.2 --noise 0.04 --seed 1 --threads 1 --resume
run wsp-unet export "$out/run" --with "$out/first/liver.json" --model "$out/model/liver.json" --name wsp-liver \
  --model-version 1.6.0 --half --refine --force \
  --comment "mean of two networks, trained on 640 and 57 rich phantoms and on no patient; tools/train-liver.sh"
sha256sum "$out/model/liver.ts" | tee -a "$out/commands.txt"
