"""Every entry of the shared data's MANIFEST.md as one table: geometry, sums and codes through `wsp-ingest scan --pixels --json`,
masks through `wsp-ingest`.

Numbers are the MANIFEST's (dcm2niix, dcmtk, gdcm, OpenJPEG, nibabel); where it gives stored values, the HU sum is
slope x sum + intercept x voxels. Geometry and sums are also taken by nibabel and pydicom from every file that they can read,
and by dcm2niix where it is right. Every file of SHA256SUMS must be in a row."""
import csv
import json
import pathlib
import shutil
import warnings

import support

support.require("numpy", "nibabel", "pydicom")
import nibabel
import numpy as np
import pydicom

from manifest_entries import MASKS, TABLE
from manifest_readers import dcm2niix, nibabel_geometry, nibabel_sum, pydicom_geometry, pydicom_planes, pydicom_sum, reference_counts

warnings.simplefilter("ignore")  # the files are odd on purpose


def close(found, expected, tolerance, what):
    found, expected = np.atleast_1d(found), np.atleast_1d(expected)
    return [] if found.shape == expected.shape and (np.abs(found - expected) <= tolerance).all() else [
        f"{what} is {found.tolist()}, expected {expected.tolist()}"]


def compare_geometry(s, other, who, tolerance=1e-4):
    mine = {"size": s["size"], "spacing": s["spacing_mm"][: len(other["spacing"])], "z": s["z_range_mm"], "distances": s["distances_mm"],
            "normal": s["normal"], "tilt": s["tilt_deg"]}
    tolerances = {"size": 0, "normal": 1e-6, "tilt": 1e-4}
    return [w for k, v in mine.items() for w in close(v, other[k], tolerances.get(k, tolerance), f"beside {who} {k}")]


def counts(codes):
    return {c: codes.count(c) for c in set(codes)}


def compare_readers(s, facts, work, compared):
    """What the independent readers say of the same files: the series' own, where it was not split."""
    files = sorted(p for p in work.rglob("*") if p.is_file())
    sum_hu = s.get("pixels", {}).get("sum_hu")
    if s["kind"] == "image":
        path = work / s["path"]
        if not path.name.endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz")):
            return []
        compared["nibabel"] += 1
        return compare_geometry(s, nibabel_geometry(path), "nibabel") + close(sum_hu, nibabel_sum(path), 0, "beside nibabel the sum")
    images, wrong = [], []
    for path in files:
        try:
            d = pydicom.dcmread(path)
        except Exception:  # truncated, or no DICOM at all
            continue
        if "PixelData" in d and not str(d.get("SOPClassUID")).startswith("1.2.840.10008.5.1.4.1.1.66.") and d.get("SeriesInstanceUID") == s["key"]:
            images.append(path)
    planes = pydicom_planes(images)
    if len(planes) == s["planes"] and "z_range_mm" in s:
        compared["pydicom geometry"] += 1
        wrong += compare_geometry(s, pydicom_geometry(images), "pydicom")
    expected = pydicom_sum(images) if len(images) == s["planes"] or len(planes) == s["planes"] else None
    if expected is not None and sum_hu is not None and "tolerance" not in facts:
        compared["pydicom sums"] += 1
        wrong += close(sum_hu, expected, 0, "beside pydicom the sum")
    if facts.get("dcm2niix") and shutil.which("dcm2niix"):
        if (nifti := dcm2niix(work, work.parent / "niix")) is None:
            return wrong
        compared["dcm2niix"] += 1
        other = nibabel_geometry(nifti)
        if len(images) == 1 and s["planes"] == 1:  # one slice has no distance of its own
            other["spacing"] = other["spacing"][:2]
        tolerance = 1e-4 if facts["dcm2niix"] is True else facts["dcm2niix"]
        wrong += compare_geometry(s, other, "dcm2niix", tolerance) + close(sum_hu, nibabel_sum(nifti), 0, "beside dcm2niix the sum")
    return wrong


