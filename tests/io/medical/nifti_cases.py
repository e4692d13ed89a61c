"""Write NIfTI files with nibabel, and what as_closest_canonical makes of them; or check ours."""
import gzip
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
        "whole": bool((data == np.rint(data)).all()),
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
    cases[-1]["conflict"] = True
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
    # sform and qform: which differences matter.
    def both(name, sform, qform, conflict, scode=1, qcode=1):
        one = nib.Nifti1Image(voxels(), None)
        one.set_qform(qform, qcode)
        one.set_sform(sform, scode)
        add(name, one)
        cases[-1]["conflict"] = conflict

    grid = np.diag([-0.7, -0.7, 2.5])
    for axis in range(3):
        flipped = grid.copy()
        flipped[axis] *= -1
        both(f"flip{axis}.nii", affine(flipped), affine(grid), True)
        both(f"flipq{axis}.nii.gz", affine(grid), affine(flipped), True)
        both(f"flip_code{axis}.nii", affine(flipped), affine(grid), False, qcode=0)
    both("moved.nii", affine(grid, (100, -50, 7)), affine(grid), False)
    both("turned.nii", affine(rotation((0.1, -0.2, 0.2)) @ grid), affine(grid), False)
    both("swapped.nii", affine(grid[[1, 0, 2]]), affine(grid), True)
    both("size.nii", affine(2 * grid), affine(grid), True)
    both("same.nii", affine(grid), affine(grid), False)

    def patch(source, name, *changes):
        """Write a copy with other header bytes; give its path."""
        header = bytearray((out / source).read_bytes())
        for at, value in changes:
            header[at:at + len(value)] = value
        (out / name).write_bytes(header)
        return out / name

    def same(source, name):
        """The same right values as another file's."""
        cases.append({**next(c for c in cases if c["file"] == source), "file": name})

    zeros, nan = bytes(48), np.full(12, np.nan, "<f4").tobytes()
    # An empty sform beside a good qform is none; alone it is no transform.
    image = nib.Nifti1Image(voxels(), None)
    image.set_qform(affine(rotation((0.1, 0, 0)) @ grid), 1)
    image.set_sform(None, 0)
    add("q.nii", image)
    for name, rows in (("zero", zeros), ("nan", nan), ("flat", np.ones(12, "<f4").tobytes())):
        patch("q.nii", f"{name}_sform.nii", (254, b"\1\0"), (280, rows))
        same("q.nii", f"{name}_sform.nii")
        patch("q.nii", f"{name}_alone.nii", (252, b"\0\0\1\0"), (280, rows))
        cases.append({"file": f"{name}_alone.nii", "code": "NO_AFFINE"})
    # An empty qform beside a good sform is none.
    patch("same.nii", "no_q.nii", (80, bytes(12)))
    same("same.nii", "no_q.nii")
    patch("q.nii", "q_no_size.nii", (80, bytes(12)))
    cases.append({"file": "q_no_size.nii", "code": "NO_AFFINE"})
    patch("q.nii", "q_no_rotation.nii", (256, np.array([1, 1, 1], "<f4").tobytes()))
    cases.append({"file": "q_no_rotation.nii", "code": "NO_AFFINE"})
    # Lengths have no sign, qfac turns the third axis round.
    for k in range(3):
        path = patch("q.nii", f"negative{k}.nii", (80 + 4 * k, np.array(-(0.7, 0.7, 2.5)[k], "<f4").tobytes()))
        cases.append({"file": path.name, **truth(nib.load(path))})
        assert cases[-1]["origin"] == next(c for c in cases if c["file"] == "q.nii")["origin"]
    for name, qfac in (("minus", -1), ("zero", 0), ("plus", 1)):
        path = patch("q.nii", f"qfac_{name}.nii", (76, np.array(qfac, "<f4").tobytes()))
        cases.append({"file": path.name, **truth(nib.load(path))})
    patch("q.nii", "qfac_odd.nii", (76, np.array(-3, "<f4").tobytes()))
    cases.append({"file": "qfac_odd.nii", "code": "BAD_HEADER"})
    # Units of length; nibabel leaves the affine in the header's unit.
    for name, unit, mm in (("mm", 2, 1), ("unknown", 0, 1), ("seconds", 8, 1), ("metre", 1, 1000), ("micron", 3, 1e-3)):
        for kind in ("s", "q"):
            one = nib.Nifti1Image(voxels(), None)
            scaled = affine(grid / mm, np.array([-31.5, 12.25, 400.75]) / mm)
            one.set_sform(scaled if kind == "s" else None, int(kind == "s"))
            one.set_qform(scaled, int(kind == "q"))
            nib.save(one, out / "unit.nii")
            path = patch("unit.nii", f"unit_{name}_{kind}.nii", (123, bytes([unit])))
            right = truth(nib.load(path))
            for key in ("spacing", "origin"):
                right[key] = [mm * number for number in right[key]]
            cases.append({"file": path.name, **right})
    for name, unit in (("metre", 1), ("micron", 3)):
        patch("q.nii", f"wrong_{name}.nii", (123, bytes([unit])))
        cases.append({"file": f"wrong_{name}.nii", "code": "BAD_HEADER"})
    second = nib.Nifti2Image(voxels(), affine(1000 * grid))
    second.header.set_xyzt_units("micron")
    nib.save(second, out / "unit_second.nii")
    cases.append({"file": "unit_second.nii", **truth(second)})
    for key in ("spacing", "origin"):
        cases[-1][key] = [1e-3 * number for number in cases[-1][key]]
    # Where the voxels begin.
    plain = (out / "same.nii").read_bytes()
    offset = lambda value: np.array(value, "<f4").tobytes()
    for name, data in (("0_352", plain), ("0_348", plain[:348] + plain[352:])):
        (out / f"offset{name}.nii").write_bytes(data[:108] + offset(0) + data[112:])
        (out / f"offset{name}.nii.gz").write_bytes(gzip.compress((out / f"offset{name}.nii").read_bytes()))
        same("same.nii", f"offset{name}.nii")
        same("same.nii", f"offset{name}.nii.gz")
    (out / "offset400.nii").write_bytes(plain[:108] + offset(400) + plain[112:352] + bytes(48) + plain[352:])
    same("same.nii", "offset400.nii")
    for name, value in (("1", 1), ("347", 347), ("half", 352.5), ("nan", np.nan), ("huge", 1e30)):
        patch("same.nii", f"offset_{name}.nii", (108, offset(value)))
        cases.append({"file": f"offset_{name}.nii", "code": "BAD_HEADER"})
    patch("same.nii", "offset_beyond.nii", (108, offset(353)))
    cases.append({"file": "offset_beyond.nii", "code": "TRUNCATED_FILE"})
    (out / "offset_unknown.nii").write_bytes(plain[:108] + offset(0) + plain[112:] + b"12")
    cases.append({"file": "offset_unknown.nii", "code": "BAD_HEADER"})
    # Scaling that is none, and one that is half.
    for name, slope, inter in (("nan", np.nan, np.nan), ("zero", 0, 100), ("inf", np.inf, 1)):
        patch("same.nii", f"slope_{name}.nii", (112, offset(slope) + offset(inter)))
        same("same.nii", f"slope_{name}.nii")
    patch("same.nii", "inter_nan.nii", (112, offset(2) + offset(np.nan)))
    cases.append({"file": "inter_nan.nii", "code": "BAD_HEADER"})
    patch("same.nii", "cal.nii", (124, offset(10) + offset(-10)))
    same("same.nii", "cal.nii")
    # Gzip is what begins as gzip does.
    packed = gzip.compress(plain)
    for name, data in (("packed.nii", packed), ("plain.nii.gz", plain), ("junk.nii.gz", packed + b"junk" * 9),
                       ("PLAIN.NII", plain), ("Packed.Nii.GZ", packed), ("padded.nii.gz", packed + bytes(512)),
                       ("members.nii.gz", gzip.compress(plain[:400]) + gzip.compress(plain[400:]))):
        (out / name).write_bytes(data)
        same("same.nii", name)
    damaged = bytearray(packed)
    damaged[-6] ^= 1
    wrong = bytearray(packed)
    wrong[-1] ^= 1
    for name, data, code in (("crc.nii.gz", damaged, "DECODE_FAILED"), ("length.nii.gz", wrong, "DECODE_FAILED"),
                             ("cut_crc.nii.gz", packed[:-7], "TRUNCATED_FILE"), ("cut_length.nii.gz", packed[:-1], "TRUNCATED_FILE"),
                             ("short.nii.gz", gzip.compress(plain[:-2]), "TRUNCATED_FILE")):
        (out / name).write_bytes(data)
        cases.append({"file": name, "code": code})
    # Pairs, in any case, either part packed, voxels after a gap.
    pair, voxel_part = (out / "pair.hdr").read_bytes(), (out / "pair.img").read_bytes()
    for stem, names in enumerate(((".HDR", ".IMG"), (".hdr", ".IMG.GZ"), (".hdr.gz", ".img"), (".Hdr.Gz", ".img.gz"))):
        for end, data in zip(names, (pair, voxel_part)):
            (out / f"pair{stem}{end}").write_bytes(gzip.compress(data) if end.lower().endswith("gz") else data)
        same("pair.hdr", f"pair{stem}{names[0]}")
    (out / "gap.hdr").write_bytes(pair[:108] + offset(64) + pair[112:])
    (out / "gap.img").write_bytes(bytes(64) + voxel_part)
    same("pair.hdr", "gap.hdr")
    (out / "gap_cut.hdr").write_bytes(pair[:108] + offset(64) + pair[112:])
    (out / "gap_cut.img").write_bytes(bytes(64) + voxel_part[:-1])
    cases.append({"file": "gap_cut.hdr", "code": "TRUNCATED_FILE"})
    (out / "analyze.hdr").write_bytes(pair[:344] + bytes(4))
    (out / "analyze.img").write_bytes(voxel_part)
    cases.append({"file": "analyze.hdr", "code": "NO_AFFINE"})
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
    cases.append({"file": "cut.nii.gz", "code": "TRUNCATED_FILE"})
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
