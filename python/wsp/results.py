"""What the commands write, read back."""
from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, Dict

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._errors import Error
from ._table import Table, table, text
from .dataset import PathLike


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of slices: a file of ``wsp-eval embed`` or ``import``."""

    values: "NDArray[np.float32]"
    """[slices, dimensions]"""
    slices: Table
    """case (its row in ``cases``), source_index (where known), depth, content (XXH3 of the pixels)"""
    cases: Table
    """name, subject, kernel, scanner, phase, spacing_mm, pixel_mm, trained_on, and the label columns"""
    label_names: "list[str]"
    label_words: "dict[str, dict[str, int]]"
    """per label column the manifest's words and their classes, where it had some"""
    facts: "dict[str, str]"
    """where they come from: encoder, method, dataset, image_size, hashes"""

    def label(self, name: str) -> "NDArray[np.int64]":
        """[slices] class of every slice in a label column; -1 is unknown. Raises ``usage``."""
        if name not in self.label_names:
            raise Error(f"there is no label column '{name}': expected one of {', '.join(self.label_names)}", "usage")
        return np.asarray(self.cases[name][self.slices["case"]], np.int64)

    @property
    def subject(self) -> "NDArray[np.object_]":
        """[slices] subject of every slice: the groups of a cross-validation."""
        return np.asarray(self.cases["subject"][self.slices["case"]], object)


def read_features(path: PathLike) -> Features:
    """A feature file, checked against the hashes in it. Raises :class:`Error`: ``no_input``,
    ``corrupt``."""
    found = _native.read_features(pathlib.Path(path))
    names = found["label_names"]
    return Features(found["values"], table(found["slices"]), table(found["cases"]), names,
                    {name: words for name, words in zip(names, found["label_words"]) if words}, found["facts"])


def metrics(path: PathLike) -> Dict[str, Table]:
    """``metrics.jsonl`` of a run, or of the run's directory: a Table per kind of line (``train``,
    ``probe``, ...), with a column ``step``. Numbers that a line does not have, or that were none, are
    NaN. A last line that is being written is left out. Raises :class:`Error`: ``no_input``,
    ``corrupt`` naming the line."""
    file = pathlib.Path(path)
    if file.is_dir():
        file = file / "metrics.jsonl"
    try:
        lines = file.read_bytes().split(b"\n")[:-1]
    except OSError as e:
        raise Error(f"cannot read {file}: {e.strerror}", "no_input") from e
    kinds: "dict[str, list[dict[str, Any]]]" = {}
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            kinds.setdefault(fields["kind"], []).append(fields)
        except (ValueError, KeyError, TypeError) as e:
            raise Error(f"{file}, line {number}, is no line of metrics: {e}", "corrupt") from e
    return {kind: _lines(rows) for kind, rows in kinds.items()}


def _lines(rows: "list[dict[str, Any]]") -> Table:
    columns = Table()
    for name in {name: None for row in rows for name in row if name != "kind"}:
        values = [row.get(name) for row in rows]
        if any(isinstance(value, (str, list, dict)) for value in values):
            columns[name] = text(values)
        elif any(value is None for value in values):
            columns[name] = np.array([np.nan if value is None else value for value in values], np.float64)
        else:
            columns[name] = np.array(values)
    return columns
