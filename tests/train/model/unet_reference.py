"""The U-Net written out in Python's Torch, as an independent reader of weights and TorchScript.

unet_reference.py DIR DEPTH RATIO ...   unet.safetensors, unet.ts and unet.onnx (where it is there) must give the logits of
case.safetensors
"""
import pathlib
import sys

import onnx_reference
from weights_reference import F, read, torch


def double_convolution(weights, name, x):
    for i in "12":
        x = F.conv2d(x, weights[f"{name}.conv{i}.weight"], padding=1)
        norm = f"{name}.norm{i}"
        scale, shift = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
        if f"{norm}.running_mean" in weights:
            x = F.batch_norm(x, weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"], scale, shift)
        else:
            x = F.group_norm(x, len(scale) // 8, scale, shift)
        x = F.relu(x)
    return x


def unet(weights, depth, x):
    skips = []
    for level in range(depth + 1):
        x = double_convolution(weights, f"down{level}", F.max_pool2d(x, 2) if level else x)
        skips.append(x)
    for level in reversed(range(depth)):
        x = F.conv_transpose2d(x, weights[f"up{level}.weight"], weights[f"up{level}.bias"], stride=2)
        x = double_convolution(weights, f"join{level}", torch.cat([skips[level], x], 1))
    return F.conv2d(x, weights["head.weight"], weights["head.bias"])


def compare(work, depth, ratio):
    weights, metadata = read(work / "unet.safetensors")
    case, _ = read(work / "case.safetensors")
    assert metadata["wsp.model"] == "unet", metadata
    # The mean of whole blocks of pixels, written without a pooling layer.
    n, c, h, w = case["x"].shape
    small = case["x"].view(n, c, h // ratio, ratio, w // ratio, ratio).mean((3, 5))
    expected = unet(weights, depth, small)
    if ratio > 1:
        expected = F.interpolate(expected, scale_factor=ratio, mode="bilinear", align_corners=False)
    script = torch.jit.load(str(work / "unet.ts"))
    assert not script.eval().training
    largest = max(1, expected.abs().max().item())
    more = []
    if (work / "unet.onnx").exists() and (found := onnx_reference.compute(work / "unet.onnx", case["x"])) is not None:
        more = [("ONNX and Python's", found, expected, 1e-6)]
    for name, found, reference, limit in (
            *more,
            ("network and Python's", case["logits"], expected, 1e-5),
            ("TorchScript and Python's", script(case["x"]), expected, 1e-6),
            ("TorchScript and network", script(case["x"]), case["logits"], 1e-5)):
        error = (found - reference).abs().max().item() / largest
        print(f"{name}: {error:.2e} of the largest logit", file=sys.stderr)
        assert error < limit, name


with torch.no_grad():
    for i in range(1, len(sys.argv), 3):
        compare(pathlib.Path(sys.argv[i]), int(sys.argv[i + 1]), int(sys.argv[i + 2]))
