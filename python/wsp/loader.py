"""Batches by the trainer's own loader."""
from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence, Union

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._errors import Error
from .dataset import Dataset, PathLike, opened

if TYPE_CHECKING:
    from ._torch import TorchLoader


@dataclasses.dataclass(frozen=True)
class Augment:
    """Ranges of the random views; the defaults are those of ``wsp-train``. Each augmentation is applied
    with ``probability``, all of them by one bilinear resampling; outside the slice is -100 HU."""

    probability: float = 0.5
    flip_x: bool = True
    flip_y: bool = True
    max_angle_deg: float = 30.0
    max_shift: float = 0.2
    """translation, as a part of the image"""
    min_crop_area: float = 0.7
    """a crop keeps between this part of the area ..."""
    max_crop_area: float = 0.7
    """... and this one; 1 and 1: no crop"""


@dataclasses.dataclass(frozen=True)
class Batch:
    """n slices of s x s pixels."""

    hu: "NDArray[np.int16]"
    """[n, s, s] HU"""
    mask: "Optional[NDArray[np.uint8]]"
    """[n, s, s], 1 is liver; with ``masks=True``"""
    views: "Optional[NDArray[np.float32]]"
    """[views, n, s, s], (HU + 100) / 500; with ``augment``"""
    label: "NDArray[np.int64]"
    """[n] classes; -1 is unknown"""
    depth: "NDArray[np.float64]"
    """[n], 0 (feet) to 1 (head)"""
    row: "NDArray[np.int64]"
    """[n], which slices of the dataset"""
    epoch: int
    step: int

    @property
    def x(self) -> "NDArray[np.float32]":
        """What a network sees: [views * n, 1, s, s], view 1 of all slices first; without ``augment``
        the slices themselves, [n, 1, s, s]. (HU + 100) / 500."""
        if self.views is not None:
            return self.views.reshape(-1, 1, *self.views.shape[2:])
        return ((self.hu[:, None].astype(np.float32) + np.float32(100)) * np.float32(1 / 500))


