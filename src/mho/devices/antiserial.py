"""Two cells back to back: the complementary resistive switch.

    I = I_upper(x_upper, u) = -I_lower(x_lower, u - v)

The lower cell lies the other way round: a voltage that sets the one resets the other. In either
storage state one cell has high resistance, so the pair conducts next to nothing at low voltages;
beyond a first threshold both cells are low and it conducts, beyond a second the other cell is
reset, and likewise with the other sign: four thresholds, and no path for sneak currents.

Each step moves both cells by Heun's rule where that is precise. Elsewhere one cell is moved with
the other's state held, then the other one, by the implicit steps of `mho.devices.stiff`; in
either order, of which the mean is taken and the difference says how far to trust it.

Source: E. Linn, R. Rosezin, C. Kügeler, R. Waser, Nature Materials 9 (2010), doi 10.1038/nmat2748.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.core import checks
from mho.devices import maths, stiff
from mho.devices.course import of_cell
from mho.devices.maths import unit
from mho.devices.series import divide
from mho.devices.simulation import in_a_row
from mho.devices.switching_cells import SwitchingCells

_TOLERANCE = 3e-6
_MOST_STEPS = 1_000_000
# Up to so many pairs, Python's floats beat tensor operations.
_FEW = 16


@torch.no_grad()
def simulate_antiserial(
    upper: SwitchingCells,
    lower: SwitchingCells,
    voltage: Tensor,
    *,
    dt: float,
    every: int | None = 1,
) -> Tensor:
    """Drive pairs of cells back to back with a waveform and return their currents.

    Sample k is the voltage over a pair at time ``k · dt``; between samples it is linear, and the
    last one is held for one more ``dt``. Both populations are moved.

    Args:
        upper: cells that see the voltage's sign.
        lower: cells that see the other sign, of the same shape.
        voltage: waveform (V), of shape ``[time]`` or ``[time, *shape]``.
        dt: time between samples (s), > 0.
        every: return the current of every so many samples only; None: of no sample.

    Returns:
        Currents (A), of shape ``[⌈time / every⌉, *shape]``.

    Raises:
        ValueError: if the populations do not fit together or have a random term, or the waveform
            or ``dt`` is refused.
    """
    dt = checks.number("dt", dt, above=0.0)
    if every is not None:
        every = checks.integer("every", every)
    for name, cells in (("upper", upper), ("lower", lower)):
        checks.instance(name, cells, SwitchingCells)
        if cells.spec.stochastic:
            raise ValueError(f"{name} must have no random term; set that of {cells.spec!r} to 0")
    if upper is lower or upper.shape != lower.shape:
        raise ValueError(
            f"upper and lower must be two populations of one shape, got {list(upper.shape)} "
            f"and {list(lower.shape)}" + (", the same twice" if upper is lower else "")
        )
    waveform = upper.waveform("voltage", voltage)
    volts = waveform.double().reshape(len(waveform), -1)
    x = tuple(cells.x.double().reshape(-1) for cells in (upper, lower))
    p = tuple(in_a_row(cells._values(), cells.x, float(dt)) for cells in (upper, lower))
    if not volts.numel() or not len(x[0]):
        return upper.x.new_empty((len(volts[:: every or 1]) if every else 0, *upper.shape))
    pair = _Pair(upper.spec, lower.spec, *p)
    if len(x[0]) > _FEW:
        current, x = _follow(pair, x, volts, every)
    else:
        runs = [_follow_one(pair, x, volts, every, n) for n in range(len(x[0]))]
        current = volts.new_tensor([run[0] for run in runs]).T
        x = tuple(volts.new_tensor([run[1] for run in runs]).T)
    for cells, state in zip((upper, lower), x, strict=True):
        cells.x = state.to(cells.x).reshape(cells.shape)
    return current.to(upper.x).reshape(-1, *upper.shape)


@dataclass(frozen=True)
class _Pair:
    """Two devices back to back, with their parameters."""

    upper: Any
    lower: Any
    p: Any
    q: Any

    def share(self, x: Any, y: Any, v: Any) -> Any:
        """Return the voltage (V) over the upper cells."""
        return divide(
            lambda u: self.upper.current_at(x, u, self.p),
            lambda u: self.lower.current_at(y, -u, self.q),
            v + 0.0 * x,
        )

    def current(self, x: Any, y: Any, v: Any) -> Any:
        """Return the current (A)."""
        return self.upper.current_at(x, self.share(x, y, v), self.p)

    def rates(self, x: Any, y: Any, v: Any) -> tuple[Any, Any]:
        """Return how far both states would go within one sample."""
        u = self.share(x, y, v)
        return self._upper(x, u), self._lower(y, u - v)

    def _upper(self, x: Any, u: Any) -> Any:
        return self.p.seconds * self.upper.rate(x, self.upper.drive(u, self.p), self.p)

    def _lower(self, y: Any, u: Any) -> Any:
        return self.q.seconds * self.lower.rate(y, self.lower.drive(u, self.q), self.q)

    def upper_rate(self, x: Any, y: Any, v: Any) -> Any:
        """Return that of the upper cells."""
        return self._upper(x, self.share(x, y, v))

    def lower_rate(self, x: Any, y: Any, v: Any) -> Any:
        """Return that of the lower cells."""
        return self._lower(y, self.share(x, y, v) - v)


def _follow(
    pair: _Pair, states: tuple[Any, ...], volts: Any, every: int | None
) -> tuple[Any, tuple[Any, ...]]:
    """Move pairs through all samples; on tensors of pairs, or on floats."""
    x, y = states
    h, kept = 1.0 + 0.0 * x, []
    rows = list(volts)
    for k, (now, ahead) in enumerate(zip(rows, [*rows[1:], rows[-1]], strict=True)):
        if every and k % every == 0:
            kept.append(pair.current(x, y, now))
        x, y, h = _between(pair, x, y, now, ahead, h)
    return torch.stack(kept) if kept and isinstance(x, Tensor) else kept, (x, y)


def _follow_one(
    pair: _Pair, states: tuple[Tensor, ...], volts: Tensor, every: int | None, n: int
) -> tuple[Any, tuple[Any, ...]]:
    one = _Pair(pair.upper, pair.lower, of_cell(pair.p, n), of_cell(pair.q, n))
    column = volts[:, n] if volts.shape[1] > 1 else volts[:, 0]
    return _follow(one, tuple(float(x[n]) for x in states), column.tolist(), every)


def _between(pair: _Pair, x: Any, y: Any, now: Any, ahead: Any, h: Any) -> tuple[Any, Any, Any]:
    """Move pairs from one sample to the next, each with steps of its own."""
    left = 1.0 + 0.0 * x
    slopes = _held(x, y, pair.rates(x, y, now))
    for _ in range(_MOST_STEPS):
        h = maths.smallest(h, left)
        start = now + (ahead - now) * (1.0 - left)
        slope = (ahead - now) * h
        new_x, new_y, new_slopes, excess = _heun(pair, x, y, slopes, start, slope, h)
        if maths.some(excess > 1.0):
            gentle = excess <= 1.0
            other_x, other_y, rough = _split(pair, x, y, slopes, start, slope, h)
            other = _held(other_x, other_y, pair.rates(other_x, other_y, start + slope))
            new_x, new_y = maths.where(gentle, new_x, other_x), maths.where(gentle, new_y, other_y)
            new_slopes = (
                maths.where(gentle, new_slopes[0], other[0]),
                maths.where(gentle, new_slopes[1], other[1]),
            )
            excess = maths.where(gentle, excess, rough)
        good = (excess <= 1.0) | (h <= stiff.SHORTEST)
        x, y = maths.where(good, new_x, x), maths.where(good, new_y, y)
        slopes = tuple(maths.where(good, a, b) for a, b in zip(new_slopes, slopes, strict=True))
        left = maths.where(good, left - h, left)
        factor = maths.clip(0.9 / (excess + 1e-9) ** 0.5, 0.1, 5.0)
        h = maths.where(h > 0.0, h * factor, h + 1.0)
        if maths.every(left <= 0.0):
            return x, y, h
    raise ValueError(f"the pair is too stiff to be followed in {_MOST_STEPS} steps a sample")


def _held(x: Any, y: Any, rates: tuple[Any, Any]) -> tuple[Any, Any]:
    return stiff.held(x, rates[0]), stiff.held(y, rates[1])


def _heun(
    pair: _Pair, x: Any, y: Any, slopes: tuple[Any, Any], v: Any, rise: Any, h: Any
) -> tuple[Any, Any, tuple[Any, Any], Any]:
    """Return both states and slopes after an explicit step, and its error over the tolerance."""
    ahead_x, ahead_y = unit(x + h * slopes[0]), unit(y + h * slopes[1])
    ends = _held(ahead_x, ahead_y, pair.rates(ahead_x, ahead_y, v + rise))
    wrong = [0.5 * h * abs(b - a) for a, b in zip(slopes, ends, strict=True)]
    travel = [h * maths.largest(abs(a), abs(b)) for a, b in zip(slopes, ends, strict=True)]
    excess = maths.largest(
        maths.largest(wrong[0], wrong[1]) / _TOLERANCE,
        (maths.largest(travel[0], travel[1]) / stiff.MOST) ** 2,
    )
    new_x = unit(x + 0.5 * h * (slopes[0] + ends[0]))
    new_y = unit(y + 0.5 * h * (slopes[1] + ends[1]))
    return new_x, new_y, ends, excess


def _split(
    pair: _Pair, x: Any, y: Any, slopes: tuple[Any, Any], v: Any, rise: Any, h: Any
) -> tuple[Any, Any, Any]:
    """Return both states after one cell's implicit step and then the other's, in either order."""

    def upper(x: Any, y: Any) -> Any:
        law = lambda c: lambda z: pair.upper_rate(z, y, v + rise * c)  # noqa: E731
        return stiff.implicit(law, x, slopes[0], h, _TOLERANCE)

    def lower(x: Any, y: Any) -> Any:
        law = lambda c: lambda z: pair.lower_rate(x, z, v + rise * c)  # noqa: E731
        return stiff.implicit(law, y, slopes[1], h, _TOLERANCE)

    first = upper(x, y)
    second = lower(first.x, y)
    third = lower(x, y)
    fourth = upper(x, third.x)
    apart = maths.largest(abs(first.x - fourth.x), abs(second.x - third.x))
    excess = apart / (2.0 * _TOLERANCE)
    for step in (first, second, third, fourth):
        excess = maths.largest(excess, step.excess)
    return 0.5 * (first.x + fourth.x), 0.5 * (second.x + third.x), excess
