"""Small exports made after public reports of what goes wrong in hospitals (shared data: reported/MANIFEST.md). Each gives
the value that independent readers or the standard give, or a refusal by the right name; `scan` and `plan` say beforehand
what the ingest then does."""
import collections
import json
import os
import pathlib
import shutil
import sys

import support

support.require("numpy", "nibabel")

CONTROL_SUM, CONTROL_ML, TALL_ML = -45675620, 619.25, 1335.24
ROOT = support.data_dir() / "reported"
if not ROOT.exists():
    support.skip("reported/ is not among the test data")
OPTIONS = ["--window", -32768, 32767, "--slices", "all", "--size", 64, "--codec", "gzip", "--ids", "keep"]


class Row(collections.namedtuple("Row", "folder cases refused files flags options exit")):
    """`cases`: what each case must hold, in any order; `refused`: code -> quarantined cases; `files`: codes that the ledger
    must hold; `flags`: that some case must have."""


def row(folder, *cases, refused=None, files=(), flags=(), options=(), exit=None):
    return Row(folder, list(cases), refused or {}, set(files), set(flags), list(options), exit)


def case(**wanted):
    return wanted


SOUND = case(sum=CONTROL_SUM, slices=20, spacing=5.0, ml=CONTROL_ML, liver=110)
TABLE = [
    row("00-control", SOUND, files=["USED_AS_MASK"]),
    row("30b-control-tall", case(slices=60, ml=TALL_ML, liver=110)),
    # Two acquisitions in one series: each is a volume; the SEG was drawn on one of them.
    row("01-multipass-acquisition", case(slices=20, spacing=5.0, ml=CONTROL_ML, liver=120), flags=["SERIES_SPLIT"]),
    row("01b-multipass-seriesnumber", case(slices=20, spacing=5.0, ml=CONTROL_ML, liver=120), flags=["SERIES_SPLIT"]),
    row("24c-enhanced-two-stacks", case(slices=20, spacing=5.0, ml=CONTROL_ML, liver=120), flags=["SERIES_SPLIT"]),
    # Two people without an ID: neither has a mask, so both are told, as two.
    row("27c-two-patients-blank", refused={"NO_LIVER_MASK": 2}),
    # Values that are no HU, or are written in another way.
    row("02-un-rescale", SOUND),
    row("02b-un-geometry", SOUND),
    row("03-comma-ipp", files=["BAD_HEADER"]),
    row("03c-comma-slope", files=["BAD_HEADER"]),
    row("04-signed12-lies", refused={"PIXELS_CONTRADICT": 1}),
    row("05-rescale-missing", refused={"RESCALE_MISSING": 1}),
    row("05c-pixelrep-unsigned", refused={"PIXELS_CONTRADICT": 1}),
    row("05d-rescaletype-ed", refused={"NOT_HU": 1}),
    row("r-zeff", refused={"NOT_HU": 1}),
    row("10p-not-hu", refused={"NOT_HU": 2}),
    row("15-says-explicit-is-implicit", SOUND, flags=["SYNTAX_REPAIRED"]),
    # Masks.
    row("12-rtstruct-un-64k", SOUND),
    row("13-rtstruct-every-second", case(slices=40, spacing=2.5, ml=(CONTROL_ML, 0.04), liver=110), flags=["MASK_INTERPOLATED"]),
    row("30c-striped-tall", case(slices=60, ml=TALL_ML, liver=110)),
    row("14b-seg-thin", case(sum=CONTROL_SUM, slices=20, ml=(CONTROL_ML, 0.01), liver=110)),
    row("14i-seg-no-references", SOUND),
    row("13i-names-nonliver", refused={"NO_LIVER_SEGMENT": 1}),
    row("13g-names-prv", refused={"NO_LIVER_SEGMENT": 1}),
    row("17b-seg-nrrd", case(slices=20, liver=110), options=["--liver-label", 2]),
    row("r-twosites", case(path="siteA/001.nii.gz"), refused={"NO_LIVER_MASK": 1}),
    row("r-twosites", refused={"LABEL_AMBIGUOUS": 2}, options=["--labels", "labels.csv"]),
    row("21b-msd", refused={"NO_LIVER_MASK": 2}, files=["LABEL_MAP"]),
    row("21b-msd", case(), case(), options=["--masks", "in"]),
    # Conventions of NIfTI and NRRD.
    row("17-nrrd-las", SOUND),
    row("17-nrrd-other", refused={"NO_LIVER_MASK": 1}, files=["UNSUPPORTED_ENCODING"]),
    row("17c-nhdr-incremental", SOUND),
    row("17d-hdrimg-incremental", SOUND),
    row("10e-negative-pixdim-qform", SOUND),
    row("07b-units-micron", SOUND),
    row("19-uppercase", SOUND, SOUND, SOUND, refused={"NO_LIVER_MASK": 1}),
    row("06-nii-gz-names", SOUND, SOUND, SOUND, SOUND, files=["TRUNCATED_FILE"]),
    # Files that cannot be looked into.
    row("25-archives", files=["ARCHIVE"], exit=4),
]


