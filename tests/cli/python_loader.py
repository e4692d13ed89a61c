"""`wsp.Loader`: its batches against the dataset and each other, waiting, torch's DataLoader, and what is refused."""
import os
import pickle
import signal
import sys
import threading
import time
import warnings

import numpy as np

from python_support import dataset, have, refused, wsp

data = dataset("data", 24, 6, 64)


def check_loader():
    ds = wsp.Dataset(data)
    options = dict(batch=8, samples_per_epoch=40, seed=5, image_size=32, augment=True, views=2, masks=True)
    loader = wsp.Loader(ds, **options)
    assert len(loader) == 5
    first, second = list(loader), list(loader)  # kept: all but the first few are copies
    assert [(b.epoch, b.step) for b in first + second] == [(e, s) for e in (0, 1) for s in range(5)]
    for b in first + second:
        assert b.hu.shape == b.mask.shape == (8, 32, 32) and b.views.shape == (2, 8, 32, 32) and b.x.shape == (16, 1, 32, 32)
        assert (b.hu.dtype, b.mask.dtype, b.views.dtype, b.label.dtype, b.depth.dtype, b.row.dtype) == \
            (np.int16, np.uint8, np.float32, np.int64, np.float64, np.int64)
        small = wsp.Dataset(data, image_size=32)
        for i, row in enumerate(b.row):
            assert np.array_equal(b.hu[i], small.hu(row)) and np.array_equal(b.mask[i], small.mask(row))
        assert np.array_equal(b.label, ds.columns["label"][b.row]) and np.array_equal(b.depth, ds.columns["depth_kept"][b.row])
        assert sorted(np.bincount(b.label)) == [2, 2, 2, 2] and len(set(ds.columns["subject"][b.row])) == 8
        assert np.array_equal(b.row, loader.batch_rows(b.epoch, b.step))
    assert any(not np.array_equal(a.row, b.row) for a, b in zip(first, second))

    def same(a, b):
        return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("hu", "mask", "views", "label", "depth", "row"))

    again = wsp.Loader(data, **options, workers=1, ring=2, cache=True)
    assert all(same(a, b) for a, b in zip(first + second, list(again) + list(again)))
    assert again.statistics["cache_hits"] > 0
    again.epoch = 1
    assert all(same(a, b) for a, b in zip(second, again))
    for b in loader:
        break  # the next iteration is a new epoch all the same
    assert next(iter(loader)).epoch == 3
    moved = pickle.loads(pickle.dumps(loader))
    assert moved.epoch == 4 and same(next(iter(moved)), next(iter(loader)))
    other = next(iter(wsp.Loader(data, **{**options, "seed": 6})))
    assert not np.array_equal(other.row, first[0].row)

    # Nothing is copied, and what the consumer does with its arrays changes no other batch.
    loader.epoch = 0
    for kept, b in zip(first, loader):
        assert not b.hu.flags.owndata and b.hu.flags.writeable
        assert same(kept, b)
        b.hu[:] = 7
        b.views[:] = 7

    # Rows of one's own: each once, in order.
    every = wsp.Loader(data, rows=range(len(ds) - 1, -1, -1), batch=50, label=None)
    assert [len(b.row) for b in every] == [50, 50, 44] == [len(b.row) for b in every]
    assert np.array_equal(np.concatenate([b.row for b in every]), np.arange(143, -1, -1))
    assert np.array_equal(np.concatenate([b.hu for b in every])[0], ds.hu(143)) and len(every) == 3
    assert next(iter(every)).x.dtype == np.float32 and (next(iter(every)).label == -1).all()
    plain = next(iter(every))
    assert np.allclose(plain.x[:, 0], (plain.hu.astype(np.float64) + 100) / 500, atol=1e-6)
    binary = next(iter(wsp.Loader(data, rows=range(144), batch=144, positive=[2, 3], label="stage")))
    stage = ds.columns["stage"]
    assert np.array_equal(binary.label, np.where(stage < 0, -1, (stage >= 2).astype(int)))
    held = wsp.Loader(data, hold_back=0.25)
    assert 0 < len(held.held_back) < 144 and not set(held.held_back) & set(held.rows)
    assert not set(ds.columns["subject"][held.held_back]) & set(ds.columns["subject"][held.rows])
    assert "without a value" in wsp.Loader(data, label="stage", batch=8).left_out[0]
    rated = ds.columns["case"][held.rows[0]]
    rest = wsp.Loader(data, hold_back=0.25, exclude=[rated])
    assert "1 case rated exclude" in rest.left_out and rated not in ds.columns["case"][[*rest.rows, *rest.held_back]]
    refused("usage", "no-such-case", lambda: wsp.Loader(data, exclude=["no-such-case"]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        wsp.Loader(data, batch=64)
    assert any("they repeat within a batch" in str(w.message) for w in told)

    refused("usage", "expected one of label, stage", lambda: wsp.Loader(data, label="metavir"))
    refused("usage", "expected one of label, stage", lambda: wsp.Loader(data, rows=[0], label="metavir"))
    refused("usage", "ring of at least 2", lambda: wsp.Loader(data, ring=1))
    refused("usage", "the dataset has 144", lambda: wsp.Loader(data, rows=[144]))
    refused("usage", "crop areas", lambda: wsp.Loader(data, augment=wsp.Augment(min_crop_area=0.9)))
    refused("usage", "expected 0 or more", lambda: wsp.Loader(data, seed=-1))
    refused("usage", "no split 'b'", lambda: wsp.Loader(data, splits=["b"]))
    refused("usage", "lower the batch size", lambda: wsp.Loader(data, batch=1000))


def check_waiting():
    """Other threads run while a batch is waited for, and Ctrl-C ends the wait without a loss."""
    big = dataset("big", 8, 8, 512)
    counted = [0]
    stop = threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)  # gives the GIL back

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody else gets the GIL unless it is given away
    try:
        thread.start()
        stream = iter(wsp.Loader(big, rows=list(range(64)) * 4, batch=256, workers=1))
        before = counted[0]
        next(stream)
        assert counted[0] > before, "the GIL was held while a batch was waited for"
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()
    # A batch that takes seconds: small pictures of many large slices.
    loader = wsp.Loader(big, rows=[i % 64 for i in range(8_000)], batch=8_000, workers=1, image_size=8)
    waiting = wsp._native.Stream(loader._plan, 0, loader._options)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        waiting.next()
        raise AssertionError("the signal came too late or was not heard")
    except KeyboardInterrupt:
        assert waiting.statistics["slices"] == 0, "the signal was heard when the batch was there"
    assert len(waiting.next()[2]) == 8_000 and waiting.next() is None


def check_torch():
    if not have("torch"):
        return
    import torch

    loader = wsp.Loader(data, batch=8, samples_per_epoch=24, image_size=32, augment=True, views=2)
    arrays = list(loader)
    loader.epoch = 0
    tensors = torch.utils.data.DataLoader(loader.torch(), batch_size=None, num_workers=0)
    assert len(tensors) == 3
    for a, b in zip(arrays, tensors):
        assert torch.is_tensor(b.hu) and np.array_equal(a.hu, b.hu.numpy()) and torch.equal(b.x, torch.from_numpy(a.x))
        assert np.array_equal(a.label, b.label.numpy()) and np.array_equal(a.row, b.row.numpy())
    loader = wsp.Loader(data, rows=range(16), batch=16)
    numpy_batch = next(iter(loader))
    memory = numpy_batch.hu.__array_interface__["data"][0]
    assert torch.from_numpy(numpy_batch.hu).data_ptr() == memory
    assert pickle.loads(pickle.dumps(loader.torch())).loader.rows.tolist() == list(range(16))
    # torch makes the error of a worker anew, of its words alone.
    refused("failure", "num_workers=0", lambda: next(iter(torch.utils.data.DataLoader(loader.torch(), batch_size=None, num_workers=1))))
    # A Dataset is a map-style one, in workers too.
    ds = wsp.Dataset(data, image_size=32)
    for workers in (0, 2):
        rows = []
        for s in torch.utils.data.DataLoader(ds, batch_size=10, num_workers=workers):
            assert s.hu.shape[1:] == (32, 32) and s.labels["label"].tolist() == ds.columns["label"][s.row].tolist()
            rows += s.row.tolist()
        assert rows == list(range(144))


if __name__ == "__main__":  # workers may read this file again (Python 3.14)
    check_loader()
    check_waiting()
    check_torch()
    print("the loader gives the dataset's batches")
