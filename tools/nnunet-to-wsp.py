#!/usr/bin/env python3
"""Convert an nnU-Net v2 model to weights (safetensors) and a descriptor for wsp-ingest --liver-model and wsp-unet predict.

MODEL is a results folder of nnU-Net v2, as TotalSegmentator has them too: plans.json, dataset.json, fold_X/checkpoint_final.pth.
Needs PyTorch and nothing else. Nothing that a checkpoint brings along is run. See docs/MODELS.md."""
import argparse
import collections
import hashlib
import io
import json
import os
import pathlib
import pickle
import re
import struct
import sys
import zipfile

import torch


class Unsupported(Exception):
    """What this model is or does that the toolkit does not."""


def need(condition, words):
    if not condition:
        raise Unsupported(words)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def load_json(path):
    need(path.is_file(), f"{path} does not exist: expected a results folder of nnU-Net v2 with plans.json, dataset.json and fold_X")
    return json.loads(path.read_text())


def find_fold(model, fold, checkpoint):
    """The folder of the only fold, or of the one asked for."""
    folds = sorted(p.parent for p in model.glob(f"fold_*/{checkpoint}"))
    if fold is not None:
        folds = [p for p in folds if p.name == f"fold_{fold}"]
    need(folds, f"{model} has no fold_{'X' if fold is None else fold}/{checkpoint}")
    need(len(folds) == 1, f"{model} has {', '.join(p.name for p in folds)}: say which with --fold (ensembles of folds are not supported)")
    return folds[0]


class Ignored:
    """What a checkpoint holds beside tensors and plain values, such as the log's NumPy numbers."""

    def __new__(cls, *arguments, **more):
        return super().__new__(cls)

    def __init__(self, *arguments, **more):
        pass

    def __setitem__(self, key, value):
        pass

    def __setstate__(self, state):
        pass

    append = extend = lambda self, value: None


class Checkpoint(pickle.Unpickler):
    """A file of torch.save() (PyTorch 1.6 and later). A pickle may name any function and have it called; here whatever is not the making of a
    tensor is a place holder, so that nothing that the file brings along runs. (torch.load() would run it, or, with weights_only, stop at it.)"""
    TYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "DoubleStorage": torch.float64,
             "LongStorage": torch.int64, "IntStorage": torch.int32, "ByteStorage": torch.uint8, "BoolStorage": torch.bool}

    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)
        (record,) = [name for name in self.archive.namelist() if name.endswith("/data.pkl")]
        self.folder = record[:-len("data.pkl")]
        super().__init__(io.BytesIO(self.archive.read(record)))

    def find_class(self, module, name):
        made = {("collections", "OrderedDict"): collections.OrderedDict, ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
                ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data}
        if module == "torch" and name in self.TYPES:
            return self.TYPES[name]
        return made.get((module, name), Ignored)

    def persistent_load(self, identity):
        return identity

    def tensor(self, storage, offset, size, stride, *rest):
        """To be called where the tensor is wanted: the optimizer's are not."""
        _, dtype, key, _, count = storage

        def read():
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            return torch.frombuffer(data, dtype=dtype)[:count].as_strided(size, stride, offset)
        return read


def load_checkpoint(path):
    try:
        return Checkpoint(path).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, ValueError, EOFError) as error:
        raise Unsupported(f"{path} is no checkpoint that PyTorch 1.6 or later saved ({error})") from error


def configuration_of(plans, name):
    """A configuration with what it inherits."""
    chain = []
    while name is not None:
        need(name in plans["configurations"] and name not in chain, f"plans.json has no configuration {name} that ends")
        chain.append(name)
        name = plans["configurations"][name].get("inherits_from")
    merged = {}
    for name in reversed(chain):
        merged.update(plans["configurations"][name])
    return merged


