"""Write NIfTI files with nibabel, and what as_closest_canonical makes of them; or check ours."""
import itertools
import json
import sys
from pathlib import Path

try:
    import nibabel as nib
    import numpy as np
except ImportError:
    sys.exit(77)

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def truth(image):
    """Canonical in our sense: LPS, x fastest, rounded half to even."""
    canonical = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(image.dataobj, dtype=np.float64), image.affine))
    data = np.asanyarray(canonical.dataobj)[::-1, ::-1, :]
    affine = canonical.affine.copy()
    corner = affine @ [data.shape[0] - 1, data.shape[1] - 1, 0, 1]
    affine[:, 0] *= -1
    affine[:, 1] *= -1
    affine[:3, 3] = corner[:3]
    affine = LPS @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return {
        "size": list(data.shape),
        "spacing": spacing.tolist(),
        "origin": affine[:3, 3].tolist(),
        "axis": (affine[:3, :3] / spacing).T.tolist(),
        "hu": np.rint(data).astype(int).flatten(order="F").tolist(),
    }


def make(out):
    rng = np.random.default_rng(7)
    cases = []

    def add(name, image, code=None):
        nib.save(image, out / name)
        cases.append({"file": name, "code": code} if code else {"file": name, **truth(nib.load(out / name))})

    def voxels(shape=(3, 4, 5), dtype=np.int16):
        return rng.integers(-100 if np.issubdtype(dtype, np.signedinteger) else 0, 100, shape).astype(dtype)

    def rotation(angles):
        a, b, c = angles
        rx = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
        ry = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
        rz = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
        return np.array(rx) @ ry @ rz

    def affine(matrix, origin=(-31.5, 12.25, 400.75)):
        out_matrix = np.eye(4)
        out_matrix[:3, :3] = matrix
        out_matrix[:3, 3] = origin
        return out_matrix

    # Every order of axes with turning signs, by sform and by qform alone.
    for i, order in enumerate(itertools.permutations(range(3))):
        for j, signs in enumerate([(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, -1, -1)]):
            matrix = np.zeros((3, 3))
            for k in range(3):
                matrix[order[k], k] = signs[k] * (0.7, 1.3, 2.5)[k]
            add(f"axes{i}{j}.nii.gz", nib.Nifti1Image(voxels(), affine(matrix)))
            image = nib.Nifti1Image(voxels(), None)
            image.set_qform(affine(rotation((0.1, -0.2, 0.15)) @ matrix), 1)
            image.set_sform(None, 0)
            add(f"qform{i}{j}.nii", image)
    # sform wins over a qform that says something else.
    image = nib.Nifti1Image(voxels(), affine(rotation((0.2, 0.1, -0.3)) @ np.diag([-1, -1, 3])))
    image.set_qform(affine(np.eye(3)), 2)
    add("both.nii", image)
    # Kinds of file.
    lps = affine(np.diag([-1.0, -1.0, 2.0]))
    add("second.nii", nib.Nifti2Image(voxels(), lps))
    add("second.nii.gz", nib.Nifti2Image(voxels(), lps))
    big = nib.Nifti1Image(voxels(), lps, nib.Nifti1Header(endianness=">"))
    add("big.nii", big)
    add("pair.hdr", nib.Nifti1Pair(voxels(), lps))
    add("flat.nii", nib.Nifti1Image(voxels((4, 5, 1)), lps))
    add("trailing.nii", nib.Nifti1Image(voxels((4, 5, 6, 1)), lps))
    cases[-1].update(truth(nib.Nifti1Image(np.asanyarray(nib.load(out / "trailing.nii").dataobj)[..., 0], lps)))
    for dtype in (np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.float32, np.float64, np.int64, np.uint64):
        add(f"{np.dtype(dtype).name}.nii.gz", nib.Nifti1Image(voxels(dtype=dtype), lps, dtype=dtype))
    add("half.nii", nib.Nifti1Image(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e3, -1e3]).reshape(2, 2, 2), lps))
    # scl_slope and scl_inter.
    for name, slope, inter in (("slope", 2.0, -1024.0), ("fraction", 0.25, 3.0), ("minus", -1.0, 5.0)):
        image = nib.Nifti1Image(voxels(), lps)
        image.header.set_slope_inter(slope, inter)
        nib.save(image, out / f"{name}.nii")
        header = bytearray((out / f"{name}.nii").read_bytes())
        header[112:120] = np.array([slope, inter], dtype="<f4").tobytes()
        (out / f"{name}.nii").write_bytes(header)
        cases.append({"file": f"{name}.nii", **truth(nib.load(out / f"{name}.nii"))})
    second = bytearray((out / "second.nii").read_bytes())
    second[176:192] = np.array([2.0, -1024.0], dtype="<f8").tobytes()
    (out / "second_slope.nii").write_bytes(second)
    cases.append({"file": "second_slope.nii", **truth(nib.load(out / "second_slope.nii"))})
    add("second_big.nii", nib.Nifti2Image(voxels(), lps, nib.Nifti2Header(endianness=">")))
    # An extension before the voxels.
    image = nib.Nifti1Image(voxels(), lps)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    add("extension.nii", image)
    # Axes off a right angle by rounding are taken, a shear is not.
    rounded = np.diag([-1.0, -1.0, 2.0])
    rounded[1, 0] = 1e-4
    add("rounded.nii", nib.Nifti1Image(voxels(), affine(rounded)))
    sheared = np.diag([-1.0, -1.0, 2.0])
    sheared[1, 2] = 0.5
    add("sheared.nii", nib.Nifti1Image(voxels(), affine(sheared)), "BAD_HEADER")
    # Refused by name.
    add("complex.nii", nib.Nifti1Image(voxels().astype(np.complex64), lps), "COMPLEX_VOXELS")
    rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    add("rgb.nii", nib.Nifti1Image(rgb, lps), "RGB_VOXELS")
    add("time.nii.gz", nib.Nifti1Image(voxels((3, 4, 5, 2)), lps), "NOT_3D")
    add("plane.nii", nib.Nifti1Image(voxels((3, 4)), lps), "NOT_3D")
    holes = voxels(dtype=np.float32)
    holes[1, 1, 1] = np.nan
    add("nan.nii", nib.Nifti1Image(holes, lps), "NOT_HU")
    image = nib.Nifti1Image(voxels(), lps)
    nib.save(image, out / "cut.nii")
    (out / "cut.nii").write_bytes((out / "cut.nii").read_bytes()[:-1])
    cases.append({"file": "cut.nii", "code": "TRUNCATED_FILE"})
    nib.save(nib.Nifti1Image(voxels((60, 60, 60)), lps), out / "cut.nii.gz")
    (out / "cut.nii.gz").write_bytes((out / "cut.nii.gz").read_bytes()[:100000])
    cases.append({"file": "cut.nii.gz", "code": "UNREADABLE"})
    (out / "lonely.hdr").write_bytes((out / "pair.hdr").read_bytes())
    cases.append({"file": "lonely.hdr", "code": "BAD_HEADER"})
    for name, at, value in (("dim.nii", 42, b"\xff\xff"), ("offset.nii", 108, b"\x00\x00\xc0\xff"),
                            ("bare.nii", 0, b"\x5c\x01\x00\x00")):
        header = bytearray((out / "big.nii").read_bytes() if name == "never" else (out / "flat.nii").read_bytes())
        header[at:at + len(value)] = value
        if name == "bare.nii":
            header[252:256] = bytes(4)
        (out / name).write_bytes(header)
        cases.append({"file": name, "code": "NO_AFFINE" if name == "bare.nii" else "BAD_HEADER"})
    (out / "cases.json").write_text(json.dumps(cases))


def check(out):
    expected = json.loads((out / "expected.json").read_text())
    for name, start in (("hu.nii.gz", -30), ("mask.nii", 0)):
        image = nib.load(out / name)
        assert list(image.shape) == expected["size"], image.shape
        world = LPS @ image.affine
        assert np.allclose(world[:3, 3], expected["origin"], atol=1e-4)
        assert np.allclose((world @ [4, 3, 2, 1])[:3], expected["corner"], atol=1e-4)
        data = np.asanyarray(image.dataobj)
        assert (data.flatten(order="F") == np.arange(60) + start).all()
        assert data.dtype == (np.int16 if start else np.uint8), data.dtype
        assert image.header.get_xyzt_units()[0] == "mm"


if sys.argv[1] == "make":
    make(Path(sys.argv[2]))
elif sys.argv[1] == "check":
    check(Path(sys.argv[2]))
