"""The entries of the shared data's MANIFEST.md as two tables, for manifest_table.py: what `wsp-ingest scan` says of each, and what
masks hold. Numbers are the MANIFEST's; where it gives stored values, the HU sum is slope x sum + intercept x voxels."""

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
