"""Encoders in Python against wsp-eval embed, feature files against h5py, damaged weights; the examples of README and
docs/PYTHON.md run as they stand."""
import pickle
import importlib.util
import re

import numpy as np

import support
from python_support import dataset, have, refused, root, wsp

support.require("torch")
import torch  # noqa: E402

data = dataset("data", 24, 6, 64)
torch.set_num_threads(1)


def encoder_of(name, source, *options):
    """Weights as a run leaves them: a few steps, so that batch statistics are not the initial ones."""
    run = root / name
    support.run("wsp-train", source, "--out", run, "--batch", 8, "--samples-per-epoch", 16, "--epochs", 1, "--max-steps", 2, "--lr", "0.01",
                "--probe-every", 0, "--no-tensorboard", *options)
    return run / "encoder.safetensors"


def check_encoder():
    large = dataset("large", 10, 4, 256)
    for name, source, options in (("tinynet", large, ("--encoder", "tinynet", "--image-size", 160)),
                                  ("resnet18", data, ("--encoder", "resnet18", "--image-size", 48)),
                                  ("up", data, ("--encoder", "resnet18", "--image-size", 100)),
                                  ("group", data, ("--encoder", "resnet18", "--norm", "group", "--image-size", 64)),
                                  ("resnet50", data, ("--encoder", "resnet50", "--image-size", 32))):
        weights = encoder_of(name, source, *options)
        support.run("wsp-eval", "embed", source, "--weights", weights, "--out", root / f"{name}.h5")
        expected = wsp.read_features(root / f"{name}.h5")
        encoder = wsp.load_encoder(weights)
        assert isinstance(encoder, wsp.Encoder) and not encoder.training
        ds = wsp.Dataset(source)
        assert expected.values.shape == (len(ds), encoder.dimensions)
        scale = np.abs(expected.values).max()
        with torch.no_grad():
            one = encoder(ds[3].hu)
            every = encoder(np.stack([s.hu for s in ds]))
            x = encoder.preprocess(np.stack([s.hu for s in ds]))
        resized = wsp.Dataset(source, image_size=encoder.image_size)
        assert np.array_equal(x[:, 0].numpy(), (np.stack([resized.hu(i) for i in range(len(ds))]).astype(np.float32) + 100) * np.float32(1 / 500))
        assert one.shape == (encoder.dimensions,)
        difference = np.abs(every.numpy() - expected.values).max()
        assert difference <= 1e-5 * max(1, scale) and np.abs(one.numpy() - expected.values[3]).max() <= 1e-5 * max(1, scale), (name, difference, scale)
        print(f"{name}: {difference:.2g} from wsp-eval embed, features up to {scale:.3g}")
        # Air and metal beyond the window are what the ingest makes of them.
        raw = np.where(ds[3].hu == -100, -1000, ds[3].hu)
        with torch.no_grad():
            assert torch.equal(encoder(raw), one)
        through = pickle.loads(pickle.dumps(encoder))
        with torch.no_grad():
            assert torch.equal(through(ds[3].hu), one)

    # The feature file against h5py.
    if have("h5py"):
        import h5py

        with h5py.File(root / "tinynet.h5") as file:
            found = wsp.read_features(root / "tinynet.h5")
            assert np.array_equal(found.values, file["slices/features"][:]) and found.facts["encoder"] == "tinynet"
            assert np.array_equal(found.slices["content"], file["slices/content"][:])
            assert np.array_equal(found.label("stage"), file["cases/label_stage"][:][file["slices/case"][:]])
            assert list(found.subject) == [support.text(file["cases/subject"][c]) for c in file["slices/case"][:]]
    refused("usage", "expected one of label, stage", lambda: wsp.read_features(root / "tinynet.h5").label("x"))
    bad = bytearray((root / "tinynet.h5").read_bytes())
    at = bytes(bad).index(wsp.read_features(root / "tinynet.h5").values[7].tobytes())
    bad[at] ^= 1
    (root / "bad.h5").write_bytes(bad)
    refused("corrupt", "hash", lambda: wsp.read_features(root / "bad.h5"))
    refused("no_input", "no features", lambda: wsp.read_features(root / "absent.h5"))

    # Weights that are none, or not whole.
    weights = root / "tinynet/encoder.safetensors"
    whole = weights.read_bytes()

    def of(bytes_):
        (root / "bad.safetensors").write_bytes(bytes_)
        return lambda: wsp.load_encoder(root / "bad.safetensors")

    refused("corrupt", "SHA-256", of(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]))
    refused("corrupt", "SHA-256", of(whole.replace(b'"wsp.seed":"0"', b'"wsp.seed":"1"')))
    refused("corrupt", "cut off", of(whole[:-4]))
    refused("corrupt", "too short", of(b"abc"))
    refused("corrupt", "announced", of(b"\xff" * 8 + whole[8:]))
    refused("corrupt", "damaged", of(whole.replace(b"wsp.sha256", b"wsp.sha257")))
    refused("usage", "does not say that it holds an encoder", of(support.sealed(whole.replace(b'"wsp.encoder":"tinynet"', b'"wsp.encoder":"tinynex"'))))
    refused("usage", "missing ['features.0.bias']", of(support.sealed(whole.replace(b'"features.0.bias"', b'"features.0.bian"'))))
    refused("no_input", "cannot read", lambda: wsp.load_encoder(root / "absent.safetensors"))
    encoder = wsp.load_encoder(weights)
    refused("usage", "normalised already", lambda: encoder(np.full((256, 256), 0.25, np.float32)))
    refused("usage", "found [2]", lambda: encoder(np.zeros(2)))
    encoder.image_size = None
    refused("usage", "at least 156x156", lambda: encoder(np.zeros((64, 64), np.int16)))


def examples(document):
    return re.findall(r"```python\n(.*?)```", (support.SOURCE / document).read_text(), re.S)


def check_examples():
    """Every example that imports wsp runs, with the paths of this test in place of its own."""
    weights = root / "tinynet/encoder.safetensors"
    paths = {"/data/dataset": root / "large", "/runs/wsp/encoder.safetensors": weights, "/runs/wsp": root / "tinynet",
             "wsp.h5": root / "tinynet.h5"}
    count = 0
    for document in ("README.md", "docs/PYTHON.md"):
        names = {}
        for example in examples(document):
            if "import wsp" not in example and not names:
                continue
            absent = [t for t in ("mlflow", "wandb") if f"import {t}\n" in example and importlib.util.find_spec(t) is None]
            if absent:
                print(f"*** {absent[0]} is not installed: its example in {document} was not run ***")
                continue
            for told, here in paths.items():
                example = example.replace(f'"{told}"', repr(str(here)))
            exec(compile(example, document, "exec"), names)
            count += 1
        assert names, f"{document} has no example that imports wsp"
    print(count, "examples of the documents run")


check_encoder()
check_examples()
print("encoders in Python embed as wsp-eval does")
