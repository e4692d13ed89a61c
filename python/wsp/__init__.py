"""The WSP toolkit from Python: datasets, the trainer's loader, encoders and results.

    import wsp

    with wsp.Dataset("dataset") as ds:         # what wsp-ingest made
        hu, mask = ds[0].hu, ds[0].mask
    for batch in wsp.Loader("dataset"):        # NumPy; .torch() for tensors
        batch.x, batch.label
    encoder = wsp.load_encoder("run/encoder.safetensors")

docs/PYTHON.md describes it.
"""
from typing import TYPE_CHECKING, Any

import numpy  # noqa: F401  (before _native, which would say of its absence only that it failed)

from . import _native
from ._errors import Error
from ._table import Table
from .dataset import Dataset, Slice, ledger
from .loader import Augment, Batch, Loader
from .results import Features, metrics, read_features

if TYPE_CHECKING:
    from .encoder import Encoder, load_encoder

__version__: str = _native.__version__
__all__ = ["Augment", "Batch", "Dataset", "Encoder", "Error", "Features", "Loader", "Slice", "Table", "ledger",
           "load_encoder", "metrics", "read_features"]


def __getattr__(name: str) -> Any:
    # Encoders need PyTorch, whose import takes longer than all else; the rest does without.
    if name in ("Encoder", "load_encoder"):
        from . import encoder

        return getattr(encoder, name)
    raise AttributeError(f"module 'wsp' has no attribute '{name}'")
