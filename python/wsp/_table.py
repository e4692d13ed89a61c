"""Columns of one length."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas


class Table(Dict[str, "NDArray[Any]"]):
    """A dict of one-dimensional NumPy arrays of equal length; text is of dtype object (str)."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.values()))) if self else 0

    def frame(self) -> "pandas.DataFrame":
        """The same as a pandas frame. Raises ImportError where pandas is not installed."""
        import pandas

        return pandas.DataFrame(dict(self))

    def __repr__(self) -> str:
        return f"<Table of {self.rows} rows: {', '.join(self)}>"


def table(columns: Mapping[str, Any]) -> Table:
    """Columns as a Table; lists of str become arrays of dtype object."""
    return Table({name: text(values) if isinstance(values, list) else np.asarray(values)
                  for name, values in columns.items()})


def text(values: "list[Any]") -> "NDArray[np.object_]":
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
