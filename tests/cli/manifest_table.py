"""Every entry of the shared data's MANIFEST.md as one table, through `wsp-ingest scan --pixels --json`.

Numbers are the MANIFEST's (dcm2niix, dcmtk, gdcm, OpenJPEG, nibabel); where it gives stored values, the HU sum is
slope x sum + intercept x voxels. Sums are also taken by pydicom, nibabel and dcm2niix here, where they can read."""
import json
import pathlib
import shutil
import subprocess

import support

support.require("numpy", "nibabel", "pydicom")
import nibabel
import numpy as np
import pydicom

SLICE = 512 * 512
CT1 = {"size": [512, 512, 1], "code": "TOO_FEW_SLICES", "sum": 40028413 - 1024 * SLICE, "min": -3024, "max": 2278 - 1024}
CUBE = {"size": [3, 3, 3], "spacing": [1, 1, 1], "code": "TOO_FEW_SLICES", "min": 0, "max": 26, "sum": 351}
MR = {"size": [64, 64, 1], "code": "NOT_CT", "min": 127, "max": 2145, "sum": 2125338}
ONE = "transfer_syntax/same_ct_image_15_encodings/CTImage.dcm_"
GE = {"size": [512, 512, 1], "code": "TOO_FEW_SLICES"}
LOSSLESS = {**GE, "min": -2000 - 1024, "max": 2402 - 1024, "sum": 19640763 - 1024 * SLICE}
# dcmtk rescales lossy JPEG: compare in HU. 12 bit: stored sum 405866194, slope 2.0002442, intercept -4047.
LOSSY12 = {**GE, "sum": 405866194 * 2.0002442 - 4047 * SLICE, "tolerance": SLICE / 2}

