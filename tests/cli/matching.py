"""Whose a mask and a label are, and who a person is, as whole commands: small NIfTI exports of equal stems in several
folders, shuffled; tables of which nothing fits; the manifest that wsp-ingest init makes."""
import csv
import json
import pathlib
import random
import shutil
import unicodedata

import support

support.require("numpy", "nibabel")
import nibabel
import numpy as np


def volume(path, seed):
    """A body of 40 HU with a liver of its own size, and that liver as a mask of its own number of voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    image = np.full((32, 32, 14), -1000, np.int16)
    image[4:28, 4:28] = 40
    image[6:26, 6:10] = -100  # fat
    mask = np.zeros(image.shape, np.uint8)
    mask[8:20, 12:20, 3:11] = 1
    mask[8:20, 20, 3:11] = (np.arange(96) < seed).reshape(12, 8)
    image[mask == 1] = 110
    image[4:28, 4:28] += noise.integers(-5, 6, (24, 24, 14)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([8, 8, 8, 1])), path)
    return mask


def save_mask(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([8, 8, 8, 1])), path)


def ingest(work, *extra, expect=0):
    shutil.rmtree(work / "ds", ignore_errors=True)
    return support.run("wsp-ingest", work / "export", "--out", work / "ds", "--ids", "keep", "--size", 32, "--shards", 1, "--slices", "all",
                       *extra, expect=expect)


def made(work):
    """Case name -> (voxels of its mask, label), and case name -> code of the refused."""
    cases = {}
    for path in (support.state(work / "ds") / "cases").glob("*.json"):
        case = json.loads(path.read_text())
        spacing = case["geometry"]["spacing_mm"]
        cases[case["name"]] = (round(sum(case["profile"]["liver_mm2"]) / (spacing[0] * spacing[1])), case["labels"]["label"], case["flags"])
    rows = [line.split("\t") for line in (support.state(work / "ds") / "quarantine.tsv").read_text().splitlines()[1:]]
    return cases, {r[1]: r[2] for r in rows if r[0] == "case"}


def clear(work):
    for name in ("export", "masks"):
        shutil.rmtree(work / name, ignore_errors=True)


def two_sites(work):
    """One mask and one row: for the site that they name alone."""
    clear(work)
    masks = {site: volume(work / "export" / site / "001.nii.gz", k + 1) for k, site in enumerate(("siteA", "siteB"))}
    save_mask(work / "masks" / "siteA" / "001.nii.gz", masks["siteA"])
    labels = work / "labels.csv"
    labels.write_text("subject,label\nsiteA/001,3\n")
    ingest(work, "--masks", work / "masks", "--labels", labels)
    cases, refused = made(work)
    support.check(len(cases) == 1 and list(refused.values()) == ["NO_LIVER_MASK"], f"two sites: {cases} {refused}")
    ((name, (voxels, label, flags)),) = cases.items()
    support.check("siteA" in name and voxels == masks["siteA"].sum() and label == 3 and "SUBJECT_UNVERIFIED" in flags, f"siteA: {cases}")
    labels.write_text("subject,label\n001,3\n")
    ingest(work, "--masks", work / "masks", "--labels", labels, expect=4)
    support.check(set(made(work)[1].values()) == {"LABEL_AMBIGUOUS"}, f"one row for two: {made(work)}")
    (work / "masks" / "siteA" / "001.nii.gz").rename(work / "masks" / "001.nii.gz")
    ingest(work, "--masks", work / "masks", expect=4)
    support.check(set(made(work)[1].values()) == {"MASK_AMBIGUOUS"}, f"one mask for two: {made(work)}")
    # A table says it.
    (work / "masks.csv").write_text("case,mask\nsiteB/001,001.nii.gz\n")
    ingest(work, "--masks", work / "masks", "--masks-table", work / "masks.csv")
    support.check("siteB" in "".join(made(work)[0]), f"--masks-table: {made(work)}")
    shutil.copy(work / "masks.csv", work / "masks" / "table.csv")
    ingest(work, "--masks", work / "masks" / "table.csv")
    support.check("siteB" in "".join(made(work)[0]), f"--masks FILE.csv: {made(work)}")
    for text, words in (("case,mask\nsiteB/001,gone.nii.gz\n", "row 1"), ("case,file\nx,y\n", "column 'mask'")):
        (work / "masks.csv").write_text(text)
        done = ingest(work, "--masks", work / "masks", "--masks-table", work / "masks.csv", expect=2)
        support.check(words in done.stderr and "gone" not in done.stderr, done.stderr)
    (work / "masks.csv").write_text("case,mask\nsiteB/001,001.nii.gz\nnobody,001.nii.gz\n")
    done = ingest(work, "--masks", work / "masks", "--masks-table", work / "masks.csv", expect=4)
    support.check("row 2" in done.stderr and "nobody" not in done.stderr, done.stderr)


def a_strangers_folder(work):
    """001 of a flat export, and the mask of another site's 001, which nothing else competes with."""
    clear(work)
    mask = volume(work / "export" / "001.nii.gz", 1)
    save_mask(work / "masks" / "siteB" / "001.nii.gz", mask)
    done = ingest(work, "--masks", work / "masks", expect=4)
    support.check("lie in other folders" in done.stderr and "siteB" not in done.stderr, done.stderr)
    # Whoever knows that they are this export's says so.
    ingest(work, "--masks", work / "masks" / "siteB")
    support.check(len(made(work)[0]) == 1, f"--masks siteB: {made(work)}")


