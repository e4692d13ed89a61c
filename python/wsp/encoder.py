"""Encoders that wsp-train wrote, in plain PyTorch."""
from __future__ import annotations

import os
import pathlib
from typing import Any, Callable, Optional, Sequence, Union

import torch
from torch import nn
from torch.nn import functional as F

from . import _native
from ._errors import Error
from ._torch import normalised

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
          "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
_RESNETS = {"resnet18": ((2, 2, 2, 2), False), "resnet34": ((3, 4, 6, 3), False), "resnet50": ((3, 4, 6, 3), True)}
_Norm = Callable[[int], nn.Module]


class Encoder(nn.Module):
    """An encoder of single slices: HU in, features out, what ``wsp-eval embed`` computes.

    ``encoder(hu)`` does all of it: resizes to ``image_size`` exactly as the trainer does (area
    averaging, rounded), clips to ``window``, normalises, and returns the features. For gradients with
    respect to the image take the two halves: ``represent(preprocess(hu))``; the rounding of a resize
    has none. The names of its weights are those of the file (torchvision's for ResNet).
    """

    def __init__(self, name: str, dimensions: int, smallest_image: int) -> None:
        super().__init__()
        self.name = name
        """tinynet, resnet18, resnet34 or resnet50"""
        self.dimensions = dimensions
        """features of a slice"""
        self.smallest_image = smallest_image
        self.image_size: Optional[int] = None
        """side that it was trained with, to which slices are resized; None: as they come"""
        self.window: "Optional[tuple[float, float]]" = (-100.0, 400.0)
        """HU to which slices are clipped; None: not at all"""
        self.metadata: "dict[str, str]" = {}
        """of the file: method, steps, seed, dataset"""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature maps, [n, dimensions, h, w], of x as ``preprocess()`` gives it."""
        raise NotImplementedError

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        """[n, dimensions] features of x [n, 1, h, w], (HU + 100) / 500. Raises ``usage`` for another
        shape, or an image that is too small."""
        least = self.smallest_image
        if x.dim() != 4 or x.size(1) != 1 or x.size(2) < least or x.size(3) < least:
            raise Error(f"{self.name} takes [n, 1, h, w] with images of at least {least}x{least}, found {list(x.shape)}", "usage")
        return self.maps(x).mean((2, 3))

    def preprocess(self, hu: Any) -> torch.Tensor:
        """HU as the network takes them: [n, 1, s, s] float32 on its device.

        :param hu: array or tensor of HU, [h, w], [n, h, w] or [n, 1, h, w]
        """
        x = torch.as_tensor(hu)
        x = x[None, None] if x.dim() == 2 else x[:, None] if x.dim() == 3 else x
        if x.dim() != 4 or x.size(1) != 1:
            raise Error(f"expected HU as [h, w], [n, h, w] or [n, 1, h, w], found {list(torch.as_tensor(hu).shape)}", "usage")
        if x.is_floating_point() and x.numel() and x.min() >= 0 and x.max() <= 1 and (x != x.round()).any():
            raise Error("expected HU, found values between 0 and 1: give what is normalised already to represent()", "usage")
        if self.window is not None:
            x = x.clamp(*(int(v) if float(v).is_integer() else v for v in self.window))
        if self.image_size is not None and x.shape[2:] != (self.image_size, self.image_size):
            x = resize(x, self.image_size)
        return normalised(x.to(next(self.parameters()).device))

    def forward(self, hu: Any) -> torch.Tensor:
        """Features of HU: [n, dimensions], or [dimensions] of a single slice [h, w]."""
        features = self.represent(self.preprocess(hu))
        return features[0] if torch.as_tensor(hu).dim() == 2 else features


def resize(hu: torch.Tensor, size: int) -> torch.Tensor:
    """[..., h, w] HU as [..., size, size] float64, each axis on its own: area averaging where it gets
    smaller, linear between pixel centres where it gets larger; rounded half to even, as the toolkit's
    loader does, so that the same HU come out anywhere."""
    (rows, row_sum), (columns, column_sum) = _native.resize_weights(hu.size(-2), hu.size(-1), size)
    # Sums of whole HU by whole weights are exact in double precision.
    total = torch.from_numpy(rows).to(hu.device) @ hu.double() @ torch.from_numpy(columns).to(hu.device).T
    return (total / (row_sum * column_sum)).round()


class TinyNet(Encoder):
    """Five unpadded 5x5 convolutions, each with 2x2 max pooling and ReLU, and the mean over the image."""

    def __init__(self) -> None:
        super().__init__("tinynet", 256, 156)
        channels = (1, 16, 32, 64, 128, 256)
        layers: "list[nn.Module]" = []
        for before, after in zip(channels, channels[1:]):
            layers += [nn.Conv2d(before, after, 5), nn.MaxPool2d(2), nn.ReLU()]
        self.features = nn.Sequential(*layers)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.features(x)
        return out


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int, bottleneck: bool, norm: _Norm) -> None:
        super().__init__()
        after = width * (4 if bottleneck else 1)
        plan = [(before, width, 1, 1), (width, width, 3, stride), (width, after, 1, 1)] if bottleneck else \
            [(before, width, 3, stride), (width, after, 3, 1)]
        self.depth = len(plan)
        for i, (a, b, kernel, step) in enumerate(plan, 1):
            self.add_module(f"conv{i}", nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{i}", norm(b))
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after)) \
            if stride != 1 or before != after else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.depth else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(Encoder):
    """torchvision's ResNet for one channel and without the classifier; batch or group normalisation."""

    def __init__(self, name: str, group_norm: bool) -> None:
        blocks, bottleneck = _RESNETS[name]
        super().__init__(name, 2048 if bottleneck else 512, 32)

        def norm(channels: int) -> nn.Module:
            return nn.GroupNorm(32, channels) if group_norm else nn.BatchNorm2d(channels)

        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)
        before = 64
        for stage, count in enumerate(blocks):
            width, layer = 64 << stage, nn.Sequential()
            for i in range(count):
                layer.append(_Block(before, width, 2 if i == 0 and stage > 0 else 1, bottleneck, norm))
                before = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", layer)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            y = getattr(self, f"layer{stage}")(y)
        return y


