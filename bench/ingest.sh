#!/usr/bin/env bash
# wsp-ingest beside dcm2niix (-z n and -z y) and a script of pydicom and h5py (gzip), in turns, over
# one phantom export with masks given.
#   bench/ingest.sh [TURNS]     3 turns; dcm2niix -z y and Python, which take minutes, in the first
#                               alone unless WSP_ALL_TURNS=1
# Environment: WSP_BUILD_DIR (build/release), WSP_SERIES (40), WSP_SLICES (60-80), WSP_THREADS (0: all),
# WSP_SYNTAX (native, or jls or j2k: the export again, compressed by dcmcjpls or gdcmconv),
# WSP_BENCH_WORK (a folder that is kept and used again; else a temporary one).
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${WSP_BUILD_DIR:-build/release}")
turns=${1:-3}
syntax=${WSP_SYNTAX:-native}
for tool in "$build/tools/wsp-ingest" "$build/tools/wsp-phantom"; do
  [ -x "$tool" ] || { echo "ingest.sh: no $tool: build wsp-ingest wsp-phantom" >&2; exit 1; }
done
command -v dcm2niix > /dev/null || { echo "ingest.sh: no dcm2niix: apt-get install dcm2niix" >&2; exit 1; }
work=${WSP_BENCH_WORK:-}
if [ -z "$work" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
cohort=$work/cohort-${WSP_SERIES:-40}-${WSP_SLICES:-60-80}
[ -f "$cohort/labels.csv" ] ||
  "$build/tools/wsp-phantom" --out "$cohort" --subjects "${WSP_SERIES:-40}" --slices "${WSP_SLICES:-60-80}" --seed 11 > /dev/null
export=$cohort/export
if [ "$syntax" != native ]; then
  export=$cohort/export-$syntax
  if [ ! -d "$export" ]; then
    rm -rf "$export.tmp"
    (cd "$cohort/export" && find . -name '*.dcm' -print0) | while IFS= read -r -d '' file; do
      mkdir -p "$export.tmp/$(dirname "$file")"
      if [ "$syntax" = jls ]; then
        dcmcjpls "$cohort/export/$file" "$export.tmp/$file"
      else
        gdcmconv --j2k "$cohort/export/$file" "$export.tmp/$file"
      fi
    done
    mv "$export.tmp" "$export"
  fi
fi
find "$export" -type f -print0 | xargs -0 cat > /dev/null  # into the page cache
exec /usr/bin/python3 bench/ingest_turns.py "$build/tools/wsp-ingest" "$export" "$cohort/truth" "$work/out" "$turns" "${WSP_THREADS:-0}" "${WSP_ALL_TURNS:-0}"