def architecture_of(configuration):
    """(class name, arguments); plans before nnU-Net 2.4 say them in other words."""
    if "architecture" in configuration:
        said = configuration["architecture"]
        return said["network_class_name"].split(".")[-1], said["arch_kwargs"]
    stages = len(configuration["n_conv_per_stage_encoder"])
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    name = configuration["UNet_class_name"]
    return name, {
        "n_stages": stages, "features_per_stage": [min(base << i, most) for i in range(stages)],
        "conv_op": f"Conv{len(configuration['patch_size'])}d", "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage": configuration["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"], "conv_bias": True,
        "norm_op": f"InstanceNorm{len(configuration['patch_size'])}d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "nonlin": "LeakyReLU", "nonlin_kwargs": {"inplace": True}}


def network_of(configuration):
    name, kwargs = architecture_of(configuration)
    need(name in ("PlainConvUNet", "ResidualEncoderUNet"), f"the architecture is {name}: only PlainConvUNet and ResidualEncoderUNet are supported")
    stages, dimensions = kwargs["n_stages"], len(configuration["patch_size"])
    last = lambda key: str(kwargs.get(key)).split(".")[-1]
    need(last("conv_op") == f"Conv{dimensions}d", f"conv_op is {kwargs.get('conv_op')} with a patch of {dimensions} axes")
    need(last("norm_op") == f"InstanceNorm{dimensions}d", f"norm_op is {kwargs.get('norm_op')}: only the instance norm is supported")
    norm = kwargs.get("norm_op_kwargs") or {}
    need(norm.get("affine") is True and not norm.get("track_running_stats"), f"norm_op_kwargs are {norm}: affine ones without running statistics are supported")
    activation = kwargs.get("nonlin_kwargs") or {}
    need(last("nonlin") in ("LeakyReLU", "ReLU"), f"nonlin is {kwargs.get('nonlin')}: only LeakyReLU and ReLU are supported")
    for key in ("nonlin_first", "bottleneck_channels"):
        need(not kwargs.get(key), f"{key} is {kwargs.get(key)}, which is not supported")
    need(kwargs.get("block") is None or last("block") == "BasicBlockD", f"block is {kwargs.get('block')}: only BasicBlockD is supported")
    known = {"n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder",
             "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs", "deep_supervision", "nonlin_first",
             "bottleneck_channels", "block", "stem_channels"}
    need(set(kwargs) <= known, f"arch_kwargs {sorted(set(kwargs) - known)} are not known here")
    each = lambda value, count: list(value) if isinstance(value, (list, tuple)) else [value] * count
    residual = name == "ResidualEncoderUNet"
    features = each(kwargs["features_per_stage"], stages)
    network = {
        "class": name, "features": features,
        "kernel_sizes": [each(k, dimensions) for k in each(kwargs["kernel_sizes"], stages)],
        "strides": [each(s, dimensions) for s in each(kwargs["strides"], stages)],
        "encoder_blocks": each(kwargs["n_blocks_per_stage" if residual else "n_conv_per_stage"], stages),
        "decoder_convolutions": each(kwargs["n_conv_per_stage_decoder"], stages - 1),
        "conv_bias": bool(kwargs.get("conv_bias", False)), "norm_eps": norm.get("eps", 1e-5),
        "negative_slope": activation.get("negative_slope", 0.01) if last("nonlin") == "LeakyReLU" else 0.0}
    if residual:
        network["stem_channels"] = kwargs.get("stem_channels") or features[0]
    return network


def weights_of(state, stages):
    """The state dict with each tensor once. nnU-Net's holds the encoder twice (the decoder has it too), and every layer of a block under
    two names; heads of deep supervision are not used in prediction."""
    state = {re.sub(r"^(_orig_mod\.|module\.)+", "", name): tensor for name, tensor in state.items()}
    need(all(callable(tensor) for tensor in state.values()), "network_weights of the checkpoint holds more than tensors")
    kept = {}
    for name, tensor in state.items():
        plain = re.sub(r"^decoder\.encoder\.", "encoder.", name)
        plain = re.sub(r"\.all_modules\.(\d+)\.", lambda m: ".conv." if m.group(1) == "0" else ".norm.", plain)
        if plain != name:
            need(plain in state and torch.equal(state[plain](), tensor()), f"the checkpoint's {name} is not its {plain}: another architecture")
            continue
        head = re.match(r"decoder\.seg_layers\.(\d+)\.", name)
        if head is None or int(head.group(1)) == stages - 2:
            kept[name] = tensor().to(torch.float32).contiguous()
    return kept


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name in sorted(tensors):
        size = tensors[name].numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            f.write(tensors[name].numpy().astype("<f4").tobytes())


def resampling_of(configuration, of, orders):
    function, kwargs = configuration[f"resampling_fn_{of}"], configuration[f"resampling_fn_{of}_kwargs"]
    need(function == "resample_data_or_seg_to_shape", f"resampling_fn_{of} is {function}: only resample_data_or_seg_to_shape is supported")
    need(set(kwargs) <= {"is_seg", "order", "order_z", "force_separate_z"} and not kwargs.get("is_seg"), f"resampling_fn_{of}_kwargs are {kwargs}")
    result = {"order": kwargs.get("order", 3), "order_z": kwargs.get("order_z", 0), "force_separate_z": kwargs.get("force_separate_z", False)}
    need(result["order"] in orders and result["order_z"] in (0, 1), f"resampling_fn_{of} has order {result['order']} and order_z {result['order_z']}: "
         f"orders {orders} and an order_z of 0 or 1 are supported")
    return result


def normalization_of(plans, configuration):
    (scheme,) = configuration["normalization_schemes"]
    need(scheme in ("CTNormalization", "ZScoreNormalization"), f"the normalisation is {scheme}: only CTNormalization and ZScoreNormalization are supported")
    if scheme == "ZScoreNormalization":
        need(not any(configuration.get("use_mask_for_norm", [])), "use_mask_for_norm is not supported")
        return {"scheme": scheme}
    properties = plans.get("foreground_intensity_properties_per_channel") or plans["foreground_intensity_properties_by_modality"]
    return {"scheme": scheme, **{key: float(properties["0"][key]) for key in ("mean", "std", "percentile_00_5", "percentile_99_5")}}


def heads_of(dataset, liver):
    """(activation, heads, painted values that are liver)"""
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    for name in liver:
        need(name in labels and name != "background", f"dataset.json has no label {name}: it has {', '.join(n for n in labels if n != 'background')}; choose with --liver")
    values = lambda value: [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
    wanted = sorted({v for name in liver for v in values(labels[name])})
    if not any(len(values(value)) > 1 for value in labels.values()):
        ordered = sorted((values(value)[0], name) for name, value in labels.items())
        need([value for value, _ in ordered] == list(range(len(ordered))), f"the labels are {[value for value, _ in ordered]}: expected 0, 1, 2, ...")
        return "softmax", [{"name": name, "paints": value} for value, name in ordered], wanted
    regions = [name for name, value in labels.items() if set(values(value)) != {0}]
    order = dataset.get("regions_class_order") or []
    need(len(order) == len(regions), "regions_class_order of dataset.json has not one value for each region")
    heads = [{"name": name, "paints": int(paints)} for name, paints in zip(regions, order)]
    painted = {head["paints"] for head in heads}
    wanted = [value for value in wanted if value in painted]
    need(wanted, f"no region paints what {', '.join(liver)} is")
    return "sigmoid", heads, wanted


def tensor_orientation(letters, plans, configuration):
    """Letters of the network's axes: nnU-Net reads [z, y, x] and transposes."""
    need(sorted(letters) in [sorted(a + b + c) for a in "LR" for b in "AP" for c in "IS"], f"--orientation is {letters}: expected nibabel's letters such as RAS")
    if plans.get("image_reader_writer") == "NibabelIOWithReorient":
        need(letters == "RAS", "this model's reader (NibabelIOWithReorient) turns every image to RAS: --orientation RAS")
    forward = plans["transpose_forward"]
    turned = "".join(letters[::-1][axis] for axis in forward)
    if len(configuration["patch_size"]) == 2:
        need(turned[0] in "SI", f"this 2d model's slices are not axial (orientation {turned}), which is not supported")
    return turned


def convert(arguments):
    model = arguments.model
    plans, dataset = load_json(model / "plans.json"), load_json(model / "dataset.json")
    fold = find_fold(model, arguments.fold, arguments.checkpoint)
    path = fold / arguments.checkpoint
    checkpoint = load_checkpoint(path)
    name = checkpoint["init_args"]["configuration"]
    configuration = configuration_of(plans, name)
    need(configuration.get("previous_stage") is None, f"{name} is a cascade's second stage, which is not supported")
    channels = dataset.get("channel_names") or dataset.get("modality")
    need(len(channels) == 1, f"the model takes {len(channels)} channels: one of CT is supported")
    need(configuration.get("preprocessor_name", "DefaultPreprocessor") == "DefaultPreprocessor",
         f"the preprocessor is {configuration.get('preprocessor_name')}: only DefaultPreprocessor is supported")
    network = network_of(configuration)
    activation, heads, liver = heads_of(dataset, arguments.liver)
    weights = weights_of(checkpoint["network_weights"], len(network["features"]))
    head = f"decoder.seg_layers.{len(network['features']) - 2}.weight"
    need(head in weights and weights[head].shape[0] == len(heads),
         f"dataset.json has {len(heads)} heads, and the checkpoint's {head} {list(weights[head].shape) if head in weights else 'is not there'}")
    axes = list(checkpoint.get("inference_allowed_mirroring_axes") or [])
    need(axes or not arguments.mirror, "the checkpoint allows no mirroring: leave --mirror away")
    said = {
        "dataset": str(plans["dataset_name"]), "configuration": name, "fold": fold.name.removeprefix("fold_"), "trainer": str(checkpoint["trainer_name"]),
        "checkpoint_sha256": sha256(path), "plans_sha256": sha256(model / "plans.json"), "dataset_sha256": sha256(model / "dataset.json")}
    descriptor = {
        "format": "wsp-nnunet-model", "version": 1,
        "name": arguments.name or re.sub(r"[^A-Za-z0-9._ +-]", "-", f"{said['dataset']} {name}")[:100],
        "model_version": arguments.model_version or f"fold-{said['fold']}-{said['checkpoint_sha256'][:12]}",
        "file": f"{arguments.out.name}.safetensors", "sha256": "", "source": said, "network": network,
        "orientation": tensor_orientation(arguments.orientation.upper(), plans, configuration),
        "patch": configuration["patch_size"], "spacing_mm": configuration["spacing"],
        "normalization": normalization_of(plans, configuration),
        "resampling": {"data": resampling_of(configuration, "data", (0, 1, 3)), "logits": resampling_of(configuration, "probabilities", (0, 1))},
        "activation": activation, "heads": heads, "liver": liver, "mirror_axes": axes, "mirror": arguments.mirror}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    file = arguments.out.parent / descriptor["file"]
    write_safetensors(f"{file}.tmp", weights)
    descriptor["sha256"] = sha256(f"{file}.tmp")
    os.replace(f"{file}.tmp", file)
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in descriptor.items())
    json_path = arguments.out.parent / f"{arguments.out.name}.json"
    json_path.write_text("{\n" + lines + "\n}\n")
    print(json_path)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL", help="results folder: plans.json, dataset.json, fold_X")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="STEM", help="write STEM.json and STEM.safetensors")
    parser.add_argument("--orientation", required=True,
                        help="of the images that the model was trained on, as nibabel.aff2axcodes() says it of one: nnU-Net does not turn images. TotalSegmentator's: RAS")
    parser.add_argument("--fold", help="X of fold_X (default: the only one)")
    parser.add_argument("--checkpoint", default="checkpoint_final.pth", metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("--liver", nargs="+", default=["liver"], metavar="LABEL", help="labels of dataset.json that are liver (default: liver); of LiTS: liver tumor")
    parser.add_argument("--mirror", action="store_true", help="average over mirrorings, as nnU-Net does by default: up to 8 times the work")
    parser.add_argument("--name", help="of the model (default: dataset and configuration)")
    parser.add_argument("--model-version", help="(default: fold and the checkpoint's hash)")
    try:
        convert(parser.parse_args(words))
    except Unsupported as error:
        sys.exit(f"not converted: {error}")
    except KeyError as error:
        sys.exit(f"not converted: the model's files lack {error}: expected those of nnU-Net v2")


if __name__ == "__main__":
    main()
