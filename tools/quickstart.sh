#!/usr/bin/env bash
# From a fresh Debian 12 or 13 machine to a verified dataset, in one command:
#   bash tools/quickstart.sh [all|ingest|train|report|eval]
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
  all | ingest) ;;
  train | report | eval)
    printf 'quickstart: the stage "%s" is not part of this version yet; available: all, ingest\n' "$stage" >&2
    exit 2 ;;
  -h | --help)
    sed -n '2,4p' "$0" | sed 's/^# \{0,1\}//'
    exit 0 ;;
  *)
    printf 'quickstart: unknown stage "%s"; expected all, ingest, train, report or eval\n' "$stage" >&2
    exit 2 ;;
esac

say "1/5  packages: installing what is missing"
bash tools/setup.sh build

say "2/5  building wsp-ingest and wsp-phantom in $build"
run cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWSP_BUILD_TESTS=OFF -Wno-dev --log-level=WARNING
run ninja -C "$build" -j "$jobs" wsp-ingest wsp-phantom
PATH="$build/tools:$PATH"

ingest_stage() {
  say "3/5  a hospital-like export of $subjects synthetic patients in $out/hospital"
  mkdir -p "$out"
  rm -rf "$out/hospital" "$out/dataset" "$out/site.key" "$out/crosswalk.tsv"  # of an earlier quickstart
  run wsp-phantom --out "$out/hospital" --subjects "$subjects" --seed 1 --slices 40-60 --balance --hospital
  say "4/5  ingest: read, choose series, mask, keep the central 70 %, pseudonymise, shard"
  run wsp-ingest "$out/hospital/export" --out "$out/dataset" \
    --masks "$out/hospital/truth" --labels "$out/hospital/labels.csv" \
    --manifest data-manifests/phantom.json --new-site-key "$out/site.key" --crosswalk "$out/crosswalk.tsv"
  say "5/5  verify: every hash, every count"
  run wsp-ingest verify "$out/dataset"
  summary+=(
    "export       $out/hospital/export        looks like a PACS dump; truth beside it"
    "dataset      $out/dataset                shards, index.h5, cases/, dataset.json"
    "pictures     $out/dataset/previews       coronal and sagittal, liver outlined, kept slices marked"
    "every file   $out/dataset/ledger.tsv     one disposition each; quarantine.tsv says what was refused and why"
    "site key     $out/site.key               keep it secret and safe: the same key gives the same pseudonyms"
    "crosswalk    $out/crosswalk.tsv          pseudonym -> original, for those allowed to know"
    "tools        $build/tools                wsp-ingest --help, wsp-phantom --help")
}

ingest_stage

say "done. What was made:"
printf '   %s\n' "${summary[@]}"
