"""Every entry of the shared data's MANIFEST.md as one table: geometry, sums and codes through `wsp-ingest scan --pixels --json`,
masks through `wsp-ingest`.

Numbers are the MANIFEST's (dcm2niix, dcmtk, gdcm, OpenJPEG, nibabel); where it gives stored values, the HU sum is
slope x sum + intercept x voxels. Geometry and sums are also taken by nibabel and pydicom from every file that they can read,
and by dcm2niix where it is right. Every file of SHA256SUMS must be in a row."""
import csv
import json
import pathlib
import shutil
import subprocess
import warnings

import support

support.require("numpy", "nibabel", "pydicom")
import nibabel
import numpy as np
import pydicom

warnings.simplefilter("ignore")  # the files are odd on purpose

SLICE = 512 * 512
CT1 = {"size": [512, 512, 1], "code": "TOO_FEW_SLICES", "sum": 40028413 - 1024 * SLICE, "min": -3024, "max": 2278 - 1024}
CUBE = {"size": [3, 3, 3], "spacing": [1, 1, 1], "code": "TOO_FEW_SLICES", "min": 0, "max": 26, "sum": 351}
MR = {"size": [64, 64, 1], "code": "NOT_CT", "min": 127, "max": 2145, "sum": 2125338}
ONE = "transfer_syntax/same_ct_image_15_encodings/CTImage.dcm_"
GE = {"size": [512, 512, 1], "code": "TOO_FEW_SLICES"}
LOSSLESS = {**GE, "min": -2000 - 1024, "max": 2402 - 1024, "sum": 19640763 - 1024 * SLICE}
# dcmtk rescales lossy JPEG: compare in HU. 12 bit: stored sum 405866194, slope 2.0002442, intercept -4047.
LOSSY12 = {**GE, "sum": 405866194 * 2.0002442 - 4047 * SLICE, "tolerance": SLICE / 2}

