"""Datasets of wsp-ingest, formats 1 and 2 (docs/SHARD_FORMAT.md)."""
from __future__ import annotations

import hashlib
import json
import operator
import os
import pathlib
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Optional, Type, Union

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._errors import Error
from ._table import Table, table, text

if TYPE_CHECKING:
    import h5py
    import pandas

PathLike = Union[str, "os.PathLike[str]"]

BLOSC_MISSING = (
    "HDF5 has no filter for Blosc, with which the shards are compressed: install Debian's "
    "hdf5-filter-plugin-blosc-serial, or, for pip's h5py, `pip install hdf5plugin` and `import "
    "hdf5plugin`; wsp.Dataset itself needs neither"
)


class Slice(NamedTuple):
    """A slice of a dataset."""

    hu: "NDArray[Any]"
    """[height, width] HU, clipped to the window of the ingest; x to the patient's left, y to posterior"""
    mask: "NDArray[np.uint8]"
    """[height, width], 1 is liver; [0, 0] with ``masks=False``"""
    depth: float
    """position in the liver, 0 (feet) to 1 (head), by the dataset's ``depth``"""
    labels: "dict[str, int | float]"
    """class of every label column; -1 is unknown"""
    subject: str
    """pseudonym"""
    case: str
    source_index: int
    """slice of the acquired volume, from 0, feet to head"""
    z_mm: float
    """along the slice normal towards the head"""
    row: int