def shuffled(work, seed):
    """Masks and rows under random names and folders: no case carries what is another's."""
    draw = random.Random(seed)
    clear(work)
    sites = ["siteA", "siteB", "images/siteC"]
    truth = {}
    for k, (site, stem) in enumerate((s, n) for s in sites for n in ("001", "1", "010", "P7")):
        if draw.random() < 0.7:
            path = f"{site}/{stem}"
            truth[path] = (volume(work / "export" / f"{path}.nii.gz", 7 * k + 3), k)
    rows = []
    for path, (mask, label) in truth.items():
        site, stem = path.rsplit("/", 1)
        folder = draw.choice([site, site, site.replace("images/", ""), f"masks_{site.split('/')[-1]}", "", f"x/{site}"])
        end = draw.choice(["", "_seg", "_mask"])
        if draw.random() < 0.8:
            target = work / "masks" / folder / f"{stem}{end}.nii.gz"
            if not target.exists():
                save_mask(target, mask)
        rows.append((draw.choice([path, path, stem, f"{path}.nii.gz", f"{site.split('/')[-1]}/{stem}"]), label))
    support.check(len({m.sum() for m, _ in truth.values()}) == len(truth), "the phantom's masks tell cases apart")
    draw.shuffle(rows)
    (work / "labels.csv").write_text("subject,label\n" + "".join(f"{k},{v}\n" for k, v in rows))
    (work / "masks").mkdir(exist_ok=True)
    done = support.run("wsp-ingest", work / "export", "--out", work / "ds", "--ids", "keep", "--size", 32, "--shards", 1, "--slices", "all", "--force",
                       "--masks", work / "masks", "--labels", work / "labels.csv", expect=None) if truth else None
    if done is None or not (support.state(work / "ds") / "cases").exists():
        return 0
    cases, refused = made(work)
    for name, (voxels, label, flags) in cases.items():
        (path,) = (p for p in truth if name.startswith(p.replace("/", "_")))
        mask, own = truth[path]
        support.check(voxels == mask.sum(), f"seed {seed}: {path} has the mask of another")
        support.check(label == own or (label == -1 and "LABEL_MISSING" in flags), f"seed {seed}: {path} has label {label}")
    return len(cases)


