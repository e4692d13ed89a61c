"""TorchScript models of the tests, their descriptors, and what they give on a volume by explicit loops.

    models.py make DIR [NAME...]                every model below, or these: DIR/NAME.ts and DIR/NAME.json
    models.py onnx DIR NAME...                  after make: DIR/NAME.onnx by PyTorch's exporter, and DIR/NAME_onnx.json
    models.py expect DIR VOLUME.json NAME...    DIR/NAME.raw: float32 probabilities [z][y][x] on the volume's grid

VOLUME.json: {"size": [x, y, z], "hu": FILE of int16 [z][y][x]}. Nothing here is shared with the
C++ side: windows, orders and weights are written out again."""
import hashlib
import inspect
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F


class Band2d(torch.nn.Module):
    """Threshold and smooth: the mean of 3 x 3 pixels lies between two HU; what it finds stands 3 rows and 5 columns further on, so
    that a flipped or transposed slice gives another mask. Logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        smooth = F.avg_pool2d(x, 3, 1, 1, False, False)
        band = 40.0 * (0.1502 - torch.abs(smooth - 0.4003))
        return F.pad(band, [5, 0, 3, 0], value=-9.0)[:, :, : x.size(2), : x.size(3)]


class Below(torch.nn.Module):
    """2.5-D: the foremost neighbour's value where the last one is brighter, as two channels of logits for a softmax."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        liver = 30.0 * (x[:, 0:1] - 0.3501) + 4.0 * torch.relu(x[:, 4:5] - x[:, 2:3])
        return torch.cat([torch.zeros_like(liver), liver], 1)


class Labels(torch.nn.Module):
    """A label map: 0, 1 and 2 by two thresholds; 1 and 2 are liver."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0.4).to(torch.int64) + (x > 0.6).to(torch.int64) + 3 * (x > 0.8).to(torch.int64)


class Ramp3d(torch.nn.Module):
    """3-D: smoothed HU, and a ramp along each axis of the window, so that the answer depends on where in a window a voxel lies and
    blending shows. Probabilities."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        smooth = F.avg_pool3d(x, [3, 1, 3], [1, 1, 1], [1, 0, 1], False, False)
        a = torch.arange(x.size(2)).to(x.dtype).reshape(-1, 1, 1) / x.size(2)
        b = torch.arange(x.size(3)).to(x.dtype).reshape(-1, 1) / x.size(3)
        c = torch.arange(x.size(4)).to(x.dtype) / x.size(4)
        return torch.sigmoid(6.0 * (smooth - 0.4) + 0.6 * a - 0.4 * b + 0.2 * c)


class Convolved(torch.nn.Module):
    """Two convolutions, what half precision is for; `viewed` asks for planes in one piece between them, which the channels-last
    layout does not give. Logits about the value that 0.4 has."""

    def __init__(self, viewed: bool):
        super().__init__()
        self.viewed = viewed
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 1, 3, padding=1)
        with torch.no_grad():
            weight = 1 + torch.sin(torch.arange(216.0) * 1.7).reshape(8, 3, 3, 3) / 2
            self.first.weight.copy_(weight / weight.sum([1, 2, 3], True))
            self.first.bias.zero_()
            self.second.weight.copy_(weight[:, :1].transpose(0, 1) * 20 / weight[:, :1].sum())
            self.second.bias.fill_(-8.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        if self.viewed:
            x = x.view(x.size(0), -1).view(x.size(0), 8, x.size(2), x.size(3))
        return self.second(x)


class WrongShape(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, 2)


class ShapeByContent(torch.nn.Module):
    """The shape is right on the small input of a probe and wrong on a real slice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.size(3) <= 64 else x[:, :, :, 1:]


class NotFinite(torch.nn.Module):
    """Not a number where air is: never on the probe of values above it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x.sum([2, 3], True) < 0.02 * x.size(2) * x.size(3), x * float("nan"), x)


class AlwaysNotFinite(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x - 2.0)


