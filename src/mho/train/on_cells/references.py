"""References: the conductances at which cells count nothing, and how they are found."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.devices.pulsed import PulsedCells
from mho.devices.trains import bounded

_HALVINGS = 60


def symmetry_point(cells: PulsedCells) -> Tensor:
    """Return the conductances (S) at which mean set and reset steps are equal, cell by cell.

    Alternating set and reset pulses take a cell there (zero shifting: H. Kim et al.,
    "Zero-shifting technique for deep neural network training on resistive cross-point arrays",
    arXiv:1907.10228); here the point that they converge to is solved from the mean response. It is
    a bound where a cell has no such point inside its window, the middle where all are such.
    """
    cell = cells.cell()
    low = bounded(torch.full_like(cells.g, -torch.inf), cell)
    high = bounded(torch.full_like(cells.g, torch.inf), cell)
    up = torch.ones_like(low, dtype=torch.bool)
    for _ in range(_HALVINGS):
        g = (low + high) / 2
        drift = cells.spec.change(g, up, cell) + cells.spec.change(g, ~up, cell)
        low, high = torch.where(drift > 0, g, low), torch.where(drift < 0, g, high)
    return (low + high) / 2
