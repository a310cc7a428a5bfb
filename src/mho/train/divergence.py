"""Training that diverges: the loss is not finite, or stays far above where it began."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mho.core import checks, notice

_WINDOW = 128  # losses between two looks
_FAR = 2.0  # times where it began is far above


class LossWatch:
    """Warns once if a loss is not finite, or stays far above where it began.

    Call it with the loss of every step (``watch = LossWatch(optimizer)``, then ``watch(loss)``);
    `fit`, and optimizers on cells that are given a closure, do so themselves. Far above is where
    not one of 128 losses in a row is below twice the first. A loss that begins at 0 or below says
    nothing of what is far: then only those that are not finite are told of.

    It looks every 128 steps; between these nobody waits for an accelerator.

    Args:
        optimizer: whose learning rate is to be named.
    """

    def __init__(self, optimizer: Any = None) -> None:
        self._optimizer = optimizer
        self._steps = 0
        self._done = False
        self._start: Tensor | None = None
        self._least: Tensor | None = None
        self._most: Tensor | None = None

    def __call__(self, loss: Tensor | float) -> None:
        """Take note of a step's loss.

        Args:
            loss: one number, finite or not.

        Raises:
            TypeError, ValueError: if it is none.
        """
        self.see(_one(loss), self._optimizer)

    @torch.no_grad()
    def see(self, loss: Tensor | float, optimizer: Any) -> None:
        """Take note of a step's loss; ``optimizer`` as of `LossWatch`."""
        if self._done:
            return
        value = torch.as_tensor(loss).detach().reshape(()).float().clone()  # no alias
        self._most = value if self._most is None else torch.maximum(self._most, value)
        if self._start is None:
            self._start = value
            return
        self._least = value if self._least is None else torch.minimum(self._least, value)
        self._steps += 1
        if self._steps % _WINDOW == 0:
            said = self._said()
            self._least = self._most = None
            if said:
                self._done = True
                rate = "; the learning rate may be too high" if calmer(optimizer) else ""
                notice.warn(f"training diverges: {said}{rate}{calmer(optimizer)}")

    def _said(self) -> str:
        """Return what is wrong in a window that has ended, "" if nothing is."""
        assert self._start is not None
        assert self._least is not None
        assert self._most is not None
        start, least, most = torch.stack((self._start, self._least, self._most)).tolist()
        if not (math.isfinite(least) and math.isfinite(most)):
            found = most if math.isfinite(least) else least
            return f"the loss has become {found} in the last {_WINDOW} steps"
        if start > 0.0 and least > _FAR * start:
            return (
                f"the loss was {start:.3g} at first, and has not been below {least:.3g} in the "
                f"last {_WINDOW} steps"
            )
        return ""


def _one(loss: Any) -> Tensor | float:
    if isinstance(loss, float):  # which may be NaN
        return loss
    if not isinstance(loss, Tensor):
        return float(checks.number("loss", loss))
    if loss.numel() != 1 or loss.is_complex():
        raise ValueError(
            f"loss must be one real number, got a tensor of {loss.dtype} and shape "
            f"{list(loss.shape)}"
        )
    return loss


def calmer(optimizer: Any) -> str:
    """Return what to try, as the end of a sentence; "" if nothing is known of an optimizer."""
    rates = [float(group["lr"]) for group in getattr(optimizer, "param_groups", ())]
    if not rates:
        return ""
    said = f"; try {max(rates) / 10:g} instead of {max(rates):g}"
    if hasattr(optimizer, "parameters_on_cells"):
        said += (
            ", and what mho.train.check_device proposes for these cells (a rule, a learning rate "
            "and a range)"
        )
    return said
