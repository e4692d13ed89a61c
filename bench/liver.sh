#!/usr/bin/env bash
# How well a liver network does on anybody's CT: per case and mean, against masks of your own.
#   bench/liver.sh DIR_OF_CT DIR_OF_MASKS [options of wsp-ingest, e.g. --masks-table FILE.csv --liver-labels 5]
# CT: DICOM, NIfTI or NRRD; masks as wsp-ingest takes them (README). Environment: WSP_BUILD_DIR (build/release), WSP_LIVER_MODEL
# (builtin, or a descriptor), WSP_THREADS (all cores), WSP_BENCH_OUT (keep the dataset with its previews here).
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
build=${WSP_BUILD_DIR:-build/release}
ingest=$build/tools/wsp-ingest
[ -x "$ingest" ] || { echo "liver.sh: no $ingest: bash tools/setup.sh build, cmake --preset release, ninja -C build/release" >&2; exit 1; }
ct=$1 masks=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${WSP_BENCH_OUT:-$work/dataset}
begin=$(date +%s%N)
"$ingest" "$ct" --out "$out" --ids keep --masks "$masks" --liver-model "${WSP_LIVER_MODEL:-builtin}" --compare-masks --mask-cache none \
  --threads "${WSP_THREADS:-0}" --log-level warn "$@" || code=$?
[ "${code:-0}" = 0 ] || [ "$code" = 3 ] || exit "$code"  # 3: some files could not be seen
python3 - "$out" "$((($(date +%s%N) - begin) / 1000000))" <<'PYTHON'
import csv, json, pathlib, sys
out, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]) / 1000
out = out / json.loads((out / "dataset.json").read_text())["state"]
rows = list(csv.DictReader(open(out / "mask_comparison.tsv"), delimiter="\t"))
print(f"{'case':<34} {'Dice':>6} {'HD95 mm':>8} {'low end':>12} {'high end':>12} {'kept IoU':>8} {'ml':>6} {'given':>6}  unsure")
good, ends, slices = [], 0, 0
for row in rows:
    facts = json.loads((out / "cases" / f"{row['case']}.json").read_text())
    slices += facts["slices"]["acquired"]
    if row["code"]:
        print(f"{row['case'][:34]:<34} {row['code']}")
        continue
    end = [f"{int(row[k]):+d} ({float(row[k + '_mm']):+.0f} mm)" for k in ("first_off", "last_off")]
    ends += sum(abs(int(row[k])) <= 2 or abs(float(row[k + "_mm"])) <= 6 for k in ("first_off", "last_off"))
    print(f"{row['case'][:34]:<34} {float(row['dice']):6.4f} {row['hd95_mm'] or '-':>8} {end[0]:>12} {end[1]:>12} {float(row['kept_iou']):8.3f}"
          f" {float(row['model_ml']):6.0f} {float(row['given_ml']):6.0f}  {row['doubts'] or '-'}")
    good.append(row)
if good:
    mean = lambda key: sum(float(r[key]) for r in good) / len(good)
    hd = [float(r["hd95_mm"]) for r in good if r["hd95_mm"]]
    print(f"\nmean of {len(good)}: Dice {mean('dice'):.4f} (least {min(float(r['dice']) for r in good):.4f}), HD95 {sum(hd) / max(1, len(hd)):.1f} mm, "
          f"kept IoU {mean('kept_iou'):.3f}, ends within 2 slices or 6 mm {ends} of {2 * len(good)}, unsure {sum(bool(r['doubts']) for r in good)}")
print(f"{slices} slices in {seconds:.1f} s: {slices / seconds:.1f} slices/s, the whole ingest")
PYTHON
