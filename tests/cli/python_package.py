"""`import wsp`: datasets against h5py, batches against what wsp-train drew, metrics and ledger, pickling, threads, the installed
component, and what is refused."""
import hashlib
import json
import os
import pathlib
import pickle
import subprocess
import sys
import threading

import numpy as np

import support
from python_support import PACKAGE, dataset, have, refused, root, wsp

data = dataset("data", 24, 6, 64)


def check_dataset():
    ds = wsp.Dataset(data)
    assert len(ds) == 144 and ds.shape == (64, 64) and ds.label_names == ["label", "stage"]
    assert ds.fingerprint == hashlib.sha256((data / "dataset.json").read_bytes()).hexdigest()
    if have("h5py", "hdf5plugin"):
        import h5py
        import hdf5plugin  # noqa: F401

        with h5py.File(support.state(data) / "index.h5") as index:
            stored = {k: v[:] for k, v in index["slices"].items()}
            subjects = [support.text(s) for s in index["subjects/name"][:]]
            cases = {k: v[:] for k, v in index["cases"].items()}
        names = [support.text(n) for n in cases["name"]]
        for name in ("source_index", "z_mm", "depth_kept", "depth_liver", "depth_volume", "liver_area_mm2", "shard", "row", "label", "stage"):
            assert np.array_equal(ds.columns[name], stored[name]) and ds.columns[name].dtype == stored[name].dtype, name
        assert list(ds.columns["case"]) == [names[c] for c in stored["case"]]
        assert list(ds.columns["subject"]) == [subjects[s] for s in stored["subject"]]
        for name in ("spacing_mm", "liver_ml", "pixel_x_mm", "pixel_y_mm", "slice_count", "label", "stage"):
            assert np.array_equal(ds.cases[name], cases[name]), name
        assert list(ds.cases["source_hash"]) == [support.text(h) for h in cases["source_hash"]]
        pixels = support.read_cases(data)
        for i in range(len(ds)):
            s = ds[i]
            k = list(pixels[s.case]["source_index"]).index(s.source_index)
            assert s.hu.dtype == np.int16 and np.array_equal(s.hu, pixels[s.case]["image"][k])
            assert s.mask.dtype == np.uint8 and np.array_equal(s.mask, pixels[s.case]["mask"][k])
            assert s.depth == pixels[s.case]["depth_kept"][k] and s.labels["stage"] == pixels[s.case]["stage"][k]
            assert s.row == i and s.z_mm == pixels[s.case]["z_mm"][k]
        with ds.open_shard(int(ds.columns["shard"][7])) as shard:
            assert np.array_equal(shard["slices/image"][ds.columns["row"][7]], ds.hu(7))
    assert np.array_equal(ds[-1].hu, ds[143].hu) and ds[np.int64(3)].row == 3
    for beyond in (144, -145):
        try:
            ds[beyond]
        except IndexError:
            continue
        raise AssertionError(f"ds[{beyond}]")
    assert len(list(ds)) == 144
    as_float = wsp.Dataset(data, dtype="float32", masks=False, depth="volume")
    assert as_float[5].hu.dtype == np.float32 and np.array_equal(as_float[5].hu, ds.hu(5)) and as_float[5].mask.size == 0
    small = wsp.Dataset(data, image_size=16)
    assert small[9].hu.shape == small[9].mask.shape == (16, 16)
    assert np.array_equal(small.hu(9), np.rint(ds.hu(9).reshape(16, 4, 16, 4).mean((1, 3))).astype(np.int16))
    assert wsp.Dataset(data, image_size=64).shape == (64, 64)
    assert ds.case(ds.cases["name"][0])["name"] == ds.cases["name"][0]
    if have("pandas"):
        assert list(ds.frame()["label"]) == list(ds.columns["label"]) and len(ds.cases.frame()) == 24

    # Format version 1: the files beside dataset.json.
    old = dataset("old", 4, 3, 64)
    state, told = support.state(old), json.loads((old / "dataset.json").read_text())
    for path in state.iterdir():
        path.rename(old / path.name)
    state.rmdir()
    del told["state"]
    (old / "dataset.json").write_text(json.dumps({**told, "version": 1}))
    assert np.array_equal(wsp.Dataset(old)[11].hu, wsp.Dataset(dataset("new", 4, 3, 64))[11].hu)

    # What is refused.
    refused("no_input", "expected dataset.json", lambda: wsp.Dataset(root / "nowhere"))
    refused("usage", "expected int16 or float32", lambda: wsp.Dataset(data, dtype="uint8"))
    refused("usage", "expected 1 to 8192", lambda: wsp.Dataset(data, image_size=9000))
    refused("usage", "expected kept, liver or volume", lambda: wsp.Dataset(data, depth="head"))
    refused("corrupt", "cases/nobody.json", lambda: ds.case("nobody"))
    with wsp.Dataset(data) as closing:
        running = iter(wsp.Loader(closing, batch=8))
        next(running)
    refused("usage", "is closed", lambda: closing[0])
    assert next(running).step == 1, "a loader keeps the files of a dataset that was closed"
    damaged = dataset("damaged", 4, 3, 64)
    whole = wsp.Dataset(damaged)
    shard = support.state(damaged) / "shards" / f"shard-{whole.columns['shard'][5]:02d}.h5"
    stored = shard.read_bytes()
    for place in range(len(stored) // 2, len(stored), 97):  # until it is within a chunk
        shard.write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1:])
        broken = [i for i in range(len(whole)) if not readable(wsp.Dataset(damaged), i)]
        if broken:
            break
    assert len(broken) == 1, broken
    refused("corrupt", whole.columns["case"][broken[0]], lambda: wsp.Dataset(damaged)[broken[0]])
    skipping = wsp.Loader(damaged, rows=range(12), batch=12, skip_corrupt=True, masks=True)
    (batch,) = list(skipping)
    assert skipping.statistics["corrupt_slices"] == 1 and batch.row[broken[0]] != broken[0]
    refused("corrupt", whole.columns["case"][broken[0]], lambda: list(wsp.Loader(damaged, rows=range(12), masks=True)))

    # Other processes and threads.
    back = pickle.loads(pickle.dumps(small))
    assert back.shape == (16, 16) and np.array_equal(back.hu(3), small.hu(3))
    moved = pickle.dumps(wsp.Dataset(damaged))
    told = json.loads((damaged / "dataset.json").read_text())
    (damaged / "dataset.json").write_text(json.dumps({**told, "remark": 1}))
    refused("failure", "was updated", lambda: pickle.loads(moved))
    found, expected = {}, [ds.hu(i).sum() for i in range(144)]
    threads = [threading.Thread(target=lambda t=t: found.update({i: ds.hu(i).sum() for i in range(t, 144, 4)})) for t in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert [found[i] for i in range(144)] == expected


def readable(ds, i):
    try:
        ds[i]
    except wsp.Error as e:
        assert e.code == "corrupt"
        return False
    return True


def check_plugin_advice():
    """h5py without the plugin says what to install."""
    if not have("h5py"):
        return
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import h5py, wsp\n"
            "if h5py.h5z.filter_avail(32001): print('there'); sys.exit()\n"
            "try: wsp.Dataset(sys.argv[2]).open_shard(0)\n"
            "except wsp.Error as e: print(e)")
    told = subprocess.run([sys.executable, "-c", code, PACKAGE, data], capture_output=True, text=True, check=True,
                          env={**os.environ, "HDF5_PLUGIN_PATH": "/nowhere"}).stdout
    assert "install Debian's hdf5-filter-plugin-blosc-serial" in told, told