def export_of(folder):
    return folder / ("in" if (folder / "in").is_dir() else "export")


def arguments(entry):
    folder = ROOT / entry.folder
    given = [folder / o if isinstance(o, str) and (folder / o).exists() else o for o in entry.options]
    if (folder / "masks").is_dir() and "--masks" not in given:
        given += ["--masks", folder / "masks"]
    return [export_of(folder), *OPTIONS, *given]


def describe(path):
    c = json.loads(path.read_text())
    return dict(sum=c["stored"]["sum_hu"], slices=c["slices"]["acquired"], spacing=c["geometry"]["spacing_mm"][2],
                ml=c["mask"]["liver_ml"], liver=c["phase_by_hu"]["liver_median_hu"], label=c["labels"].get("label"),
                flags=set(c["flags"]), name=c["name"])


def fits(found, wanted):
    for key, value in wanted.items():
        if key == "path":
            if not found["name"].startswith(value.split(".")[0].replace("/", "_")):
                return False
        elif key == "ml":
            centre, tolerance = value if isinstance(value, tuple) else (value, 1e-4)
            if abs(found["ml"] - centre) > tolerance * centre:
                return False
        elif found[key] != value:
            return False
    return True


def judge(entry, work):
    """What is wrong with one row; empty where all is right."""
    out = work / "ds"
    shutil.rmtree(out, ignore_errors=True)
    expected = entry.exit if entry.exit is not None else 0 if entry.cases else 4
    done = support.run_any("wsp-ingest", *arguments(entry), "--out", out, "--json")
    wrong = []
    # A run that could not see all, or that lost a case of an earlier run, says so by 3.
    if done.returncode not in {expected, 3 if entry.cases else expected}:
        return [f"exit {done.returncode}, expected {expected}: {done.stderr.strip()[-300:]}"]
    summary = json.loads(done.stdout)
    found = [describe(p) for p in sorted((support.state(out) / "cases").glob("*.json"))]
    left = list(found)
    for wanted in entry.cases:
        match = next((f for f in left if fits(f, wanted)), None)
        if match is None:
            wrong.append(f"no case with {wanted} among {found}")
        else:
            left.remove(match)
    if len(found) != len(entry.cases):
        wrong.append(f"{len(found)} cases, expected {len(entry.cases)}: {found}")
    if {k: v for k, v in summary["quarantine_codes"].items()} != entry.refused and (entry.refused or not entry.files):
        wrong.append(f"quarantine {summary['quarantine_codes']}, expected {entry.refused}")
    if not entry.files <= set(summary["file_codes"]):
        wrong.append(f"files {summary['file_codes']}, expected {sorted(entry.files)} among them")
    flags = set().union(*[f["flags"] for f in found]) if found else set()
    if not entry.flags <= flags:
        wrong.append(f"flags {sorted(flags)}, expected {sorted(entry.flags)} among them")
    if found:
        verify = support.run_any("wsp-ingest", "verify", out)
        if verify.returncode != 0:
            wrong.append(f"verify: {verify.stdout[-300:]}")
    # The dry run says the same.
    planned = support.run_any("wsp-ingest", "plan", *arguments(entry), "--json")
    if planned.returncode not in (0, 3, 4):
        return wrong + [f"plan: exit {planned.returncode}: {planned.stderr[-300:]}"]
    plan = json.loads(planned.stdout)
    if plan["totals"]["cases"] != summary["cases"] or plan["totals"]["quarantine_codes"] != summary["quarantine_codes"]:
        wrong.append(f"plan says {plan['totals']}, the ingest {summary['cases']} cases and {summary['quarantine_codes']}")
    if planned.returncode != done.returncode:
        wrong.append(f"plan exits with {planned.returncode}, the ingest with {done.returncode}")
    # So does the scan, as far as no mask, label or person decides.
    scanned = json.loads(support.run_any("wsp-ingest", "scan", export_of(ROOT / entry.folder), "--json").stdout)
    told = {s["disposition"] for s in scanned["series"]}
    of_others = {"NO_LIVER_MASK", "NO_LIVER_SEGMENT", "NO_LIVER", "LABEL_AMBIGUOUS"}
    if not set(summary["quarantine_codes"]) - of_others <= told:
        wrong.append(f"scan says {sorted(told)}, the ingest {summary['quarantine_codes']}")
    return wrong


