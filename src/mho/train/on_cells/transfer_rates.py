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
the zero (`AGAD`), which therefore needs no forgetting at all. C is handed as much more.

Sources: T. Gokmen, Frontiers in Artificial Intelligence 2021, doi 10.3389/frai.2021.699148 (A, C
and the filter between); M. J. Rasch et al., Nature Communications 2024,
doi 10.1038/s41467-024-51221-z (rates from running means of inputs and errors; choppers). The
analysis is ours, and so are the numbers that follow from it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

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
FORGETS_NOTHING = 8.0  # half ranges that A would have to reach before it forgets as fast as it learns
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

    @property
    def lasting(self) -> bool:
        """Whether A forgets so little that it cannot be damped."""
        return self.reach > FORGETS_NOTHING * self.half


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
    above, below = (sum(both(point + side * around)) for side in (1.0, -1.0))
    lost = (below - above) / (4.0 * around)
    balanced = (rise + fall).abs() <= 0.05 * (rise - fall).abs().clamp_min(1e-300)
    lost = torch.where(balanced, lost, torch.zeros_like(lost))
    return Response(
        max(float((rise - fall).mean()) / 2, 0.0) * cells.frame.slope,
        max(float(lost.mean()), 0.0),
        (cells.high - cells.low) / 2,
        float((~balanced).float().mean()),
    )


class Flow(NamedTuple):
    """Running means of what a batch asks of a weight, over the learning rate (weight units).

    Attributes:
        gross: G, ``Σ |δ|·|x|`` of a cell, the mean of the array.
        peak: the largest ``max|δ|·max|x|`` of a sample.
    """

    gross: float
    peak: float


def flow(x: Tensor, delta: Tensor) -> Tensor:
    """Return `Flow` of a batch ``[2]``; arguments as of `WeightCells.descend`."""
    if not len(x):
        return x.new_zeros(2, dtype=torch.float64)
    x, delta = x.abs(), delta.abs()
    gross = (x.mean(1, dtype=torch.float64) * delta.mean(1, dtype=torch.float64)).sum()
    peak = (x.amax(1) * delta.amax(1)).amax().double()
    return torch.stack((gross, peak))


def averaged(before: Tensor, now: Tensor, count: int) -> Tensor:
    """Return running means after one more batch, the ``count``-th (from 1)."""
    return torch.lerp(before, now, max(1.0 / count, _RUNNING))


class TransferRates(NamedTuple):
    """What is in force for one array.

    Attributes:
        fast_lr: α, of A.
        forgotten: λ·R, the share of what A holds that it forgets between two readings.
        interval: R, steps between two readings of a column.
        handed: what a reading is multiplied by on its way to C.
    """

    fast_lr: float
    forgotten: float
    interval: float
    handed: float


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
