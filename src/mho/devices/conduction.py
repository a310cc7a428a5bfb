"""Cells that hold a conductance and conduct by any one law, ``I = g · f(v)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy
import torch
from torch import Tensor

from mho.cells.device import Device
from mho.cells.programming import Exact, Programming
from mho.cells.spread import Spread, check_window
from mho.core import checks
from mho.core.constants import constant
from mho.core.spec import Spec, derived

BEYOND = ("linear", "refuse")


@dataclass(frozen=True)
class ConductionLaw(Spec):
    """Base of the laws: f(v) in volts, with ``f(0) = 0``, ``f'(0) = 1``, never falling."""

    def __call__(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) at voltages ``v`` (V), of their shape."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ohmic(ConductionLaw):
    """``f(v) = v``."""

    def __call__(self, v: Tensor) -> Tensor:
        """Return ``v``."""
        return v


@dataclass(frozen=True)
class Sinh(ConductionLaw):
    """``f(v) = sinh(b v)/b``: hopping and tunnelling, the read-out of most switching models.

    Attributes:
        b: steepness (1/V), >= 0; 0 is ohmic.
    """

    b: float = 2.0

    def __post_init__(self) -> None:
        checks.number("b", self.b, least=0.0)

    def __call__(self, v: Tensor) -> Tensor:
        """Return ``sinh(b v)/b``."""
        return torch.sinh(self.b * v) / self.b if self.b else v


@dataclass(frozen=True)
class PooleFrenkel(ConductionLaw):
    """``f(v) = v · exp(β √|v|)``: field-assisted emission from traps.

    Source: Frenkel 1938, doi 10.1103/PhysRev.54.647.

    Attributes:
        beta: lowering of the barrier over kT (1/√V), >= 0.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, least=0.0)

    def __call__(self, v: Tensor) -> Tensor:
        """Return ``v · exp(β √|v|)``."""
        # √ has no slope at 0: it is kept away from there, where v makes the product 0.
        size = v.abs()
        root = torch.where(size > 0.0, size, torch.ones_like(size)).sqrt()
        return v * torch.exp(self.beta * torch.where(size > 0.0, root, torch.zeros_like(root)))


@dataclass(frozen=True)
class SpaceCharge(ConductionLaw):
    """``f(v) = v + c v |v|``: ohmic at low, limited by space charge at high voltage.

    Source: Mott & Gurney 1940 (the square law); Lampert 1956, doi 10.1103/PhysRev.103.1648.

    Attributes:
        c: 1 over the voltage at which both parts are equal (1/V), >= 0.
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        checks.number("c", self.c, least=0.0)

    def __call__(self, v: Tensor) -> Tensor:
        """Return ``v + c v |v|``."""
        return v + self.c * v * v.abs()


@dataclass(frozen=True)
class Diode(ConductionLaw):
    """``f(v) = (exp(b v) - 1)/b``: a rectifying contact; the only law that is not odd.

    Attributes:
        b: steepness (1/V): > 0 conducts forward under positive, < 0 under negative voltages; 0 is
            ohmic.
    """

    b: float = 5.0

    def __post_init__(self) -> None:
        checks.number("b", self.b)

    def __call__(self, v: Tensor) -> Tensor:
        """Return ``(exp(b v) - 1)/b``."""
        return torch.expm1(self.b * v) / self.b if self.b else v


