"""The liver network that comes with the tools, as a newcomer meets it: an export without any mask becomes a dataset, masks that are
given come first, doubtful ones are flagged, and where there is no liver none is found. The figures are docs/LIVER.md's."""
import csv
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import support

support.require("numpy", "nibabel", "pydicom")
import nibabel
import numpy as np
import pydicom

if not (support.BINARIES / "wsp-ingest-torch").exists():
    support.skip("this build has no Torch in the ingest (WSP_WITH_SEGMENTER=OFF)")
BUILTIN = {**os.environ, "WSP_LIVER_MODEL": "builtin", "XDG_CACHE_HOME": "/nonexistent"}


def ingest(export, out, *extra, expect=0):
    return support.run("wsp-ingest", export, "--out", out, "--ids", "keep", "--mask-cache", "none", *extra, expect=expect, env=BUILTIN)


def facts_of(dataset):
    return {p.stem: json.loads(p.read_text()) for p in sorted((support.state(dataset) / "cases").glob("*.json"))}


def compared(dataset):
    with open(support.state(dataset) / "mask_comparison.tsv") as table:
        return [row for row in csv.DictReader(table, delimiter="\t") if not row["code"]]


def phantoms(work):
    """Anatomy of seeds that the network has not seen: the truth found again, and a flag where it is not."""
    support.run("wsp-phantom", "--out", work / "cohort", "--anatomy", "rich", "--subjects", 8, "--seed", 9000, "--slices", "16-48",
                "--size", 256, "--format", "nifti")
    ingest(work / "cohort" / "export", work / "judged", "--masks", work / "cohort" / "truth", "--compare-masks", "--size", 128)
    rows = compared(work / "judged")
    dice = np.array([float(r["dice"]) for r in rows])
    unsure = np.array([bool(r["doubts"]) for r in rows])
    print(f"rich phantoms: mean Dice {dice.mean():.4f} of {len(rows)}, least {dice.min():.4f}; below 0.88: {(dice < 0.88).sum()}, of them unsure "
          f"{(unsure & (dice < 0.88)).sum()}; above 0.92: {(dice > 0.92).sum()}, of them unsure {(unsure & (dice > 0.92)).sum()}")
    support.check(np.median(dice) > 0.9, f"Dice {sorted(dice)}")


def newcomer(work):
    """Without a word about masks there is a dataset, and it says whose masks these are. Torch is loaded where a case needs it."""
    export, truth = work / "cohort" / "export", work / "cohort" / "truth"
    done = ingest(export, work / "first")
    facts = facts_of(work / "first")
    support.check(len(facts) >= 4, done.stderr)
    for name, case in facts.items():
        support.check("MASK_FROM_BUILTIN_MODEL" in case["flags"] and case["mask"]["model"].startswith("wsp-liver "), f"{name}: {case['flags']}")
        support.check(("MASK_UNSURE" in case["flags"]) == bool(case["mask"]["doubts"]), f"{name}: {case['mask']}")
    support.check(done.stderr.count("scanning the export") == 1, f"said twice: {done.stderr}")
    support.run("wsp-ingest", "verify", work / "first")
    # The same bytes at another number of threads.
    ingest(export, work / "again", "--threads", 1)
    support.check(support.tree(work / "first") == support.tree(work / "again"), "the bytes depend on the threads")
    # Given masks are taken, and no network is asked: it need not even be there to run.
    ingest(export, work / "given", "--masks", truth)
    for name, case in facts_of(work / "given").items():
        support.check(case["mask"]["source"] == "file" and "MASK_FROM_BUILTIN_MODEL" not in case["flags"], f"{name}: {case['mask']}")
    if shutil.which("strace"):
        traced = subprocess.run(["strace", "-f", "-e", "trace=execve", str(support.BINARIES / "wsp-ingest"), str(export), "--out", str(work / "traced"),
                                 "--ids", "keep", "--masks", str(truth), "--mask-cache", "none"], capture_output=True, text=True, env=BUILTIN)
        support.check(traced.returncode == 0 and "wsp-ingest-torch" not in traced.stderr, "Torch was loaded where every case has a mask")
    # Turned off, nothing is made.
    off = support.run("wsp-ingest", export, "--out", work / "off", "--ids", "keep", "--liver-model", "none", expect=4, env=BUILTIN)
    support.check("NO_LIVER_MASK" in off.stderr, off.stderr)


