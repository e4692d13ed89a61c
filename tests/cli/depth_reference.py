"""Kept slices, three depths, HU and masks of synthetic series with uneven spacing, gaps, tilt of either sign, prone
and feet-first order and odd matrices, against an explicit reference that follows the definitions alone."""
import json
import pathlib

import support

support.require("numpy", "nibabel", "pydicom", "h5py")
import nibabel
import numpy as np
import pydicom
import pydicom.uid

ROOT = "1.2.826.0.1.3680043.10.1234.77"
CENTRE, RADII = np.array([-41.3, 7.7, 3.9]), np.array([72.0, 61.0, 58.0])  # the liver, LPS mm


def field(p):
    """HU of the tissue at points [..., 3]: linear, so that linear interpolation and area averages keep it; off all ties."""
    return 60.00037 + 0.4 * p[..., 0] - 0.3 * p[..., 1] + 0.25 * p[..., 2]


def in_body(p):
    return (p[..., 0] / 160) ** 2 + (p[..., 1] / 120) ** 2 < 1


class Series:
    """One CT series; positions is the first pixel of every slice, in any order."""

    def __init__(self, number, name, row, column, positions, shape=(512, 512), pixel=0.73):
        self.name, self.uid = name, f"{ROOT}.{number}.2"
        self.number, self.row, self.column = number, np.array(row, float), np.array(column, float)
        self.shape, self.pixel = shape, pixel
        normal = np.cross(self.row, self.column)
        self.normal = normal if normal[2] > 0 else -normal
        # What is in the file counts: DS holds 16 characters.
        self.positions = np.array([[float(f"{v:.4f}") for v in p] for p in positions])
        order = np.argsort(self.positions @ self.normal)
        self.sorted = self.positions[order]
        self.z = self.sorted @ self.normal

    def points(self, origin):
        """World position of every pixel, [rows, columns, 3]."""
        j, i = np.mgrid[: self.shape[0], : self.shape[1]]
        return origin + self.pixel * (i[..., None] * self.row + j[..., None] * self.column)

    def hu(self, origin):
        p = self.points(origin)
        return np.where(in_body(p), np.round(field(p)), -1000).astype(np.int64)

    def write(self, folder):
        folder.mkdir(parents=True)
        for k, origin in enumerate(self.positions):
            d = pydicom.Dataset()
            d.file_meta = pydicom.dataset.FileMetaDataset()
            d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
            d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"{self.uid}.{k + 1}"
            d.StudyInstanceUID, d.SeriesInstanceUID = f"{ROOT}.{self.number}.1", self.uid
            d.FrameOfReferenceUID = f"{ROOT}.{self.number}.3"
            d.Modality, d.PatientID, d.PatientName = "CT", f"P{self.number:03d}", "Depth^Reference"
            d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            d.SeriesDescription, d.InstanceNumber = "portal venous", k + 1  # in file order, not by position
            d.ImagePositionPatient = [f"{v:.4f}" for v in origin]
            d.ImageOrientationPatient = [f"{v:.9f}" for v in (*self.row, *self.column)]
            d.PixelSpacing, d.SliceThickness = [self.pixel, self.pixel], 3
            d.Rows, d.Columns = self.shape
            d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
            d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
            d.RescaleSlope, d.RescaleIntercept = 1, -1024
            d.PixelData = (self.hu(origin) + 1024).astype("<i2").tobytes()
            d.is_little_endian, d.is_implicit_VR = True, False
            pydicom.dcmwrite(folder / f"{(k * 7919) % 1000:03d}_{k}", d, write_like_original=False)


def stack(first, z_positions, shift=lambda dz: (0, 0)):
    return [np.array([first[0] + shift(z)[0], first[1] + shift(z)[1], z]) for z in z_positions]


