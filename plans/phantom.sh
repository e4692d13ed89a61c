#!/usr/bin/env bash
# Make the synthetic cohorts of a phantom plan, ingest them, run the plan:
#   plans/phantom.sh small|full OUT [cohorts]    (with "cohorts": make and ingest only)
# The tools must be on the PATH. Complete steps are taken over. The three cohorts have site keys of their own, so that
# no subject of one can be taken for a subject of another.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:?small or full} out=${2:?output directory}
case $size in
  small) matrix=192 slices=16-22 pretrain=160 d1=110 d2=160 ;;
  full) matrix=512 slices=60-90 pretrain=800 d1=240 d2=240 ;;
  *) printf 'phantom.sh: unknown size "%s"; expected small or full\n' "$size" >&2; exit 2 ;;
esac
manifest=$here/../data-manifests/phantom.json
mkdir -p "$out"

cohort() {  # name, subjects, seed
  [ -f "$out/$1/dataset.json" ] && return
  wsp-phantom --out "$out/cohort-$1" --subjects "$2" --seed "$3" --slices $slices --size $matrix --balance --format nifti --force
  # A key that follows from the cohort's name: with one of chance, pseudonyms, and with them the folds and the table, would be
  # others every time. Nobody here needs protection.
  (umask 077 && printf 'phantom %s' "$1" | sha256sum | cut -c1-64 >"$out/$1.key")
  wsp-ingest "$out/cohort-$1/export" --out "$out/$1" --masks "$out/cohort-$1/truth" --site-key "$out/$1.key" \
    --labels "$out/cohort-$1/labels.csv" --manifest "$manifest" --size $matrix --min-slices 5
  rm -rf "$out/cohort-$1"
}
cohort pretrain $pretrain 11
cohort d1 $d1 12
cohort d2 $d2 13
[ "${3:-}" = cohorts ] && exit 0
wsp-eval table "$here/phantom-$size.json" --root "$out" --out "$out/results-$size"
