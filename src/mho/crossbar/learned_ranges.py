"""Learned converter ranges of a crossbar: when they begin, what they are now, when they end.

`learn_ranges` is the method of `Crossbar` of that name. Calibrated ranges are moved by a shift that
an optimizer trains (`mho.crossbar.correction.Correction.shift`); an input range may instead be a
parameter itself, moved by a rule (`mho.crossbar.input_range`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.core.sharded import like, whole
from mho.crossbar.input_range import InputRangeRule, shared

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


class Learning(NamedTuple):
    """How far an input range is learned.

    Attributes:
        rule: by which; None where none is.
        parameter: the range ``[1]``; an optimizer knows this very tensor.
        value: its value.
        batches: that it is the mean of, ``[]``.
        pending: what it is still to move by, ``[1]``.
    """

    rule: InputRangeRule | None = None
    parameter: nn.Parameter | None = None
    value: Tensor | None = None
    batches: Tensor | None = None
    pending: Tensor | None = None


def state(crossbar: Crossbar) -> Learning:
    """Return how far the input range is learned; `restore` takes it."""
    parameter = crossbar.learned_range
    if parameter is None:
        return Learning()
    batches, pending = crossbar.range_batches, crossbar.range_pending
    if batches is None or pending is None:
        return Learning()
    value = whole(parameter.detach()).clone()
    return Learning(crossbar.range_rule, parameter, value, batches.clone(), pending.clone())


def restore(crossbar: Crossbar, before: Learning) -> None:
    """Be again as far as one was; the caller refreshes the crossbar."""
    crossbar.range_rule, crossbar.learned_range = before.rule, before.parameter
    crossbar.range_batches = None if before.batches is None else before.batches.clone()
    crossbar.range_pending = None if before.pending is None else before.pending.clone()
    if before.parameter is not None and before.value is not None:
        before.parameter.detach().copy_(like(before.value, before.parameter))


def now(crossbar: Crossbar) -> Tensor:
    """Return the input range ``[]`` as it is now; NaN before there is one."""
    learned, batches = crossbar.learned_range, crossbar.range_batches
    if learned is None or batches is None:
        return crossbar.input_range
    return torch.where(batches > 0, _known(crossbar, learned).squeeze(0), torch.nan)


def _known(crossbar: Crossbar, learned: nn.Parameter) -> Tensor:
    """Return the parameter's value ``[1]``, with what it is still to move by."""
    value, pending = whole(learned.detach()), crossbar.range_pending
    return value if pending is None else value + pending


@torch.no_grad()
def agree(crossbars: Sequence[Crossbar]) -> None:
    """Move the ranges that several processes learn by the mean of what each has found.

    All processes must call it.

    Args:
        crossbars: the same in all; those that learn no range by a rule are left alone.
    """
    learning = [c for c in crossbars if c.learned_range is not None and shared()]
    pending = [c.range_pending for c in learning if c.range_pending is not None]
    if not pending:
        return
    together = torch.cat(pending)
    torch.distributed.all_reduce(together)
    moves = (together / torch.distributed.get_world_size()).split(1)
    for crossbar, own, move in zip(learning, pending, moves, strict=True):
        parameter = crossbar.learned_range
        assert parameter is not None
        parameter.add_(like(move, parameter))
        own.zero_()


def start_from(crossbar: Crossbar, limit: Tensor) -> None:
    """Let the range that is learned by a rule be this one, if it is another; NaN starts it anew.

    Args:
        crossbar: that learns it.
        limit: the range ``[]``.
    """
    rule, learned, batches = crossbar.range_rule, crossbar.learned_range, crossbar.range_batches
    pending = crossbar.range_pending
    if rule is None or learned is None or batches is None or pending is None:
        return
    limit, held = limit.to(learned.device), now(crossbar)
    unknown = limit.isnan()
    same = (limit == held) | (unknown & held.isnan())
    value = torch.where(same | unknown, whole(learned.detach()), limit - pending)
    learned.detach().copy_(like(value, learned))
    started = torch.where(unknown, 0, max(rule.batches, 1))
    batches.copy_(torch.where(same, batches, started))


def carry(old: Crossbar, new: Crossbar) -> None:
    """Let a crossbar have the input range of the one whose weights it takes over.

    Where the drivers are the same and the range is known: it is in units of the inputs, and goes
    with the weights, as they were trained with it. Ranges of ADCs are in amperes of the old cells.

    Args:
        old: whose weights they were.
        new: just programmed.
    """
    drive = new.hardware.drive
    if drive != old.hardware.drive or drive.range != "calibrated" or drive.ideal:
        return
    found = old.correction
    limit = found.input_range if found.shift is None else found.input_range * found.shift[0].exp()
    if not bool(limit.isnan()):
        new.commit(correction=new.correction.replace(input_range=limit.to(new.input_range)))


def learn_ranges(crossbar: Crossbar, learned: bool | InputRangeRule = True) -> None:
    """Make converter ranges parameters, or keep them as learned.

    True: of the calibrated ranges training moves ``range_shift``, the logarithm of a factor on
    each, so that any learning rate that suits the weights suits it. A full scale that is rounded to
    a power-of-two step (``ADC(method="linear")``) has no gradient: it stays as calibrated, and a
    warning says so.

    A rule: the input range itself is the parameter, ``learned_range``, and need not be calibrated;
    the ranges of the ADCs stay as they are. See `mho.train.InputRangeRule`.

    Args:
        crossbar: whose they are.
        learned: False folds what was learned into the ranges and ends it.

    Raises:
        TypeError: if it is something else.
        ValueError: if there is nothing to learn: no range is calibrated, or none can move.
    """
    checks.instance("learned", learned, (bool, InputRangeRule))
    if isinstance(learned, InputRangeRule):
        known = not bool(crossbar.correction.input_range.isnan())
        learned.refuse(crossbar.hardware.drive, crossbar.hardware.bias, known)
        _fold_shift(crossbar)
        _begin(crossbar, learned)
    elif not learned:
        _fold_shift(crossbar)
        _end_rule(crossbar)
    elif crossbar.range_shift is None:
        crossbar.reader.ranges.refuse_fixed()
        _end_rule(crossbar)
        shift = crossbar.scale.new_zeros(1 + len(crossbar.adc_range))
        crossbar.commit(correction=crossbar.correction.replace(shift=shift))


def _fold_shift(crossbar: Crossbar) -> None:
    found = crossbar.correction
    if found.shift is None:
        return
    factor = found.shift.exp()
    moved = found.replace(
        input_range=found.input_range * factor[0],
        adc_range=found.adc_range * factor[1:],
        shift=None,
    )
    crossbar.commit(correction=moved)


def _begin(crossbar: Crossbar, rule: InputRangeRule) -> None:
    if crossbar.learned_range is None:
        # As good as any: nothing is read with it before it has a value of its own.
        parameter = nn.Parameter(crossbar.scale.new_ones(1))
        batches = torch.zeros((), dtype=torch.int64, device=crossbar.scale.device)
        crossbar.learned_range, crossbar.range_batches = parameter, batches
        crossbar.range_pending = torch.zeros_like(parameter.detach())
        crossbar.range_rule = rule
        start_from(crossbar, crossbar.input_range)
    crossbar.range_rule = rule
    crossbar.refresh()


def _end_rule(crossbar: Crossbar) -> None:
    if crossbar.learned_range is None:
        return
    found = crossbar.correction
    restore(crossbar, Learning())
    crossbar.commit(correction=found)