def nothing_fits(work):
    """A table or folder of which nothing fits stops the job, with hints that name nobody."""
    clear(work)
    names = {"00471": 1, unicodedata.normalize("NFC", "Müller"): 2}
    for name, seed in names.items():
        save_mask(work / "masks" / f"{name}.nii.gz", volume(work / "export" / f"{name}.nii.gz", seed))
    (work / "labels.csv").write_text("subject,label\n471,3\n" + unicodedata.normalize("NFD", "Müller") + ",1\n")
    done = ingest(work, "--masks", work / "masks", "--labels", work / "labels.csv", expect=4)
    support.check("none of the 2 rows" in done.stderr and "row 1 would match a case if leading zeros" in done.stderr, done.stderr)
    told = done.stderr.replace(str(work), "")  # a temporary folder may be called anything
    support.check("471" not in told and "ller" not in told, f"a name in the log: {done.stderr}")
    support.check(not (work / "ds").exists(), "a dataset was begun")
    if "NFC" not in done.stderr:
        print("*** utf8proc is not built in: Unicode hints are NOT tested ***")
    (work / "other").mkdir()
    save_mask(work / "other" / "00472.nii.gz", np.ones((4, 4, 4), np.uint8))
    done = ingest(work, "--masks", work / "other", expect=4)
    support.check("none of the 1 files of --masks" in done.stderr, done.stderr)
    # Without a header row no cell is told.
    (work / "labels.csv").write_text("Roe^Jane;19500101;2\nDoe^John;19510101;1\n")
    done = ingest(work, "--masks", work / "masks", "--labels", work / "labels.csv", expect=2)
    told = done.stderr.replace(str(work), "")
    support.check("Roe" not in told and "1950" not in told and "header" in told, done.stderr)


def task_root(work):
    """--masks at the root of an MSD task, which is the export too."""
    clear(work)
    for k in (1, 2):
        save_mask(work / "export" / "labelsTr" / f"liver_{k}.nii.gz", volume(work / "export" / "imagesTr" / f"liver_{k}.nii.gz", k))
    ingest(work, "--masks", work / "export")
    cases, refused = made(work)
    support.check(len(cases) == 2 and not refused and all("imagesTr" in name for name in cases), f"a task's root: {cases} {refused}")


def init(work):
    clear(work)
    save_mask(work / "masks" / "P1.nii.gz", volume(work / "export" / "P1.nii.gz", 1))
    save_mask(work / "masks" / "P2.nii.gz", volume(work / "export" / "P2.nii.gz", 2))
    table = work / "scores.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream, delimiter=";").writerows([["Patient ID", "METAVIR", "GGT"], ["P1", "F1", "3,5"], ["P2", "unk", "4,25"]])
    manifest = work / "my.json"
    done = support.run("wsp-ingest", "init", "--labels", table, "--out", manifest)
    support.check("METAVIR" in done.stdout and "GGT" in done.stdout and "P1" not in done.stdout, done.stdout)
    made_of = json.loads(manifest.read_text())
    support.check(made_of["key_column"] == "Patient ID" and made_of["labels"][0]["values"] == {"F1": 1} and made_of["labels"][0]["missing"] == ["unk"]
                  and made_of["guessed"], f"{made_of}")
    support.run("wsp-ingest", "init", "--labels", table, "--out", manifest, expect=2)
    support.run("wsp-ingest", "init", "--labels", table, "--out", manifest, "--force")
    support.run("wsp-ingest", "init", "--check", manifest)
    done = support.run("wsp-ingest", "init", "--check", manifest, "--labels", table, work / "export")
    support.check("2 of 2 rows name a case" in done.stdout, done.stdout)
    ingest(work, "--masks", work / "masks", "--labels", table, "--manifest", manifest)
    support.check(sorted(c[1] for c in made(work)[0].values()) == [-1, 1], f"{made(work)}")
    made_of["labels"][0]["column"] = "fibrosis"
    manifest.write_text(json.dumps(made_of))
    done = support.run("wsp-ingest", "init", "--check", manifest, "--labels", table, expect=2)
    support.check("'fibrosis' is not a column of the table; the table has 'Patient ID', 'METAVIR', 'GGT'" in done.stdout, done.stdout)
    made_of["lables"] = 1
    manifest.write_text(json.dumps(made_of))
    done = json.loads(support.run("wsp-ingest", "init", "--check", manifest, "--json", expect=2).stdout)
    support.check(not done["fits"] and "'lables' is no field" in done["problems"][0], f"{done}")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    two_sites(work)
    a_strangers_folder(work)
    task_root(work)
    nothing_fits(work)
    init(work)
    first = random.randrange(2**32)
    print("shuffled from seed", first)
    count = sum(shuffled(work, first + k) for k in range(12))
    support.check(count > 12, f"only {count} cases came of it")
    print(f"{count} cases of shuffled names carry their own masks and labels")
