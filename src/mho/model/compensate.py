"""Drift compensation: a reference read of the chip says by how much its outputs have shrunk.

Conductances drift together far more than apart, so one factor per crossbar (Joshi 2020,
doi 10.1038/s41467-020-16108-9), or one per column, undoes most of it, in the digital output.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mho.core import checks, durations
from mho.core.durations import Duration
from mho.core.text import bar, progress
from mho.crossbar import Crossbar
from mho.crossbar.undo import all_or_nothing
from mho.model.crossbars import crossbars

MODES = ("global", "column")


@torch.inference_mode(False)
@torch.no_grad()
def compensate(model: nn.Module, mode: str = "global") -> dict[str, Tensor]:
    """Correct the outputs of all crossbars for the drift since they were programmed, in place.

    Every cell is read until read noise has averaged out. What the columns
    add up to, ``Σ_rows |weight|``, is compared with the reference read; the output correction
    (`Crossbar.gain`) is multiplied by ``reference / now``,

        global   Σ_cols reference / Σ_cols now    one factor a crossbar
        column   reference_j / now_j              one factor a column

    and this read is the next reference. So a second call corrects only for what has come since;
    the product of all factors since programming is what one call at the end would have found.
    A column that conducts nothing keeps its correction. Programming anew ends the compensation.

    Args:
        model: a converted model, or a `Crossbar`.
        mode: ``"global"`` or ``"column"``.

    Returns:
        The factors of this call, ``[groups · cols]`` each, by the name that `mho.summary` shows.

    Raises:
        TypeError: if ``model`` is not a module.
        ValueError: if it has no crossbars, one has never been programmed (nothing is then
            changed), or the mode is not one of the two.
    """
    checks.instance("model", model, nn.Module)
    checks.one_of("mode", mode, MODES)
    found = crossbars(model)
    _refuse_unprogrammed(found)
    with all_or_nothing(found.values()):
        each = progress(found.items(), "compensating")
        return {name: _correct(crossbar, mode) for name, crossbar in each}


_MOST = 1_000_000
"""Compensations of one call: days of work."""


def maintain(
    model: nn.Module, seconds: Duration, *, every: Duration, mode: str = "global"
) -> dict[str, Tensor]:
    """Let time pass as in a chip in service: drift is compensated again and again.

    Args:
        model: a converted model; changed in place.
        seconds: how long (s), >= 0; or a span as text, see `mho.age`.
        every: time between two compensations (s, or as text), > 0; the last one is at the end.
            Of one call there are a million at the most.
        mode: as in `compensate`.

    Returns:
        All factors, ``[compensations, groups · cols]``, by the name that `mho.summary` shows.

    Raises:
        TypeError, ValueError: as `compensate`, or if a time is refused; nothing is then changed.
    """
    checks.instance("model", model, nn.Module)
    seconds = durations.seconds("seconds", seconds, least=0.0)
    every = durations.seconds("every", every, above=0.0)
    checks.one_of("mode", mode, MODES)
    if seconds > _MOST * every:
        raise ValueError(
            f"every must be >= {seconds / _MOST:g} s: {seconds:g} s are more than {_MOST} "
            f"compensations, got {every:g} s"
        )
    found = crossbars(model)
    _refuse_unprogrammed(found)
    factors: dict[str, list[Tensor]] = {}
    past = 0.0
    steps = max(math.ceil(seconds / every), 1)
    with all_or_nothing(found.values()), bar(steps, "in service") as shown:
        while not factors or past < seconds:
            step = min(every, seconds - past)
            for crossbar in found.values():
                crossbar.age(step)
            # The last step may be all rounding: time must not stand still.
            past = seconds if past + step >= seconds else past + step
            for name, factor in compensate(model, mode).items():
                factors.setdefault(name, []).append(factor)
            shown.update()
    return {name: torch.stack(found) for name, found in factors.items()}


def _refuse_unprogrammed(found: dict[str, Crossbar]) -> None:
    for name, crossbar in found.items():
        if bool(crossbar.reference.isnan().any()):
            raise ValueError(
                f"crossbar {name or 'given'!r} has never been programmed: there is no reference "
                "to compare with; call mho.program(model) first"
            )


def _correct(crossbar: Crossbar, mode: str) -> Tensor:
    reference, now = crossbar.reference, crossbar.reference_read()
    if mode == "global":
        before, after = reference.sum(), now.sum()
    else:
        before, after = reference, now
    known = (before > 0) & (after > 0)
    factor = torch.where(known, before / torch.where(known, after, 1.0), 1.0)
    factor = factor.expand_as(crossbar.gain).clone()
    corrected = crossbar.correction.replace(gain=crossbar.gain * factor, reference=now)
    crossbar.commit(correction=corrected)
    return factor
