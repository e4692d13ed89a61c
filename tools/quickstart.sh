#!/usr/bin/env bash
# From a fresh Debian 12 or 13 machine to a verified dataset, in one command:
#   bash tools/quickstart.sh [all|ingest|report|unet|train|eval]
#   ingest   a hospital-like synthetic export without any mask -> dataset, by the liver network that comes along; the same with masks
#   report   ingest, and then a QA report to open in a browser
#   unet     a liver U-Net of one's own, trained on a synthetic cohort, judged, and used in the ingest
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
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that wait sleep, and leave the cores to what else runs here
unet_options=(--image-size 128 --width 8 --depth 4 --batch 8 --samples-per-epoch 800 --epochs 5 --lr 3e-3 --augment-probability 0.3 --cache ram --seed 1)

say() { printf '\n== %s\n' "$*"; }
run() { printf '   $ %s\n' "$*"; "$@"; }

case $stage in
  all | ingest | report | unet | train | eval) ;;
  -h | --help)
    sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'
    exit 0 ;;
  *)
    printf 'quickstart: unknown stage "%s"; expected all, ingest, report, unet, train or eval\n' "$stage" >&2
    exit 2 ;;
esac

tools=(wsp-phantom wsp-ingest) later=()
case $stage in
  all) tools+=(wsp-qa) later=(wsp-unet wsp-train wsp-eval) ;;
  report) tools+=(wsp-qa) ;;
  unet) tools+=(wsp-unet) ;;
  train) tools+=(wsp-train) ;;
  eval) tools+=(wsp-train wsp-eval) ;;
esac

say "packages: installing what is missing"
bash tools/setup.sh build

# The report comes first, the programs that train are built while it is looked at.
build() {
  say "building $* in $build"
  run cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWSP_UNITY=ON -DWSP_BUILD_TESTS=OFF -Wno-dev --log-level=NOTICE
  run ninja -C "$build" -j "$jobs" "$@"
}
build "${tools[@]}"
PATH="$build/tools:$PATH"

# How a network is made from masks of one's own. This one, trained for two minutes, shows the way and no more.
unet_stage() {
  say "U-Net 1/5  a cohort of 24 synthetic patients with liver masks in $out/liver-cohort"
  mkdir -p "$out"
  rm -rf "$out/liver-cohort" "$out/liver-data" "$out/unet" "$out/unet-scores" "$out/liver-model" "$out/unet-dataset" "$out/unet.key"  # of an earlier quickstart
  run wsp-phantom --out "$out/liver-cohort" --subjects 24 --seed 3 --slices 40-60 --balance --format nifti
  say "U-Net 2/5  ingest every slice, not only the central 70 %"
  run wsp-ingest "$out/liver-cohort/export" --out "$out/liver-data" --masks "$out/liver-cohort/truth" --ids keep --slices all
  say "U-Net 3/5  train"
  run wsp-unet train "$out/liver-data" --out "$out/unet" "${unet_options[@]}"
  say "U-Net 4/5  judge it on the patients held back, export it"
  run wsp-unet evaluate "$out/unet" "$out/liver-data" --out "$out/unet-scores"
  run wsp-unet export "$out/unet" --model "$out/liver-model/phantom-liver.json" --name phantom-liver \
    --comment "for synthetic phantoms only"
  say "U-Net 5/5  other patients, their livers found by it"
  run wsp-phantom --out "$out/unet-hospital" --subjects 3 --seed 4 --slices 40-60 --balance --force
  run wsp-ingest "$out/unet-hospital/export" --out "$out/unet-dataset" --liver-model "$out/liver-model/phantom-liver.json" \
    --new-site-key "$out/unet.key"
  run wsp-ingest verify "$out/unet-dataset"
  summary+=(
    "U-Net        $out/unet                   weights, checkpoints, curves; scores in $out/unet-scores"
    "liver model  $out/liver-model            TorchScript and descriptor, for these phantoms only"
    "by U-Net     $out/unet-dataset           three other patients, their livers found by the network")
}

ingest_stage() {
  say "ingest 1/4  a hospital-like export of $subjects synthetic patients in $out/hospital"
  mkdir -p "$out"
  rm -rf "$out/hospital" "$out/dataset" "$out/first-dataset" "$out/site.key" "$out/crosswalk.tsv"  # of an earlier quickstart
  run wsp-phantom --out "$out/hospital" --anatomy rich --subjects "$subjects" --seed 1 --slices 40-60 --balance --hospital
  say "ingest 2/4  no mask is given: choose series, find the livers, keep the central 70 %, pseudonymise, shard"
  run wsp-ingest "$out/hospital/export" --out "$out/first-dataset" --new-site-key "$out/site.key" --mask-objects ignore
  say "ingest 3/4  the same with masks and labels"
  run wsp-ingest "$out/hospital/export" --out "$out/dataset" \
    --masks "$out/hospital/truth" --labels "$out/hospital/labels.csv" \
    --manifest data-manifests/phantom.json --site-key "$out/site.key" --crosswalk "$out/crosswalk.tsv"
  say "ingest 4/4  verify: every hash, every count"
  run wsp-ingest verify "$out/first-dataset"
  run wsp-ingest verify "$out/dataset"
  summary+=(
    "export       $out/hospital/export        looks like a PACS dump; truth beside it"
    "no masks     $out/first-dataset          the livers found by the network that comes along; look at its previews"
    "dataset      $out/dataset                dataset.json names the folder of its files: shards, index.h5, cases/"
    "pictures     $out/dataset/state-*/previews    coronal and sagittal, liver outlined, kept slices marked"
    "every file   $out/dataset/state-*/ledger.tsv  one disposition each; quarantine.tsv says what was refused and why"
    "site key     $out/site.key               keep it secret and safe: the same key gives the same pseudonyms"
    "crosswalk    $out/crosswalk.tsv          pseudonym -> original, for those allowed to know"
  )
}

report_stage() {
  say "report 1/1  judge the dataset: findings, tables, pictures, one page"
  run wsp-qa "$out/dataset" --fail-on never --title "Quickstart phantoms"
  summary=("REPORT       $out/dataset/qa/report.html   open it in a browser; findings.jsonl and group.tsv stand beside it" "${summary[@]}")
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
    "figure       $out/results/cells/wsp-tinynet-s1/pca-D1.svg   slices on two axes, coloured by diagnosis")
}

case $stage in
  all)
    ingest_stage
    report_stage
    say "FIRST RESULT after $((SECONDS / 60)) min: open $out/dataset/qa/report.html in a browser. This goes on with training"
    build "${later[@]}"
    unet_stage
    train_stage
    eval_stage ;;
  ingest) ingest_stage ;;
  report) ingest_stage; report_stage ;;
  unet) unet_stage ;;
  train) train_stage ;;
  eval) eval_stage ;;
esac
summary+=("tools        $build/tools                ${tools[*]}${later[*]:+ ${later[*]}}: each has --help")

say "done. What was made:"
printf '   %s\n' "${summary[@]}"
