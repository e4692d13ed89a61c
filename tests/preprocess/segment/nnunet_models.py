"""Small nnU-Net v2 results folders with random weights, and what they predict, written out again from the paper's and the packages'
description: networks in PyTorch, everything around them in NumPy and SciPy with explicit loops. Nothing is shared with the C++ side.

    nnunet_models.py make DIR                 DIR/NAME/ (plans.json, dataset.json, fold_0), converted to DIR/NAME.json; spoilt ones beside
    nnunet_models.py expect DIR VOLUME.json   of each: NAME.input, NAME.logits (a window), NAME.mask and NAME.clear (the volume)

VOLUME.json: {"size": [x, y, z], "spacing": [x, y, z], "hu": FILE of int16 [z][y][x], to the left, to the back, to the head}."""
import contextlib
import hashlib
import importlib.util
import itertools
import json
import math
import pathlib
import sys

import numpy as np
import scipy.ndimage as ndi
import torch
from torch import nn

CONVERTER = pathlib.Path(__file__).resolve().parents[3] / "tools" / "nnunet-to-wsp.py"
found = importlib.util.spec_from_file_location("nnunet_to_wsp", CONVERTER)
converter = importlib.util.module_from_spec(found)
found.loader.exec_module(converter)


class Layer(nn.Module):
    """Convolution, instance norm, LeakyReLU; every layer has two names, as in nnU-Net's state dicts."""

    def __init__(self, dims, cin, cout, kernel, stride=1, bias=True, active=True):
        super().__init__()
        self.conv = (nn.Conv2d, nn.Conv3d)[dims - 2](cin, cout, kernel, stride, [k // 2 for k in kernel], bias=bias)
        self.norm = (nn.InstanceNorm2d, nn.InstanceNorm3d)[dims - 2](cout, eps=1e-5, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, *([nn.LeakyReLU()] if active else []))

    def forward(self, x):
        return self.all_modules(x)


class Stack(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.convs = nn.Sequential(*layers)

    def forward(self, x):
        return self.convs(x)


class Block(nn.Module):
    """ResNet-D's basic block: average pooling and a 1x1 convolution beside two layers."""

    def __init__(self, dims, cin, cout, kernel, stride, bias):
        super().__init__()
        self.conv1 = Layer(dims, cin, cout, kernel, stride, bias)
        self.conv2 = Layer(dims, cout, cout, kernel, 1, bias, active=False)
        beside = [(nn.AvgPool2d, nn.AvgPool3d)[dims - 2](stride)] if any(s != 1 for s in stride) else []
        if cin != cout:
            beside.append(Layer(dims, cin, cout, [1] * dims, 1, False, active=False))
        if beside:
            self.skip = nn.Sequential(*beside)

    def forward(self, x):
        return nn.functional.leaky_relu(self.conv2(self.conv1(x)) + (self.skip(x) if hasattr(self, "skip") else x), 0.01)


class Blocks(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        return self.blocks(x)


class Encoder(nn.Module):
    def __init__(self, a, residual):
        super().__init__()
        dims, stages, cin = len(a["strides"][0]), [], 1
        self.stem = Stack([Layer(dims, 1, a["features_per_stage"][0], a["kernel_sizes"][0])]) if residual else None
        cin = a["features_per_stage"][0] if residual else 1
        for s, cout in enumerate(a["features_per_stage"]):
            n = a["n_blocks_per_stage" if residual else "n_conv_per_stage"][s]
            parts = [(cin if i == 0 else cout, a["strides"][s] if i == 0 else [1] * dims) for i in range(n)]
            if residual:
                stages.append(Blocks([Block(dims, c, cout, a["kernel_sizes"][s], stride, True) for c, stride in parts]))
            else:
                stages.append(nn.Sequential(Stack([Layer(dims, c, cout, a["kernel_sizes"][s], stride) for c, stride in parts])))
            cin = cout
        self.stages = nn.Sequential(*stages)

    def forward(self, x):
        kept = []
        x = self.stem(x) if self.stem is not None else x
        for stage in self.stages:
            x = stage(x)
            kept.append(x)
        return kept


class Decoder(nn.Module):
    def __init__(self, encoder, a, heads):
        super().__init__()
        self.encoder = encoder  # its tensors stand in the state dict twice
        f, dims = a["features_per_stage"], len(a["strides"][0])
        conv, up = ((nn.Conv2d, nn.ConvTranspose2d), (nn.Conv3d, nn.ConvTranspose3d))[dims - 2]
        low = list(reversed(range(len(f) - 1)))
        self.transpconvs = nn.ModuleList(up(f[i + 1], f[i], a["strides"][i + 1], a["strides"][i + 1]) for i in low)
        self.stages = nn.ModuleList(Stack([Layer(dims, (2 if k == 0 else 1) * f[i], f[i], a["kernel_sizes"][i]) for k in range(n)])
                                    for i, n in zip(low, a["n_conv_per_stage_decoder"]))
        self.seg_layers = nn.ModuleList(conv(f[i], heads, 1) for i in low)

    def forward(self, kept):
        x = kept.pop()
        for up, stage in zip(self.transpconvs, self.stages):
            x = stage(torch.cat([up(x), kept.pop()], 1))
        return self.seg_layers[-1](x)


class UNet(nn.Module):
    def __init__(self, a, residual, heads):
        super().__init__()
        self.encoder = Encoder(a, residual)
        self.decoder = Decoder(self.encoder, a, heads)

    def forward(self, x):
        return self.decoder(self.encoder(x))


CT = {"mean": 40.0, "std": 90.0, "percentile_00_5": -110.0, "percentile_99_5": 260.0, "median": 45.0, "min": -1000.0, "max": 2000.0}
LABELS = {"background": 0, "liver": 1, "tumor": 2}
# What each model is; all differ in what they exercise.
MODELS = {
    # Five windows along an axis, three labels, one of which is liver; nibabel's canonical orientation.
    "plain3d": dict(cls="PlainConvUNet", patch=[16, 24, 20], spacing=[2.5, 1.3, 1.4], orientation="RAS", transpose=[0, 1, 2], labels=LABELS, liver=["liver"],
                    features=[4, 6, 8], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]], strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]], encoder=[2, 1, 2], decoder=[1, 2]),
    # Regions, transposed and reversed axes, mirroring, a window larger than the volume along one axis by an odd number.
    "residual3d": dict(cls="ResidualEncoderUNet", patch=[20, 36, 16], spacing=[1.7, 2.2, 1.2], orientation="RPI", transpose=[1, 0, 2],
                       labels={"background": 0, "liver": [1, 2], "tumor": [2], "vessel": [3]}, order=[1, 2, 3], liver=["liver"], mirror=[0, 2],
                       features=[4, 6, 6], kernels=[[3, 3, 3]] * 3, strides=[[1, 1, 1], [2, 2, 2], [2, 2, 1]], encoder=[1, 2, 2], decoder=[1, 1]),
    # Slices, each volume by its own mean and deviation, plans of before nnU-Net 2.4.
    "plain2d": dict(cls="PlainConvUNet", patch=[24, 32], spacing=[1.6, 1.1], orientation="LAS", transpose=[0, 1, 2], labels=LABELS, liver=["liver", "tumor"],
                    features=[4, 8], kernels=[[3, 3], [3, 3]], strides=[[1, 1], [2, 2]], encoder=[2, 2], decoder=[2], zscore=True, old=True),
    # Spacings that differ by more than 3: slices are resampled apart from the plane.
    "apart": dict(cls="PlainConvUNet", patch=[12, 20, 20], spacing=[7.0, 1.4, 1.4], orientation="RAI", transpose=[0, 2, 1], labels=LABELS, liver=["liver"],
                  features=[4, 6], kernels=[[1, 3, 3], [3, 3, 3]], strides=[[1, 1, 1], [2, 2, 2]], encoder=[1, 1], decoder=[1]),
}


