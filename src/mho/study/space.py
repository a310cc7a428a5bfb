"""What a study varies: choices and ranges of a hardware's fields, by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mho.core import checks
from mho.core.spec import Spec
from mho.hardware import Hardware


@dataclass(frozen=True)
class Range(Spec):
    """Numbers between two ends.

    Attributes:
        low: the lowest.
        high: the highest, > low.
        log: whether they are spread evenly in their logarithm; low must then be > 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        low = checks.number("Range low", self.low)
        checks.number("Range high", self.high, above=low)
        if self.log:
            checks.number("Range low, where log=True,", low, above=0.0)


@dataclass(frozen=True)
class Integers(Spec):
    """Integers between two ends, both among them.

    Attributes:
        low: the lowest.
        high: the highest, > low.
        step: from one to the next, >= 1; ``high`` must be reached. 1 where ``log`` is true.
        log: whether they are spread evenly in their logarithm; low must then be >= 1.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        low = checks.integer("Integers low", self.low, least=1 if self.log else -(2**53))
        high = checks.integer("Integers high", self.high, least=low + 1, most=2**53)
        step = checks.integer("Integers step", self.step)
        if self.log and step != 1:
            raise ValueError(f"Integers step must be 1 where log=True, got {step!r}")
        if (high - low) % step:
            raise ValueError(
                f"Integers high must be reached from {low} in steps of {step}, got {high!r}"
            )


def with_settings(hardware: Hardware, settings: Mapping[str, Any]) -> Hardware:
    """Return a hardware with some fields set, by path.

    Args:
        hardware: what to start from; it is not changed.
        settings: values by path: ``"adc.bits"``, ``"array.wires.word"``, ``"effects.StuckAt.low"``
            (of the effect of that class), ``"device"``. Specs may be given as `to_dict` gives them.

    Raises:
        ValueError: if a path leads to no field, or a value is refused; the message names both.
        TypeError: if a value is of another kind than its field asks for.
    """
    raise NotImplementedError
