"""Networks written out in Python's Torch, as an independent reader of our weights.

weights_reference.py compare DIR   encoder.safetensors must give the features of case.safetensors
weights_reference.py make DIR      write torchvision.safetensors (three channels, fc) and case.safetensors
"""
import json
import pathlib
import struct
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"*** SKIPPED: {error} ***", file=sys.stderr)
    sys.exit(77)

TYPES = {"F32": np.float32, "I64": np.int64}


def read(path):
    """Tensors and metadata of a safetensors file, by the letter of the format."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors, metadata


def write(path, tensors):
    header, parts, at = {}, [], 0
    for name, tensor in tensors.items():
        part = tensor.contiguous().numpy().tobytes()
        dtype = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def tinynet(w, x):
    for i in range(0, 15, 3):
        x = F.max_pool2d(F.relu(F.conv2d(x, w[f"features.{i}.weight"], w[f"features.{i}.bias"])), 2)
    return x.mean((2, 3))


def resnet(w, x, padded=False):
    """ResNet with basic blocks or bottlenecks, whichever the names say. padded: x holds what the first convolution's padding is."""

    def norm(x, name):
        return F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"])

    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    first = F.conv2d(x, w["conv1.weight"], stride=2) if padded else conv(x, "conv1", 2)
    x = F.max_pool2d(F.relu(norm(first, "bn1")), 3, 2, 1)
    for layer in range(1, 5):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in w:
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            bottleneck = f"{name}.conv3.weight" in w
            y = F.relu(norm(conv(x, f"{name}.conv1", 1 if bottleneck else stride), f"{name}.bn1"))
            y = norm(conv(y, f"{name}.conv2", stride if bottleneck else 1), f"{name}.bn2")
            if bottleneck:
                y = norm(conv(F.relu(y), f"{name}.conv3"), f"{name}.bn3")
            if f"{name}.downsample.0.weight" in w:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = F.relu(x + y)
            block += 1
    return x.mean((2, 3))


def torchvision_loads(name, weights):
    """Where torchvision is installed, its own module must take the weights by name."""
    try:
        import torchvision
    except ImportError:
        return
    module = getattr(torchvision.models, name)()
    module.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    module.fc = torch.nn.Identity()
    module.load_state_dict(weights, strict=True)


def compare(directory):
    weights, metadata = read(directory / "encoder.safetensors")
    case, _ = read(directory / "case.safetensors")
    name = metadata["wsp.encoder"]
    found = (tinynet if name == "tinynet" else resnet)(weights, case["x"])
    worst = (found - case["features"]).abs().max().item()
    scale = case["features"].abs().max().item()
    print(f"{name}: largest difference {worst:.2e} of {scale:.3g}")
    assert worst < 1e-4 * max(1.0, scale), "the features differ"
    if name != "tinynet":
        torchvision_loads(name, weights)


def preprocessed(x):
    """By torchvision's own transform where it is installed, else by the numbers in its documentation."""
    try:
        from torchvision.models import ResNet18_Weights
    except ImportError:
        print("*** torchvision is not installed: its preprocessing is written out ***", file=sys.stderr)
        of = lambda *values: torch.tensor(values).view(1, 3, 1, 1)
        return (x - of(0.485, 0.456, 0.406)) / of(0.229, 0.224, 0.225)
    transform = ResNet18_Weights.IMAGENET1K_V1.transforms(crop_size=x.shape[-1], resize_size=x.shape[-1])
    return transform(x)


def make(directory):
    """Weights as torchvision's resnet18 has them, small enough that activations stay near 1."""
    torch.manual_seed(5)
    weights = {"conv1.weight": torch.randn(64, 3, 7, 7) * 0.1}

    def norm(name, channels):
        weights[f"{name}.weight"] = torch.rand(channels) + 0.5
        weights[f"{name}.bias"] = torch.randn(channels) * 0.1
        weights[f"{name}.running_mean"] = torch.randn(channels) * 0.1
        weights[f"{name}.running_var"] = torch.rand(channels) + 0.5
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    norm("bn1", 64)
    channels = 64
    for layer in range(1, 5):
        width = 32 << layer
        for block in range(2):
            name = f"layer{layer}.{block}"
            for i, inputs in ((1, channels), (2, width)):
                weights[f"{name}.conv{i}.weight"] = torch.randn(width, inputs, 3, 3) * (inputs * 9) ** -0.5
                norm(f"{name}.bn{i}", width)
            if channels != width:
                weights[f"{name}.downsample.0.weight"] = torch.randn(width, channels, 1, 1) * channels**-0.5
                norm(f"{name}.downsample.1", width)
            channels = width
    weights["fc.weight"] = torch.randn(1000, 512)
    weights["fc.bias"] = torch.randn(1000)
    write(directory / "torchvision.safetensors", weights)
    x = torch.rand(2, 1, 64, 64)
    # A grey image, black around, as torchvision prepares it for a network of three channels.
    image = preprocessed(F.pad(x, (3, 3, 3, 3)).repeat(1, 3, 1, 1))
    write(directory / "case.safetensors", {"x": x, "features": resnet(weights, image, padded=True)})


if __name__ == "__main__":
    with torch.no_grad():
        {"compare": compare, "make": make}[sys.argv[1]](pathlib.Path(sys.argv[2]))
