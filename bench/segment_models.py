"""Untrained U-Nets as TorchScript with descriptors, for bench/segment.sh: python3 segment_models.py DIR"""
import hashlib
import json
import pathlib
import sys

import torch
from torch import nn


class UNet(nn.Module):
    """Two convolutions a level with instance norm, pooling down, transposed convolutions up."""

    def __init__(self, dimensions, channels, width, depth):
        super().__init__()
        conv, norm, up = ((nn.Conv2d, nn.InstanceNorm2d, nn.ConvTranspose2d), (nn.Conv3d, nn.InstanceNorm3d, nn.ConvTranspose3d))[dimensions - 2]
        self.pool = (nn.MaxPool2d, nn.MaxPool3d)[dimensions - 2](2)

        def block(a, b):
            return nn.Sequential(conv(a, b, 3, padding=1), norm(b), nn.ReLU(), conv(b, b, 3, padding=1), norm(b), nn.ReLU())

        widths = [width << i for i in range(depth + 1)]
        self.down = nn.ModuleList([block(a, b) for a, b in zip([channels] + widths[:-1], widths)])
        self.up = nn.ModuleList([up(b, a, 2, 2) for a, b in zip(widths[:-1], widths[1:])][::-1])
        self.merge = nn.ModuleList([block(2 * a, a) for a in widths[:-1]][::-1])
        self.head = conv(width, 1, 1)

    def forward(self, x):
        kept = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else self.pool(x))
            kept.append(x)
        for i, (up, merge) in enumerate(zip(self.up, self.merge)):
            x = merge(torch.cat([up(x), kept[len(kept) - 2 - i]], 1))
        return self.head(x)


torch.manual_seed(0)
directory = pathlib.Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)
SCALE = {"window_hu": [-100, 400], "scale": [0, 1]}
for name, network, example, given in (
    ("2.5d-256", UNet(2, 3, 16, 4), (2, 3, 256, 256), {"dimensions": "2.5d", "neighbours": 1, "orientation": "SPL", "size": [256, 256], **SCALE}),
    ("2d-512", UNet(2, 1, 8, 4), (2, 1, 512, 512), {"dimensions": "2d", "orientation": "SPL", "multiple": 16, **SCALE}),
    ("3d-96", UNet(3, 1, 8, 3), (1, 1, 64, 96, 96), {"dimensions": "3d", "orientation": "SPL", "patch": [64, 96, 96], **SCALE}),
):
    with torch.no_grad():
        traced = torch.jit.trace(network.eval(), torch.rand(example))
    path = directory / f"{name}.ts"
    traced.save(str(path))
    (directory / f"{name}.json").write_text(json.dumps({
        "format": "wsp-segmentation-model", "version": 1, "name": name, "model_version": "0", "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "input": given,
        "output": {"activation": "sigmoid", "liver_channels": [0]}}))