def no_liver(data, work):
    """Where there is no liver: no mask, or one that is flagged."""
    found = 0
    exports = [data / "geometry", data / "multiframe", data / "transfer_syntax", data / "seg_rt"]
    for export in exports:
        out = work / ("without-" + export.name)
        done = support.run_any("wsp-ingest", export, "--out", out, "--ids", "keep", "--mask-cache", "none", "--mask-objects", "ignore",
                               "--all-series", "--min-slices", 3, "--max-quarantined", -1, env=BUILTIN)
        support.check(done.returncode in (0, 3, 4), f"{export}: {done.returncode}\n{done.stderr}")
        for name, case in facts_of(out).items():
            found += 1
            print(f"  {export.name}/{name}: {case['mask']['liver_ml']:.0f} ml, {case['mask']['doubts']}")
            support.check("MASK_UNSURE" in case["flags"], f"{export}: {name} has a liver of {case['mask']['liver_ml']} ml, and no doubt")
    print(f"volumes without a liver: {found} masks, each flagged MASK_UNSURE")


def real(data, work):
    """Public patients with experts' masks (3D-IRCADb 17 and 19)."""
    for number in (17, 19):
        with tarfile.open(data / "liver-real" / f"ircadb_{number}.tar.xz") as archive:
            archive.extractall(work / "real", filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(work / "real")
        case, masks = work / "real" / f"ircadb_{number}", work / f"masks{number}"
        masks.mkdir()
        truth = nibabel.load(case / f"couinaud_repo_liver-{number}.nii.gz")
        headers = [pydicom.dcmread(p, stop_before_pixels=True, force=True) for p in (case / "PATIENT_DICOM").iterdir()]
        series = {h.SeriesInstanceUID for h in headers if "SeriesInstanceUID" in h}
        nibabel.save(nibabel.Nifti1Image((np.asarray(truth.dataobj) > 0).astype(np.uint8), truth.affine), masks / f"{series.pop()}.nii.gz")
        ingest(case / "PATIENT_DICOM", work / f"real{number}", "--masks", masks, "--compare-masks", "--size", 128)
        row = compared(work / f"real{number}")[0]
        print(f"ircadb_{number}: " + ", ".join(f"{k} {row[k]}" for k in ("dice", "hd95_mm", "first_off", "last_off", "kept_iou", "doubts")))
        support.check(float(row["dice"]) > LEAST_REAL and float(row["kept_iou"]) > LEAST_KEPT and not row["doubts"], f"ircadb_{number}: {row}")


def pelvis(data, work):
    """A scan from the thighs up, in which the network takes bladder and buttocks for the larger liver: pieces without lungs above them
    give way (docs/LIVER.md)."""
    source, export, masks = data / "liver" / "ts_abdopelvis_3mm_nifti", work / "pelvis", work / "pelvis-masks"
    for folder in (export, masks):
        folder.mkdir()
    shutil.copy(source / "example_ct.nii.gz", export)
    labels = nibabel.load(source / "example_seg_fast_force_split.nii.gz")
    nibabel.save(nibabel.Nifti1Image((np.asarray(labels.dataobj) == 5).astype(np.uint8), labels.affine), masks / "example_ct.nii.gz")
    ingest(export, work / "judged-pelvis", "--masks", masks, "--compare-masks", "--size", 128)
    row = compared(work / "judged-pelvis")[0]
    print("ts: " + ", ".join(f"{k} {row[k]}" for k in ("dice", "hd95_mm", "first_off", "last_off", "kept_iou", "doubts")))
    support.check(float(row["dice"]) > LEAST_REAL and float(row["kept_iou"]) > LEAST_KEPT and not row["doubts"], f"ts: {row}")


# Somewhat below what docs/LIVER.md says, since LibTorch's versions round differently.
LEAST_REAL, LEAST_KEPT = 0.93, 0.85

with support.temporary() as work:
    work = pathlib.Path(work)
    phantoms(work)
    newcomer(work)
    data = support.data_dir()
    no_liver(data, work)
    pelvis(data, work)
    real(data, work)
