"""What others read in the shared data, for manifest_table.py: geometry, sums and liver voxels by nibabel, pydicom, dcm2niix and
explicit loops."""
import gzip
import subprocess

import nibabel
import numpy as np
import pydicom


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
    """The NIfTI that dcm2niix makes; none where this one is known to look for encapsulated frames in the wrong place, and does."""
    out.mkdir()
    done = subprocess.run(["dcm2niix", "-z", "n", "-f", "x", "-o", out, folder], capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode and "v1.0.20250505" in said and ("signature" in said or "RLE header corrupted" in said):
        print("*** dcm2niix v1.0.20250505 finds no frame where JPEG and RLE hold one: not compared ***", flush=True)
        return None
    assert done.returncode == 0, said
    return out / "x.nii"


def read_nrrd(path):
    """A gzip NRRD of shorts, z by z."""
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