class Loader:
    """Batches of a dataset, read ahead by the trainer's loader on threads of its own.

    Iterating gives an epoch of :class:`Batch`; the next iteration gives the next epoch (``epoch``
    counts, and may be set). With the same options a seed gives the same batches anywhere, and those
    that ``wsp-train`` with these options sees: balanced over the classes of the label, no subject
    twice in a batch while there are enough. ``loader.torch()`` gives tensors and goes into a
    ``torch.utils.data.DataLoader``.

    Arrays are not copied: they are the loader's own memory until they are let go. Who keeps batches
    (``list(loader)``) gets copies of the later ones. The GIL is free while it waits.

    :param data: a :class:`Dataset`, or its path
    :param batch: slices per batch
    :param balanced: over the classes of ``label``; False: uniform over subjects
    :param rows: these slices once, in this order, instead of drawn ones; no case is left out then
    :param seed: of batches and views
    :param samples_per_epoch: draws per epoch; the last incomplete batch is dropped
    :param image_size: side of the slices; None: that of the dataset
    :param augment: True or an :class:`Augment`: draw random views
    :param views: how many of each slice
    :param masks: also the liver masks (of the slices, not of the views)
    :param label: label column that is the class; with ``rows`` also None: -1 for all
    :param depth: ``"kept"``, ``"liver"`` or ``"volume"``
    :param positive: classes that become 1, all others 0
    :param splits: splits to draw from; empty: all but ``val`` and ``test``
    :param subjects: names of subjects to draw from; empty: all
    :param exclude: names of cases that are neither drawn nor held back, such as those rated so
    :param hold_back: part of the subjects that is never drawn and stands in ``held_back``
    :param include_flagged: draw from cases whose liver or depth is doubtful, too
    :param include_unlabelled: draw slices without a class, too
    :param workers: decoding threads; 0: as many as there are cores
    :param ring: batches in memory
    :param cache: keep decoded slices in memory
    :param skip_corrupt: replace a damaged slice by another of its batch, and say so once
    :param deadline_s: a batch that takes longer is an error
    :raises Error: ``usage`` for options that cannot be, with what can; while iterating ``corrupt``
        naming case and slice, ``failure`` past the deadline
    """

    def __init__(self, data: Union[Dataset, PathLike], *, batch: int = 64, balanced: bool = True,
                 rows: Optional[Sequence[int]] = None, seed: int = 0, samples_per_epoch: int = 10000,
                 image_size: Optional[int] = None, augment: Union[bool, Augment] = False, views: int = 1,
                 masks: bool = False, label: Optional[str] = "label", depth: str = "kept",
                 positive: Sequence[int] = (), splits: Sequence[str] = (), subjects: Sequence[str] = (),
                 exclude: Sequence[str] = (), hold_back: float = 0.1, include_flagged: bool = False,
                 include_unlabelled: bool = False,
                 workers: int = 0, ring: int = 4, cache: bool = False, skip_corrupt: bool = False,
                 deadline_s: float = 600.0) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "data")}
        self.dataset = opened(data)
        self.epoch = 0
        """the number of the next epoch"""
        self._given = given
        self._stream: "Optional[tuple[_native.Stream, int]]" = None
        height, width = self.dataset.shape
        if image_size is None and height != width:
            raise Error(f"the slices are {height}x{width}: name the image_size of the batches", "usage")
        if not 0 <= seed < 2**64:
            raise Error(f"seed is {seed}: expected 0 or more, below 2^64", "usage")
        if augment and views < 1:
            raise Error(f"views is {views}: expected 1 or more", "usage")
        if ring < 2 or not 0 <= workers <= 1024 or not 0 < deadline_s <= 1e8:
            raise Error(f"ring is {ring}, workers {workers}, deadline_s {deadline_s}: expected a ring of at least 2, 0 to 1024 "
                        "workers, a deadline above 0 and at most 1e8 s", "usage")
        if depth not in ("kept", "liver", "volume"):
            raise Error(f"depth is '{depth}': expected kept, liver or volume", "usage")
        ranges = augment if isinstance(augment, Augment) else Augment()
        self._options = {
            "batch": int(batch), "balanced": bool(balanced), "seed": int(seed),
            "samples_per_epoch": int(samples_per_epoch), "image_size": height if image_size is None else int(image_size),
            "augment": dataclasses.asdict(ranges), "views": int(views) if augment else 0, "masks": bool(masks),
            "label": label, "depth": depth, "positive": [int(c) for c in positive], "splits": [str(s) for s in splits],
            "subjects": [str(s) for s in subjects], "exclude": [str(c) for c in exclude], "hold_back": float(hold_back),
            "include_flagged": bool(include_flagged), "include_unlabelled": bool(include_unlabelled),
            "workers": int(workers), "ring": int(ring), "cache": bool(cache), "skip_corrupt": bool(skip_corrupt), "deadline_s": float(deadline_s),
            "endless": rows is None or bool(cache)}
        _native.check_views(self._options)
        if rows is None:
            if label is None:
                raise Error("label is None: batches are drawn by a label; name one, or the rows", "usage")
            self._plan = _native.Plan(self.dataset.reader, self._options)
        else:
            chosen = np.asarray(rows, dtype=np.int64)
            if chosen.ndim != 1 or ((chosen < 0) | (chosen >= len(self.dataset))).any():
                raise Error(f"rows name slices that are not there: the dataset has {len(self.dataset)}", "usage")
            self._plan = _native.Plan(self.dataset.reader, chosen.tolist(), int(batch))
        self.rows: "NDArray[np.int64]" = self._plan.train_rows if rows is None else chosen
        """slices that batches are made of"""
        self.held_back: "NDArray[np.int64]" = self._plan.held_back_rows
        """slices of the subjects that are never drawn (``hold_back``, or split ``val``)"""
        self.left_out: "list[str]" = self._plan.left_out
        """which cases are left out and why, for people"""
        for told in self._plan.warnings:
            warnings.warn(told, stacklevel=2)
        self._label, self._depth = self._targets(label, depth, positive)

    def _targets(self, label: Optional[str], depth: str,
                 positive: Sequence[int]) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
        columns, names = self.dataset.columns, self.dataset.label_names
        if label is None:
            classes = np.full(len(self.dataset), -1, np.int64)
        elif label in names:
            classes = np.maximum(columns[label], -1)
        else:
            raise Error(f"the dataset has no label column '{label}': expected one of {', '.join(names)}", "usage")
        if len(positive) > 0:
            classes = np.where(classes < 0, -1, np.isin(classes, list(positive)).astype(np.int64))
        return classes, columns[f"depth_{depth}"]

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._plan.steps

    def batch_rows(self, epoch: int, step: int) -> "NDArray[np.int64]":
        """Which slices a batch has, without reading them."""
        return self._plan.rows(epoch, step)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        self.epoch += 1
        return self._run(epoch)

    def _run(self, epoch: int) -> Iterator[Batch]:
        # The stream of the epoch before has the first batches ready.
        stream, at = self._stream or (None, -1)
        self._stream = None
        if stream is None or at != epoch:
            stream = _native.Stream(self._plan, epoch, self._options)
        for _ in range(len(self)):
            batch = stream.next()
            if batch is None:
                return
            number, step, rows, hu, mask, views = batch
            yield Batch(hu, mask, views, self._label[rows], self._depth[rows], rows, number, step)
            # Not held while the next one is waited for: it would be a batch less of the ring.
            del batch, rows, hu, mask, views
        self.statistics = stream.statistics
        if self._options["endless"]:
            self._stream = stream, epoch + 1

    statistics: "dict[str, float]" = {}
    """of the reading so far, once an epoch has ended: waited_s, slices, corrupt_slices, cache_hits"""

    def torch(self) -> "TorchLoader":
        """The same batches as torch tensors, without a copy: an ``IterableDataset``, for a loop of its own
        or for ``torch.utils.data.DataLoader(loader.torch(), batch_size=None)``."""
        from ._torch import TorchLoader

        return TorchLoader(self)

    def __getstate__(self) -> "dict[str, Any]":
        return {"dataset": self.dataset, "given": self._given, "epoch": self.epoch}

    def __setstate__(self, state: "dict[str, Any]") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were told
            self.__init__(state["dataset"], **state["given"])  # type: ignore[misc]
        self.epoch = state["epoch"]

    def __repr__(self) -> str:
        o = self._options
        return (f"<wsp.Loader of {self.dataset.path}: {len(self)} batches of {o['batch']} slices of "
                f"{o['image_size']}x{o['image_size']} an epoch>")
