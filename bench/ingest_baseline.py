"""The plain script that bench/ingest.sh compares with: pydicom reads, h5py writes gzip chunks of the central 70 % of the liver's slices.

EXPORT MASKS OUT; masks are NIfTI files named by series UID. No check of anything."""

import collections
import pathlib
import sys

import h5py
import nibabel
import numpy as np
import pydicom


def main() -> None:
    export, masks, out = (pathlib.Path(a) for a in sys.argv[1:4])
    series = collections.defaultdict(list)
    for path in sorted(export.rglob("*.dcm")):
        image = pydicom.dcmread(path)
        series[image.SeriesInstanceUID].append(image)
    for uid, images in series.items():
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
        liver = np.asarray(nibabel.load(masks / f"{uid}.nii.gz").dataobj)
        # NIfTI's first axis runs along x, and RAS turns x and y of DICOM round where the affine says so.
        affine = nibabel.load(masks / f"{uid}.nii.gz").affine
        liver = liver[:: -1 if affine[0, 0] > 0 else 1, :: -1 if affine[1, 1] > 0 else 1].transpose(2, 1, 0)
        area = liver.reshape(len(liver), -1).sum(axis=1)
        held = np.flatnonzero(area)
        length = held[-1] - held[0] + 1
        n = max(1, int(0.7 * length))
        first = held[0] + (length - n) // 2
        with h5py.File(out / f"{uid}.h5", "w") as file:
            shape = (n, images[0].Rows, images[0].Columns)
            pixels = file.create_dataset("image", shape, "i2", chunks=(1, *shape[1:]), compression="gzip", shuffle=True)
            mask = file.create_dataset("mask", shape, "u1", chunks=(1, *shape[1:]), compression="gzip")
            for k in range(n):
                image = images[first + k]
                hu = np.rint(image.pixel_array * np.float32(image.RescaleSlope) + np.float32(image.RescaleIntercept))
                pixels[k] = np.clip(hu, -100, 400).astype(np.int16)
                mask[k] = liver[first + k] != 0


if __name__ == "__main__":
    main()
