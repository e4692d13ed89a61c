#!/usr/bin/env bash
# From a fresh Debian 12 or 13 machine to a verified dataset, in one command:
#   bash tools/quickstart.sh [all|ingest|train|report|eval]
#   ingest   a hospital-like synthetic export -> dataset
#   train    a larger synthetic cohort -> dataset -> a pretrained encoder
#   eval     a second cohort with biopsies -> features, probes, a table and a figure of three methods
# Environment: WSP_QUICKSTART_DIR (default out/quickstart), WSP_JOBS (default: all cores), WSP_SUBJECTS (default 8).
set -euo pipefail
cd "$(dirname "$0")/.."

stage=${1:-all}
here=$PWD
out=${WSP_QUICKSTART_DIR:-$here/out/quickstart}
build=${WSP_BUILD_DIR:-$here/build/quickstart}
jobs=${WSP_JOBS:-$(nproc)}
subjects=${WSP_SUBJECTS:-8}
summary=()

say() { printf '\n== %s\n' "$*"; }
run() { printf '   $ %s\n' "$*"; "$@"; }

case $stage in
  all | ingest | train | eval) ;;
  report)
    printf 'quickstart: the stage "%s" is not part of this version yet; available: all, ingest, train, eval\n' "$stage" >&2
    exit 2 ;;
  -h | --help)
    sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//'
    exit 0 ;;
  *)
    printf 'quickstart: unknown stage "%s"; expected all, ingest, train, report or eval\n' "$stage" >&2
    exit 2 ;;
esac

tools=(wsp-ingest wsp-phantom)
train_option=OFF
if [ "$stage" != ingest ]; then
  tools+=(wsp-train wsp-eval)
  train_option=ON
fi

say "packages: installing what is missing"
bash tools/setup.sh build

say "building ${tools[*]} in $build"
run cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWSP_BUILD_TESTS=OFF -DWSP_BUILD_TRAIN=$train_option -Wno-dev --log-level=NOTICE
run ninja -C "$build" -j "$jobs" "${tools[@]}"
PATH="$build/tools:$PATH"

ingest_stage() {
  say "ingest 1/3  a hospital-like export of $subjects synthetic patients in $out/hospital"
  mkdir -p "$out"
  rm -rf "$out/hospital" "$out/dataset" "$out/site.key" "$out/crosswalk.tsv"  # of an earlier quickstart
  run wsp-phantom --out "$out/hospital" --subjects "$subjects" --seed 1 --slices 40-60 --balance --hospital
  say "ingest 2/3  read, choose series, mask, keep the central 70 %, pseudonymise, shard"
  run wsp-ingest "$out/hospital/export" --out "$out/dataset" \
    --masks "$out/hospital/truth" --labels "$out/hospital/labels.csv" \
    --manifest data-manifests/phantom.json --new-site-key "$out/site.key" --crosswalk "$out/crosswalk.tsv"
  say "ingest 3/3  verify: every hash, every count"
  run wsp-ingest verify "$out/dataset"
  summary+=(
    "export       $out/hospital/export        looks like a PACS dump; truth beside it"
    "dataset      $out/dataset                shards, index.h5, cases/, dataset.json"
    "pictures     $out/dataset/previews       coronal and sagittal, liver outlined, kept slices marked"
    "every file   $out/dataset/ledger.tsv     one disposition each; quarantine.tsv says what was refused and why"
    "site key     $out/site.key               keep it secret and safe: the same key gives the same pseudonyms"
    "crosswalk    $out/crosswalk.tsv          pseudonym -> original, for those allowed to know"
  )
}

training_cohort() {
  say "train 1/3  a cohort of 120 synthetic patients in $out/cohort"
  mkdir -p "$out"
  rm -rf "$out/cohort" "$out/cohort-dataset" "$out/pretrained"  # of an earlier quickstart
  run wsp-phantom --out "$out/cohort" --subjects 120 --seed 2 --slices 20-30 --size 256 --balance --format nifti
  say "train 2/3  ingest"
  run wsp-ingest "$out/cohort/export" --out "$out/cohort-dataset" --masks "$out/cohort/truth" --ids keep \
    --labels "$out/cohort/labels.csv" --manifest data-manifests/phantom.json --size 256
}

train_stage() {
  training_cohort
  say "train 3/3  pretrain TinyNet with WSP"
  run wsp-train "$out/cohort-dataset" --out "$out/pretrained" --encoder tinynet --image-size 160 --batch 16 \
    --samples-per-epoch 800 --epochs 10 --lr 3e-4 --hold-back 0.33 --log-every 5 --seed 1
  summary+=(
    "cohort       $out/cohort-dataset         120 patients to train on"
    "encoder      $out/pretrained/encoder.safetensors   weights; README shows how Python loads them"
    "curves       tensorboard --logdir $out/pretrained/tensorboard, or $out/pretrained/metrics.jsonl")
}

eval_stage() {
  [ -f "$out/cohort-dataset/dataset.json" ] || training_cohort
  say "eval 1/2  other patients, half of them with a biopsy, in $out/evaluation"
  rm -rf "$out/evaluation" "$out/evaluation-dataset" "$out/evaluation.key" "$out/results"  # of an earlier quickstart
  run wsp-phantom --out "$out/evaluation" --subjects 80 --seed 3 --slices 20-30 --size 256 --balance --format nifti
  run wsp-ingest "$out/evaluation/export" --out "$out/evaluation-dataset" --masks "$out/evaluation/truth" \
    --new-site-key "$out/evaluation.key" --labels "$out/evaluation/labels.csv" --manifest data-manifests/phantom.json --size 256
  say "eval 2/2  pretrain three ways, embed, probe, table and figure"
  run wsp-eval table plans/quickstart.json --root "$out" --out "$out/results"
  summary+=(
    "table        $out/results/results.html   also results.md, results.json, *.tsv"
    "figure       $out/results/cells/wsp-tinynet-s1/pca-D1.png   slices on two axes, coloured by diagnosis; .svg beside it")
}

case $stage in
  all) ingest_stage; train_stage; eval_stage ;;
  ingest) ingest_stage ;;
  train) train_stage ;;
  eval) eval_stage ;;
esac
summary+=("tools        $build/tools                ${tools[*]}: each has --help")

say "done. What was made:"
printf '   %s\n' "${summary[@]}"