@dataclass(frozen=True)
class TabulatedLaw(ConductionLaw):
    """A measured curve: a monotone cubic through the points given, scaled to ``f'(0) = 1``.

    Between points it is the piecewise cubic of Fritsch & Butland 1984 (doi 10.1137/0905021), which
    never overshoots: where the points rise, so does the curve, and its slope is continuous.

    Attributes:
        volts: increasing (V), 0 among them.
        values: the curve there, in any unit: increasing, 0 at 0 V.
        odd: the points are those of ``v >= 0`` and ``f(-v) = -f(v)``.
        beyond: what happens outside the table: ``linear`` goes on with the slope at its end,
            ``refuse`` raises.

    Raises:
        ValueError: if the points are fewer than two, not increasing or not through the origin, or
            the curve is flat there.
    """

    volts: tuple[float, ...] = (-1.0, 0.0, 1.0)
    values: tuple[float, ...] = (-1.0, 0.0, 1.0)
    odd: bool = False
    beyond: str = "linear"

    def __post_init__(self) -> None:
        for name in ("volts", "values"):
            given = getattr(self, name)
            checks.instance(name, given, (Sequence, np.ndarray))
            object.__setattr__(self, name, tuple(float(value) for value in given))
            for value in getattr(self, name):
                checks.number(name, value)
        checks.one_of("beyond", self.beyond, BEYOND)
        self._check_points()
        if not self._curve[1][self._origin] > 0.0:
            raise ValueError(
                "values must have a slope > 0 at 0 V: there is no low-voltage conductance to "
                "scale them to"
            )

    def _check_points(self) -> None:
        volts, values = np.array(self.volts), np.array(self.values)
        if len(volts) != len(values) or len(volts) < 2:
            raise ValueError(
                f"volts and values must be as many, at least 2, got {len(volts)} and {len(values)}"
            )
        if not (np.diff(volts) > 0.0).all() or not (np.diff(values) > 0.0).all():
            raise ValueError("volts and values must both increase from point to point")
        if 0.0 not in self.volts or values[self.volts.index(0.0)] != 0.0:
            raise ValueError("volts must have 0, and values be 0 there: no current without voltage")
        if self.odd and volts[0] != 0.0:
            raise ValueError(f"volts must begin at 0 where odd=True, got {volts[0]:g}")

    @derived
    def _curve(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        # Voltages, slopes and values of the whole curve, negative side included.
        volts, values = np.array(self.volts), np.array(self.values)
        if self.odd:
            volts = np.concatenate([-volts[:0:-1], volts])
            values = np.concatenate([-values[:0:-1], values])
        slopes = scipy.interpolate.PchipInterpolator(volts, values).derivative()(volts)
        return tuple(volts.tolist()), tuple(slopes.tolist()), tuple(values.tolist())

    @property
    def _origin(self) -> int:
        return self._curve[0].index(0.0)

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest voltage of the table (V)."""
        volts = self._curve[0]
        return volts[0], volts[-1]

    def __call__(self, v: Tensor) -> Tensor:
        """Return the curve at ``v``.

        Raises:
            ValueError: if some lie outside the table and ``beyond`` is ``refuse``.
        """
        low, high = self.span
        if self.beyond == "refuse" and bool(((v < low) | (v > high)).any()):
            raise ValueError(
                f"v must be in [{low:g}, {high:g}] V, where the law is tabulated, got "
                f"{float(v.min()):g} … {float(v.max()):g} V; beyond='linear' goes on"
            )
        volts, slopes, values = (constant(tuple(part), v.dtype, v.device) for part in self._curve)
        inside = v.clamp(low, high)
        k = torch.searchsorted(volts, inside.detach().contiguous(), right=True) - 1
        k = k.clamp(0, len(volts) - 2)
        width = volts[k + 1] - volts[k]
        t = (inside - volts[k]) / width
        rise = values[k + 1] - values[k]
        start, end = slopes[k] * width, slopes[k + 1] * width
        # The cubic of these values and slopes at both ends, in powers of t.
        cubic = values[k] + t * (
            start + t * (3.0 * rise - 2.0 * start - end + t * (start + end - 2.0 * rise))
        )
        outside = torch.where(v > high, slopes[-1], slopes[0]) * (v - inside)
        return (cubic + outside) / slopes[self._origin]


@dataclass(frozen=True)
class ConductionDevice(Device):
    """A cell that holds any conductance of its window, exactly, and conducts by one law.

        I = g · f(v)

    ``g`` is the low-voltage conductance. A crossbar reads such cells with one product on ``f(v)``.

    Attributes:
        g_min: lowest conductance (S), >= 0; a number or a `Spread`.
        g_max: highest conductance (S), > g_min; a number or a `Spread`.
        law: one of `Ohmic`, `Sinh`, `PooleFrenkel`, `SpaceCharge`, `Diode`, `TabulatedLaw`, or
            your own `ConductionLaw`.

    Spread conductances without a lower bound of their own are kept at or above 0 S.

    Raises:
        ValueError: if ``g_min`` is negative or not below ``g_max``.
        TypeError: if ``law`` is no law.
    """

    g_min: float | Spread = 1e-6
    g_max: float | Spread = 100e-6
    law: ConductionLaw = field(default_factory=Sinh)

    def __post_init__(self) -> None:
        for name in ("g_min", "g_max"):
            value = getattr(self, name)
            if isinstance(value, Spread) and value.low is None:
                object.__setattr__(self, name, value.replace(low=0.0))
        check_window(self.g_min, self.g_max)
        checks.instance("law", self.law, ConductionLaw)

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: exactly."""
        return Exact()

    @property
    def ohmic(self) -> bool:
        """Whether the current is proportional to the voltage."""
        return isinstance(self.law, Ohmic)

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of ``I = g · f(v)``: what the law says."""
        return self.law(v)
