#!/usr/bin/env bash
# From a fresh Debian 12 or 13 machine to a verified dataset, in one command:
#   bash tools/quickstart.sh [all|ingest|train|report|eval]
#   ingest   a hospital-like synthetic export -> dataset
#   report   ingest, and then a QA report to open in a browser
#   train    a larger synthetic cohort -> dataset -> a pretrained encoder
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
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that wait sleep, and leave the cores to what else runs here

say() { printf '\n== %s\n' "$*"; }
run() { printf '   $ %s\n' "$*"; "$@"; }

case $stage in
  all | ingest | report | train) ;;
  eval)
    printf 'quickstart: the stage "%s" is not part of this version yet; available: all, ingest, report, train\n' "$stage" >&2
    exit 2 ;;
  -h | --help)
    sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//'
    exit 0 ;;
  *)
    printf 'quickstart: unknown stage "%s"; expected all, ingest, train, report or eval\n' "$stage" >&2
    exit 2 ;;
esac

tools=(wsp-ingest wsp-phantom wsp-qa)
train_option=OFF
if [ "$stage" = all ] || [ "$stage" = train ]; then
  tools+=(wsp-train)
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

report_stage() {
  say "report 1/1  judge the dataset: findings, tables, pictures, one page"
  run wsp-qa "$out/dataset" --fail-on never --title "Quickstart phantoms"
  summary=("REPORT       $out/dataset/qa/report.html   open it in a browser; findings.jsonl and group.tsv stand beside it" "${summary[@]}")
}

train_stage() {
  say "train 1/3  a cohort of 120 synthetic patients in $out/cohort"
  mkdir -p "$out"
  rm -rf "$out/cohort" "$out/cohort-dataset" "$out/pretrained"  # of an earlier quickstart
  run wsp-phantom --out "$out/cohort" --subjects 120 --seed 2 --slices 20-30 --size 256 --balance --format nifti
  say "train 2/3  ingest"
  run wsp-ingest "$out/cohort/export" --out "$out/cohort-dataset" --masks "$out/cohort/truth" --ids keep \
    --labels "$out/cohort/labels.csv" --manifest data-manifests/phantom.json --size 256
  say "train 3/3  pretrain TinyNet with WSP"
  run wsp-train "$out/cohort-dataset" --out "$out/pretrained" --encoder tinynet --image-size 160 --batch 16 \
    --samples-per-epoch 800 --epochs 10 --lr 3e-4 --hold-back 0.33 --log-every 5 --seed 1
  summary+=(
    "cohort       $out/cohort-dataset         120 patients to train on"
    "encoder      $out/pretrained/encoder.safetensors   weights; README shows how Python loads them"
    "curves       tensorboard --logdir $out/pretrained/tensorboard, or $out/pretrained/metrics.jsonl")
}

case $stage in
  all) ingest_stage; report_stage; train_stage ;;
  ingest) ingest_stage ;;
  report) ingest_stage; report_stage ;;
  train) train_stage ;;
esac
summary+=("tools        $build/tools                ${tools[*]}: each has --help")

say "done. What was made:"
printf '   %s\n' "${summary[@]}"