def differences(report, facts, work, compared):
    wrong = []
    if "others" in facts and (found := counts([f["code"] for f in report["files"]])) != facts["others"]:
        wrong.append(f"other files {found}, expected {facts['others']}")
    if "series" in facts and (found := counts([s["disposition"] for s in report["series"]])) != facts["series"]:
        wrong.append(f"series {found}, expected {facts['series']}")
    if facts and not set(facts) - {"others", "series"}:
        return wrong + [f"{s['path']}: {w}" for s in report["series"] for w in compare_readers(s, facts, work, compared)]
    if len(report["series"]) != 1:
        return [*wrong, f"{len(report['series'])} series"]
    (s,) = report["series"]
    if facts.get("or refused") and s["disposition"] == "UNSUPPORTED_TRANSFER_SYNTAX":
        return wrong
    pixels = s.get("pixels", {})
    exact = {"code": s["disposition"], "size": s["size"], "syntax": s["transfer_syntax"], "masks": s["mask_objects"],
             "min": pixels.get("minimum_hu"), "max": pixels.get("maximum_hu")}
    wrong += [f"{k} is {v}, expected {facts[k]}" for k, v in exact.items() if k in facts and v != facts[k]]
    for key, found in (("spacing", s["spacing_mm"]), ("z", s.get("z_range_mm")), ("distances", s["distances_mm"]),
                       ("gaps", [g["distance_mm"] for g in s["gaps"]])):
        if key in facts:
            wrong += close(found, facts[key], 1e-4, key)
    if "tilt" in facts:
        wrong += close(s["tilt_deg"], facts["tilt"], 0.005, "tilt")
    if "sum" in facts:
        wrong += close(pixels.get("sum_hu", 0), facts["sum"], facts.get("tolerance", 0), "sum")
    if facts.get("detail", "") not in s["detail"]:
        wrong.append(f"detail is {s['detail']}")
    return wrong + compare_readers(s, facts, work, compared)


def copy(data, patterns, work, touched):
    work.mkdir(exist_ok=True)
    for pattern in patterns.split():
        if pattern == "LABELMAP":
            labelmap_ct(data, work)
            continue
        found = sorted(data.glob(pattern))
        support.check(found, f"the shared data lacks {pattern}")
        for path in found:
            touched.update(p for p in ([path] if path.is_file() else path.rglob("*")))
            shutil.copytree(path, work / path.name) if path.is_dir() else shutil.copy(path, work)


def labelmap_ct(data, work):
    """No CT of the LABELMAP's grid is at hand: three slices of it, under the UIDs that it refers to."""
    seg = pydicom.dcmread(data / "seg_rt/dcmqi_labelmap/sparse-labelmap-noppv.dcm")
    template = pydicom.dcmread(data / "seg_rt/dcmqi_23x38x3/image/IMG0001.dcm")
    plane = seg.SharedFunctionalGroupsSequence[0]
    series = seg.ReferencedSeriesSequence[0]
    for k in range(3):
        template.Rows, template.Columns = seg.Rows, seg.Columns
        template.ImageOrientationPatient = plane.PlaneOrientationSequence[0].ImageOrientationPatient
        template.PixelSpacing = plane.PixelMeasuresSequence[0].PixelSpacing
        template.ImagePositionPatient = [46.464901, 5.0188098, -177.75 + 2.5 * k]
        template.SeriesInstanceUID = series.SeriesInstanceUID
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"{series.SeriesInstanceUID}.{k + 1}"[-64:].lstrip(".0")
        template.PixelData = np.full((seg.Rows, seg.Columns), 1064, np.int16).tobytes()
        template.save_as(work / f"{k}.dcm")


def mask_differences(data, row, work, touched, compared):
    patterns, mask_pattern, options, facts = row
    export, out = work / "export", work / "out"
    copy(data, patterns, export, touched)
    arguments = [export, "--out", out, "--ids", "keep", "--slices", "all", "--shards", 1, "--min-slices", 1, "--min-area-mm2", 0.01, "--size", 16, *options]
    mask = None
    if mask_pattern:
        (mask,) = data.glob(mask_pattern)
        touched.add(mask)
        (work / "masks").mkdir()
        scan = json.loads(support.run("wsp-ingest", "scan", export, "--min-slices", 1, "--json").stdout)
        key = scan["series"][0]["key"] if scan["series"][0]["kind"] == "dicom" else pathlib.Path(scan["series"][0]["path"]).name.split(".nii")[0]
        shutil.copy(mask, work / "masks" / (key + (".nrrd" if mask.suffix == ".nrrd" else ".nii.gz")))
        arguments += ["--masks", work / "masks"]
    if "code" in facts:
        support.run("wsp-ingest", *arguments, expect=4)
        codes = [line.split("\t")[2] for line in (support.state(out) / "quarantine.tsv").read_text().splitlines()[1:] if line.startswith("case")]
        return [] if codes == [facts["code"]] else [f"quarantined as {codes}, expected {facts['code']}"]
    support.run("wsp-ingest", *arguments)
    (path,) = (support.state(out) / "cases").glob("*.json")
    case = json.loads(path.read_text())
    spacing = case["geometry"]["spacing_mm"]
    areas = np.array(case["profile"]["liver_mm2"]) / (spacing[0] * spacing[1])
    voxels = np.rint(areas).astype(int)
    wrong = close(areas, voxels, 0.02, "voxels from areas")
    reference = reference_counts(export, mask, options)
    if "near" not in facts and reference is not None:
        compared["mask voxels"] += 1
        wrong += close(voxels, reference, 0, "beside the independent reader voxels")
        z = case["geometry"]["z_mm"]
        heights = np.gradient(z) if len(z) > 1 else np.array([spacing[2]])  # half way to either neighbour
        volume = (np.array(reference) * heights).sum() * spacing[0] * spacing[1] / 1000
        wrong += close(case["mask"]["liver_ml"], volume, 0.002 + 1e-4 * volume, "millilitres of as many voxels")
    if "near" in facts:  # contours and the voxels of somebody else's rasteriser: all but edge voxels
        wrong += close(voxels, reference, 0, "beside the explicit rasteriser voxels")
        compared["mask voxels"] += 1
        truth = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(data / facts["near"])).dataobj).sum((0, 1))
        wrong += close(voxels, truth, 0.06 * truth.max(), "beside the published voxels")
    expected = facts.get("voxels")
    if expected is not None:
        wrong += close(voxels if isinstance(expected, list) else voxels.sum(), expected, 0, "voxels")
    if "ml" in facts:
        wrong += close(case["mask"]["liver_ml"], facts["ml"], facts.get("ml tolerance", 0.006), "millilitres")
    if "slices" in facts:
        wrong += close(np.flatnonzero(voxels)[[0, -1]], facts["slices"], 0, "first and last liver slice")
    means = np.array(case["profile"]["liver_mean_hu"])
    if "means" in facts:
        wrong += close(means, facts["means"], 0.06, "mean HU by slice")
    if "mean" in facts:
        wrong += close((means * voxels).sum() / voxels.sum(), facts["mean"], 0.006, "mean HU")
    wrong += [f"flag {f} is missing" for f in facts.get("flags", []) if f not in case["flags"]]
    return wrong


