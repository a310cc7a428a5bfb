"""How fast a fast array A is pulsed, read and handed on to C, from what its cells forget.

**The analysis.** A pulse moves a cell of A by d about its symmetry point, and of what A holds there
(a) a share κ is lost with every pulse, whichever its direction: up and down pulses differ by
``−2κ·a``. A step of rate α whose mean gradient is g, and whose pulses add up to G regardless of
sign (``G = Σ |δ|·|x|`` over the samples), therefore does, with ``τ = d/κ``,

    a ← a − α·g − λ·a,        λ = α·G/τ      (what A forgets in a step)

(τ is the half range of symmetric soft bounds.) Reading moves C by β·a a step, so with ``g = h·c``
about a minimum of curvature h ``c'' + λ·c' + α·β·h·c = 0``: damped where ``λ² ≥ 4·α·β·h``, and of
variance ``β/(α·λ)·(α·σ)²/2h``, σ² that of the gradients. SGD of rate lr has ``lr·σ²/2h``.

**What follows.** With ``β = lr·λ/α``, whatever α, C is handed what A forgets: it moves by
``−lr·g`` in the mean, as SGD does, swings no wider, and is damped where ``λ ≥ 4·lr·h``: A must
forget faster than C learns. α is then free to make λ what the reading allows: A should forget
little before it is read again, after R steps, and its trains must not saturate. The larger α, the
less A's own pulses count as noise. Signs that turn at random every T steps take from A's mean: a
share ``1/(1 + 2/(λ·T))`` is left (`Chopped`), twice that where the last value before the turn is
the zero (`AGAD`), which therefore needs no forgetting at all. C is handed as much more. β is in
proportion to lr and nothing else of what follows is: a larger β is a larger lr. λ is the mean of
an array; a cell that forgets at its own λᵢ is handed less, or more, by λ/λᵢ.

Sources: T. Gokmen, Frontiers in Artificial Intelligence 2021, doi 10.3389/frai.2021.699148 (A, C
and the filter between); M. J. Rasch et al., Nature Communications 2024,
doi 10.1038/s41467-024-51221-z (rates from running means of inputs and errors; choppers). The
analysis is ours, and so are the numbers that follow from it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.references import symmetry_point
from mho.train.on_cells.weights import WeightCells

DRIVE = 0.25  # of what A holds is forgotten in a step, or of its half range gone through, at most
READS = 1.0  # and so much between two readings of a column
PERIOD = 4.0  # memories of A between two turns of a sign
TURN = 0.1  # of the readings of a column are followed by a turn at most
MOST = 50.0  # pulses of a cell in a step at most
_SPAN = 0.05  # of the window: about the symmetry point, over which responses are compared
FORGETS_NOTHING = 8.0  # half ranges: a reach beyond is as good as none
UNBALANCED = 0.2  # share of A's cells
SETTLED = 20  # batches, after which settings are judged by what was seen
SWING = 10.0  # times what A forgets are too much for C,
CHOPPED = 0.5  # and so many reads between turns, times what A forgets between reads, too few
_RUNNING = 0.02  # weight of the newest batch in the running means


class Response(NamedTuple):
    """How the cells of A answer about their zero, in the mean (weight units).

    Attributes:
        step: d, of a pulse.
        forgetting: κ, the share that a pulse takes of what is held.
        half: half the range.
        unbalanced: share of cells whose set and reset steps are equal nowhere in their window.
    """

    step: float
    forgetting: float
    half: float
    unbalanced: float

    @property
    def reach(self) -> float:
        """τ, what A comes to if all pulses have one sign; infinite if it forgets nothing."""
        return self.step / self.forgetting if self.forgetting > 0.0 else math.inf


@torch.no_grad()
def response(cells: WeightCells) -> Response:
    """Return how cells answer about their symmetry points."""
    population = cells.cells
    own, spec = population.cell(), population.spec
    point = symmetry_point(population)
    up = torch.ones_like(point, dtype=torch.bool)

    def both(g: Tensor) -> tuple[Tensor, Tensor]:
        return spec.change(g, up, own), spec.change(g, ~up, own)

    around = _SPAN * (cells.frame.g_max - cells.frame.g_min)
    rise, fall = both(point)
    above, below = (torch.stack(both(point + side * around)).sum(0) for side in (1.0, -1.0))
    lost = (below - above) / (4.0 * around)
    balanced = (rise + fall).abs() <= 0.05 * (rise - fall).abs().clamp_min(1e-300)
    lost = torch.where(balanced, lost, torch.zeros_like(lost))
    step = float((rise - fall).mean()) / 2 * cells.frame.slope
    return Response(
        step if step > 0.0 else cells.step,
        max(float(lost.mean()), 0.0),
        (cells.high - cells.low) / 2,
        float((~balanced).float().mean()),
    )


class Flow(NamedTuple):
    """Running means of what a batch asks of a weight, over the learning rate (weight units).

    Attributes:
        gross: G, ``Σ |δ|·|x|`` of a cell, the mean of the array.
        peak: the largest ``max|δ|·max|x|`` of a sample.
        batches: how many were seen.
    """

    gross: float
    peak: float
    batches: float


def flow(before: Tensor, x: Tensor, delta: Tensor) -> Tensor:
    """Return `Flow` after one more batch ``[3]``; arguments as of `WeightCells.descend`.

    Inputs or errors that are all 0 ask nothing and count for nothing.
    """
    if not len(x):
        return before
    x, delta = x.abs(), delta.abs()
    gross = torch.dot(x.mean(1), delta.mean(1))
    peak = (x.amax(1) * delta.amax(1)).amax()
    if not gross > 0.0:
        return before
    batches = before[2] + 1.0
    now = torch.stack((gross.to(before), peak.to(before), batches))
    return torch.lerp(before, now, (1.0 / batches).clamp_min(_RUNNING)).index_copy(
        0, torch.tensor([2], device=before.device), batches.view(1)
    )


class TransferRates(NamedTuple):
    """What is in force for one array.

    Attributes:
        fast_lr: α, of A.
        forgotten: λ·R, the share of what A holds that it forgets between two readings.
        interval: R, steps between two readings of a column.
        turns: chance that a column's sign turns after it was read; 0 where signs do not turn.
        handed: what a reading is multiplied by on its way to C.
        fitting: what it would be multiplied by if it were derived.
    """

    fast_lr: float
    forgotten: float
    interval: float
    turns: float
    handed: float
    fitting: float

    def said(self) -> tuple[str, ...]:
        """Return a row under `HEAD`."""
        return (
            f"{self.fast_lr:.3g}",
            f"{self.forgotten:.3g}",
            f"{self.interval:g} steps",
            f"{self.turns:.3g}",
            f"{self.handed:.3g}",
        )


HEAD = ("lr of A", "forgotten between reads", "a column is read every", "turns a read", "to C")


def transfer_rates(
    rule: Any, answer: Response, seen: Flow, inputs: int, lr: float, update: PulsedUpdate
) -> TransferRates:
    """Return the rates of a step.

    Args:
        rule: what of them is given, and how it reads.
        answer: of A's cells.
        seen: what batches ask.
        inputs: columns of A.
        lr: learning rate, >= 0.
        update: how inputs and errors become pulses.
    """
    interval = rule.transfer_every * inputs / min(rule.columns or inputs, inputs)
    alpha = lr if rule.fast_lr is None else rule.fast_lr
    if rule.transfer_lr is None and rule.fast_lr is None and not rule.share:
        alpha = fast_rate(answer, seen, interval, update)
    reach = min(answer.reach, FORGETS_NOTHING * answer.half)
    forgotten = alpha * seen.gross / reach * interval
    fitting = rule.handed(forgotten) * lr / alpha if alpha else 0.0
    if rule.transfer_lr is None:
        handed = fitting
    else:
        handed = rule.transfer_lr * (1.0 if rule.fast_lr is None else lr)
    return TransferRates(alpha, forgotten, interval, rule.turning(forgotten), handed, fitting)


def unfit(rule: Any, answer: Response, now: TransferRates | None, lr: float) -> str:
    """Return what keeps a rule from settling, and what would mend it; "" if nothing does.

    Args:
        rule: as given.
        answer: of A's cells.
        now: rates in force, None before training: then only the cells are looked at.
        lr: learning rate.
    """
    if now is None:
        if answer.unbalanced > UNBALANCED and rule.needs_forgetting:
            return (
                f"set and reset steps of {answer.unbalanced:.0%} of A's cells are equal nowhere in "
                "their window: pulses take them to a bound, where they say nothing of the "
                "gradient. Such cells want PulsedSGD, InSitu(threshold=1.0), or rule=AGAD()"
            )
        if answer.reach > FORGETS_NOTHING * answer.half and rule.needs_forgetting:
            return (
                "A's cells forget nothing (set and reset steps are the same all over their window, "
                f"τ = d/κ = {answer.reach:.3g} where their half range is {answer.half:.3g}): C "
                "swings about the minimum undamped. Symmetric cells want PulsedSGD, or rule=AGAD()"
            )
        return ""
    swing = now.handed / now.fitting if now.fitting else 0.0
    if rule.transfer_lr is not None and swing > SWING:
        return (
            f"transfer_lr={rule.transfer_lr:g} hands C {swing:.3g} times what A forgets "
            f"({now.forgotten:.2g} of what it holds between two reads of a column): C swings "
            f"{math.sqrt(swing):.2g} times wider than under SGD of that lr, and is hardly damped. "
            f"transfer_lr <= {rule.transfer_lr / swing:.2g} is, or None, with which it is derived"
        )
    if now.turns * CHOPPED > now.forgotten and rule.needs_forgetting:
        return (
            f"chop_probability={now.turns:g} turns signs after {1 / now.turns:.3g} reads of a "
            f"column, and A forgets {now.forgotten:.2g} between two: what it learnt under one sign "
            f"is taken back under the other. chop_probability <= {now.forgotten / PERIOD:.2g} is "
            "several memories of A, or None, with which it is derived"
        )
    return ""


def fast_rate(answer: Response, seen: Flow, interval: float, update: PulsedUpdate) -> float:
    """Return α with which A forgets, or moves, as much as readings and trains allow."""
    if seen.gross <= 0.0:
        return 0.0
    most = min(DRIVE, READS / interval)
    rate = most * min(answer.reach, answer.half) / seen.gross
    rate = min(rate, MOST * answer.step / seen.gross)
    longest = getattr(update, "bl", None)
    if longest is not None and seen.peak > 0.0:
        rate = min(rate, longest * answer.step / seen.peak)
    return rate


def chop(forgotten: float) -> float:
    """Return the chance of a turn that leaves A several memories between two of them.

    Args:
        forgotten: share of what A holds that it forgets between two readings.
    """
    return min(forgotten / PERIOD, TURN)