def all_series():
    corner = (-186.9, -186.9)
    uneven = np.cumsum([0, 2.5, 4, 7.3, 3.1, 2.5, 9, 1.7, 6, 6, 4.4, 5, 8.2, 3, 5, 7, 2.2, 9.1, 5, 6, 7]) * 1.4 - 72.1
    gap = [z for k, z in enumerate(np.arange(30) * 5.0 - 75.1) if k not in (12, 13, 21)]
    even = np.arange(40) * 5.0 - 100.7
    c, s = np.cos(np.radians(18.5)), np.sin(np.radians(18.5))
    axial = ([1, 0, 0], [0, 1, 0])
    return [
        Series(1, "uneven", *axial, stack(corner, uneven)),
        Series(2, "gap", *axial, stack(corner, gap)),
        # The columns climb or fall: start so that the middle of the patient lies where it does in the others.
        Series(3, "tilt plus", [1, 0, 0], [0, c, -s], stack(corner, even + 186.9 * s)),
        Series(4, "tilt minus", [1, 0, 0], [0, c, s], stack(corner, even - 186.9 * s)),
        Series(5, "feet first", *axial, stack(corner, even[::-1])),
        Series(6, "prone", [-1, 0, 0], [0, -1, 0], stack((186.9, 186.9), uneven)),
        Series(7, "wide matrix", *axial, stack((-150.3, -130.2), even), (260, 300), 1.003),
        Series(8, "large matrix", *axial, stack(corner, even[4:36]), (768, 768), 0.487),
    ]


# Off every multiple of 0.01 mm, so that no point lies half-way between two voxels.
MASK_ORIGIN, MASK_SHAPE = np.array([-130.3733, -80.1933, -66.3133]), (180, 170, 140)


def write_mask(path):
    """The liver on a grid of 1 mm of its own; NIfTI in RAS."""
    i = np.stack(np.mgrid[: MASK_SHAPE[0], : MASK_SHAPE[1], : MASK_SHAPE[2]], -1)
    inside = ((((i + MASK_ORIGIN) - CENTRE) / RADII) ** 2).sum(-1) < 1
    affine = np.eye(4)
    affine[:3, 3] = MASK_ORIGIN
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), np.diag([-1, -1, 1, 1]) @ affine), path)
    return inside