def label_table(data, work, touched):
    """lihc_labels.csv with 49 small volumes of its names: 34 with label 0 and 15 with label 1."""
    table = data / "lihc_labels.csv"
    touched.add(table)
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    support.check(counts([r["label"] for r in rows]) == {"0": 34, "1": 15}, "the label table itself")
    (work / "export").mkdir()
    (work / "masks").mkdir()
    volume = np.full((8, 8, 12), 60, np.int16)
    mask = np.zeros(volume.shape, np.uint8)
    mask[2:6, 2:6, 2:10] = 1
    for r in rows:
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([5, 5, 5, 1])), work / "export" / r["subject"])
        nibabel.save(nibabel.Nifti1Image(mask, np.diag([5, 5, 5, 1])), work / "masks" / r["subject"])
    support.run("wsp-ingest", work / "export", "--out", work / "out", "--ids", "keep", "--size", 16, "--shards", 1, "--masks", work / "masks",
                "--labels", table, "--manifest", support.SOURCE / "data-manifests" / "tcga-lihc.json")
    made = json.loads((work / "out" / "dataset.json").read_text())
    labels = {k: v["cases"] for k, v in made["classes"]["label"].items()}
    ishak = {k: v["cases"] for k, v in made["classes"]["ishak"].items()}
    wrong = [] if labels == {"0": 34, "1": 15} else [f"cases by label {labels}"]
    wrong += [] if ishak == counts([r["class"] for r in rows]) else [f"cases by Ishak group {ishak}"]
    wrong += [] if made["counts"]["unmatched_label_rows"] == 0 and made["counts"]["subjects"] == 49 else [f"counts {made['counts']}"]
    return wrong


def main(data):
    if not shutil.which("dcm2niix"):
        print("*** dcm2niix is NOT installed: what it reads is NOT compared (apt install dcm2niix) ***", flush=True)
    failed, touched = 0, set()
    compared = dict.fromkeys(("nibabel", "pydicom geometry", "pydicom sums", "dcm2niix", "mask voxels"), 0)

    def check(name, run):
        nonlocal failed
        with support.temporary() as directory:
            wrong = run(pathlib.Path(directory))
        for message in wrong:
            print(f"{name}: {message}")
        failed += bool(wrong)

    for paths, facts in TABLE:
        def scan(work):
            copy(data, paths, work / "export", touched)
            done = support.run("wsp-ingest", "scan", work / "export", "--pixels", "--json", expect=None)
            return differences(json.loads(done.stdout), facts, work / "export", compared)
        check(paths, scan)
    for row in MASKS:
        check(" ".join(row[:2]) + " " + " ".join(row[2]), lambda work: mask_differences(data, row, work, touched, compared))
    check("lihc_labels.csv", lambda work: label_table(data, work, touched))

    files = [data / line.split("  ", 1)[1] for line in (data / "SHA256SUMS").read_text().splitlines()]
    missed = [str(p.relative_to(data)) for p in files if p not in touched and p.parent.name != "LICENSES" and p.name not in ("MANIFEST.md", "SHA256SUMS")]
    support.check(not missed, f"{len(missed)} files are in no row of the table: {missed[:9]}")
    support.check(failed == 0, f"{failed} of {len(TABLE) + len(MASKS) + 1} entries differ")
    print(f"{len(TABLE) + len(MASKS) + 1} entries, {len(touched)} files are as the MANIFEST says; compared with others: {compared}")


main(support.data_dir())