def check_h5py_beside():
    """What wsp does leaves h5py its plugins: Blosc can still be written, which the toolkit's own filter cannot."""
    if not have("h5py", "hdf5plugin"):
        return
    import h5py
    import hdf5plugin

    for locking in (None, False):
        with h5py.File(support.state(data) / "index.h5", locking=locking) as file:
            assert len(wsp.Dataset(data)) == len(file["slices/case"])
    with h5py.File(root / "compressed.h5", "w") as file:
        values = np.arange(100_000) // 1000
        stored = file.create_dataset("x", data=values, chunks=(10_000,), **hdf5plugin.Blosc())
        assert stored.id.get_storage_size() < values.nbytes / 10
    with h5py.File(root / "compressed.h5") as file:
        assert np.array_equal(file["x"][:], values)


def check_trainer():
    """The batches and views are those that wsp-train saw, by its own `redraw`."""
    run = root / "drawn"
    support.run("wsp-train", data, "--out", run, "--method", "simclr", "--encoder", "resnet18", "--image-size", 48, "--batch", 8,
                "--samples-per-epoch", 24, "--epochs", 2, "--seed", 11, "--probe-every", 0, "--no-tensorboard")
    ds = wsp.Dataset(data)
    batches = {(b.epoch, b.step): b for loader in [wsp.Loader(data, batch=8, samples_per_epoch=24, seed=11, image_size=48,
                                                              augment=True, views=2)] for _ in range(2) for b in loader}
    for epoch, step in ((0, 0), (0, 2), (1, 1)):
        sheet = root / f"sheet-{epoch}-{step}"
        support.run("wsp-train", "redraw", run, "--dataset", data, "--epoch", epoch, "--step", step, "--out", sheet)
        views = json.loads((sheet / "views.json").read_text())
        batch = batches[epoch, step]
        for i, view in enumerate(views):
            row = batch.row[i % 8]
            assert (ds.columns["case"][row], ds.columns["source_index"][row]) == (view["case"], view["source_index"]), (epoch, step, i)
            assert batch.label[i % 8] == view["label"] and batch.depth[i % 8] == view["depth"]
        if have("PIL"):
            from PIL import Image

            drawn = np.asarray(Image.open(sheet / "views.png")).reshape(8, 48, 3, 48).transpose(2, 0, 1, 3)
            ours = np.rint(np.clip(np.stack([(batch.hu + np.float32(100)) / np.float32(500), *batch.views]), 0, 1) * np.float32(255))
            assert np.array_equal(drawn, ours.astype(np.uint8)), (epoch, step)
    seen = wsp.metrics(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert set(seen) == {line["kind"] for line in lines} and "train" in seen
    train = [line for line in lines if line["kind"] == "train"]
    assert list(seen["train"]["step"]) == [line["step"] for line in train] and seen["train"]["step"].dtype == np.int64
    assert np.array_equal(seen["train"]["loss"], [line["loss"] for line in train])
    (root / "metrics.jsonl").write_text('{"step": 1, "kind": "a", "v": null}\n{"step": 2, "kind": "a", "v": 1, "w": "x"}\n{"step": 3, "ki')
    odd = wsp.metrics(root / "metrics.jsonl")["a"]
    assert np.isnan(odd["v"][0]) and odd["v"][1] == 1 and list(odd["w"]) == [None, "x"] and odd.rows == 2
    (root / "metrics.jsonl").write_text('{"step": 1}\n')
    refused("corrupt", "line 1", lambda: wsp.metrics(root / "metrics.jsonl"))
    refused("no_input", "cannot read", lambda: wsp.metrics(root / "absent.jsonl"))


def check_ledger():
    tools = support.BINARIES
    if not (tools / "wsp-phantom").exists():
        print("*** PARTLY SKIPPED: no wsp-ingest in this build, so no ledger is read ***", file=sys.stderr)
        return
    support.run("wsp-phantom", "--out", root / "cohort", "--subjects", 2, "--slices", "12-12", "--size", 64)
    support.run("wsp-ingest", root / "cohort/export", "--out", root / "ingested", "--ids", "keep", "--size", 64, "--masks",
                root / "cohort/truth", "--labels", root / "cohort/labels.csv", "--manifest", support.SOURCE / "data-manifests/phantom.json")
    lines = (support.state(root / "ingested") / "ledger.tsv").read_text().splitlines()
    found = wsp.ledger(root / "ingested")
    assert list(found) == ["path", "code", "kind", "case", "detail"] and found.rows == len(lines) - 1 > 20
    assert ["\t".join(row) for row in zip(*found.values())] == lines[1:]
    ds = wsp.Dataset(root / "ingested")
    assert set(found["case"]) - {""} == set(ds.cases["name"]) and ds.description["config"]["window_hu"] == [-100, 400]
    ledger = support.state(root / "ingested") / "ledger.tsv"
    ledger.write_text(ledger.read_text().replace("USED", "USEE", 1) + "x")
    refused("corrupt", "ledger.tsv", lambda: wsp.ledger(ds))


def check_names():
    """The stub names what the extension has, and no more."""
    import ast

    import wsp._native as native

    stub = ast.parse((support.SOURCE / "python/wsp/_native.pyi").read_text())
    own = [n for n in stub.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]
    public = {name for name in dir(native) if not name.startswith("_")}
    assert {n.name for n in own} == public, {n.name for n in own} ^ public
    for c in own:
        if isinstance(c, ast.ClassDef):
            told = {f.name for f in c.body if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")}
            there = {name for name in dir(getattr(native, c.name)) if not name.startswith("_")}
            assert told == there, (c.name, told ^ there)
    for name in wsp.__all__:
        if name not in ("Encoder", "load_encoder") or have("torch"):
            assert getattr(wsp, name).__doc__, f"wsp.{name} has no docstring"


def check_install():
    """The component is found by the interpreter, wherever below Debian's prefixes."""
    for prefix, folder in (("/usr", "lib/python3/dist-packages"), (str(root / "home/.local"), f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")):
        stage = root / "stage"
        subprocess.run(["cmake", "--install", os.environ["WSP_BINARY_DIR"], "--component", "python", "--prefix", prefix], check=True,
                       env={**os.environ, "DESTDIR": str(stage)}, stdout=subprocess.DEVNULL)
        place = pathlib.Path(f"{stage}{prefix}") / folder
        assert (place / "wsp/py.typed").exists(), place
        code = "import sys; sys.path.insert(0, sys.argv[1]); import wsp; print(wsp.__file__, len(wsp.Dataset(sys.argv[2])))"
        told = subprocess.run([sys.executable, "-c", code, place, data], check=True, capture_output=True, text=True).stdout
        assert told.split() == [str(place / "wsp/__init__.py"), "144"], told


check_names()
check_dataset()
check_plugin_advice()
check_h5py_beside()
check_trainer()
check_ledger()
check_install()
print("the Python package reads and loads as the commands do")