def write_seg(series, mask, path):
    """The liver as a DICOM SEG on the pixels of the series itself, frames from head to feet."""
    frames = [(o, nearest(mask, series.points(o))) for o in series.sorted[::-1]]
    frames = [(o, m) for o, m in frames if m.any()]
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.{series.number}.9"
    d.StudyInstanceUID, d.SeriesInstanceUID = f"{ROOT}.{series.number}.1", f"{ROOT}.{series.number}.8"
    d.Modality, d.PatientID, d.SegmentationType = "SEG", f"P{series.number:03d}", "BINARY"
    d.Rows, d.Columns, d.NumberOfFrames = *series.shape, len(frames)
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 1, 1, 0, 0

    def item(**values):
        one = pydicom.Dataset()
        for name, value in values.items():
            setattr(one, name, value)
        return one

    liver = item(CodeValue="10200004", CodingSchemeDesignator="SCT", CodeMeaning="Liver")
    d.SegmentSequence = [item(SegmentNumber=1, SegmentLabel="organ", SegmentedPropertyTypeCodeSequence=[liver])]
    d.ReferencedSeriesSequence = [item(SeriesInstanceUID=series.uid)]
    d.SharedFunctionalGroupsSequence = [item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[f"{v:.9f}" for v in (*series.row, *series.column)])],
        PixelMeasuresSequence=[item(PixelSpacing=[series.pixel, series.pixel], SliceThickness=3)])]
    d.PerFrameFunctionalGroupsSequence = [item(
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
        PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.4f}" for v in o])]) for o, _ in frames]
    bits = np.concatenate([m.ravel() for _, m in frames])
    d.PixelData = np.packbits(bits, bitorder="little").tobytes()
    d.is_little_endian, d.is_implicit_VR = True, False
    pydicom.dcmwrite(path, d, write_like_original=False)


def nearest(mask, p):
    i = np.floor(p - MASK_ORIGIN + 0.5).astype(int)
    ok = ((i >= 0) & (i < MASK_SHAPE)).all(-1)
    i = np.where(ok[..., None], i, 0)
    return (mask[i[..., 0], i[..., 1], i[..., 2]] & ok).astype(np.uint8)


WITH_SEG = ("tilt minus", "gap")  # their masks are DICOM SEG objects, the others' are files


def depth(z, low, high):
    return (z - low) / (high - low)


def on_pixels(series, mask, k, p):
    """The pixel of slice k of the series itself that lies nearest to each point, looked up in its SEG frame."""
    frame = nearest(mask, series.points(series.sorted[k]))
    d = p - series.sorted[k]
    i, j = (np.floor(d @ v / series.pixel + 0.5).astype(int) for v in (series.row, series.column))
    ok = (i >= 0) & (j >= 0) & (i < series.shape[1]) & (j < series.shape[0])
    return frame[np.where(ok, j, 0), np.where(ok, i, 0)] & ok


def check_case(series, case, facts, mask):
    name = series.name
    seg = name in WITH_SEG
    support.check(facts["mask"]["source"] == ("seg" if seg else "file"), f"{name}: {facts['mask']}")
    # The grid that the case says it was read on: upright where the series is tilted.
    g = facts["geometry"]
    axis, spacing = np.array(g["direction"]), np.array(g["spacing_mm"])
    support.check(np.abs(np.array(g["z_mm"]) - series.z).max() < 1e-3, f"{name}: z of the acquired slices")
    support.check(np.abs(axis[2] - series.normal).max() < 1e-4, f"{name}: normal {axis[2]}")
    nx, ny, nz = g["size"]
    j, i = np.mgrid[:ny, :nx]
    flat = i[..., None] * spacing[0] * axis[0] + j[..., None] * spacing[1] * axis[1]
    origins = [np.array(g["origin_mm"]) + (z - series.z[0]) * series.normal for z in series.z]
    if "tilt" not in name:  # every slice starts where its header says, but for turned axes
        turned = series.sorted + (series.row[0] < 0) * series.pixel * (
            (nx - 1) * series.row + (ny - 1) * series.column)
        support.check(np.abs(np.array(origins) - turned).max() < 1e-3, f"{name}: origins")

    liver = [on_pixels(series, mask, k, o + flat) if seg else nearest(mask, o + flat) for k, o in enumerate(origins)]
    areas = np.array([m.sum() * spacing[0] * spacing[1] for m in liver])
    rows = np.flatnonzero(areas >= 100)
    first, last = rows[0], rows[-1]
    n = max(1, 700 * (last - first + 1) // 1000)
    start = first + (last - first + 1 - n) // 2
    kept = list(range(start, start + n))
    support.check(list(case["source_index"]) == kept, f"{name}: kept {list(case['source_index'])} != {kept}")
    z = series.z
    support.check(np.abs(case["z_mm"] - z[kept]).max() < 1e-3, f"{name}: z_mm")
    for column, low, high in (("depth_kept", kept[0], kept[-1]), ("depth_liver", first, last),
                              ("depth_volume", 0, len(z) - 1)):
        error = np.abs(case[column] - depth(z[kept], z[low], z[high])).max()
        support.check(error < 1e-5, f"{name}: {column} is off by {error}")
    error = np.abs(case["liver_area_mm2"] - areas[kept]).max()
    support.check(error < 1e-2, f"{name}: areas are off by {error} mm2, {error / spacing[0] / spacing[1]} pixels")

    worst = 0
    for row, k in enumerate(kept):
        image, label = case["image"][row], case["mask"][row]
        if (nx, ny) == (512, 512):
            p = origins[k] + flat
            expected = np.clip(np.where(in_body(p), np.round(field(p)), -1000), -100, 400)
            support.check(np.array_equal(image, expected), f"{name}: HU of slice {k}")
            support.check(np.array_equal(label, liver[k]), f"{name}: mask of slice {k}")
            continue
        extent = np.array([nx * spacing[0], ny * spacing[1]])
        width, height = (int(round(e / (extent.max() / 512))) for e in extent)
        left, top = (512 - width) // 2, (512 - height) // 2
        # Centres of the stored pixels in source pixels, then in the world: the field is linear.
        x = (np.arange(width) + 0.5) * nx / width - 0.5
        y = (np.arange(height) + 0.5) * ny / height - 0.5
        p = (origins[k] + x[None, :, None] * spacing[0] * axis[0] + y[:, None, None] * spacing[1] * axis[1])
        # Away from the skin and from the rims that a tilted stack lacks.
        inner = (p[..., 0] / 150) ** 2 + (p[..., 1] / 110) ** 2 < 1
        inside = image[top : top + height, left : left + width]
        worst = max(worst, np.abs(inside - np.clip(field(p), -100, 400))[inner].max())
        frame = np.ones((512, 512), bool)
        frame[top : top + height, left : left + width] = False
        support.check((image[frame] == -100).all() and (label[frame] == 0).all(), f"{name}: padding of slice {k}")
        sy, sx = ((2 * np.arange(m) + 1) * source // (2 * m) for m, source in ((height, ny), (width, nx)))
        support.check(np.array_equal(label[top : top + height, left : left + width], liver[k][np.ix_(sy, sx)]),
                      f"{name}: mask of slice {k}")
    support.check(worst <= 1.01, f"{name}: HU differ by up to {worst}")
    flags = set(facts["flags"])
    support.check(("TILT_RESAMPLED" in flags) == ("tilt" in name), f"{name}: flags {flags}")
    support.check(("GAP" in flags) == (name == "gap"), f"{name}: flags {flags}")
    support.check(("RESAMPLED" in flags) == ((nx, ny) != (512, 512)), f"{name}: flags {flags}")
    support.check("LIVER_TRUNCATED" not in flags, f"{name}: flags {flags}")
    print(f"{name:>12}: {n} of {last - first + 1} liver slices kept, equal in z, depths, HU and mask")


def main(work):
    (work / "masks").mkdir()
    series = all_series()
    for s in series:
        s.write(work / "export" / f"p{s.number}")
        mask = write_mask(work / "masks" / f"{s.uid}.nii.gz") if s.number == 1 else mask
        if s.name in WITH_SEG:
            write_seg(s, mask, work / "export" / f"p{s.number}" / "seg")
        elif s.number > 1:
            (work / "masks" / f"{s.uid}.nii.gz").write_bytes((work / "masks" / f"{series[0].uid}.nii.gz").read_bytes())

    def ingest(out, *extra, **kind):
        return support.run("wsp-ingest", work / "export", "--out", out, "--masks", work / "masks", "--ids", "keep",
                           "--shards", 4, *extra, **kind)

    ingest(work / "ds", "--threads", 2)
    support.run("wsp-ingest", "verify", work / "ds")
    cases = support.read_cases(work / "ds")
    support.check(len(cases) == len(series), f"{len(cases)} cases of {len(series)} series: "
                  + (support.state(work / "ds") / "quarantine.tsv").read_text())
    for s in series:
        facts = json.loads((support.state(work / "ds") / "cases" / f"{s.uid}.json").read_text())
        check_case(s, cases[s.uid], facts, mask)

    reference = support.tree(work / "ds")
    for threads in (1, 8):
        ingest(work / f"t{threads}", "--threads", threads)
        support.check(support.tree(work / f"t{threads}") == reference, f"bytes differ at {threads} threads")
    print("byte-identical for 1, 2 and 8 threads")

    ingest(work / "strict", "--tilt", "reject", "--gaps", "reject")
    refused = dict(line.split("\t")[1:3] for line in (support.state(work / "strict") / "quarantine.tsv").read_text().splitlines()[1:])
    expected = {s.uid: "TILTED" for s in series if "tilt" in s.name} | {s.uid: "GAPS" for s in series if s.name == "gap"}
    support.check(refused == expected, f"refused {refused}, expected {expected}")
    print("--tilt reject and --gaps reject: refused by code")


with support.temporary() as directory:
    main(pathlib.Path(directory))