def arguments_of(m):
    dims = len(m["patch"])
    residual = m["cls"] == "ResidualEncoderUNet"
    return {"n_stages": len(m["features"]), "features_per_stage": m["features"], "conv_op": f"torch.nn.modules.conv.Conv{dims}d", "kernel_sizes": m["kernels"],
            "strides": m["strides"], "n_blocks_per_stage" if residual else "n_conv_per_stage": m["encoder"], "n_conv_per_stage_decoder": m["decoder"],
            "conv_bias": True, "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d", "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}}


def plans_of(m):
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": m["patch"],
        "median_image_size_in_voxels": [40] * len(m["patch"]), "spacing": m["spacing"], "use_mask_for_norm": [False], "batch_dice": True,
        "normalization_schemes": ["ZScoreNormalization" if m.get("zscore") else "CTNormalization"], "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape", "resampling_fn_data_kwargs": {**resampling, "order": 3},
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1}, "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1}}
    if m.get("old"):
        configuration.update(UNet_class_name=m["cls"], UNet_base_num_features=m["features"][0], unet_max_num_features=m["features"][-1],
                             n_conv_per_stage_encoder=m["encoder"], n_conv_per_stage_decoder=m["decoder"], pool_op_kernel_sizes=m["strides"],
                             conv_kernel_sizes=m["kernels"], num_pool_per_axis=[1] * len(m["patch"]))
    else:
        configuration["architecture"] = {"network_class_name": f"dynamic_network_architectures.architectures.unet.{m['cls']}", "arch_kwargs": arguments_of(m),
                                         "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}
    name = "2d" if len(m["patch"]) == 2 else "3d_fullres"
    back = [m["transpose"].index(i) for i in range(3)]
    return name, {"dataset_name": "Dataset900_Phantom", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
                  "transpose_forward": m["transpose"], "transpose_backward": back, "experiment_planner_used": "ExperimentPlanner",
                  "original_median_spacing_after_transp": [2.0, 1.0, 1.0], "original_median_shape_after_transp": [40, 40, 40],
                  "configurations": {name: {"inherits_from": "base"}, "base": configuration}, "foreground_intensity_properties_per_channel": {"0": CT}}


def heads_of(m):
    regions = any(isinstance(v, list) for v in m["labels"].values())
    return len(m["labels"]) - (1 if regions else 0)


def network_of(name):
    m = MODELS[name]
    torch.manual_seed(sum(map(ord, name)))
    net = UNet(arguments_of(m), m["cls"] == "ResidualEncoderUNet", heads_of(m)).eval()
    with torch.no_grad():  # norms that are not one and zero, and heads that tell labels apart
        for key, value in net.named_parameters():
            if ".norm." in key or "all_modules.1" in key:
                value.add_(0.3 * torch.randn_like(value))
        net.decoder.seg_layers[-1].weight.mul_(4)
    return net


def write_folder(folder, name):
    m = MODELS[name]
    configuration, plans = plans_of(m)
    dataset = {"channel_names": {"0": "CT"}, "labels": m["labels"], "numTraining": 1, "file_ending": ".nii.gz"}
    if "order" in m:
        dataset["regions_class_order"] = m["order"]
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    torch.save({"network_weights": network_of(name).state_dict(), "trainer_name": "nnUNetTrainer", "current_epoch": 1000,
                "init_args": {"configuration": configuration, "fold": 0, "plans": plans, "dataset_json": dataset},
                "inference_allowed_mirroring_axes": tuple(m["mirror"]) if "mirror" in m else None}, folder / "fold_0" / "checkpoint_final.pth")


def convert(folder, stem, name, *extra):
    """Run the converter here, since each process that loads Torch takes seconds; what it refuses by, or nothing."""
    m = MODELS[name]
    words = [folder, "--out", stem, "--orientation", m["orientation"], "--liver", *m["liver"], *(["--mirror"] if "mirror" in m else []), *extra]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            converter.main([str(word) for word in words])
    except SystemExit as refusal:
        return str(refusal.code)
    return ""


def make(directory):
    for name in MODELS:
        write_folder(directory / name, name)
        if refusal := convert(directory / name, directory / name, name):
            sys.exit(refusal)
    spoil(directory, "plain3d")


def spoil(directory, name):
    """Weights that are not those of the descriptor, with the right hash: a tensor missing, of another shape, too many, of another type."""
    data = (directory / f"{name}.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    at = "decoder.transpconvs.0.bias"

    def write(kind, change):
        changed = json.loads(json.dumps(header))
        end = change(changed)
        text = json.dumps(changed).encode()
        whole = len(text).to_bytes(8, "little") + text + body + bytes(end or 0)
        (directory / f"{kind}.safetensors").write_bytes(whole)
        said = json.loads((directory / f"{name}.json").read_text())
        said.update(file=f"{kind}.safetensors", sha256=hashlib.sha256(whole).hexdigest())
        (directory / f"{kind}.json").write_text(json.dumps(said))

    write("missing", lambda h: h.update({"decoder.transpconvs.0.other": h.pop(at)}))
    write("reshaped", lambda h: h[at].update(shape=[2, h[at]["shape"][0] // 2]))
    write("left", lambda h: h.update({"surplus": {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}}) or 4)
    write("typed", lambda h: h[at].update(dtype="I32"))
    write("overlapping", lambda h: h[at]["data_offsets"].__setitem__(0, h[at]["data_offsets"][0] - 4))
    changed = bytearray(data)
    changed[-1] ^= 1
    (directory / "flipped.safetensors").write_bytes(changed)
    said = json.loads((directory / f"{name}.json").read_text())
    (directory / "flipped.json").write_text(json.dumps({**said, "file": "flipped.safetensors"}))


# What nnU-Net does around the network.

def separate_axis(first, second):
    for spacing in (first, second):
        if max(spacing) / min(spacing) > 3:
            coarse = [i for i in range(3) if spacing[i] == max(spacing)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def resize(a, shape, order):
    """skimage.transform.resize(mode="edge", anti_aliasing=False)"""
    out = ndi.zoom(a, [n / o for n, o in zip(shape, a.shape)], order=order, mode="nearest", grid_mode=True)
    return np.clip(out, a.min(), a.max())


def resample(a, shape, first, second, order):
    if tuple(shape) == a.shape:
        return a
    axis = separate_axis(first, second)
    a = a.astype(float)
    if axis is None:
        return resize(a, shape, order)
    plane = [n for i, n in enumerate(shape) if i != axis]
    slices = np.stack([resize(s, plane, order) for s in np.moveaxis(a, axis, 0)])
    n = shape[axis]
    if n != len(slices):  # the nearest slice
        slices = slices[[min(len(slices) - 1, max(0, math.floor(len(slices) / n * (i + 0.5) - 0.5 + 0.5))) for i in range(n)]]
    return np.moveaxis(slices, 0, axis)


def starts(size, patch):
    n = math.ceil((size - patch) / (patch * 0.5)) + 1
    return [int(np.round((size - patch) / (n - 1) * i)) if n > 1 else 0 for i in range(n)]


def gaussian(patch):
    delta = np.zeros(patch)
    delta[tuple(p // 2 for p in patch)] = 1
    weights = ndi.gaussian_filter(delta, [p / 8 for p in patch], 0, mode="constant")
    weights = (weights / weights.max() * 10).astype(np.float16).astype(np.float64)
    weights[weights == 0] = weights[weights > 0].min()
    return weights


def forward(net, window, mirror):
    """Logits of a window [spatial], averaged over mirrorings."""
    total, count = 0, 0
    for n in range(len(mirror) + 1):
        for axes in itertools.combinations(mirror, n):
            flip = [a + 2 for a in axes]
            with torch.no_grad():
                total = total + torch.flip(net(torch.flip(torch.from_numpy(window)[None, None].float(), flip)), flip)[0].double().numpy()
            count += 1
    return total / count


def to_tensor_axes(volume, m):
    """[z][y][x] to the left, back and head -> the file's [z, y, x] -> transposed; and the way back."""
    letters = m["orientation"][::-1]  # of the file's z, y, x
    home = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
    order = [home[letters[i]] for i in m["transpose"]]
    flips = tuple(t for t, i in enumerate(m["transpose"]) if letters[i] in "RAI")
    return np.flip(volume.transpose(order), flips), order, flips


def predict(name, hu, spacing):
    """(mask, margin) [z][y][x]: whether it is liver, and by how much what was chosen lies above what was not."""
    m, net = MODELS[name], network_of(name)
    data, order, flips = to_tensor_axes(hu, m)
    mm = [spacing[::-1][i] for i in order]
    where = np.argwhere(data != 0)
    box = tuple(slice(a, b + 1) for a, b in zip(where.min(0), where.max(0)))
    data = data[box].astype(np.float32)
    if m.get("zscore"):
        data = (data - data.mean()) / max(data.std(), 1e-8)
    else:
        data = (np.clip(data, CT["percentile_00_5"], CT["percentile_99_5"]) - np.float32(CT["mean"])) / np.float32(CT["std"])
    target = m["spacing"] if len(m["patch"]) == 3 else [mm[0], *m["spacing"]]
    shape = [int(round(a / b * n)) for a, b, n in zip(mm, target, data.shape)]
    grid = resample(data, shape, mm, target, 3)
    patch = m["patch"] if len(m["patch"]) == 3 else [1, *m["patch"]]
    missing = [max(0, p - n) for p, n in zip(patch, grid.shape)]
    grid = np.pad(grid, [(d // 2, d - d // 2) for d in missing])
    heads = heads_of(m)
    sums, weights, g = np.zeros((heads, *grid.shape)), np.zeros(grid.shape), gaussian(m["patch"]).reshape(patch)
    along = [starts(n, p) if p > 1 else list(range(n)) for n, p in zip(grid.shape, patch)]
    for corner in itertools.product(*along):
        at = tuple(slice(c, c + p) for c, p in zip(corner, patch))
        window = grid[at] if len(m["patch"]) == 3 else grid[at][0]
        sums[(slice(None), *at)] += forward(net, window, m.get("mirror", [])).reshape(heads, *patch) * g
        weights[at] += g
    logits = (sums / weights)[(slice(None), *(slice(d // 2, d // 2 + n) for d, n in zip(missing, shape)))]
    logits = np.stack([resample(channel, data.shape, target, mm, 1) for channel in logits])
    if "order" in m:
        label = np.zeros(data.shape, int)
        for head, value in enumerate(m["order"]):
            label[logits[head] > 0] = value
        wanted = {v for k in m["liver"] for v in m["labels"][k]}
        margin = np.abs(logits).min(0)
    else:
        label = logits.argmax(0)
        wanted = {m["labels"][k] for k in m["liver"]}
        ranked = np.sort(logits, 0)
        margin = ranked[-1] - ranked[-2]
    mask, far = np.zeros(hu.transpose(order).shape, np.uint8), np.full(hu.transpose(order).shape, 1e9, np.float32)
    mask[box], far[box] = np.isin(label, sorted(wanted)), margin
    back = np.argsort(order)
    return tuple(np.ascontiguousarray(np.flip(a, flips).transpose(back)) for a in (mask, far))


def expect(directory, volume_json):
    said = json.loads(pathlib.Path(volume_json).read_text())
    hu = np.fromfile(said["hu"], np.int16).reshape(said["size"][::-1])
    for name, m in MODELS.items():
        rng = np.random.default_rng(7)
        window = rng.standard_normal(m["patch"]).astype(np.float32)
        window.tofile(directory / f"{name}.input")
        forward(network_of(name), window, m.get("mirror", [])).astype(np.float32).tofile(directory / f"{name}.logits")
        mask, margin = predict(name, hu, said["spacing"])
        mask.tofile(directory / f"{name}.mask")
        (margin > 2e-3).astype(np.uint8).tofile(directory / f"{name}.clear")


if __name__ == "__main__":
    {"make": make, "expect": expect}[sys.argv[1]](pathlib.Path(sys.argv[2]), *sys.argv[3:])
