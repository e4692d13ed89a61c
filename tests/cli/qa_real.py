"""Real series are reported as what their manifest says they are: a lung kernel, a dome that is cut off, no contrast, a tilt, a gap.
Where a series has no liver mask, tissue in it stands for one: what is tested is the report on the series."""
import json
import os
import pathlib
import shutil

import support

support.require("numpy", "nibabel", "pydicom")
import nibabel
import numpy as np
import pydicom

DATA = support.data_dir()
SHOWN = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "qa-real"


def soft_tissue_mask(series, target, keep_ends):
    """An ellipsoid in the patient's right half, between 0 and 200 HU, over all slices or all but the ends."""
    slices = []
    for path in sorted(series.iterdir()):
        try:
            d = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if "ImagePositionPatient" in d and "PixelData" in d:
            slices.append(d)
    row, column = (np.array(slices[0].ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    normal = np.cross(row, column)
    slices.sort(key=lambda d: float(np.dot(np.array(d.ImagePositionPatient, float), normal)))
    first, last = (np.array(slices[i].ImagePositionPatient, float) for i in (0, -1))
    hu = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])  # [slice][row][column]
    k, y, x = np.mgrid[: hu.shape[0], : hu.shape[1], : hu.shape[2]]
    body = hu > -200
    cy, cx = (np.average(a, weights=body) for a in (y, x))
    inside = ((x - cx + 70) / 60) ** 2 + ((y - cy) / 60) ** 2 < 1
    mask = inside & body
    if not keep_ends:
        mask[[0, 1, -1, -2]] = False
    step = (last - first) / (len(slices) - 1)
    dy, dx = map(float, slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = row * dx, column * dy, step, first
    affine[:2] *= -1  # LPS to RAS
    uid = str(slices[0].SeriesInstanceUID)
    nibabel.save(nibabel.Nifti1Image(mask.transpose(2, 1, 0).astype(np.uint8), affine), target / f"{uid}.nii.gz")


def upright_mask(series, target):
    """A ball of 50 mm around the middle of a tilted volume, on a grid along the patient's axes."""
    slices = [pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(series.iterdir())]
    d = slices[0]
    row, column = (np.array(d.ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    half = (row * float(d.PixelSpacing[1]) * d.Columns + column * float(d.PixelSpacing[0]) * d.Rows) / 2
    centre = np.mean([np.array(s.ImagePositionPatient, float) for s in slices], 0) + half
    grid = np.mgrid[-30:31, -30:31, -30:31] * 2
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = (centre - 60) * [-1, -1, 1]
    nibabel.save(nibabel.Nifti1Image(((grid**2).sum(0) < 50**2).astype(np.uint8), affine), target / f"{d.SeriesInstanceUID}.nii.gz")


def report(work, name, series, mask, *options, expect=None):
    """Codes of wsp-qa on one series."""
    out, masks = work / name, work / f"{name}-masks"
    masks.mkdir()
    mask(masks)
    done = support.run("wsp-ingest", series, "--out", out, "--masks", masks, "--ids", "keep", "--shards", 1, *options)
    support.run("wsp-qa", out, "--fail-on", "never")
    for source, kind in ((out / "qa" / "pictures", "*-strip.png"), (support.state(out) / "previews", "*.png")):
        for picture in source.glob(kind):
            shutil.copy(picture, SHOWN / f"{name}-{'strip' if 'strip' in kind else 'preview'}.png")
    found = [json.loads(line) for line in (out / "qa" / "findings.jsonl").read_text().splitlines()]
    for f in found:
        print(f"{name:14} {f['severity']:8} {f['code']:20} {f['detail']}")
    return {f["code"] for f in found}


def expect(name, codes, wanted, unwanted=()):
    support.check(set(wanted) <= codes, f"{name}: expected {wanted}, found {sorted(codes)}")
    support.check(not codes & set(unwanted), f"{name}: {sorted(codes & set(unwanted))} is wrong of this series")


def main():
    liver, geometry = DATA / "liver", DATA / "geometry"
    scale = ("HU_OFFSET", "HU_CLIPPED", "DEPTH_FLIPPED", "DUPLICATE_VOLUME", "SHARD_CORRUPT", "LEDGER_MISMATCH")
    SHOWN.mkdir(exist_ok=True)
    with support.temporary() as place:
        work = pathlib.Path(place)
        portal = liver / "cptac_pda_C3L-00189_ge_5mm_portal_dicom"
        expect("portal", report(work, "portal", portal, lambda m: soft_tissue_mask(portal, m, False)), ["KERNEL_SHARP"], scale)
        thin = liver / "lidc_0314_philips_1mm_FFS_dicom_lower60"
        expect("thin", report(work, "thin", thin, lambda m: soft_tissue_mask(thin, m, True)), ["LIVER_TRUNCATED", "NOT_PORTAL"], scale)
        nifti = work / "nifti"
        nifti.mkdir()
        shutil.copy(liver / "ts_abdopelvis_3mm_nifti" / "example_ct.nii.gz", nifti / "case.nii.gz")
        expect("nifti", report(work, "ts", nifti, lambda m: shutil.copy(
            liver / "ts_abdopelvis_3mm_nifti" / "example_seg_fast_force_split.nii.gz", m / "case.nii.gz"), "--liver-label", 5),
            ["LIVER_TRUNCATED", "NOT_PORTAL", "SPACING_OUTLIER"], (*scale, "MASK_MISALIGNED", "ORIENTATION_FLIPPED"))
        tilt = geometry / "ge_hispeed_tilt+18.5_variable_spacing"
        expect("tilt", report(work, "tilt", tilt, lambda m: upright_mask(tilt, m)), ["TILT", "SPACING_IRREGULAR"], scale)
        # The shared series with a gap holds noise instead of a patient: the scan sees its gap; the portal series shows one in the report.
        holed = work / "holed"
        shutil.copytree(portal, holed)
        by_z = sorted((float(pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]), p) for p in holed.iterdir())
        by_z[len(by_z) // 2][1].unlink()
        expect("gap", report(work, "gap", holed, lambda m: soft_tissue_mask(portal, m, False)), ["GAP"], scale)
        gap = geometry / "ge_missing_slice_gap_5-10-5"
        done = support.run("wsp-ingest", "scan", gap, "--min-slices", 3)
        support.check("GAP" in done.stdout, f"the scan does not see the gap: {done.stdout}")


main()