class OutOfRange(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5.0 * x


class Raises(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(0) > 0:
            raise RuntimeError("this model never runs")
        return x


class Crashes(torch.nn.Module):
    """Ends the process by a signal: the one integer division that a processor cannot do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lowest = (x.size(0) * 0 - 1) * 9223372036854775807 - 1
        return x * (lowest // (x.size(0) * 0 - 1))


class FindsNothing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


class Hangs(torch.nn.Module):
    """Never returns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while x.size(0) > 0:
            x = x * 1.0
        return x


class HangsByContent(torch.nn.Module):
    """Answers the small input of a probe, and never returns from a real slice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while x.size(3) > 64:
            x = x * 1.0
        return x


class RaisesByContent(torch.nn.Module):
    """Answers the small input of a probe, and throws on a real slice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(3) > 64:
            raise RuntimeError("no room for 96 columns in /home/someone/net.py")
        return x


class GrowsByContent(torch.nn.Module):
    """Answers the small input of a probe, and asks for more memory than there is on a real slice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(3) > 64:
            return torch.ones([1 << 20, 1 << 20, 1 << 10])
        return x


class TakesOneAtATime(torch.nn.Module):
    """Band2d where there is memory for one slice of a real volume, or for none (`never`), in the words of LibTorch's allocator."""

    def __init__(self, never: bool):
        super().__init__()
        self.never = never
        self.band = Band2d()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(3) > 64 and (self.never or x.size(0) > 1):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)")
        return self.band(x)


SCALE = {"window_hu": [-100, 400], "scale": [0, 1]}
PROBABILITY = {"activation": "none", "liver_channels": [0]}
MODELS = {
    "band": (Band2d(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "convolved": (Convolved(False), {"dimensions": "2.5d", "neighbours": 1, "orientation": "SPL", **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "viewed": (Convolved(True), {"dimensions": "2.5d", "neighbours": 1, "orientation": "SPL", **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "turned": (Band2d(), {"dimensions": "2d", "orientation": "IRA", **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "padded": (Band2d(), {"dimensions": "2d", "orientation": "SAL", "multiple": 32, **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "below": (Below(), {"dimensions": "2.5d", "neighbours": 2, "orientation": "SPL", **SCALE}, {"activation": "softmax", "liver_channels": [1]}),
    "above": (Below(), {"dimensions": "2.5d", "neighbours": 2, "orientation": "ILA", **SCALE}, {"activation": "softmax", "liver_channels": [1]}),
    "labels": (Labels(), {"dimensions": "2d", "orientation": "SPR", "window_hu": [0, 200], "scale": [0, 1]}, {"liver_labels": [1, 2]}),
    "ramp": (Ramp3d(), {"dimensions": "3d", "orientation": "SPL", "patch": [16, 24, 20], "overlap": 0.5, "window_hu": [-200, 300], "mean": -200, "std": 500}, PROBABILITY),
    "rolled": (Ramp3d(), {"dimensions": "3d", "orientation": "RIP", "patch": [20, 12, 16], "overlap": 0.25, **SCALE}, {**PROBABILITY, "threshold": 0.6}),
    "wrong_shape": (WrongShape(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "shape_by_content": (ShapeByContent(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "not_finite": (NotFinite(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "always_not_finite": (AlwaysNotFinite(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "out_of_range": (OutOfRange(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "raises": (Raises(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "finds_nothing": (FindsNothing(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "hangs": (Hangs(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "hangs_by_content": (HangsByContent(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "raises_by_content": (RaisesByContent(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "grows_by_content": (GrowsByContent(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
    "one_at_a_time": (TakesOneAtATime(False), {"dimensions": "2d", "orientation": "SPL", **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "never_fits": (TakesOneAtATime(True), {"dimensions": "2d", "orientation": "SPL", **SCALE}, {"activation": "sigmoid", "liver_channels": [0]}),
    "crashes": (Crashes(), {"dimensions": "2d", "orientation": "SPL", **SCALE}, PROBABILITY),
}


def make(directory, *names):
    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True)
    for name in names or MODELS:
        module, given, output = MODELS[name]
        path = directory / f"{name}.ts"
        torch.jit.script(module.eval()).save(str(path))
        (directory / f"{name}.json").write_text(json.dumps({
            "format": "wsp-segmentation-model", "version": 1, "name": name, "model_version": "1", "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "input": given, "output": output}, indent=1))


def onnx(directory, *names):
    directory = pathlib.Path(directory)
    for name in names:
        module, given, _ = MODELS[name]
        path = directory / f"{name}.onnx"
        flat = given["dimensions"] != "3d"
        x = torch.rand(2, 2 * given.get("neighbours", 0) + 1, 64, 96) if flat else torch.rand(1, 1, *given["patch"])
        older = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
        torch.onnx.export(module.eval(), (x,), str(path), input_names=["x"], output_names=["y"], opset_version=13,
                          dynamic_axes={"x": {0: "n", 2: "rows", 3: "columns"}} if flat else None, **older)
        described = json.loads((directory / f"{name}.json").read_text())
        (directory / f"{name}_onnx.json").write_text(json.dumps({
            **described, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


def turn(volume, orientation):
    """[z][y][x] of S, P, L to the axes of an orientation; and the way back."""
    order, flips = [], []
    for axis, letter in enumerate(orientation):
        forward = "SPL".find(letter)
        order.append(forward if forward >= 0 else "IAR".find(letter))
        flips += [axis] if forward < 0 else []
    return np.flip(volume.transpose(order), flips), lambda v: np.flip(v, flips).transpose(np.argsort(order))


def liver(output, described):
    if "liver_labels" in described:
        return np.isin(output[:, 0], described["liver_labels"]).astype(np.float32)
    if described["activation"] == "sigmoid":
        return torch.sigmoid(torch.from_numpy(output)).numpy()[:, described["liver_channels"]].max(1)
    if described["activation"] == "softmax":
        output = torch.softmax(torch.from_numpy(output), 1).numpy()
    return output[:, described["liver_channels"]].sum(1)


def run(model, batch):
    with torch.no_grad():
        return model(torch.from_numpy(np.ascontiguousarray(batch))).numpy()


def slices(model, values, given, described):
    """values: [slices][rows][columns] in the model's order."""
    n, rows, columns = values.shape
    k, multiple = given.get("neighbours", 0), given.get("multiple", 1)
    result = np.zeros_like(values)
    for s in range(n):
        channels = [values[min(max(s + d, 0), n - 1)] for d in range(-k, k + 1)]
        height, width = (-(-v // multiple) * multiple for v in (rows, columns))
        top, left = (height - rows) // 2, (width - columns) // 2
        # An axis that runs backwards is padded by the volume's own order.
        if given["orientation"][1] in "RAI":
            top = height - rows - top
        if given["orientation"][2] in "RAI":
            left = width - columns - left
        padded = np.zeros((1, len(channels), height, width), np.float32)
        padded[0, :, top : top + rows, left : left + columns] = channels
        result[s] = liver(run(model, padded), described)[0, top : top + rows, left : left + columns]
    return result


def starts(size, patch, overlap):
    step = max(1, math.floor(patch * (1 - overlap)))
    gaps = math.ceil((size - patch) / step)
    return [0] + [(size - patch) * i // gaps for i in range(1, gaps + 1)]


def windows(model, values, given, described):
    """Gaussian-weighted sliding window over [z][y][x], windows turned to the model's order; summed in float64."""
    turned_patch = np.zeros(given["patch"], np.int8)
    patch = turn(np.zeros((1, 1, 1), np.int8), given["orientation"])[1](turned_patch).shape
    size = [max(s, p) for s, p in zip(values.shape, patch)]
    first = [(s - v) // 2 for s, v in zip(size, values.shape)]
    grid = np.zeros(size, np.float32)  # the window's lower value is 0 with these scales
    inside = tuple(slice(f, f + v) for f, v in zip(first, values.shape))
    grid[inside] = values
    gauss = [np.exp(-0.5 * ((np.arange(p) - (p - 1) / 2) / (p / 8)) ** 2) for p in patch]
    weight = np.maximum(gauss[0][:, None, None] * gauss[1][None, :, None] * gauss[2][None, None, :], 1e-3)
    total, weights = np.zeros(size), np.zeros(size)
    for z in starts(size[0], patch[0], given["overlap"]):
        for y in starts(size[1], patch[1], given["overlap"]):
            for x in starts(size[2], patch[2], given["overlap"]):
                at = (slice(z, z + patch[0]), slice(y, y + patch[1]), slice(x, x + patch[2]))
                window, back = turn(grid[at], given["orientation"])
                p = back(liver(run(model, window[None, None]), described)[0])
                total[at] += weight * p
                weights[at] += weight
    return (total / weights)[inside]


def expect(directory, volume_file, *names):
    for name in names:
        expect_one(pathlib.Path(directory), volume_file, name)


def expect_one(directory, volume_file, name):
    descriptor = json.loads((directory / f"{name}.json").read_text())
    given, described = descriptor["input"], descriptor["output"]
    model = torch.jit.load(str(directory / descriptor["file"]))
    volume = json.loads(pathlib.Path(volume_file).read_text())
    hu = np.fromfile(volume["hu"], np.int16).reshape(volume["size"][::-1])
    low, high = given["window_hu"]
    clipped = np.clip(hu.astype(np.float32), low, high)
    if "mean" in given:
        values = (clipped - given["mean"]) / np.float32(given["std"])
    else:
        values = (clipped - low) / np.float32(high - low)
    if given["dimensions"] == "3d":
        result = windows(model, values, given, described)
    else:
        turned, back = turn(values, given["orientation"])
        result = back(slices(model, turned, given, described))
    np.ascontiguousarray(result, np.float32).tofile(directory / f"{name}.raw")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"make": make, "onnx": onnx, "expect": expect}[sys.argv[1]](*sys.argv[2:])
