"""What the voxels prove, by whole commands: other scales and label maps are told from CT by scan and ingest alike, sound series
and crops are taken, --hu trust says what it took, and the QA report calls neither old scanners' air nor a crop an error."""
import json
import pathlib
import shutil
import tarfile

import support

support.require("numpy", "nibabel", "pydicom")
import nibabel
import numpy as np
import pydicom

DATA = support.data_dir()
ALL = ["--ids", "keep", "--slices", "all", "--size", 128, "--window", -32768, 32767]


def scan(export, *options):
    """Path or series UID of each series -> its disposition."""
    report = json.loads(support.run("wsp-ingest", "scan", export, "--json", *options).stdout)
    return {s["key"]: s for s in report["series"]}


def dispositions(export, *options):
    return {key: s["disposition"] for key, s in scan(export, *options).items()}


def ingest(export, out, *options, expect=0):
    return json.loads(support.run("wsp-ingest", export, "--out", out, "--json", *ALL, *options, expect=expect).stdout)


def quarantine(dataset):
    lines = (support.state(dataset) / "quarantine.tsv").read_text().splitlines()[1:]
    return {line.split("\t")[1]: line.split("\t")[2] for line in lines}


def check_reported(work):
    reported = DATA / "reported"
    for name, cases in (("10p-not-hu", 2), ("05-rescale-missing", 1), ("05d-rescaletype-ed", 1)):
        if not (reported / name).is_dir():
            support.skip(f"no data in reported/{name}")
        export = reported / name / "in"
        masks = ["--masks", reported / name / "masks"] if (reported / name / "masks").is_dir() else []
        seen = dispositions(export, *masks)
        refused = {"NOT_HU", "RESCALE_MISSING"}
        support.check(set(seen.values()) <= refused, f"{name}: {seen}")
        got = ingest(export, work / name, *masks, expect=4)
        support.check(got["cases"] == 0 and set(got["quarantine_codes"]) <= refused, f"{name}: {got}")
    # Overruled, the values are as they were, and the case says so.
    export, masks = reported / "10p-not-hu" / "in", reported / "10p-not-hu" / "masks"
    support.check(set(dispositions(export, "--masks", masks, "--hu", "trust").values()) == {"USED"}, "scan --hu trust")
    got = ingest(export, work / "trusted", "--masks", masks, "--hu", "trust")
    support.check(got["cases"] == 2 and got["flags"].get("HU_OVERRULED") == 2, f"trusted: {got}")
    config = json.loads((work / "trusted" / "dataset.json").read_text())["config"]
    support.check(config["hu"] == "trust", f"the dataset's configuration says {config.get('hu')}")
    # A control is as exact as it was.
    got = ingest(reported / "00-control" / "in", work / "control")
    stored = json.loads(next((support.state(work / "control") / "cases").glob("*.json")).read_text())["stored"]
    support.check(stored["sum_hu"] == -45675620 and "HU_OVERRULED" not in got["flags"], f"control: {stored} {got['flags']}")


def check_task_folder(work):
    """Masks beside their images are no patients, whether --masks names them or not."""
    export = DATA / "reported" / "21b-msd" / "in"
    seen = dispositions(export)
    support.check(all((d == "LABEL_MAP") == key.startswith("labelsTr") for key, d in seen.items()) and len(seen) == 4, f"{seen}")
    for name, masks in (("labels", export / "labelsTr"), ("root", export)):
        got = ingest(export, work / f"msd-{name}", "--masks", masks)
        support.check(got["cases"] == 2 and got["file_codes"] == {"USED": 2, "USED_AS_MASK": 2} and got["quarantined_cases"] == 0, f"{name}: {got}")