class Dataset:
    """A dataset directory, read by the toolkit's own reader: every slice is checked against its hash.

    ``Dataset(path)[i]`` is a :class:`Slice`; ``len()`` counts slices. An update of the dataset does
    not change what an open one gives. Threads may share it, processes too: it pickles by its path,
    and where the dataset was updated between the two, unpickling raises ``failure``.

    :param path: the directory that ``wsp-ingest --out`` made
    :param image_size: side of the square slices that come out, averaged or interpolated and rounded
        exactly as the trainer does; None: as stored
    :param dtype: of ``hu``: ``"int16"`` or ``"float32"``
    :param masks: also read the liver masks
    :param depth: which depth ``Slice.depth`` is: ``"kept"``, ``"liver"`` or ``"volume"``
    :raises Error: ``no_input`` where no complete dataset is, ``corrupt`` for a damaged one, ``usage``
    """

    def __init__(self, path: PathLike, *, image_size: Optional[int] = None, dtype: Any = "int16",
                 masks: bool = True, depth: str = "kept") -> None:
        self.path = pathlib.Path(path)
        self._options = {"image_size": image_size, "dtype": np.dtype(dtype).name, "masks": masks, "depth": depth}
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.int16, np.float32):
            raise Error(f"dtype is {self.dtype}: expected int16 or float32", "usage")
        if depth not in ("kept", "liver", "volume"):
            raise Error(f"depth is '{depth}': expected kept, liver or volume", "usage")
        if image_size is not None and image_size < 1:
            raise Error(f"image_size is {image_size}: expected 1 or more", "usage")
        self._reader: Optional[_native.Reader] = _native.Reader(self.path, image_size or 0)
        description = (self.path / "dataset.json").read_bytes()
        self.fingerprint: str = hashlib.sha256(description).hexdigest()
        """SHA-256 of dataset.json, in hexadecimal: what weights and feature files name the dataset by"""
        self.description: "dict[str, Any]" = json.loads(description)
        """dataset.json: configuration, counts, classes"""
        self._columns: Optional[Table] = None
        self._cases: Optional[Table] = None

    @property
    def reader(self) -> "_native.Reader":
        """The native reader; raises ``usage`` once the dataset is closed."""
        if self._reader is None:
            raise Error(f"the dataset {self.path} is closed", "usage")
        return self._reader

    def close(self) -> None:
        """Let the files go. Loaders that run keep theirs."""
        self._reader = None

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    @property
    def shape(self) -> "tuple[int, int]":
        """(height, width) of the slices that come out."""
        return self.reader.shape

    @property
    def label_names(self) -> "list[str]":
        return self.reader.label_names

    @property
    def continuous_names(self) -> "list[str]":
        """Label columns that are numbers (float64, NaN is unknown), such as a stiffness in kPa."""
        return self.reader.continuous_names

    @property
    def label_words(self) -> "dict[str, dict[str, int]]":
        """Per label column the manifest's words and their classes; empty where it had plain integers."""
        return dict(zip(self.label_names, self.reader.label_words))

    @property
    def cases(self) -> Table:
        """One row per case: name, subject, split, flags (comma-separated), source_hash, first_slice,
        slice_count, pixel_x_mm, pixel_y_mm, spacing_mm, liver_ml, and the label columns (int64, -1 is
        unknown; ``continuous_names`` float64, NaN is unknown)."""
        if self._cases is None:
            self._cases = table(self.reader.case_columns())
        return self._cases

    @property
    def columns(self) -> Table:
        """One row per slice, in the order of the index: case, subject, split, source_index, z_mm,
        depth_kept, depth_liver, depth_volume, liver_area_mm2, shard and row (where it lies), and the
        label columns."""
        if self._columns is None:
            own = self.reader.slice_columns()
            of_case = own.pop("case")
            shared = {"case": self.cases["name"], "subject": self.cases["subject"], "split": self.cases["split"],
                      **{name: self.cases[name] for name in [*self.label_names, *self.continuous_names]}}
            self._columns = table({**{name: values[of_case] for name, values in shared.items()}, **own})
        return self._columns

    def frame(self) -> "pandas.DataFrame":
        """``columns`` as a pandas frame; its index is the number of the slice."""
        return self.columns.frame()

    def case(self, name: str) -> "dict[str, Any]":
        """What is known of a case (schemas/case.schema.json): geometry, why this series, flags, HU
        histograms. Raises ``corrupt`` where there is none or its hash does not fit."""
        found: "dict[str, Any]" = json.loads(self.reader.read_listed(f"cases/{name}.json"))
        return found

    def __len__(self) -> int:
        return len(self.reader)

    def _row(self, i: int) -> int:
        row = operator.index(i)
        if row < -len(self) or row >= len(self):
            raise IndexError(f"slice {row} of a dataset with {len(self)} slices")
        return row % len(self)

    def hu(self, i: int) -> "NDArray[Any]":
        """HU of slice i alone, [height, width] of the dataset's dtype. Raises ``corrupt`` naming case
        and slice."""
        return self.reader.image(self._row(i)).astype(self.dtype, copy=False)

    def mask(self, i: int) -> "NDArray[np.uint8]":
        """Liver mask of slice i alone, [height, width], 1 is liver."""
        return self.reader.mask(self._row(i))

    def __getitem__(self, i: int) -> Slice:
        row, c = self._row(i), self.columns
        mask = self.mask(row) if self._options["masks"] else np.empty((0, 0), np.uint8)
        return Slice(self.hu(row), mask, float(c[f"depth_{self._options['depth']}"][row]),
                     {**{name: int(c[name][row]) for name in self.label_names},
                      **{name: float(c[name][row]) for name in self.continuous_names}}, c["subject"][row], c["case"][row],
                     int(c["source_index"][row]), float(c["z_mm"][row]), row)

    def __iter__(self) -> Iterator[Slice]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        if self._reader is None:
            return f"<wsp.Dataset {str(self.path)!r}, closed>"
        return (f"<wsp.Dataset {str(self.path)!r}: {len(self)} slices of {self.shape[0]}x{self.shape[1]}, "
                f"{self.cases.rows} cases, labels {', '.join(self.label_names)}>")

    def open_shard(self, shard: int) -> "h5py.File":
        """A shard in h5py, for those who want it plain: ``slices/image`` and ``slices/mask`` are in the
        order of the column ``row``. Nothing is checked. Raises ``usage`` with what to install where
        HDF5 could not decompress it."""
        import h5py

        if self.reader.codec in ("lz4", "zstd") and not h5py.h5z.filter_avail(32001):
            raise Error(BLOSC_MISSING, "usage")
        return h5py.File(pathlib.Path(self.reader.state) / "shards" / f"shard-{shard:02d}.h5", "r")

    def __getstate__(self) -> "dict[str, Any]":
        return {"path": self.path, "options": self._options, "fingerprint": self.fingerprint}

    def __setstate__(self, state: "dict[str, Any]") -> None:
        self.__init__(state["path"], **state["options"])  # type: ignore[misc]
        if self.fingerprint != state["fingerprint"]:
            raise Error(f"the dataset {self.path} was updated since it was pickled: open it anew", "failure")


def opened(data: Union[Dataset, PathLike]) -> Dataset:
    return data if isinstance(data, Dataset) else Dataset(data)


def ledger(data: Union[Dataset, PathLike]) -> Table:
    """What became of every input file of an ingest: path (HMAC of it), code (schemas/codes.json), kind,
    case and detail, text all. Checked against the hash in dataset.json. Raises :class:`Error`."""
    lines = opened(data).reader.read_listed("ledger.tsv").decode().split("\n")
    names = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:] if line]
    if any(len(row) != len(names) for row in rows):
        raise Error("a line of ledger.tsv has not as many fields as its header; run wsp-ingest verify", "corrupt")
    return Table({name: text([row[i] for row in rows]) for i, name in enumerate(names)})
