"""The same slices in the formats that people train from, read in turns on one machine; prints one table.

    bench/loader_others.py DATASET [--turns 3] [--workers 2] [--batch 64] [--batches 24] [--only NAME,...]

DATASET: made by `build/release/bench/loader_bench DATASET --only-make --slices 2048`. PYTHONPATH=build/release/python
for wsp. From PyPI, each left out loudly where it is absent: torch, h5py with hdf5plugin,
mosaicml-streaming, webdataset, litdata, zarr (3), blosc2 (as nnU-Net keeps its cases).

Every reader gives shuffled batches of int16 as torch tensors, in a process of its own with that many
workers, page cache warm. Each format keeps its usual way: compressed losslessly where that is its
default, all of a slice together.
"""
import argparse
import importlib
import importlib.metadata
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

WARM_UP = 8  # batches
SIDE = 512


def images_of(dataset):
    import wsp

    ds = wsp.Dataset(dataset)
    for batch in wsp.Loader(ds, rows=list(range(len(ds))), batch=32, workers=1):
        yield from np.asarray(batch.hu)


def torch_loader(data, args, **options):
    import torch

    torch.set_num_threads(1)
    return torch.utils.data.DataLoader(data, batch_size=args.batch, num_workers=args.workers, **options)


class ByIndex:
    """What a DataLoader takes: `open_` gives something that is indexed by slice, in each worker for itself."""

    def __init__(self, place, count, open_):
        self.place, self.count, self.open_, self.opened = place, count, open_, None

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        import torch

        if self.opened is None:
            self.opened = self.open_(self.place)
        return torch.from_numpy(np.require(self.opened(i), requirements="CW"))


