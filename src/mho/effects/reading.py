"""Effects of reading: noise that is new at every read, and the temperature of the read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mho.cells.behaviour import Context
from mho.core import checks, derivatives
from mho.effects.base import ReadingEffect
from mho.effects.programming import REFERENCES


@dataclass(frozen=True)
class ReadNoise(ReadingEffect):
    """White Gaussian conductance noise, independent per cell and per read.

    It is drawn where it is exact and cheap: at the bit lines, with variance ``Σ_i v_i² σ²(G_ij)``.

    Attributes:
        sigma: relative standard deviation, >= 0.
        relative_to: ``"range"`` (of ``g_max - g_min``) or ``"value"`` (of each conductance).
    """

    sigma: float
    relative_to: str = "range"

    def __post_init__(self) -> None:
        checks.number("ReadNoise sigma", self.sigma, least=0.0, most=1e6)
        checks.one_of("relative_to", self.relative_to, REFERENCES)

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Standard deviation (S) per cell: one number, or one per cell."""
        if self.relative_to == "value":
            return g * self.sigma
        return self.sigma * context.g_range


@dataclass(frozen=True)
class AccessResistance(ReadingEffect):
    """A resistance in series with every cell, as of its access transistor: ``g / (1 + g · R)``.

    For ohmic cells that is exact: they and their transistor are one conductance. Conductances
    stored, programmed and aged are those of the cells alone.

    Attributes:
        ohms: R (Ω), >= 0.
    """

    redrawn: ClassVar[bool] = False

    ohms: float

    def __post_init__(self) -> None:
        checks.number("AccessResistance ohms", self.ohms, least=0.0)

    def read(self, g: Tensor, context: Context) -> Tensor:
        """Conductances of cells and transistors together."""
        return g / (1.0 + g * self.ohms)


BOLTZMANN = 8.617333262e-5  # eV/K


@dataclass(frozen=True)
class Temperature(ReadingEffect):
    """Cells read at another temperature than they were programmed at.

    The low-resistance state conducts like a metal, the high-resistance state is activated:

        LRS   g(T) = g / (1 + α (T − T0))
        HRS   g(T) = g · exp(−E_a/k · (1/T − 1/T0))

    and a state between them by the geometric mean of both factors, weighted by where it stands
    in the window.

    Attributes:
        kelvin: temperature of the read (K), > 0.
        reference: temperature T0 at which conductances are what was programmed (K), > 0.
        coefficient: α, of the resistance of the low-resistance state (1/K), >= 0.
        activation_energy: E_a of the high-resistance state (eV), >= 0.

    Raises:
        ValueError: if a value is refused, or α (T − T0) <= −1.
    """

    redrawn: ClassVar[bool] = False

    kelvin: float
    reference: float = 300.0
    coefficient: float = 0.0
    activation_energy: float = 0.0

    def __post_init__(self) -> None:
        checks.number("Temperature kelvin", self.kelvin, above=0.0)
        checks.number("Temperature reference", self.reference, above=0.0)
        checks.number("Temperature coefficient", self.coefficient, least=0.0)
        checks.number("Temperature activation_energy", self.activation_energy, least=0.0)
        checks.number("coefficient · (kelvin − reference)", self._resistance - 1.0, above=-1.0)

    @property
    def _resistance(self) -> float:
        return 1.0 + self.coefficient * (self.kelvin - self.reference)

    def read(self, g: Tensor, context: Context) -> Tensor:
        """Conductances at this temperature."""
        metallic = -math.log(self._resistance)
        step = 1.0 / self.reference - 1.0 / self.kelvin
        activated = self.activation_energy / BOLTZMANN * step
        share = derivatives.clip((g - context.g_min) / context.g_range, 0.0, 1.0)
        return g * (activated + (metallic - activated) * share).exp()
