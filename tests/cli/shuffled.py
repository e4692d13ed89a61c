"""No case carries a voxel, mask, label or subject that is not its own. Random exports of phantoms with the dirt of hospitals:
blanked and reused IDs, passes woven into one series, values on other scales, masks and label rows whose names fit several
patients or studies. Whatever the ingest makes of them is compared, slice by slice, with what was put in; what it refuses is
right, as long as sound volumes go through.

    shuffled.py [EXPORTS [FIRST_SEED]]      every seed is printed with what is wrong with it
"""
import collections
import json
import os
import pathlib
import shutil
import sys

import support

support.require("numpy", "pydicom", "nibabel", "h5py")
import h5py
import numpy as np

from shuffled_export import SIZE, Export, read_pool


def slices_of(export):
    """The bytes of each slice -> volume and number."""
    where = {}
    for v in export.volumes:
        for k in range(len(v.hu)):
            where[v.hu[k].tobytes()] = (v, k)
    return where


def dice(a, b):
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def judge_case(case, facts, where, export):
    """What a case holds that is not its own, in words."""
    flags = set(facts["flags"])
    found = [where.get(image.tobytes()) for image in case["image"]]
    if any(f is None for f in found):
        return [f"{sum(f is None for f in found)} of {len(found)} slices are no slice of the export"], None
    owners = {f[0].index for f in found}
    if len(owners) > 1:
        return [f"slices of volumes {sorted(owners)} in one case"], None
    v = found[0][0]
    wrong = []
    if [f[1] for f in found] != list(range(len(v.hu))):
        wrong.append(f"slices {[f[1] for f in found]} of {len(v.hu)}")
    steps = np.diff(case["z_mm"])
    if len(steps) and np.abs(steps - v.spacing[2]).max() > 0.02:
        wrong.append(f"slice distance {steps.min():.2f} to {steps.max():.2f}, expected {v.spacing[2]}")
    mask = case["mask"].astype(np.uint8)
    if not np.array_equal(mask, v.mask):
        excused = flags & {"MASK_RESAMPLED", "MASK_INTERPOLATED", "MASK_GAPS"}
        same = dice(mask, v.mask)
        if not excused or same < 0.7:
            wrong.append(f"a mask that is not its own (Dice {same:.3f}, flags {sorted(flags)})")
    label = int(case["label"][0])
    if label not in (-1, v.person["label"]):
        wrong.append(f"label {label}, expected {v.person['label']}")
    phase = facts["series"]["phase"]
    if phase not in ("unknown", v.phase) and not (hasattr(v, "dirty") and phase == "portal"):
        wrong.append(f"phase {phase}, expected {v.phase}")
    return [f"volume {v.index} ({v.phase} of person {v.person['n']}): {w}" for w in wrong], v


def run_one(seed, pool, work, plant=None):
    """Ingest one random export: what is wrong, the volumes that became cases, and the export."""
    root = work / f"export-{seed}"
    export = Export(seed, pool, root)
    if plant:
        plant(export)
    out = root / "ds"
    command = [export.export, "--out", out, "--ids", "keep", "--window", -32768, 32767, "--slices", "all", "--size", SIZE,
               "--shards", 1, "--min-area-mm2", 0, "--all-series", "--json"]
    if any(export.masks.iterdir()):
        command += ["--masks", export.masks]
    if export.rows:
        command += ["--labels", root / "labels.csv", "--manifest", root / "manifest.json"]
    done = support.run_any("wsp-ingest", *command)
    if "No case was read" in done.stderr:  # no name of all the masks or labels fits
        export.sound = []
    if done.returncode not in (0, 3, 4):
        return [f"exit {done.returncode}: {done.stderr.strip()[-400:]}"], [], export, {}
    summary = json.loads(done.stdout) if done.stdout.strip() else {}
    wrong, taken, people = [], [], collections.defaultdict(set)
    if (support.state(out) / "index.h5").exists() and summary.get("cases"):
        where = slices_of(export)
        with h5py.File(support.state(out) / "index.h5") as index:
            labels = "label" in index["slices"]
        for name, case in support.read_cases(out).items():
            if not labels:
                case["label"] = [-1]
            facts = json.loads((support.state(out) / "cases" / f"{name}.json").read_text())
            problems, v = judge_case(case, facts, where, export)
            wrong += [f"{name[-24:]}: {p}" for p in problems]
            if v is not None:
                taken.append(v)
                people[facts["subject"]].add((v.person["n"], "SUBJECT_UNVERIFIED" in facts["flags"]))
        for subject, members in people.items():
            if len({n for n, _ in members}) > 1:
                wrong.append(f"persons {sorted({n for n, _ in members})} are one subject")
        verified = collections.defaultdict(set)
        for subject, members in people.items():
            for n, unverified in members:
                if not unverified:
                    verified[n].add(subject)
        wrong += [f"person {n} is {len(s)} subjects" for n, s in verified.items() if len(s) > 1]
    if not wrong:
        shutil.rmtree(root)
    return wrong, taken, export, summary


def swap_labels(export):
    """A control: the truth itself is changed, which must be seen."""
    for person in export.persons:
        person["label"] = (person["label"] + 1) % 5


def swap_masks(export):
    for v in export.volumes:
        v.mask = np.roll(v.mask, 3, 1)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ.get("WSP_SHUFFLED_EXPORTS", 16))
    first = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("WSP_SHUFFLED_SEED", 0))
    keep = os.environ.get("WSP_SHUFFLED_KEEP")
    with support.temporary() as directory:
        work = pathlib.Path(keep or directory)
        pool = read_pool(work, 5) if not (work / "pool").exists() else sys.exit("WSP_SHUFFLED_KEEP holds an earlier run")
        bad, cases, sound, missed, codes = 0, 0, 0, 0, collections.Counter()
        for seed in range(first, first + count):
            wrong, taken, export, summary = run_one(seed, pool, work)
            cases += len(taken)
            sound += len(export.sound)
            lost = [v for v in export.sound if v not in taken]
            missed += len(lost)
            codes.update(summary.get("quarantine_codes", {}))
            if wrong:
                bad += 1
                print(f"seed {seed} ({export.format}, {export.layout}, key {export.key}): WRONG")
                for line in wrong:
                    print("   ", line)
                for line in export.dirt:
                    print("      -", line)
            if lost and os.environ.get("WSP_SHUFFLED_VERBOSE"):
                print(f"seed {seed}: sound volumes refused: {[v.index for v in lost]} {summary.get('quarantine_codes')} {export.dirt}")
        print(f"seeds {first} to {first + count - 1}: {cases} cases, {missed} of {sound} sound volumes refused, quarantine {dict(codes)}")
        support.check(bad == 0, f"{bad} of {count} exports hold a case with something that is not its own")
        support.check(cases >= count, f"only {cases} cases of {count} exports: nothing is compared")
        support.check(missed <= 0.1 * sound, f"{missed} of {sound} sound volumes were refused")
        # A checker that sees nothing would find nothing wrong.
        for plant in (swap_labels, swap_masks):
            seen = False
            for seed in range(first, first + 12):
                shutil.rmtree(work / f"export-{seed}", ignore_errors=True)
                seen = seen or bool(run_one(seed, pool, work, plant)[0])
            support.check(seen, f"{plant.__name__} was not noticed")
    print(f"{count} exports: every case holds its own voxels, mask, label and subject")


main()