# path (a folder, or files copied into one) -> the facts of its one series; "others" counts the remaining files by code.
TABLE = [
    ("liver/ts_abdopelvis_3mm_nifti/example_ct.nii.gz", {"code": "USED", "size": [122, 101, 112], "spacing": [3, 3, 3], "min": -1207, "max": 3382, "nibabel": True}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/example_ct_sm.nii.gz", {"code": "USED", "size": [122, 101, 30], "spacing": [3, 3, 3], "nibabel": True}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/liver.nii.gz", {"code": "USED", "size": [122, 101, 30], "min": 0, "max": 1, "sum": 39350, "nibabel": True}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/statistics.json", {"others": {"NOT_DICOM": 1}}),
    ("liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom", {"code": "USED", "size": [512, 512, 35], "spacing": [0.859375, 0.859375, 5], "z": [-178.329, -8.329], "tilt": 0, "gaps": [], "min": -3024, "max": 3071, "sum": -8976328117, "syntax": "1.2.840.10008.1.2.1", "pydicom": True, "dcm2niix": True}),
    ("liver/lidc_0314_philips_1mm_FFS_dicom_lower60", {"code": "USED", "size": [512, 512, 60], "spacing": [0.78125, 0.78125, 1], "z": [-679.8, -620.8], "tilt": 0, "gaps": [], "min": -1000, "max": 1649, "sum": -9647594203, "syntax": "1.2.840.10008.1.2", "pydicom": True, "dcm2niix": True}),
    ("liver/dcmqi_ct3slice_with_dicomseg/0[123].dcm liver/dcmqi_ct3slice_with_dicomseg/liver.dcm", {"code": "TOO_FEW_SLICES", "size": [512, 512, 3], "spacing": [0.810547, 0.810547, 1], "z": [-128.69, -126.69], "min": -3024, "max": 1381, "sum": -750951030, "masks": 1, "others": {"USED_AS_MASK": 1}}),
    ("geometry/ge_hispeed_tilt+18.5_variable_spacing", {"code": "USED", "size": [512, 512, 28], "spacing": [0.4882812, 0.4882812, 4.0019], "tilt": 18.50, "distances": [4.0019] * 13 + [1.0811] + [6.9986] * 13, "pydicom": True}),
    ("geometry/philips_ingenuity_tilt-18.5_phantom_16of54", {"code": "USED", "size": [512, 512, 16], "spacing": [0.482421875, 0.482421875, 2.3708], "tilt": 18.50, "gaps": [], "pydicom": True}),
    # The folder's name says 5-10-5; pydicom reads z 18.1075, 23.1075, 28.1075, 38.1075: the hole is the last gap.
    ("geometry/ge_missing_slice_gap_5-10-5", {"code": "TOO_FEW_SLICES", "size": [512, 512, 4], "spacing": [0.429688, 0.429688, 5], "z": [18.1075, 38.1075], "distances": [5, 5, 10], "gaps": [10], "min": -1024, "max": -770, "pydicom": True}),
    ("geometry/siemens_not_a_volume_4_slices_same_position", {"code": "DUPLICATE_POSITION", "size": [512, 512, 4], "z": [61.5, 61.5]}),
    ("geometry/philips_surview_localizer", {"code": "LOCALIZER", "size": [512, 256, 1], "others": {"DICOMDIR": 1}}),
    ("geometry/philips_exam_summary_mixed_sizes", {"series": {"SECONDARY_CAPTURE": 2, "BURNED_IN": 1}, "others": {"DICOMDIR": 1}}),
    *((ONE + name, LOSSLESS) for name in (
        "LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm", "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
        "BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm", "DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
        "RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm", "JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
        "JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm", "JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
        "JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm")),
    (ONE + "JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm", {**GE, "min": -2001 - 1024, "max": 2401 - 1024, "sum": 19673724 - 1024 * SLICE}),
    (ONE + "JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm", {**GE, "min": -2003 - 1024, "max": 2401 - 1024, "sum": 19626368 - 1024 * SLICE}),
    (ONE + "JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm", LOSSY12),
    (ONE + "JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm", {**LOSSY12, "or refused": True}),
    (ONE + "JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm", {**LOSSY12, "or refused": True}),
    ("transfer_syntax/nema_ct1_uncompressed_and_htj2k/CT1_UNC", CT1),
    ("transfer_syntax/nema_ct1_uncompressed_and_htj2k/CT1_JPH", {**CT1, "syntax": "1.2.840.10008.1.2.4.202"}),
    ("transfer_syntax/nema_ct1_j2k_three_fragments", CT1),
    ("transfer_syntax/nema_ct1_rle_fragments", CT1),
    ("transfer_syntax/jpegxl_unsupported", {"code": "UNSUPPORTED_TRANSFER_SYNTAX", "detail": "1.2.840.10008.1.2.4.111"}),
    ("transfer_syntax/small_pydicom/CT_small.dcm", {"code": "TOO_FEW_SLICES", "size": [128, 128, 1], "min": 128 - 1024, "max": 2191 - 1024, "sum": 14826310 - 1024 * 128 * 128}),
    *((f"transfer_syntax/small_pydicom/{n}.dcm", MR) for n in ("MR_small", "MR_small_implicit", "MR_small_bigendian", "MR_small_RLE", "MR_small_jpeg_ls_lossless", "MR_small_jp2klossless", "MR_small_padded")),
    ("transfer_syntax/small_pydicom/image_dfl.dcm", {"code": "SECONDARY_CAPTURE", "sum": 33322688}),
    # Its upper stored values are negative at 13 bits; the sum is pydicom's after that, slope and intercept.
    ("transfer_syntax/small_pydicom/J2K_pixelrep_mismatch.dcm", {"code": "TOO_FEW_SLICES", "size": [512, 512, 1], "min": -2000, "sum": -172605258}),
    ("transfer_syntax/small_pydicom/JPEGLSNearLossless_16.dcm", {"size": [10, 50, 1], "code": "SECONDARY_CAPTURE", "sum": 6007250}),
    ("transfer_syntax/bits", {"size": [512, 512, 1], "min": 0, "max": 255, "sum": 33804530}),
    ("multiframe/eCT_Supplemental.dcm", {"code": "DERIVED", "size": [512, 512, 2], "min": -1024, "max": 1196 - 1024, "sum": 199249408 - 2 * 1024 * SLICE}),
    ("multiframe/emri_small.dcm", {"code": "NOT_CT", "size": [64, 64, 10], "sum": 4493276}),
    ("multiframe/emri_small_big_endian.dcm", {"code": "NOT_CT", "size": [64, 64, 10], "sum": 4493276}),
    ("seg_rt/dcmqi_23x38x3/image seg_rt/dcmqi_23x38x3/seg", {"size": [23, 38, 3], "masks": 1, "others": {"USED_AS_MASK": 1}}),
    ("seg_rt/dcmqi_23x38x3/multiframe", {"size": [23, 38, 3]}),
    ("seg_rt/dcmqi_23x38x3/nrrd", {"size": [23, 38, 3], "sum": 4 + 314 + 4}),
    ("seg_rt/dcmqi_labelmap/sparse_labelmap_noppv_seg.nrrd", {"size": [24, 38, 3], "sum": 2 * 315}),
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/dicom_ct", {"code": "USED", "size": [141, 137, 51], "spacing": [0.976562, 0.976562, 3.27], "min": -1000, "max": 1479, "sum": -401221999, "pydicom": True, "dcm2niix": True}),
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/CT_image.nii.gz", {"code": "USED", "size": [141, 137, 51], "spacing": [0.976562, 0.976562, 3.27], "sum": -401221999, "nibabel": True}),
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/CT_mask.nii.gz", {"sum": 8862, "nibabel": True}),
    ("seg_rt/rtstruct_phantom_mim", {"size": [512, 512, 2], "spacing": [0.488281, 0.488281, 5], "z": [60, 65], "masks": 3, "others": {"USED_AS_MASK": 3}}),
    ("seg_rt/pydicom_rt/rtstruct.dcm seg_rt/pydicom_rt/rtplan.dcm", {"series": {}, "others": {"MASK_UNREFERENCED": 1, "NO_PIXELS": 1}}),
    ("seg_rt/pydicom_rt/rtdose.dcm", {"code": "NOT_CT"}),
    ("seg_rt/lungfcp_modality_SEG_stored_as_CT", {"code": "NOT_CT"}),
    ("dicomdir", {"series": {"TOO_FEW_SLICES": 2, "LOCALIZER": 2, "NOT_CT": 20}, "others": {"DICOMDIR": 7, "NOT_DICOM": 1}}),
    ("charset", {"series": {"SECONDARY_CAPTURE": 7}}),
    ("corrupt/dicom/MR_truncated.dcm", {"others": {"TRUNCATED_FILE": 1}}),
    ("corrupt/dicom_fo/GH177*", CT1),
    ("corrupt/nifti", {"series": {}}),
    ("corrupt/hdf5_cve", {"others": {"NOT_DICOM": 69}}),
    ("corrupt/hdf5_fuzz", {"others": {"NOT_DICOM": 4}}),
    ("junk", {"others": {"NOT_DICOM": 5}}),
    ("hdf5_zoo", {"others": {"NOT_DICOM": 10}}),
    *((f"nifti_zoo/{t}.nii", CUBE) for t in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")),
    ("nifti_zoo/avg152T1_LR_nifti.nii.gz", {"size": [91, 109, 91], "spacing": [2, 2, 2], "nibabel": True}),
    ("nifti_zoo/nibabel/anatomical.nii", {"size": [33, 41, 25], "nibabel": True}),
    ("nifti_zoo/nibabel/example4d.nii.gz nifti_zoo/nibabel/example_nifti2.nii.gz", {"others": {"NOT_3D": 2}}),
    ("nifti_zoo/nibabel/nifti[12].hdr", {"others": {"BAD_HEADER": 2}}),
]


def nibabel_sum(path):
    return int(np.rint(np.asanyarray(nibabel.load(path).dataobj, dtype=float)).sum())


def pydicom_sum(folder):
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            d = pydicom.dcmread(path)
            total += int(np.rint(d.pixel_array.astype(float) * float(d.RescaleSlope) + float(d.RescaleIntercept)).sum())
    return total


def dcm2niix_sum(folder, out):
    out.mkdir()
    subprocess.run(["dcm2niix", "-z", "n", "-f", "x", "-o", out, folder], check=True, capture_output=True)
    return nibabel_sum(out / "x.nii")


def close(found, expected, tolerance, what):
    found, expected = np.atleast_1d(found), np.atleast_1d(expected)
    return [] if found.shape == expected.shape and (np.abs(found - expected) <= tolerance).all() else [
        f"{what} is {found.tolist()}, expected {expected.tolist()}"]


def counts(codes):
    return {c: codes.count(c) for c in set(codes)}


def differences(report, facts, work):
    wrong = []
    if "others" in facts and (found := counts([f["code"] for f in report["files"]])) != facts["others"]:
        wrong.append(f"other files {found}, expected {facts['others']}")
    if "series" in facts and (found := counts([s["disposition"] for s in report["series"]])) != facts["series"]:
        wrong.append(f"series {found}, expected {facts['series']}")
    if not set(facts) - {"others", "series"}:
        return wrong
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
    files = [p for p in work.rglob("*") if p.is_file()]
    if facts.get("nibabel"):
        wrong += close(pixels["sum_hu"], nibabel_sum(files[0]), 0, "nibabel's sum")
    if facts.get("pydicom"):
        wrong += close(pixels["sum_hu"], pydicom_sum(work), 0, "pydicom's sum")
    if facts.get("dcm2niix") and shutil.which("dcm2niix"):
        wrong += close(pixels["sum_hu"], dcm2niix_sum(work, work.parent / "niix"), 0, "dcm2niix's sum")
    return wrong


def main(data):
    if not shutil.which("dcm2niix"):
        print("*** dcm2niix is not installed: its sums are not compared ***")
    failed = 0
    for paths, facts in TABLE:
        with support.temporary() as directory:
            work = pathlib.Path(directory) / "export"
            for pattern in paths.split():
                found = sorted(data.glob(pattern))
                support.check(found, f"the shared data lacks {pattern}")
                for path in found:
                    if path.is_dir():
                        shutil.copytree(path, work / path.name)
                    else:
                        work.mkdir(exist_ok=True)
                        shutil.copy(path, work)
            done = support.run("wsp-ingest", "scan", work, "--pixels", "--json")
            wrong = differences(json.loads(done.stdout), facts, work)
        for message in wrong:
            print(f"{paths}: {message}")
        failed += bool(wrong)
    support.check(failed == 0, f"{failed} of {len(TABLE)} entries differ")
    print(f"{len(TABLE)} entries are as the MANIFEST says")


main(support.data_dir())
