"""Dice, volumes and surface distances of two masks by numpy and scipy, set beside ours."""
import json
import pathlib
import sys

try:
    import numpy as np
    from scipy import ndimage
except ImportError as error:
    print(f"*** SKIPPED: {error} ***", file=sys.stderr)
    sys.exit(77)

work = pathlib.Path(sys.argv[1])
found = json.loads((work / "found.json").read_text())
spacing = found["spacing_mm"]
a, b = (np.frombuffer((work / name).read_bytes(), np.uint8).reshape(found["size"]) != 0 for name in "ab")


def surface(mask):
    return mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1), border_value=0)


def directed(one, other):
    return ndimage.distance_transform_edt(~surface(other), sampling=spacing)[surface(one)]


distances = np.concatenate([directed(a, b), directed(b, a)])
voxel_ml = np.prod(spacing) / 1000
expected = {
    "dice": 2 * (a & b).sum() / (a.sum() + b.sum()),
    "iou": (a & b).sum() / (a | b).sum(),
    "truth_ml": a.sum() * voxel_ml,
    "predicted_ml": b.sum() * voxel_ml,
    "hd95_mm": np.percentile(distances, 95),
    "assd_mm": distances.mean(),
}
assert distances.max() > 2 and len(distances) > 1000, "the control needs surfaces that differ"
for name, value in expected.items():
    assert abs(found[name] - value) < 1e-6 * max(1, abs(value)), (name, found[name], value)
