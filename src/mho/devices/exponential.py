"""The exponential pulse response with the field's nonlinearity label."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import Spread, check, check_part, check_window, spread_about
from mho.core import checks
from mho.core.constants import as_tensor
from mho.devices.pulsed import PulsedDevice
from mho.devices.trains import TINY, Cell

LARGEST_NONLINEARITY = 9.0
_LABEL_UNIT = 0.07 * math.sqrt(2.0)  # a label of 1 is this much greatest deviation from the line
_SERIES_BELOW = 1e-2


@dataclass(frozen=True)
class ExponentialDevice(PulsedDevice):
    """Exponential (NeuroSim) response to identical pulses.

    ``G(P) = g_min + B·(1 − e^(−P/A))`` with ``B = (g_max − g_min)/(1 − e^(−levels/A))`` and
    P = 0…levels: set pulses walk up one such curve, reset pulses walk down another, from wherever
    the cell stands. The constant A follows from the nonlinearity label (see `curvature`); its
    sign is the curve's direction: with a positive label the curve is steep at ``g_min``, with a
    negative one steep at ``g_max``; 0 is a straight line. A usual cell saturates in both
    directions: a positive label for set, a negative one for reset.

    A train of n noise-free pulses is the same curve n pulses on (closed form). Cycle-to-cycle
    noise is Gaussian and independent per pulse.

    Source: P.-Y. Chen, X. Peng, S. Yu, "NeuroSim: a circuit-level macro model for benchmarking
    neuro-inspired architectures in online learning", IEEE TCAD 2018,
    doi 10.1109/TCAD.2018.2789723.

    Attributes:
        g_min: lowest conductance (S), >= 0; a number or a `Spread`.
        g_max: highest conductance (S), > g_min; a number or a `Spread`.
        nonlinearity_set: label of the set curve, -9…9; a number or a `Spread`.
        nonlinearity_reset: label of the reset curve, -9…9; a number or a `Spread`.
        d2d: standard deviation of both labels from cell to cell, >= 0 (draws are kept inside
            -9…9); shorthand for giving each label as a normal `Spread`.
        c2c: standard deviation of one pulse, as a fraction of the cell's ``g_max − g_min``, >= 0; a
            number or a `Spread`.
        levels: set pulses that take a cell from ``g_min`` to ``g_max``, >= 1.
        levels_reset: reset pulses that take it back; as ``levels`` if not given.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    relative: ClassVar[bool] = True

    g_min: float | Spread = 3e-9
    g_max: float | Spread = 38e-9
    nonlinearity_set: float | Spread = 0.0
    nonlinearity_reset: float | Spread = 0.0
    d2d: float = 0.0
    c2c: float | Spread = 0.0
    levels: int = 500
    levels_reset: int | None = None

    def __post_init__(self) -> None:
        check_window(self.g_min, self.g_max)
        for name in ("nonlinearity_set", "nonlinearity_reset"):
            label = getattr(self, name)
            check(name, label, least=-LARGEST_NONLINEARITY, most=LARGEST_NONLINEARITY)
            if self.d2d and isinstance(label, Spread):
                raise ValueError(f"give either d2d or a Spread for {name}, not both")
        check_part("d2d", self.d2d)
        check_part("c2c", self.c2c)
        checks.integer("levels", self.levels, most=2**24)  # float32 tells no more apart
        if self.levels_reset is not None:
            checks.integer("levels_reset", self.levels_reset, most=2**24)

    @property
    def noisy(self) -> bool:
        """Whether pulses differ from cycle to cycle."""
        return isinstance(self.c2c, Spread) or self.c2c > 0

    def spreads(self) -> dict[str, Spread]:
        """Return the parameters that differ from cell to cell."""
        spreads = super().spreads()
        if self.d2d:
            bounds = {"low": -LARGEST_NONLINEARITY, "high": LARGEST_NONLINEARITY}
            for name in ("nonlinearity_set", "nonlinearity_reset"):
                spreads[name] = spread_about(getattr(self, name), self.d2d, **bounds)
        return spreads

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw the spreads and solve each cell's curvatures from its labels."""
        drawn = super().fabricate_state(context)
        for way in ("set", "reset"):
            label = drawn.get(f"nonlinearity_{way}")
            if label is not None:
                drawn[f"curvature_{way}"] = curvature(label)
        return drawn

    def constants(self) -> dict[str, float]:
        """Return the parameters that are plain numbers, with the curvatures solved."""
        numbers = super().constants()
        for way in ("set", "reset"):
            numbers[f"curvature_{way}"] = _curvature_of(numbers[f"nonlinearity_{way}"])
        numbers.setdefault("levels_reset", self.levels)
        return numbers

    def change(self, g: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the mean signed change (S) of one pulse; see `PulsedDevice.change`."""
        # One pulse is an affine map: where parameters are plain numbers its factors are too.
        way_up = _curve(cell, cell["curvature_set"], 1.0 / cell["levels"])
        way_down = _curve(cell, cell["curvature_reset"], -1.0 / cell["levels_reset"])
        gone, end, rest = (_either(up, *both, g) for both in zip(way_up, way_down, strict=True))
        return (end - g).add_(rest).mul_(gone)

    def noise(self, g: Tensor, change: Tensor, cell: Cell) -> Tensor | float:
        """Return the standard deviation (S) of one pulse."""
        return cell["c2c"] * (cell["g_max"] - cell["g_min"])

    def burst(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the conductances (S) after noise-free trains; see `PulsedDevice.burst`."""
        up = counts > 0
        bend = _either(up, cell["curvature_set"], cell["curvature_reset"], g)
        # As many pulses as there are levels reach the bound from anywhere: more do no more.
        part = _either(up, 1.0 / cell["levels"], 1.0 / cell["levels_reset"], g)
        gone, end, rest = _curve(cell, bend, (counts * part).clamp_(-1.0, 1.0))
        return (end - g).add_(rest).mul_(gone).add_(g)


def _curve(cell: Cell, bend: float | Tensor, travel: float | Tensor) -> tuple[Any, Any, Any]:
    """Return q, end and rest of ``ΔG = q·((end − G) + rest)``, of curvatures k and travels t.

    ``q = 1 − e^(−k·t)``, and ``end + rest`` is where the curve would settle: ``end`` is the bound
    where it is flat, ``rest = ±(g_max − g_min)/(e^|k| − 1)``. Added one by one they keep all
    digits of the small step next to that bound, and of the straight line at k near 0.
    """
    low, width = cell["g_min"], cell["g_max"] - cell["g_min"]
    if isinstance(bend, Tensor):
        bend = torch.where(bend.abs() < TINY, TINY, bend)
        settled = (bend > 0).to(bend.dtype)
        away = bend.sign() / bend.abs().expm1_()
        return (bend * travel).neg_().expm1_().neg_(), low + width * settled, width * away
    bend = bend if abs(bend) >= TINY else TINY
    rest = math.copysign(1.0, bend) / math.expm1(abs(bend))
    whole = low + width * (bend > 0), width * rest
    if isinstance(travel, Tensor):
        return (travel * -bend).expm1_().neg_(), *whole
    return -math.expm1(-bend * travel), *whole


def _either(up: Tensor, when_set: Any, when_reset: Any, like: Tensor) -> Any:
    """As `pick`, in the precision of ``like``."""
    if not isinstance(when_set, Tensor) and when_set == when_reset:
        return when_set
    return torch.where(up, *(as_tensor(x, like) for x in (when_set, when_reset)))


def nonlinearity(bend: Tensor) -> Tensor:
    """Return the nonlinearity label of a curvature ``k = levels/A`` (the inverse of `curvature`).

    The label is the curve's greatest deviation from the straight line, in units of 0.07·√2 of
    the window: ``max_p[(1 − e^(−kp))/(1 − e^(−k)) − p] = 0.07·√2·NL``. The greatest deviation is
    at ``e^(−kp) = (1 − e^(−k))/k``, which gives, with ``E = 1 − e^(−k)``,
    ``1/E − 1/k + ln(E/k)/k``.

    Args:
        bend: curvatures, any shape.
    """
    k = bend.to(torch.float64)
    return (k.sign() * _deviation(k.abs()) / _LABEL_UNIT).to(bend.dtype)


def curvature(label: Tensor) -> Tensor:
    """Return the curvature ``k = levels/A`` of nonlinearity labels, solved to full precision.

    Args:
        label: nonlinearity labels, -9…9, any shape.

    Raises:
        ValueError: if a label is outside -9…9 or not a number.
    """
    if label.numel() and not bool((label.abs() <= LARGEST_NONLINEARITY).all()):
        raise ValueError(f"nonlinearity must be >= -9 and <= 9, got {label!r}")
    target = label.abs().to(torch.float64) * _LABEL_UNIT
    grid, reached = (values.to(label.device) for values in _grid())
    right = torch.searchsorted(reached, target.contiguous()).clamp(1, len(grid) - 1)
    part = (target - reached[right - 1]) / (reached[right] - reached[right - 1])
    # The deviation is concave in k, so Newton converges; from this close in two steps.
    k = torch.lerp(grid[right - 1], grid[right], part)
    for _ in range(3):
        k = k + (target - _deviation(k)) / _slope(k)
    return (label.sign() * k).to(label.dtype)


def _deviation(k: Tensor) -> Tensor:
    safe = k.clamp_min(_SERIES_BELOW)
    e = -(-safe).expm1()
    exact = 1.0 / e - 1.0 / safe + (e / safe).log() / safe
    return torch.where(k < _SERIES_BELOW, k / 8.0 - k**3 / 576.0, exact)


def _slope(k: Tensor) -> Tensor:
    safe = k.clamp_min(_SERIES_BELOW)
    e, tail = -(-safe).expm1(), (-safe).exp()
    exact = -tail / e**2 - (e / safe).log() / safe**2 + tail / (safe * e)
    return torch.where(k < _SERIES_BELOW, 0.125 - k**2 / 192.0, exact)


@functools.lru_cache(maxsize=1)
def _grid() -> tuple[Tensor, Tensor]:
    # Curvatures past the largest label, and their deviations: where Newton starts.
    grid = torch.linspace(0.0, 50.0, 2001, dtype=torch.float64)
    return grid, _deviation(grid)


@functools.lru_cache(maxsize=256)
def _curvature_of(label: float) -> float:
    return float(curvature(torch.tensor(label, dtype=torch.float64)))