def order(args, count):
    shuffle = random.Random(1)
    wanted = (WARM_UP + args.batches) * args.batch
    return [i for _ in range(wanted // count + 1) for i in shuffle.sample(range(count), count)][:wanted]


def by_index(open_):
    return lambda place, args, count: torch_loader(ByIndex(place, count, open_), args, sampler=order(args, count))


# --- wsp and h5py: the dataset as it is


def read_wsp(place, args, count):
    import torch
    import wsp

    ds = wsp.Dataset(args.dataset)
    return (torch.from_dlpack(b.hu) if hasattr(b.hu, "__dlpack__") else torch.from_numpy(b.hu)
            for b in wsp.Loader(ds, rows=order(args, count), batch=args.batch, workers=args.workers))


def open_h5py(_):
    import h5py
    import hdf5plugin  # noqa: F401  (registers the Blosc filter)

    dataset = pathlib.Path(ARGS.dataset)
    root = dataset / json.loads((dataset / "dataset.json").read_text())["state"]
    with h5py.File(root / "index.h5", "r") as index:
        shard, row = index["slices/shard"][:], index["slices/row"][:]
    files = {}

    def read(i):
        s = int(shard[i])
        if s not in files:
            files[s] = h5py.File(root / "shards" / f"shard-{s:02d}.h5", "r")["slices/image"]
        return files[s][row[i]]

    return read


# --- one file of plain numbers


def make_npy(place, images):
    np.save(place / "images.npy", np.stack(list(images)))


def open_npy(place):
    mapped = np.load(place / "images.npy", mmap_mode="r")
    return lambda i: mapped[i]


# --- MosaicML Streaming


def make_streaming(place, images):
    import streaming

    with streaming.MDSWriter(out=str(place / "mds"), columns={"image": f"ndarray:int16:{SIDE},{SIDE}"}) as writer:
        for image in images:
            writer.write({"image": image})


def read_streaming(place, args, count):
    import streaming
    import torch

    data = streaming.StreamingDataset(local=str(place / "mds"), shuffle=True, batch_size=args.batch)
    stack = lambda rows: torch.from_numpy(np.stack([r["image"] for r in rows]))  # noqa: E731
    while True:
        yield from torch_loader(data, args, collate_fn=stack)


# --- WebDataset: a tar of .npy, in four files


def make_webdataset(place, images):
    import webdataset

    images = list(images)
    for part in range(4):
        with webdataset.TarWriter(str(place / f"part-{part}.tar")) as writer:
            for i in range(part, len(images), 4):
                writer.write({"__key__": f"{i:06d}", "npy": images[i]})


def read_webdataset(place, args, count):
    import torch
    import webdataset

    data = (webdataset.WebDataset(str(place / "part-{0..3}.tar"), shardshuffle=4, resampled=False)
            .shuffle(200).decode().to_tuple("npy"))
    stack = lambda rows: torch.from_numpy(np.stack([r[0] for r in rows]))  # noqa: E731
    while True:
        yield from torch_loader(data, args, collate_fn=stack)


# --- LitData


def make_litdata(place, images):
    import torch
    from litdata.streaming import Cache

    cache = Cache(str(place / "lit"), chunk_bytes="64MB")
    for i, image in enumerate(images):
        cache[i] = torch.from_numpy(np.array(image))
    cache.done()
    cache.merge()


def read_litdata(place, args, count):
    import litdata

    data = litdata.StreamingDataset(str(place / "lit"), shuffle=True)
    while True:
        yield from litdata.StreamingDataLoader(data, batch_size=args.batch, num_workers=args.workers)


# --- zarr 3: a chunk a slice, its own default codec


def make_zarr(place, images):
    import zarr

    images = np.stack(list(images))
    array = zarr.create_array(store=str(place / "images.zarr"), shape=images.shape, chunks=(1, SIDE, SIDE), dtype="int16")
    array[:] = images


def open_zarr(place):
    import zarr

    array = zarr.open_array(str(place / "images.zarr"), mode="r")
    return lambda i: array[i]


# --- blosc2: a file a case, zstd and the blocks that nnU-Net takes for slices


def make_blosc2(place, images):
    import blosc2

    images = np.stack(list(images))
    for first in range(0, len(images), 32):
        blosc2.asarray(images[first : first + 32], urlpath=str(place / f"{first // 32:04d}.b2nd"), mode="w",
                       chunks=(1, SIDE, SIDE), blocks=(1, SIDE, SIDE), cparams={"codec": blosc2.Codec.ZSTD, "clevel": 8})


def open_blosc2(place):
    import blosc2

    blosc2.set_nthreads(1)
    files = {}

    def read(i):
        case = i // 32
        if case not in files:
            files[case] = blosc2.open(urlpath=str(place / f"{case:04d}.b2nd"), mode="r", mmap_mode="r", dparams={"nthreads": 1})
        return files[case][i % 32]

    return read


# name: (packages, make, read); the first package's version is shown
READERS = {
    "wsp": (["wsp", "torch"], None, read_wsp),
    "h5py": (["h5py", "hdf5plugin", "torch"], None, by_index(open_h5py)),
    "npy": (["numpy", "torch"], make_npy, by_index(open_npy)),
    "streaming": (["streaming", "torch"], make_streaming, read_streaming),
    "webdataset": (["webdataset", "torch"], make_webdataset, read_webdataset),
    "litdata": (["litdata", "torch"], make_litdata, read_litdata),
    "zarr": (["zarr", "torch"], make_zarr, by_index(open_zarr)),
    "blosc2": (["blosc2", "torch"], make_blosc2, by_index(open_blosc2)),
}


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(name, place, args):
    """In a process of its own: slices per second after the warm-up, CPU milliseconds a slice of all."""
    count = json.loads((pathlib.Path(args.scratch) / "count.json").read_text())
    for package in READERS[name][0]:
        importlib.import_module(package)
    cpu, seen, timed_from, begin = cpu_seconds(), 0, 0, 0.0
    batches = iter(READERS[name][2](place, args, count))
    for i in range(WARM_UP + args.batches):
        images = next(batches)
        images = images[0] if isinstance(images, (list, tuple)) else images
        assert tuple(images.shape[1:]) == (SIDE, SIDE) and str(images.dtype) == "torch.int16", (images.shape, images.dtype)
        seen += len(images)
        if i + 1 == WARM_UP:
            begin, timed_from = time.perf_counter(), seen
    wall = time.perf_counter() - begin
    batches.close() if hasattr(batches, "close") else None
    del batches
    print(json.dumps({"rate": (seen - timed_from) / wall, "cpu": 1000 * (cpu_seconds() - cpu) / seen}))


def size_of(place):
    return sum(f.stat().st_size for f in place.rglob("*") if f.is_file())


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="loaders-"))
    try:
        images = list(images_of(ARGS.dataset))
        (scratch / "count.json").write_text(json.dumps(len(images)))
        whole = len(images) * SIDE * SIDE * 2
        names, sizes, versions = [], {}, {}
        for name in ARGS.only.split(",") if ARGS.only else READERS:
            packages, make, _ = READERS[name]
            try:
                found = [importlib.import_module(package) for package in packages]
                versions[name] = getattr(found[0], "__version__", "")
            except ImportError as e:
                print(f"*** {name} IS LEFT OUT: {e} ***", file=sys.stderr)
                continue
            place = scratch / name
            place.mkdir()
            if make:
                make(place, iter(images))
            sizes[name] = size_of(place) if make else size_of(pathlib.Path(ARGS.dataset))
            names.append(name)
        results = {name: [] for name in names}
        for _ in range(ARGS.turns):
            for name in names:
                said = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--measure", name, "--scratch", str(scratch)],
                                      stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout
                results[name].append(json.loads(said.splitlines()[-1]))
        first = statistics.median(r["rate"] for r in results[names[0]])
        print("| | version | slices/s | CPU ms a slice | bytes, x smaller | times slower |\n|---|---|---|---|---|---|")
        for name, rows in results.items():
            rate, cpu = (statistics.median(r[key] for r in rows) for key in ("rate", "cpu"))
            print(f"| {name} | {versions[name]} | {rate:.0f} | {cpu:.3f} | {whole / sizes[name]:.1f} | {first / rate:.1f} |")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    for option, default in (("turns", 3), ("workers", 2), ("batch", 64), ("batches", 24)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--only", default="")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    ARGS = parser.parse_args()
    if ARGS.measure:
        measure(ARGS.measure, pathlib.Path(ARGS.scratch) / ARGS.measure, ARGS)
    else:
        main()