def phases(work):
    """ProtocolName lists all phases; the series' own description decides."""
    folder = ROOT / "r-proto"
    scanned = json.loads(support.run("wsp-ingest", "scan", export_of(folder), "--json").stdout)
    chosen = [s["phase"] for s in scanned["series"] if s["chosen"]]
    support.check(sorted(s["phase"] for s in scanned["series"]) == ["arterial", "delayed", "portal"] and chosen == ["portal"],
                  f"r-proto: {[(s['phase'], s['chosen']) for s in scanned['series']]}")


def changed_data(work):
    """Voxels behind a header are made again when they change, and only then."""
    for name, data in (("17c-nhdr-incremental", "vol.raw"), ("17d-hdrimg-incremental", "vol.img")):
        copy, out = work / name, work / (name + "-ds")
        shutil.copytree(ROOT / name, copy)
        for path in copy.rglob("*"):
            os.chmod(path, 0o755 if path.is_dir() else 0o644)
        run = lambda: json.loads(support.run("wsp-ingest", copy / "in", *OPTIONS, "--masks", copy / "masks", "--out", out, "--json").stdout)
        support.check(run()["reused_cases"] == 0, "the first run")
        support.check(run()["reused_cases"] == 1, f"{name}: nothing changed")
        pixels = bytearray((copy / "in" / data).read_bytes())
        pixels[len(pixels) // 2] ^= 1
        (copy / "in" / data).write_bytes(pixels)
        support.check(run()["reused_cases"] == 0, f"{name}: {data} changed and the old voxels were kept")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    only = sys.argv[1:]
    failures = 0
    for entry in TABLE:
        if only and entry.folder not in only:
            continue
        wrong = judge(entry, work)
        failures += bool(wrong)
        for line in wrong:
            print(f"{entry.folder}: {line}")
    if not only:
        phases(work)
        changed_data(work)
    seen = {entry.folder for entry in TABLE} | {"r-proto"}
    support.check({p.name for p in ROOT.iterdir() if p.is_dir()} == seen, "a folder of reported/ stands in no row")
    support.check(failures == 0, f"{failures} of {len(TABLE)} rows")
print(f"{len(TABLE)} reported exports give the right value or the right name")
