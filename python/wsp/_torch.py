"""What needs PyTorch, apart: `import wsp` does not load it."""
from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Iterator, Optional

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ._errors import Error

if TYPE_CHECKING:
    from .loader import Loader


@dataclasses.dataclass(frozen=True)
class TorchBatch:
    """:class:`wsp.Batch` in tensors."""

    hu: torch.Tensor
    mask: Optional[torch.Tensor]
    views: Optional[torch.Tensor]
    label: torch.Tensor
    depth: torch.Tensor
    row: torch.Tensor
    epoch: int
    step: int

    @property
    def x(self) -> torch.Tensor:
        """What a network sees: [views * n, 1, s, s], view 1 of all slices first; without ``augment``
        the slices themselves, [n, 1, s, s]. float32, (HU + 100) / 500."""
        if self.views is not None:
            return self.views.reshape(-1, 1, *self.views.shape[2:])
        return normalised(self.hu).unsqueeze(1)

    def to(self, device: "torch.device | str", non_blocking: bool = False) -> "TorchBatch":
        """The same on a device."""
        moved = {name: value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value
                 for name, value in ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))}
        return TorchBatch(**moved)


def normalised(hu: torch.Tensor) -> torch.Tensor:
    """(HU + 100) / 500 in float32, as the trainer computes it."""
    return hu.to(torch.float32).add(100).mul(1 / 500)


class TorchLoader(IterableDataset):  # type: ignore[type-arg]
    """The batches of a :class:`wsp.Loader` as tensors that share its memory."""

    def __init__(self, loader: "Loader") -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TorchBatch]:
        if get_worker_info() is not None:  # type: ignore[no-untyped-call]
            raise Error("a wsp.Loader has threads of its own: give DataLoader num_workers=0", "usage")
        return (TorchBatch(torch.from_numpy(b.hu), None if b.mask is None else torch.from_numpy(b.mask),
                           None if b.views is None else torch.from_numpy(b.views), torch.from_numpy(b.label),
                           torch.from_numpy(b.depth), torch.from_numpy(b.row), b.epoch, b.step)
                for b in self.loader)
