"""Current–voltage laws as a search sees them: their parameters scaled, and the points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mho.devices.conduction import ConductionLaw, Diode, Ohmic, PooleFrenkel, Sinh, SpaceCharge
from mho.fit import conduction_table
from mho.fit.calibration import Array

_STEEPEST = 100.0  # a factor e^100 over the sweep is far beyond any cell


@dataclass(frozen=True)
class Family:
    """Laws of one shape. Its parameters are scaled to the largest voltage, about 1."""

    names: tuple[str, ...]
    law: Callable[..., ConductionLaw]
    power: float = 1.0  # of a volt, in 1 over the parameter's unit
    lowest: float = 0.0


LAWS = {
    "ohmic": Family((), Ohmic),
    "sinh": Family(("b",), lambda b: Sinh(b=b)),
    "poole_frenkel": Family(("beta",), lambda beta: PooleFrenkel(beta=beta), power=0.5),
    "space_charge": Family(("c",), lambda c: SpaceCharge(c=c)),
    # A passive cell conducts; only the diode may face either way.
    "diode": Family(("b",), lambda b: Diode(b=b), lowest=-_STEEPEST),
}


@dataclass(frozen=True)
class Data:
    """Points, the states they belong to, and the noise of each state (A)."""

    v: Array
    i: Array
    which: npt.NDArray[np.intp]
    labels: list[str]
    offset: bool
    noise: Array | None = None

    @property
    def volts(self) -> float:
        """The largest voltage (V)."""
        return float(np.abs(self.v).max())

    @property
    def amps(self) -> float:
        """The largest current (A)."""
        return float(np.abs(self.i).max())

    @property
    def weights(self) -> Array:
        """Of the points: 1 over their noise, in units of the largest current."""
        if self.noise is None:
            return np.full(len(self.v), 1.0 / self.amps)
        return 1.0 / np.maximum(self.noise, 1e-9 * self.amps)[self.which]

    def many(self, name: str) -> int:
        """How many parameters a law has here."""
        own = conduction_table.KNOTS - 2 if name == "table" else len(LAWS[name].names)
        return len(self.labels) + own + self.offset

    def part(self, at: Any) -> Data:
        """Return some of the points."""
        return Data(self.v[at], self.i[at], self.which[at], self.labels, self.offset, self.noise)

    def state(self, k: int) -> Data:
        """Return the points of one state, as if there were no other."""
        at = self.which == k
        return Data(self.v[at], self.i[at], np.zeros(at.sum(), np.intp), [""], self.offset)


class Shape:
    """A family of laws with its parameters scaled to about 1, and where to begin."""

    def __init__(self, name: str, data: Data) -> None:
        volts = data.volts
        self.name, self.volts = name, volts
        if name == "table":
            best = data.which == data.which[np.abs(data.i).argmax()]
            made = conduction_table.shape(data.v[best], data.i[best])
            self.names, self.starts, self.bounds, self._make = made
            return
        family = LAWS[name]
        many = len(family.names)
        self.names = family.names
        self.starts = [np.full(many, s) for s in ((0.3, 3.0) if many else (0.0,))]
        self.bounds = ([family.lowest] * many, [_STEEPEST] * many)
        self._make = lambda own: family.law(*(float(x) / volts**family.power for x in own))

    def law(self, own: Array) -> ConductionLaw:
        """Return the law of scaled parameters."""
        return self._make(own)

    def unit(self) -> Array:
        """What 1 of each scaled parameter is."""
        power = 0.0 if self.name == "table" else LAWS[self.name].power
        return np.full(len(self.names), self.volts**-power)


def split(p: Array, data: Data, shape: Shape) -> tuple[Array, Array, float]:
    """Return conductances (S) of the states, the law's scaled parameters and the offset (A)."""
    many = len(data.labels)
    i0 = float(p[-1]) * data.amps if data.offset else 0.0
    return p[:many] * data.amps / data.volts, p[many : many + len(shape.names)], i0


def values_at(law: ConductionLaw, v: Array) -> Array:
    """Return a law's values at voltages (V)."""
    found: Array = law(torch.from_numpy(np.ascontiguousarray(v))).numpy()
    return found
