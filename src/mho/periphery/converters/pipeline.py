"""Pipeline converters: a chain of stages, each a little further with the sample before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mho.core import checks
from mho.periphery.converters import residue
from mho.periphery.converters.base import Architecture
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Pipeline(Architecture):
    """``bits - 1`` stages of 1.5 bits (`mho.periphery.converters.residue.code`), each its own.

    Comparators may be off by a quarter of full scale before it costs anything; the capacitors'
    ratio and the amplifiers' gain bend the transfer.

    Attributes:
        capacitor_sigma: relative standard deviation of every capacitor, in [0, 0.3].
        parasitic_sigma: size of the parasitic capacitance at every amplifier's input, of a
            capacitor, >= 0; it acts through ``amplifier_db``.
        comparator_sigma: standard deviation of every comparator's offset, of full scale, >= 0.
        amplifier_db: open-loop gain of the amplifiers (dB), > 0; None are ideal ones.
    """

    compares: ClassVar[bool] = False
    one_stage: ClassVar[bool] = False

    capacitor_sigma: float = 0.0
    parasitic_sigma: float = 0.0
    comparator_sigma: float = 0.0
    amplifier_db: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        checks.number(f"{name} capacitor_sigma", self.capacitor_sigma, least=0.0, most=0.3)
        checks.number(f"{name} parasitic_sigma", self.parasitic_sigma, least=0.0)
        checks.number(f"{name} comparator_sigma", self.comparator_sigma, least=0.0)
        if self.amplifier_db is not None:
            checks.number(f"{name} amplifier_db", self.amplifier_db, above=0.0)
        elif self.parasitic_sigma:
            raise ValueError(
                f"{name} parasitic_sigma={self.parasitic_sigma!r} changes nothing with ideal "
                "amplifiers: give amplifier_db"
            )
        super().__post_init__()

    def cycles(self, bits: int) -> int:
        """One period: every stage is free for the next sample."""
        return 1

    def latency(self, bits: int) -> float | None:
        """Return the time (s) from a sample to its code: one period a stage."""
        return None if self.clock is None else max(bits - 1, 1) / self.clock

    @property
    def _sound(self) -> bool:
        return self.capacitor_sigma == self.comparator_sigma == 0.0 and self.amplifier_db is None

    @property
    def drawn(self) -> bool:
        """Whether converters differ by chance."""
        sigmas = (self.capacitor_sigma, self.parasitic_sigma, self.comparator_sigma)
        return super().drawn or any(sigmas)

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return super().linear and self._sound

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        if self._sound:
            return None
        stages = residue.draw(
            draws,
            1 if self.one_stage else bits - 1,
            count,
            capacitor_sigma=self.capacitor_sigma,
            parasitic_sigma=self.parasitic_sigma,
            comparator_sigma=self.comparator_sigma,
            amplifier_db=self.amplifier_db,
        )
        return residue.transitions(stages, bits, stages.ratio, count)