def save(array, affine, path):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def check_variants(work):
    """One real CT under other scales, as crops, and with the label map that belongs to it."""
    folder = DATA / "liver" / "ts_abdopelvis_3mm_nifti"
    image = nibabel.load(folder / "example_ct.nii.gz")
    hu, affine = np.asarray(image.dataobj).astype(np.float64), image.affine
    labels = np.asarray(nibabel.load(folder / "example_seg_fast_force_split.nii.gz").dataobj)
    window = lambda low, high: (np.clip(hu, low, high) - low) / (high - low)
    i, j, k = (int(np.median(a)) for a in np.nonzero(labels == 5))
    export = work / "variants"
    export.mkdir()
    expected = {}

    def add(name, code, values, dtype=np.int16):
        save(np.asarray(values).astype(dtype), affine, export / f"{name}.nii.gz")
        expected[f"{name}.nii.gz"] = code
    add("sound", "USED", hu)
    add("sound-float", "USED", hu + 0.25, np.float32)
    add("clipped", "USED", np.clip(hu, -100, 400))
    add("clipped-high", "USED", np.minimum(hu, 300))
    add("air-950", "USED", np.where(hu < -950, hu + 50, hu))
    add("crop-liver", "USED", hu[i - 15 : i + 15, j - 15 : j + 15, k - 12 : k + 8])
    add("crop-body", "USED", hu[30:90, 30:70, 20:80])
    for shift in (1024, -1024, 150, -150, 300):
        add(f"shifted{shift}", "NOT_HU", hu + shift)
    add("unit", "NOT_HU", window(-100, 400), np.float32)
    add("unit-rounded", "LABEL_MAP", np.rint(window(-1000, 1000)), np.uint8)
    add("grey", "NOT_HU", 255 * window(-160, 240), np.uint8)
    add("inverted", "NOT_HU", 255 - 255 * window(-1000, 1000), np.uint8)
    add("from-0", "NOT_HU", 500 * window(-100, 400))
    add("thousandths", "NOT_HU", hu / 1000, np.float32)
    add("organs", "LABEL_MAP", labels, np.uint8)
    add("organs-float", "LABEL_MAP", labels, np.float32)
    add("liver-255", "LABEL_MAP", 255 * (labels == 5), np.uint8)
    add("nothing", "LABEL_MAP", 0 * labels, np.uint8)
    seen = dispositions(export)
    support.check(seen == expected, f"wrong: { {n: (seen[n], expected[n]) for n in expected if seen.get(n) != expected[n]} }")
    # What the scan says the ingest does: no mask is blamed for values that are none.
    masks = work / "variant-masks"
    masks.mkdir()
    for name in expected:
        shape = nibabel.load(export / name).shape
        mask = (labels == 5) if shape == labels.shape else np.ones(shape)
        save(mask.astype(np.uint8), affine, masks / name)
    got = ingest(export, work / "variants-ds", "--masks", masks)
    refused = {n.removesuffix(".nii.gz"): c for n, c in expected.items() if c == "NOT_HU"}
    support.check(quarantine(work / "variants-ds") == refused, f"quarantine: {quarantine(work / 'variants-ds')}")
    support.check(got["cases"] == list(expected.values()).count("USED"), f"cases: {got['cases']}")
    # The report errs on what was cut off, and on nothing that is sound.
    support.run("wsp-qa", work / "variants-ds", "--fail-on", "never")
    found = [json.loads(line) for line in (work / "variants-ds" / "qa" / "findings.jsonl").read_text().splitlines()]
    scale = {(f["case"], f["code"]) for f in found if f["code"] in ("HU_OFFSET", "HU_CLIPPED")}
    support.check(scale == {("clipped", "HU_CLIPPED"), ("clipped-high", "HU_CLIPPED")}, f"the report on the scale: {scale}")


def check_real_series():
    """Every series of the shared data that is a CT of a patient is taken."""
    for folder in sorted((DATA / "liver").iterdir()) + sorted((DATA / "geometry").glob("*tilt*")):
        seen = dispositions(folder, "--min-slices", 3)
        support.check("NOT_HU" not in seen.values() and "USED" in seen.values(), f"{folder.name}: {seen}")


def check_ircadb(work):
    """Masks that are CT objects lie beside the patient's series."""
    archive = DATA / "liver-real" / "ircadb_17.tar.xz"
    if not archive.exists():
        support.skip("no liver-real/ircadb_17.tar.xz: what is CT among 3D-IRCADb's objects was not tested")
    with tarfile.open(archive) as files:
        files.extractall(work)
    export = work / "ircadb_17"
    masks = work / "ircadb-masks"
    masks.mkdir()
    series = [s for s in scan(export).values() if s["chosen"]]
    support.check(len(series) == 1 and series[0]["size"][2] == 119, f"chosen: {series}")
    support.check(sorted(dispositions(export).values()) == ["LABEL_MAP", "LABEL_MAP", "USED"], f"{dispositions(export)}")
    shutil.move(export / "couinaud_repo_liver-17.nii.gz", masks / f"{series[0]['key']}.nii.gz")
    uid = pydicom.dcmread(export / "PATIENT_DICOM" / "image_0", stop_before_pixels=True).SeriesInstanceUID
    support.check(series[0]["key"] == uid, "the masks were chosen")
    got = ingest(export, work / "ircadb", "--masks", masks, "--liver-label", ",".join(map(str, range(1, 10))))
    support.check((got["cases"], got["subjects"], got["quarantined_cases"]) == (1, 1, 0), f"{got}")
    support.check(got["file_codes"] == {"USED": 119, "LABEL_MAP": 119, "USED_AS_MASK": 1}, f"{got['file_codes']}")
    # Its values end at 1023, where bone is cut off and nothing that is kept.
    support.run("wsp-qa", work / "ircadb")


def main():
    with support.temporary() as place:
        work = pathlib.Path(place)
        check_reported(work)
        check_task_folder(work)
        check_variants(work)
        check_real_series()
        check_ircadb(work)


main()
