"""What a Python trainer would do: h5py with the Blosc plugin inside a torch DataLoader; or wsp.Loader in its place.

loader_bench.py python|wsp DATASET [BATCHES [WORKERS [BATCH]]] prints a line of loader_bench's form: its first argument,
slices per second, CPU milliseconds per slice. `python` needs python3-h5py, python3-hdf5plugin and python3-torch, `wsp` the
package wsp on the PYTHONPATH.
"""
import json
import os
import random
import resource
import sys
import time

WARM_UP = 8  # batches: workers have started, every buffer of a ring has been written


class Slices:
    """The images of a dataset; each worker opens the shards for itself."""

    def __init__(self, root):
        import h5py

        self.open = h5py.File
        with open(os.path.join(root, "dataset.json")) as file:
            self.root = os.path.join(root, json.load(file)["state"])
        with self.open(os.path.join(self.root, "index.h5"), "r") as index:
            self.shard = index["slices/shard"][:]
            self.row = index["slices/row"][:]
        self.images = {}

    def __len__(self):
        return len(self.row)

    def __getitem__(self, i):
        shard = int(self.shard[i])
        if shard not in self.images:
            path = os.path.join(self.root, "shards", f"shard-{shard:02d}.h5")
            self.images[shard] = self.open(path, "r")["slices/image"]
        return self.from_numpy(self.images[shard][self.row[i]])


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def python_batches(root, order_of, workers, batch):
    import hdf5plugin  # noqa: F401  (registers the Blosc filter)
    import torch

    torch.set_num_threads(1)
    Slices.from_numpy = staticmethod(torch.from_numpy)
    slices = Slices(root)
    return torch.utils.data.DataLoader(slices, batch_size=batch, sampler=order_of(len(slices)), num_workers=workers)


def wsp_batches(root, order_of, workers, batch):
    import wsp

    ds = wsp.Dataset(root)
    return (b.hu for b in wsp.Loader(ds, rows=order_of(len(ds)), batch=batch, workers=workers))


def main():
    which, root = sys.argv[1:3]
    batches, workers, batch = (int(x) for x in (sys.argv[3:] + ["24", "2", "64"][len(sys.argv) - 3:]))
    wanted, shuffle = (WARM_UP + batches) * batch, random.Random(1)

    def order_of(n):
        return [i for _ in range(wanted // n + 1) for i in shuffle.sample(range(n), n)][:wanted]

    loader = {"python": python_batches, "wsp": wsp_batches}[which](root, order_of, workers, batch)
    cpu, count = cpu_seconds(), 0  # what was imported is no work on slices
    begin = time.perf_counter()
    for i, images in enumerate(loader):
        assert images.shape[1:] == (512, 512) and str(images.dtype).endswith("int16")
        count += len(images)
        if i + 1 == WARM_UP:
            begin, timed_from = time.perf_counter(), count
    wall = time.perf_counter() - begin
    # The CPU time of the workers is known once they have ended, so it is that of all batches.
    print(f"{which} {(count - timed_from) / wall:.1f} {1000 * (cpu_seconds() - cpu) / count:.4f}")


if __name__ == "__main__":
    main()
