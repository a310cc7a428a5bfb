"""Pulses of one polarity: a rising schedule of amplitudes."""

from __future__ import annotations

from dataclasses import dataclass

from mho.core import checks
from mho.core.spec import Spec


@dataclass(frozen=True)
class Pulses(Spec):
    """Amplitudes ``start, start + step, … stop`` of one width. Magnitudes: the device knows signs.

    Attributes:
        start: amplitude of the first pulse (V), > 0.
        step: rise from pulse to pulse (V), >= 0.
        stop: largest amplitude (V), >= start.
        width: of a pulse (s), > 0.

    Raises:
        TypeError, ValueError: if a number is refused.
    """

    start: float
    step: float
    stop: float
    width: float

    def __post_init__(self) -> None:
        checks.number("Pulses start", self.start, above=0.0)
        checks.number("Pulses step", self.step, least=0.0)
        checks.number("Pulses stop", self.stop, least=self.start)
        checks.number("Pulses width", self.width, above=0.0)
        if self.step == 0.0 and self.stop > self.start:
            raise ValueError(
                f"Pulses step must be > 0 to rise from start={self.start!r} to stop={self.stop!r}"
            )

    @property
    def rise(self) -> float:
        """How far the amplitude can rise (V)."""
        return self.stop - self.start
