"""Compare views drawn by augment_cpu with torch's affine_grid and grid_sample in float64.

grid_sample_reference.py FILE: int64 size, images, views; int16 images [images, size, size]; per view and image nine
float64: flip_x, flip_y, angle, shift_x, shift_y, crop_x, crop_y, crop_w, crop_h; float32 views [views, images, size, size]. Exits with 77 where torch is absent.
"""
import math
import sys

try:
    import numpy as np
    import torch
    from torch.nn.functional import affine_grid, grid_sample
except ImportError as error:
    print(f"*** {error}: python3-torch and python3-numpy are needed; nothing was compared ***", file=sys.stderr)
    sys.exit(77)


def matrix(flip_x, flip_y, angle, shift_x, shift_y, crop_x, crop_y, crop_w, crop_h):
    """Source of an output position, both in torch's coordinates: -1 and 1 are the image's edges."""
    c, s = math.cos(angle), math.sin(angle)
    # What happens to the image, each step as a map of positions.
    centre_x, centre_y = 2 * crop_x + crop_w - 1, 2 * crop_y + crop_h - 1
    crop = np.array([[1 / crop_w, 0, -centre_x / crop_w], [0, 1 / crop_h, -centre_y / crop_h], [0, 0, 1]])
    shift = np.array([[1, 0, 2 * shift_x], [0, 1, 2 * shift_y], [0, 0, 1]])
    rotation = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])  # counter-clockwise where y points down
    flips = np.diag([-1 if flip_x else 1, -1 if flip_y else 1, 1])
    return np.linalg.inv(flips @ rotation @ shift @ crop)


with open(sys.argv[1], "rb") as file:
    size, images, views = np.fromfile(file, np.int64, 3)
    hu = np.fromfile(file, np.int16, images * size * size).reshape(images, 1, size, size)
    parameters = np.fromfile(file, np.float64, views * images * 9).reshape(views, images, 9)
    found = np.fromfile(file, np.float32, views * images * size * size).reshape(views, images, size, size)

source = torch.from_numpy((hu.astype(np.float64) + 100) / 500)
worst = 0
for view in range(views):
    theta = torch.from_numpy(np.stack([matrix(*p)[:2] for p in parameters[view]]))
    grid = affine_grid(theta, source.shape, align_corners=False)
    expected = grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    worst = max(worst, np.abs(expected[:, 0].numpy() - found[view]).max())
print(f"{views * images} views of {size}x{size}: largest difference from torch {worst:.2g}")
# The affine is kept in float32: positions agree to about 1e-5 of a pixel, neighbours differ by up to 1.
sys.exit(0 if worst < 1e-4 else 1)
