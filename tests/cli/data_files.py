"""Volumes whose voxels stand in a file of their own (.hdr + .img, .nhdr + .raw): used, accounted for, verified."""
import csv
import gzip
import pathlib

import support

support.require("numpy", "nibabel", "h5py")
import nibabel as nib
import numpy as np

SIZE = (40, 40, 16)


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


with support.temporary() as directory:
    work = pathlib.Path(directory)
    export, masks = work / "export", work / "masks"
    (export / "sub").mkdir(parents=True)
    masks.mkdir()
    grid = np.indices(SIZE)
    body = np.hypot(grid[0] - 20, grid[1] - 20) < 15
    liver = body & (grid[0] < 18) & (grid[2] > 2) & (grid[2] < 13)
    hu = np.where(liver, 110, np.where(body, 40, -1000)).astype(np.int16)
    affine = np.diag([-8.0, -8.0, 5.0, 1.0])
    raw = hu.flatten(order="F").tobytes()

    nib.save(nib.Nifti1Pair(hu, affine), export / "one.hdr")
    nib.save(nib.Nifti1Pair(hu, affine), export / "two.hdr")
    (export / "two.IMG.GZ").write_bytes(gzip.compress((export / "two.img").read_bytes()))
    (export / "two.img").unlink()
    (export / "three.nhdr").write_text(
        f"NRRD0004\ntype: int16\ndimension: 3\nspace: LAS\nsizes: {SIZE[0]} {SIZE[1]} {SIZE[2]}\nendian: little\nencoding: raw\n"
        "space directions: (8,0,0) (0,-8,0) (0,0,5)\nspace origin: (0,0,0)\ndata file: sub/three.raw\n")
    (export / "sub" / "three.raw").write_bytes(raw)
    (export / "lost.img").write_bytes(raw)
    for name in ("one", "two", "three"):
        nib.save(nib.Nifti1Image(liver.astype(np.uint8), affine), masks / f"{name}.nii.gz")

    out = work / "dataset"
    support.run("wsp-ingest", export, "--out", out, "--ids", "keep", "--masks", masks, "--slices", "all", "--size", 64,
                "--codec", "gzip", "--window", -1024, 3071, expect=3)  # one image has no header
    support.run("wsp-ingest", "verify", out)
    used = [row for row in rows(support.state(out) / "ledger.tsv") if row["code"] == "USED"]
    count = {name: sum(row["case"] == name for row in used) for name in ("one", "two", "three")}
    support.check(count == {"one": 2, "two": 2, "three": 2} and len(used) == 6, f"files used by each case: {count}")
    lost = [row["code"] for row in rows(support.state(out) / "ledger.tsv") if row["case"] == "" and row["kind"] == "rejected"]
    support.check(lost == ["DATA_WITHOUT_HEADER"], f"the image without a header: {lost}")
    cases = support.read_cases(out)
    for name in ("two", "three"):
        for column in ("image", "mask"):
            support.check((cases[name][column] == cases["one"][column]).all(), f"{column} of {name} is another than of one")
    support.check(int(cases["one"]["mask"].sum()) > 0, "the masks are empty")

    # A case that is refused takes its voxels along.
    (masks / "three.nii.gz").unlink()
    support.run("wsp-ingest", export, "--out", work / "less", "--ids", "keep", "--masks", masks, "--slices", "all",
                "--size", 64, "--codec", "gzip", expect=3)
    support.run("wsp-ingest", "verify", work / "less")
    refused = [row["code"] for row in rows(support.state(work / "less") / "ledger.tsv") if row["case"] == "three"]
    support.check(refused == ["NO_LIVER_MASK"] * 2, f"files of the refused case: {refused}")
print("volumes with detached voxels are accounted for")
