"""What a Python trainer would do: h5py with the Blosc plugin inside a torch DataLoader.

loader_bench.py DATASET [BATCHES [WORKERS [BATCH]]] prints a line of loader_bench's form: python, slices per second,
CPU milliseconds per slice. Needs python3-h5py, python3-hdf5plugin and python3-torch.
"""
import json
import os
import random
import resource
import sys
import time

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter)
import torch


class Slices(torch.utils.data.Dataset):
    """The images of a dataset; each worker opens the shards for itself."""

    def __init__(self, root):
        with open(os.path.join(root, "dataset.json")) as file:
            self.root = os.path.join(root, json.load(file)["state"])
        with h5py.File(os.path.join(self.root, "index.h5"), "r") as index:
            self.shard = index["slices/shard"][:]
            self.row = index["slices/row"][:]
        self.images = {}

    def __len__(self):
        return len(self.row)

    def __getitem__(self, i):
        shard = int(self.shard[i])
        if shard not in self.images:
            path = os.path.join(self.root, "shards", f"shard-{shard:02d}.h5")
            self.images[shard] = h5py.File(path, "r")["slices/image"]
        return torch.from_numpy(self.images[shard][self.row[i]])


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main():
    root = sys.argv[1]
    batches, workers, batch = (int(x) for x in (sys.argv[2:] + ["24", "2", "64"][len(sys.argv) - 2:]))
    torch.set_num_threads(1)
    slices = Slices(root)
    warm_up = 4
    order = [i for _ in range((warm_up + batches) * batch // len(slices) + 1)
             for i in random.Random(1).sample(range(len(slices)), len(slices))][:(warm_up + batches) * batch]
    loader = torch.utils.data.DataLoader(slices, batch_size=batch, sampler=order, num_workers=workers)
    cpu, count = cpu_seconds(), 0
    begin = time.perf_counter()
    for i, images in enumerate(loader):
        assert images.shape[1:] == (512, 512) and images.dtype == torch.int16
        count += len(images)
        if i + 1 == warm_up:  # the workers have started
            begin, timed_from = time.perf_counter(), count
    wall = time.perf_counter() - begin
    del loader
    # The CPU time of the workers is known once they have ended, so it is that of all batches.
    print(f"python {(count - timed_from) / wall:.1f} {1000 * (cpu_seconds() - cpu) / count:.4f}")


if __name__ == "__main__":
    main()
