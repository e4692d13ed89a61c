"""Real liver CT with masks becomes a dataset that equals an explicit Python reference:
TotalSegmentator's NIfTI (label 5) and the dcmqi series with its DICOM SEG."""
import json
import pathlib
import shutil

import support

support.require("numpy", "nibabel", "pydicom", "h5py")
import nibabel
import numpy as np
import pydicom


def central(areas, minimum=100.0):
    rows = [k for k, a in enumerate(areas) if a >= minimum]
    first, last = rows[0], rows[-1]
    length = last - first + 1
    n = max(1, 700 * length // 1000)
    start = first + (length - n) // 2
    return first, last, start, start + n - 1


def depth(z, low, high):
    return (z - low) / (high - low) if high > low else 0.5


def linear_up(image, width, height):
    """Explicit bilinear enlargement, pixel centres aligned, border held."""

    def taps(source, target):
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.minimum(at.astype(int), source - 2)
        return low, at - low

    x, tx = taps(image.shape[1], width)
    y, ty = taps(image.shape[0], height)
    rows = image[:, x] * (1 - tx) + image[:, x + 1] * tx
    return rows[y] * (1 - ty)[:, None] + rows[y + 1] * ty[:, None]


def compare(case, hu, mask, z, pixel, tolerance):
    """hu, mask: [z][y][x] canonical, native grid; returns after comparing everything that is stored."""
    areas = mask.reshape(len(mask), -1).sum(1) * pixel[0] * pixel[1]
    first, last, kept_first, kept_last = central(areas)
    kept = range(kept_first, kept_last + 1)
    support.check(list(case["source_index"]) == list(kept), f"kept slices {list(case['source_index'])} != {list(kept)}")
    for i, k in enumerate(kept):
        support.check(abs(case["z_mm"][i] - z[k]) < 1e-3, f"z of slice {k}: {case['z_mm'][i]} != {z[k]}")
        for name, low, high in (
            ("depth_kept", kept_first, kept_last),
            ("depth_liver", first, last),
            ("depth_volume", 0, len(z) - 1),
        ):
            expected = depth(z[k], z[low], z[high])
            support.check(abs(case[name][i] - expected) < 1e-5, f"{name} of slice {k}: {case[name][i]} != {expected}")
        support.check(abs(case["liver_area_mm2"][i] - areas[k]) < 1e-2 * pixel[0], f"area of slice {k}")
        if hu.shape[1:] == (512, 512):
            support.check(np.array_equal(case["image"][i], np.clip(hu[k], -100, 400)), f"HU of slice {k}")
            support.check(np.array_equal(case["mask"][i], mask[k]), f"mask of slice {k}")
            continue
        extent = np.array([hu.shape[2] * pixel[0], hu.shape[1] * pixel[1]])
        size = extent.max() / 512
        width, height = (int(round(e / size)) for e in extent)
        left, top = (512 - width) // 2, (512 - height) // 2
        expected = np.full((512, 512), -100.0)
        expected[top : top + height, left : left + width] = np.clip(
            np.round(linear_up(hu[k].astype(float), width, height)), -100, 400
        )
        difference = np.abs(case["image"][i] - expected)
        support.check(difference.max() <= tolerance, f"HU of slice {k} differ by {difference.max()}")
        sy = (2 * np.arange(height) + 1) * hu.shape[1] // (2 * height)
        sx = (2 * np.arange(width) + 1) * hu.shape[2] // (2 * width)
        label = np.zeros((512, 512), np.uint8)
        label[top : top + height, left : left + width] = mask[k][np.ix_(sy, sx)]
        support.check(np.array_equal(case["mask"][i], label), f"mask of slice {k}")
    return areas


def provenance(dataset, name):
    return json.loads((support.state(pathlib.Path(dataset)) / "cases" / f"{name}.json").read_text())


def totalsegmentator(data, work):
    source = data / "liver" / "ts_abdopelvis_3mm_nifti"
    (work / "export").mkdir()
    (work / "masks").mkdir()
    shutil.copy(source / "example_ct.nii.gz", work / "export" / "ts.nii.gz")
    shutil.copy(source / "example_seg_fast_force_split.nii.gz", work / "masks" / "ts.nii.gz")
    support.run("wsp-ingest", work / "export", "--out", work / "ds", "--masks", work / "masks",
                "--liver-label", 5, "--ids", "keep")
    support.run("wsp-ingest", "verify", work / "ds")
    ct = nibabel.as_closest_canonical(nibabel.load(work / "export" / "ts.nii.gz"))
    seg = nibabel.as_closest_canonical(nibabel.load(work / "masks" / "ts.nii.gz"))
    # RAS [x][y][z] -> LPS [z][y][x]: flip x and y.
    to_lps = lambda a: np.ascontiguousarray(a[::-1, ::-1, :].transpose(2, 1, 0))
    hu = np.round(to_lps(np.asanyarray(ct.dataobj))).astype(np.int64)
    mask = (to_lps(np.asanyarray(seg.dataobj)) == 5).astype(np.uint8)
    z = ct.affine[2, 3] + ct.affine[2, 2] * np.arange(len(hu))
    pixel = [abs(ct.affine[0, 0]), abs(ct.affine[1, 1])]
    support.check(mask.sum() == 41692, "the manifest's 41692 liver voxels")
    (name, case), = support.read_cases(work / "ds").items()
    compare(case, hu, mask, z, pixel, tolerance=1)
    facts = provenance(work / "ds", name)
    support.check(abs(facts["mask"]["liver_ml"] - 1125.68) < 0.05, f"liver {facts['mask']['liver_ml']} ml")
    support.check("RESAMPLED" in facts["flags"] and "LIVER_TRUNCATED" in facts["flags"], f"flags {facts['flags']}")
    print("TotalSegmentator NIfTI: equal,", len(case["row"]), "slices kept")


def dcmqi(data, work):
    source = data / "liver" / "dcmqi_ct3slice_with_dicomseg"
    shutil.copytree(source, work / "export", ignore=shutil.ignore_patterns("*.nrrd"))
    support.run("wsp-ingest", work / "export", "--out", work / "ds", "--min-slices", 3, "--ids", "keep")
    support.run("wsp-ingest", "verify", work / "ds")
    slices = sorted((pydicom.dcmread(source / f"0{i}.dcm") for i in (1, 2, 3)),
                    key=lambda d: float(d.ImagePositionPatient[2]))
    hu = []
    for d in slices:
        stored = d.pixel_array.astype(np.int64)
        value = np.round(stored * float(d.RescaleSlope) + float(d.RescaleIntercept)).astype(np.int64)
        value[stored == int(d.PixelPaddingValue)] = -1024
        hu.append(value)
    seg = pydicom.dcmread(source / "liver.dcm")
    frames = seg.pixel_array
    z = np.array([float(d.ImagePositionPatient[2]) for d in slices])
    mask = np.zeros((3, 512, 512), np.uint8)
    for f, item in enumerate(seg.PerFrameFunctionalGroupsSequence):
        at = float(item.PlanePositionSequence[0].ImagePositionPatient[2])
        mask[np.argmin(np.abs(z - at))] = frames[f]
    pixel = [float(v) for v in slices[0].PixelSpacing]
    (name, case), = support.read_cases(work / "ds").items()
    areas = compare(case, np.array(hu), mask, z, pixel, tolerance=0)
    facts = provenance(work / "ds", name)
    support.check(abs(facts["mask"]["liver_ml"] - areas.sum() / 1000) < 0.01, f"liver {facts['mask']['liver_ml']} ml")
    support.check(facts["mask"]["source"] == "seg", f"mask source {facts['mask']['source']}")
    support.check("LIVER_TRUNCATED" in facts["flags"], f"flags {facts['flags']}")
    print("dcmqi DICOM with SEG: equal")


data = support.data_dir()
for job in (totalsegmentator, dcmqi):
    with support.temporary() as directory:
        job(data, pathlib.Path(directory))