def _read(path: pathlib.Path) -> "tuple[dict[str, str], dict[str, torch.Tensor]]":
    try:
        data = path.read_bytes()
    except OSError as e:
        raise Error(f"cannot read the weights {path}: {e.strerror}", "no_input") from e
    try:
        metadata, entries, _ = _native.read_tensor_file(data)
    except Error as e:
        raise Error(f"{e}\nwhile reading {path}", e.code) from None
    bytes_ = bytearray(data)  # tensors are to be writable
    tensors = {}
    for name, dtype, shape, begin, end in entries:
        kind = _TYPES[dtype]
        count = (end - begin) // torch.empty((), dtype=kind).element_size()
        tensors[name] = (torch.frombuffer(bytes_, dtype=kind, count=count, offset=begin) if count else
                         torch.empty(0, dtype=kind)).reshape(shape)
    return metadata, tensors


def load_encoder(path: "Union[str, os.PathLike[str]]", *, image_size: Optional[int] = None,
                 window: "Optional[Sequence[float]]" = (-100, 400)) -> Encoder:
    """The encoder of ``encoder.safetensors`` of a run of ``wsp-train``, in evaluation mode.

    :param path: the file; its SHA-256, where it carries one, is checked
    :param image_size: side to which slices are resized; None: the one that it was trained with
    :param window: HU to which slices are clipped: that of the ingest (``wsp-ingest --window``); None:
        not at all
    :raises Error: ``no_input`` where it cannot be read, ``corrupt`` for a damaged file, ``usage`` for
        one that holds no encoder of ours
    """
    file = pathlib.Path(path)
    metadata, tensors = _read(file)
    name, norm = metadata.get("wsp.encoder"), metadata.get("wsp.norm")
    if (name != "tinynet" and name not in _RESNETS) or norm not in ("batch", "group"):
        raise Error(f"{file} does not say that it holds an encoder of ours (wsp.encoder is {name!r}, wsp.norm {norm!r}): "
                    "expected encoder.safetensors of a run", "usage")
    encoder: Encoder = TinyNet() if name == "tinynet" else ResNet(name, norm == "group")
    own = encoder.state_dict()
    missing = [key for key in own if key not in tensors and not key.endswith("num_batches_tracked")]
    unfit = [key for key, value in tensors.items() if key not in own or own[key].shape != value.shape]
    if missing or unfit:
        raise Error(f"{file} does not fit {name}: missing {missing[:3]}, unexpected or of another shape {unfit[:3]}", "usage")
    encoder.load_state_dict(tensors, strict=False)
    trained = metadata.get("wsp.image_size")
    encoder.image_size = image_size or (int(trained) if trained else None)
    encoder.window = None if window is None else (float(window[0]), float(window[1]))
    encoder.metadata = metadata
    return encoder.eval()
