"""The length of a train of equal pulses, from what the train before it did."""

from __future__ import annotations

import torch
from torch import Tensor


def train_length(error: Tensor, step: Tensor, last: Tensor, most: int) -> Tensor:
    """Return how many pulses each cell gets before it is read again (int64).

    As many as the mean step of its last train promises to need, at most twice the last, at least
    one. A train that did not move its cell forward promises nothing: the next one is as long.

    Args:
        error: what is left to go, any unit; its size counts.
        step: mean step of each cell's last train in that direction, same unit.
        last: pulses of that train (int64); 0 where there was none.
        most: longest train, >= 1.
    """
    promised = torch.where(step > 0.0, error.abs() / step, last.to(error.dtype))
    return torch.minimum(promised, 2.0 * last).clamp(1.0, float(most)).long()
