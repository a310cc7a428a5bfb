"""Training that diverges: the loss is not finite, or stays far above where it began."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.core import checks, notice

_BEGINNING = 3  # losses, by which it is known where training begins
_WINDOW = 128  # losses between two looks, once it goes on
_FAR = 2.0  # times their median is far above
# or times the very first: one step may lead far away, or one batch have been an easy one.
_FAR_OF_ONE = 6.0
_NOTHING = 1e-6  # so small a loss says nothing of what is far


class LossWatch:
    """Warns once if a loss is not finite, or stays far above where it began.

    Call it with the loss of every step (``watch = LossWatch(optimizer)``, then ``watch(loss)``);
    `fit`, and optimizers on cells that are given a closure, do so themselves. Far above are
    losses that stay above twice the median of the first three, or above six times the first, for
    128 steps in a row. Beginnings below 1e-6 say nothing of what is far (those of a model
    that is trained already, say): then only losses that are not finite are told of. A loss that
    rises because it is made to, as by a penalty that is phased in, cannot be told from one that
    diverges.

    It looks after 1, 2, 4, … 64 steps, and then every 128; between these nobody waits for an
    accelerator, and of losses after the last look nothing is said.

    Args:
        optimizer: whose learning rate is to be named.

    Raises:
        TypeError: if that has no ``param_groups``, as optimizers do.
    """

    def __init__(self, optimizer: Any = None) -> None:
        groups = getattr(optimizer, "param_groups", None)
        if optimizer is not None and not isinstance(groups, list):
            raise TypeError(f"optimizer must have param_groups, got {checks.said(optimizer)}")
        self._optimizer = optimizer
        self._losses = Losses()

    def __call__(self, loss: Tensor | float) -> None:
        """Take note of a step's loss.

        Args:
            loss: one number, finite or not.

        Raises:
            TypeError, ValueError: if it is none.
        """
        warn_of(self._losses.note(_one(loss)), self._optimizer)


class Losses:
    """What `LossWatch` remembers of the losses that it has seen."""

    def __init__(self) -> None:
        self._steps = 0
        self._done = False
        self._first: list[Tensor] = []
        self._least: Tensor | None = None  # since the last look, without the first
        self._most: Tensor | None = None  # since then, of all

    @torch.no_grad()
    def note(self, loss: Tensor | float) -> str:
        """Take note of a step's loss; return what is wrong, once, and else ""."""
        if self._done:
            return ""
        value = _kept(loss)
        self._steps += 1
        self._most = _joined(torch.maximum, self._most, value)
        if self._steps <= _BEGINNING:
            self._first.append(value)
        else:
            self._least = _joined(torch.minimum, self._least, value)
        ended = self._steps > _BEGINNING and (self._steps - _BEGINNING) % _WINDOW == 0
        early = self._steps < _WINDOW and not self._steps & (self._steps - 1)
        said = self._said(ended) if ended or early else ""
        if ended:
            self._least = self._most = None
        self._done = bool(said)
        return said

    def _said(self, ended: bool) -> str:
        """Return what is wrong, "" if nothing is; how far above is known where a window ended."""
        seen = [one for one in (self._most, self._least) if one is not None]
        values = [one.to(seen[0].device) for one in (*seen, *self._first)]
        known = torch.stack(values).tolist()  # waits once
        bad = [one for one in known if not math.isfinite(one)]
        if bad:
            when = f"the last {_WINDOW}" if ended else f"the first {self._steps}"
            return f"the loss has become {bad[0]} in {when} steps"
        if not ended:
            return ""
        least, *first = known[1:]
        for start, far in ((statistics.median(first), _FAR), (first[0], _FAR_OF_ONE)):
            if start > _NOTHING and least > far * start:
                return (
                    f"the loss was {start:.3g} at first, and has not been below {least:.3g} in the "
                    f"last {_WINDOW} steps"
                )
        return ""


def _joined(of: Callable[..., Tensor], known: Tensor | None, value: Tensor) -> Tensor:
    """Return the larger or smaller of two numbers, where the later lives."""
    return value if known is None else of(known.to(value.device), value)


def _kept(loss: Tensor | float) -> Tensor:
    """Return a loss as a number of its own, no alias, wide enough for it."""
    if not isinstance(loss, Tensor):
        return torch.tensor(loss, dtype=torch.float64, device="cpu")
    wide = torch.promote_types(loss.dtype, torch.float32)
    return loss.detach().reshape(()).to(wide, copy=True)


def warn_of(wrong: str, optimizer: Any) -> None:
    """Warn that training diverges, if anything is wrong; ``optimizer`` as of `LossWatch`."""
    if wrong:
        rate = calmer(optimizer)
        why = f"; the learning rate may be too high{rate}" if rate else ""
        notice.warn(f"training diverges: {wrong}{why}")


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
    given = [group.get("lr") for group in getattr(optimizer, "param_groups", ())]
    # Some optimizers find their own, and have None here, or nothing.
    rates = [float(lr) for lr in given if isinstance(lr, (int, float, Tensor)) and lr > 0.0]
    if not rates:
        return ""
    said = f"; try {max(rates) / 10:g} instead of {max(rates):g}"
    if hasattr(optimizer, "parameters_on_cells"):
        said += (
            ", and what mho.train.check_device proposes for these cells (a rule, a learning rate "
            "and a range)"
        )
    return said