# path (a folder, or files copied into one) -> the facts of its one series; "series" counts series by code, "others" the files
# outside any series. "dcm2niix": its size, spacing, place and sum are compared too (a number: with this tolerance in mm).
TABLE = [
    ("liver/ts_abdopelvis_3mm_nifti/example_ct.nii.gz", {"code": "USED", "size": [122, 101, 112], "spacing": [3, 3, 3], "min": -1207, "max": 3382}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/example_ct_sm.nii.gz", {"code": "USED", "size": [122, 101, 30], "spacing": [3, 3, 3]}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/liver.nii.gz", {"code": "LABEL_MAP", "size": [122, 101, 30], "min": 0, "max": 1, "sum": 39350}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/statistics.json", {"others": {"NOT_DICOM": 1}}),
    ("liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom", {"code": "USED", "size": [512, 512, 35], "spacing": [0.859375, 0.859375, 5], "z": [-178.329, -8.329], "tilt": 0, "gaps": [], "min": -3024, "max": 3071, "sum": -8976328117, "syntax": "1.2.840.10008.1.2.1", "dcm2niix": True}),
    ("liver/lidc_0314_philips_1mm_FFS_dicom_lower60", {"code": "USED", "size": [512, 512, 60], "spacing": [0.78125, 0.78125, 1], "z": [-679.8, -620.8], "tilt": 0, "gaps": [], "min": -1000, "max": 1649, "sum": -9647594203, "syntax": "1.2.840.10008.1.2", "dcm2niix": True}),
    ("liver/ts_abdopelvis_3mm_nifti/example_seg_fast_force_split.nii.gz", {"code": "LABEL_MAP", "size": [122, 101, 112], "spacing": [3, 3, 3], "min": 0, "max": 117}),
    ("liver/ts_abdopelvis_3mm_nifti/upper_crop_30/example_seg.nii.gz", {"code": "LABEL_MAP", "size": [122, 101, 30], "spacing": [3, 3, 3]}),
    ("liver/dcmqi_ct3slice_with_dicomseg/0[123].dcm liver/dcmqi_ct3slice_with_dicomseg/liver.dcm", {"code": "TOO_FEW_SLICES", "size": [512, 512, 3], "spacing": [0.810547, 0.810547, 1], "z": [-128.69, -126.69], "min": -3024, "max": 1381, "sum": -750951030, "masks": 1, "others": {"USED_AS_MASK": 1}}),
    ("liver/dcmqi_ct3slice_with_dicomseg/liver_seg.nrrd", {"size": [512, 512, 3], "spacing": [0.810547, 0.810547, 1], "z": [-128.69, -126.69], "sum": 107098}),
    ("liver/dcmqi_ct3slice_with_dicomseg/liver_spine_seg.nrrd", {"size": [512, 512, 3], "spacing": [0.810547, 0.810547, 1]}),
    ("geometry/ge_hispeed_tilt+18.5_variable_spacing", {"code": "USED", "size": [512, 512, 28], "spacing": [0.4882812, 0.4882812, 4.0019], "tilt": 18.50, "distances": [4.0019] * 13 + [1.0811] + [6.9986] * 13}),
    ("geometry/philips_ingenuity_tilt-18.5_phantom_16of54", {"code": "USED", "size": [512, 512, 16], "spacing": [0.482421875, 0.482421875, 2.3708], "tilt": 18.50, "gaps": []}),
    # The folder's name says 5-10-5; pydicom reads z 18.1075, 23.1075, 28.1075, 38.1075: the hole is the last gap.
    ("geometry/ge_missing_slice_gap_5-10-5", {"code": "TOO_FEW_SLICES", "size": [512, 512, 4], "spacing": [0.429688, 0.429688, 5], "z": [18.1075, 38.1075], "distances": [5, 5, 10], "gaps": [10], "min": -1024, "max": -770}),
    ("geometry/siemens_not_a_volume_4_slices_same_position", {"code": "DUPLICATE_POSITION", "size": [512, 512, 4], "z": [61.5, 61.5]}),
    ("geometry/philips_surview_localizer", {"code": "LOCALIZER", "size": [512, 256, 1], "others": {"DICOMDIR": 1}}),
    ("geometry/philips_exam_summary_mixed_sizes", {"series": {"SECONDARY_CAPTURE": 2, "BURNED_IN": 1}, "others": {"DICOMDIR": 1}}),
    # This dcm2niix has neither JPEG-LS nor deflate, and fails on HTJ2K and on frames in fragments.
    *((ONE + name, {**LOSSLESS, "dcm2niix": "JPEGLS" not in name and "Deflated" not in name}) for name in (
        "LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm", "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
        "BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm", "DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
        "RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm", "JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
        "JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm", "JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
        "JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm")),
    (ONE + "JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm", {**GE, "min": -2001 - 1024, "max": 2401 - 1024, "sum": 19673724 - 1024 * SLICE}),
    (ONE + "JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm", {**GE, "min": -2003 - 1024, "max": 2401 - 1024, "sum": 19626368 - 1024 * SLICE, "dcm2niix": True}),
    (ONE + "JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm", LOSSY12),
    (ONE + "JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm", {**LOSSY12, "or refused": True}),
    (ONE + "JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm", {**LOSSY12, "or refused": True}),
    # 8 bit in steps of 32 HU (slope 32.1216): the mean is right to 20.
    (ONE + "JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm", {**GE, "syntax": "1.2.840.10008.1.2.4.50", "sum": 19640763 - 1024 * SLICE, "tolerance": 20 * SLICE}),
    ("transfer_syntax/nema_ct1_uncompressed_and_htj2k/CT1_UNC", {**CT1, "dcm2niix": True}),
    ("transfer_syntax/nema_ct1_uncompressed_and_htj2k/CT1_JPH", {**CT1, "syntax": "1.2.840.10008.1.2.4.202"}),
    ("transfer_syntax/nema_ct1_j2k_three_fragments", CT1),
    ("transfer_syntax/nema_ct1_rle_fragments", CT1),
    ("transfer_syntax/jpegxl_unsupported", {"code": "UNSUPPORTED_TRANSFER_SYNTAX", "detail": "1.2.840.10008.1.2.4.111"}),
    ("transfer_syntax/small_pydicom/CT_small.dcm", {"code": "TOO_FEW_SLICES", "size": [128, 128, 1], "min": 128 - 1024, "max": 2191 - 1024, "sum": 14826310 - 1024 * 128 * 128, "dcm2niix": True}),
    *((f"transfer_syntax/small_pydicom/{n}.dcm", MR) for n in ("MR_small", "MR_small_implicit", "MR_small_bigendian", "MR_small_RLE", "MR_small_jpeg_ls_lossless", "MR_small_jp2klossless", "MR_small_padded")),
    ("transfer_syntax/small_pydicom/image_dfl.dcm", {"code": "SECONDARY_CAPTURE", "sum": 33322688}),
    # Its upper stored values are negative at 13 bits; the sum is pydicom's after that, slope and intercept.
    ("transfer_syntax/small_pydicom/J2K_pixelrep_mismatch.dcm", {"code": "TOO_FEW_SLICES", "size": [512, 512, 1], "min": -2000, "sum": -172605258}),
    ("transfer_syntax/small_pydicom/JPEGLSNearLossless_16.dcm", {"size": [10, 50, 1], "code": "SECONDARY_CAPTURE", "sum": 6007250}),
    ("transfer_syntax/small_pydicom/JPGExtended.dcm", {"size": [256, 1024, 1], "code": "SECONDARY_CAPTURE", "syntax": "1.2.840.10008.1.2.4.51"}),
    ("transfer_syntax/bits", {"size": [512, 512, 1], "min": 0, "max": 255, "sum": 33804530}),
    ("multiframe/eCT_Supplemental.dcm", {"code": "DERIVED", "size": [512, 512, 2], "min": -1024, "max": 1196 - 1024, "sum": 199249408 - 2 * 1024 * SLICE, "dcm2niix": True}),
    ("multiframe/emri_small.dcm", {"code": "NOT_CT", "size": [64, 64, 10], "sum": 4493276}),
    ("multiframe/emri_small_big_endian.dcm", {"code": "NOT_CT", "size": [64, 64, 10], "sum": 4493276}),
    ("seg_rt/dcmqi_23x38x3/image seg_rt/dcmqi_23x38x3/seg", {"size": [23, 38, 3], "masks": 1, "others": {"USED_AS_MASK": 1}}),
    ("seg_rt/dcmqi_23x38x3/multiframe", {"size": [23, 38, 3], "dcm2niix": True}),
    ("seg_rt/dcmqi_23x38x3/nrrd", {"size": [23, 38, 3], "sum": 4 + 314 + 4}),
    ("seg_rt/highdicom_seg/ct_image.dcm", {"code": "TOO_FEW_SLICES", "size": [128, 128, 1], "spacing": [0.661468, 0.661468, 5], "dcm2niix": True}),
    ("seg_rt/highdicom_seg/seg_image_ct_*.dcm", {"series": {}, "others": {"MASK_UNREFERENCED": 3}}),
    ("dicomdir/pydicom_dicomdirtests/77654033/CT2 seg_rt/highdicom_seg/seg_image_ct_*.dcm", {"code": "TOO_FEW_SLICES", "size": [16, 16, 4], "masks": 3, "others": {"USED_AS_MASK": 3}}),
    ("seg_rt/dcmqi_labelmap/sparse-labelmap-noppv.dcm", {"series": {}, "others": {"MASK_UNREFERENCED": 1}}),
    ("seg_rt/dcmqi_labelmap/sparse_labelmap_noppv_seg.nrrd", {"size": [24, 38, 3], "sum": 2 * 315}),
    # dcm2niix puts the uppermost of 51 slices 0.001 mm higher than its ImagePositionPatient.
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/dicom_ct", {"code": "USED", "size": [141, 137, 51], "spacing": [0.976562, 0.976562, 3.27], "min": -1000, "max": 1479, "sum": -401221999, "dcm2niix": 2e-3}),
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/dicom_ct seg_rt/ibsi_sts008_ct_rtstruct_nifti/RS.dcm", {"code": "USED", "masks": 1, "others": {"USED_AS_MASK": 1}}),
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/CT_image.nii.gz", {"code": "USED", "size": [141, 137, 51], "spacing": [0.976562, 0.976562, 3.27], "sum": -401221999}),
    ("seg_rt/ibsi_sts008_ct_rtstruct_nifti/CT_mask.nii.gz", {"sum": 8862}),
    ("seg_rt/rtstruct_phantom_mim", {"size": [512, 512, 2], "spacing": [0.488281, 0.488281, 5], "z": [60, 65], "masks": 3, "others": {"USED_AS_MASK": 3}, "dcm2niix": True}),
    ("seg_rt/pydicom_rt/rtstruct.dcm seg_rt/pydicom_rt/rtplan.dcm", {"series": {}, "others": {"MASK_UNREFERENCED": 1, "NO_PIXELS": 1}}),
    ("seg_rt/pydicom_rt/rtdose.dcm", {"code": "NOT_CT"}),
    ("seg_rt/lungfcp_modality_SEG_stored_as_CT", {"code": "NOT_CT"}),
    ("dicomdir", {"series": {"TOO_FEW_SLICES": 2, "LOCALIZER": 2, "NOT_CT": 20}, "others": {"DICOMDIR": 7, "NOT_DICOM": 1}}),
    ("charset", {"series": {"SECONDARY_CAPTURE": 7}, "others": {"NO_PIXELS": 1}}),
    ("corrupt/dicom/MR_truncated.dcm", {"others": {"TRUNCATED_FILE": 1}}),
    ("corrupt/dicom/badVR.dcm", {"series": {}, "others": {"BAD_HEADER": 1}}),
    ("corrupt/dicom/no_meta.dcm corrupt/dicom/rtplan_truncated.dcm", {"series": {}, "others": {"UNREADABLE": 2}}),
    ("corrupt/dicom/ExplVR_*.dcm corrupt/dicom/no_meta_group_length.dcm corrupt/dicom/UN_sequence.dcm", {"series": {}, "others": {"NO_PIXELS": 4}}),
    # A private sequence and two bytes of pixel data: no Rows.
    ("corrupt/dicom/meta_missing_tsyntax.dcm corrupt/dicom/nested_priv_SQ.dcm", {"series": {}, "others": {"BAD_HEADER": 2}}),
    ("corrupt/dicom/bad_sequence.dcm", {"code": "TOO_FEW_SLICES", "size": [512, 512, 1], "syntax": "1.2.840.10008.1.2.4.70", "dcm2niix": True}),
    ("corrupt/dicom_fo/GH177*", {**CT1, "dcm2niix": True}),
    ("corrupt/dicom_fo/GH220.dcm", {"series": {}, "others": {"NO_PIXELS": 1}}),
    ("corrupt/dicom_fo/1403-OB.dcm", {"code": "SECONDARY_CAPTURE", "size": [3, 3, 1]}),
    ("corrupt/nifti/crash-1.nii", {"series": {}, "others": {"BAD_HEADER": 1}}),
    ("corrupt/nifti/crash-0* corrupt/nifti/crash-9*", {"series": {}, "others": {"NOT_DICOM": 2}}),
    ("corrupt/hdf5_cve", {"others": {"NOT_DICOM": 69}}),
    ("corrupt/hdf5_fuzz", {"others": {"NOT_DICOM": 4}}),
    ("junk", {"others": {"NOT_DICOM": 4, "ARCHIVE": 1}}),
    ("hdf5_zoo", {"others": {"NOT_DICOM": 10}}),
    *((f"nifti_zoo/{t}.nii", CUBE) for t in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")),
    ("nifti_zoo/f32.nii.gz", {"size": [11, 11, 11]}),
    # Neither qform nor sform: no place in the body. A pair is refused as both of its files.
    *((f"nifti_zoo/{f}", {"series": {}, "others": {"NO_AFFINE": len(f.split())}}) for f in (
        "minimal.nii", "minimal.nii.gz", "minimal.hdr nifti_zoo/minimal.img", "minimal.hdr.gz nifti_zoo/minimal.img.gz", "minimal2.hdr nifti_zoo/minimal2.img.gz")),
    ("nifti_zoo/minimal_extended_hdr.nii", {"others": {"NOT_3D": 1}}),
    ("nifti_zoo/avg152T1_LR_nifti.nii.gz", {"size": [91, 109, 91], "spacing": [2, 2, 2]}),
    ("nifti_zoo/nibabel/anatomical.nii", {"size": [33, 41, 25]}),
    ("nifti_zoo/nibabel/example4d.nii.gz nifti_zoo/nibabel/example_nifti2.nii.gz", {"others": {"NOT_3D": 2}}),
    ("nifti_zoo/nibabel/nifti[12].hdr", {"others": {"BAD_HEADER": 2}}),
]

TS = "liver/ts_abdopelvis_3mm_nifti/"
DCMQI = "liver/dcmqi_ct3slice_with_dicomseg/"
SMALL = "seg_rt/dcmqi_23x38x3/"
IBSI = "seg_rt/ibsi_sts008_ct_rtstruct_nifti/"
MIM = "seg_rt/rtstruct_phantom_mim/"
CT2 = "dicomdir/pydicom_dicomdirtests/77654033/CT2"
HIGH = CT2 + " seg_rt/highdicom_seg/seg_image_ct_"
LIVER3 = [36233, 35645, 35220]

# export, mask file ("" for objects of the export), options -> voxels in all or slice by slice from the feet, millilitres, flags,
# or the code under which the case is quarantined. "reference": who else counts.
MASKS = [
    (TS + "example_ct.nii.gz", TS + "example_seg_fast_force_split.nii.gz", ["--liver-label=5"], {"voxels": 41692, "ml": 1125.68, "slices": [69, 111], "flags": ["LIVER_TRUNCATED"], "mean": 44.46}),
    # The published statistics.json says 1062450 mm3 and 44.85855 HU.
    (TS + "upper_crop_30/example_ct_sm.nii.gz", TS + "upper_crop_30/liver.nii.gz", [], {"voxels": 39350, "ml": 1062.45, "flags": ["LIVER_TRUNCATED"], "mean": 44.85855}),
    (TS + "upper_crop_30/example_ct_sm.nii.gz", TS + "upper_crop_30/example_seg.nii.gz", ["--liver-label=5"], {"voxels": 38634, "ml": 1043.12, "mean": 45.29}),
    # Its affine is the one of the full volume: 246 mm off, so it must not pass for that volume's mask.
    (TS + "example_ct.nii.gz", TS + "upper_crop_30/liver.nii.gz", [], {"code": "MASK_MISMATCH"}),
    (DCMQI + "0[123].dcm " + DCMQI + "liver.dcm", "", [], {"voxels": LIVER3, "ml": 70.3624, "means": [40.5, 38.4, 33.0]}),
    (DCMQI + "0[123].dcm", DCMQI + "liver_seg.nrrd", [], {"voxels": LIVER3, "ml": 70.3624}),
    (DCMQI + "0[123].dcm", DCMQI + "liver_spine_seg.nrrd", ["--liver-label=1"], {}),
    (DCMQI + "0[123].dcm", DCMQI + "liver_spine_seg.nrrd", ["--liver-label=1,2"], {}),
    (SMALL + "image " + SMALL + "seg", "", [], {"voxels": [4, 314, 4]}),
    # The multi-frame copy has a series UID of its own, which the SEG does not know.
    (SMALL + "multiframe " + SMALL + "seg", "", [], {"code": "NO_LIVER_MASK"}),
    (SMALL + "multiframe", SMALL + "nrrd/label.nrrd", [], {"voxels": [4, 314, 4]}),
    (SMALL + "image", SMALL + "nrrd/label.nrrd", [], {"voxels": [4, 314, 4]}),
    ("LABELMAP seg_rt/dcmqi_labelmap/sparse-labelmap-noppv.dcm", "", [], {"voxels": [315, 0, 315]}),
    ("LABELMAP", "seg_rt/dcmqi_labelmap/sparse_labelmap_noppv_seg.nrrd", [], {"voxels": [315, 0, 315]}),
    (HIGH + "binary.dcm", "", ["--liver-roi=first segment"], {"voxels": [0, 127, 256, 255]}),
    (HIGH + "binary_fractional.dcm", "", ["--liver-roi=first segment"], {"voxels": [0, 127, 256, 255]}),
    (HIGH + "binary_overlap.dcm", "", ["--liver-roi=first segment"], {"voxels": [16, 16, 16, 16]}),
    (HIGH + "binary_overlap.dcm", "", ["--liver-roi=second segment"], {"voxels": [4, 4, 4, 4]}),
    (HIGH + "binary.dcm", "", [], {"code": "NO_LIVER_SEGMENT"}),
    (IBSI + "dicom_ct " + IBSI + "RS.dcm", "", ["--liver-roi=GTV_Mass_CT"], {"near": IBSI + "CT_mask.nii.gz", "ml": 27.636, "ml tolerance": 0.5}),
    (IBSI + "dicom_ct", IBSI + "CT_mask.nii.gz", [], {"voxels": 8862, "ml": 27.636, "mean": 39.463}),
    (IBSI + "CT_image.nii.gz", IBSI + "CT_mask.nii.gz", [], {"voxels": 8862, "ml": 27.636, "mean": 39.463}),
    (MIM + "ct_*.dcm " + MIM + "rt.dcm", "", ["--liver-roi=ROI-1"], {}),
    (MIM + "ct_*.dcm " + MIM + "invalid_reference_rt.dcm", "", ["--liver-roi=ROI-1"], {"code": "MASK_BAD_REFERENCE"}),
    (MIM + "ct_*.dcm " + MIM + "non_existent_reference_rt.dcm", "", ["--liver-roi=ROI-1"], {"code": "MASK_BAD_REFERENCE"}),
    ("seg_rt/pydicom_rt/rtstruct.dcm " + CT2, "", [], {"code": "NO_LIVER_MASK"}),
]


def canonical(positions, row, column, shape, spacing):
    """Geometry of a stack as `scan` tells it: size, spacing, height along the normal that points to the head, distances, tilt."""
    normal = np.cross(row, column)
    normal *= (1 if normal[2] >= 0 else -1) / np.linalg.norm(normal)
    order = np.argsort(positions @ normal, kind="stable")
    z = (positions @ normal)[order]
    stack = positions[order[-1]] - positions[order[0]]
    across = np.linalg.norm(np.cross(stack, normal))
    steps = np.diff(z)
    return {
        "size": [*shape, len(z)], "spacing": [*spacing, *([np.sort(steps)[(len(steps) - 1) // 2]] if len(steps) else [])],
        "z": [z[0], z[-1]], "distances": steps, "normal": normal, "tilt": np.degrees(np.arctan2(across, abs(stack @ normal))) if len(z) > 1 else 0,
    }


def nibabel_geometry(path):
    image = nibabel.load(path)
    axes = np.diag([-1, -1, 1.0]) @ image.affine[:3, :3]  # to the left and back: DICOM's axes
    origin = np.array([-1, -1, 1]) * image.affine[:3, 3]
    spacing = np.linalg.norm(axes, axis=0)
    unit = axes / spacing
    stack = int(np.argmax(np.abs(unit[2])))
    x, y = [k for k in range(3) if k != stack]
    positions = origin + np.arange(image.shape[stack])[:, None] * axes[:, stack]
    return canonical(positions, unit[:, x], unit[:, y], (image.shape[x], image.shape[y]), (spacing[x], spacing[y]))


def pydicom_planes(files):
    """Position, row and column of every image plane, and its spacing; None where a file is no such image."""
    planes = []
    for path in files:
        d = pydicom.dcmread(path, stop_before_pixels=True)
        if "PerFrameFunctionalGroupsSequence" in d:
            shared = d.SharedFunctionalGroupsSequence[0]
            for frame in d.PerFrameFunctionalGroupsSequence:
                def macro(name):
                    return (frame if name in frame else shared)[name][0]
                planes.append((macro("PlanePositionSequence").ImagePositionPatient, macro("PlaneOrientationSequence").ImageOrientationPatient,
                               macro("PixelMeasuresSequence").PixelSpacing, d))
        elif "ImagePositionPatient" in d and "PixelSpacing" in d:
            planes.append((d.ImagePositionPatient, d.ImageOrientationPatient, d.PixelSpacing, d))
    return planes


def pydicom_geometry(files):
    planes = pydicom_planes(files)
    if not planes:
        return None
    _, axes, spacing, d = planes[0]
    axes = np.array(axes, float)
    return canonical(np.array([p[0] for p in planes], float), axes[:3], axes[3:], (d.Columns, d.Rows), (float(spacing[1]), float(spacing[0])))


def nibabel_sum(path):
    return int(np.rint(np.asanyarray(nibabel.load(path).dataobj, dtype=float)).sum())


def pydicom_sum(files):
    """Sum of rescaled values, or None where pydicom has no decoder here."""
    total = 0
    for path in files:
        d = pydicom.dcmread(path)
        slope, intercept = float(d.get("RescaleSlope", 1)), float(d.get("RescaleIntercept", 0))
        if "SharedFunctionalGroupsSequence" in d:
            for groups in (d.SharedFunctionalGroupsSequence[0], d.PerFrameFunctionalGroupsSequence[0]):
                if "PixelValueTransformationSequence" in groups:
                    slope = float(groups.PixelValueTransformationSequence[0].RescaleSlope)
                    intercept = float(groups.PixelValueTransformationSequence[0].RescaleIntercept)
        try:
            pixels = d.pixel_array
        except (NotImplementedError, RuntimeError, AttributeError, ValueError, KeyError, OverflowError):
            return None  # OverflowError: pydicom 2's handler of Pillow beside NumPy 2, for signed JPEG 2000
        total += int(np.rint(pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)).sum(dtype=float))
    return total


def dcm2niix(folder, out):
    out.mkdir()
    subprocess.run(["dcm2niix", "-z", "n", "-f", "x", "-o", out, folder], check=True, capture_output=True)
    return out / "x.nii"


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
        compared["dcm2niix"] += 1
        nifti = dcm2niix(work, work.parent / "niix")
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


def read_nrrd(path):
    """A gzip NRRD of shorts, z by z."""
    import gzip

    header, _, body = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    nx, ny, nz = map(int, fields["sizes"].split())
    return np.frombuffer(gzip.decompress(body), "<i2").reshape(nz, ny, nx)


def inside(polygon, columns, rows):
    """Pixels whose centres lie inside, by crossings of a ray; the loop that the RTSTRUCT module describes."""
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    result = np.zeros((rows, columns), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0)):
        crosses = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            result ^= crosses & (x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return result


def reference_counts(export, mask, options):
    """Voxels of the liver slice by slice, from the feet, by nibabel, pydicom or an explicit loop; None where nobody else can."""
    label = [int(x) for o in options if o.startswith("--liver-label=") for x in o.split("=")[1].split(",")] or [1]
    if mask is not None and mask.name.endswith(".nii.gz"):
        image = nibabel.as_closest_canonical(nibabel.load(mask))
        return np.isin(np.asanyarray(image.dataobj), label).sum((0, 1)).tolist()
    if mask is not None:
        return np.isin(read_nrrd(mask), label).sum((1, 2)).tolist()
    wanted = next((o.split("=", 1)[1] for o in options if o.startswith("--liver-roi=")), "Liver")
    objects = [d for d in (pydicom.dcmread(p, force=True) for p in sorted(export.rglob("*")) if p.is_file())]
    (seg,) = [d for d in objects if d.get("Modality") in ("SEG", "RTSTRUCT")]
    planes = {round(float(p[0][2]), 1): p for p in pydicom_planes([p for p in sorted(export.rglob("*")) if p.is_file()])}
    found = dict.fromkeys(sorted(planes), 0)
    if seg.Modality == "SEG":
        (number,) = [s.SegmentNumber for s in seg.SegmentSequence if s.SegmentLabel == wanted]
        frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
        for pixels, group in zip(frames, seg.PerFrameFunctionalGroupsSequence):
            if seg.SegmentationType == "LABELMAP":
                pixels = pixels == number
            elif group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
                continue
            found[round(float(group.PlanePositionSequence[0].ImagePositionPatient[2]), 1)] += int((pixels > (127 if seg.SegmentationType == "FRACTIONAL" else 0)).sum())
        return list(found.values())
    (number,) = [r.ROINumber for r in seg.StructureSetROISequence if r.ROIName == wanted]
    masks = {}
    for roi in seg.ROIContourSequence:
        if roi.ReferencedROINumber != number:
            continue
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            z = min(planes, key=lambda k: abs(k - points[0, 2]))
            position, axes, spacing, d = planes[z]
            offset, axes = points - np.array(position, float), np.array(axes, float)
            polygon = np.stack([offset @ axes[:3] / float(spacing[1]), offset @ axes[3:] / float(spacing[0])], 1)
            masks[z] = masks.get(z, False) ^ inside(polygon, d.Columns, d.Rows)
    return [int(np.sum(masks.get(z, 0))) for z in found]


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
