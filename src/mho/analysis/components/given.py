"""A component of one's own in one line: numbers from a data sheet, a layout or an assumption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mho.analysis.components.base import Component, Estimate
from mho.core import checks

_QUANTITIES = {"energy": "J", "latency": "s", "area": "m²", "leakage": "W"}


@dataclass(frozen=True)
class Given(Component):
    """What somebody says a circuit costs.

    Each quantity is an `Estimate`, or what makes one: a number, ``(low, high)`` or
    ``(low, typical, high)``; of two the mean is typical.

    Attributes:
        name: what it is.
        energy: of one use (J); or None, not known.
        latency: of one use (s); or None.
        area: of one instance (m²); or None.
        leakage: of one instance (W); or None.
        node: technology node (m), from which `AtNode` may carry it to another; or None.
        source: where the numbers are from.
        conditions: under which they hold.
        use: what is one use.
        leakage_in_energy: whether what leaks is in the energy already.

    Raises:
        TypeError, ValueError: if a quantity is no estimate, is negative, its ends are crossed, or
            it is so large that a unit's prefix is missing (pJ for J).
    """

    name: str = "given"
    energy: Estimate | None = None
    latency: Estimate | None = None
    area: Estimate | None = None
    leakage: Estimate | None = None
    node: float | None = None
    source: str = "given"
    conditions: str = ""
    use: str = "one use"
    leakage_in_energy: bool = False

    def __post_init__(self) -> None:
        for text in ("name", "source", "conditions", "use"):
            checks.instance(f"{text} of Given", getattr(self, text), str)
        if self.leakage_in_energy and self.leakage is not None:
            raise ValueError(
                f"leakage of {self.name} must not be given where it is in the energy, "
                f"got {self.leakage!r}"
            )
        if self.node is not None:
            checks.circuit("node of Given", self.node, "m", above=0.0)
        for quantity, unit in _QUANTITIES.items():
            value = estimate(f"{quantity} of {self.name}", getattr(self, quantity))
            if value is not None:
                checks.circuit(f"{quantity} of {self.name}", value.high, unit)
            object.__setattr__(self, quantity, value)


def estimate(name: str, value: Any) -> Estimate | None:
    """Return a number, ``(low, high)``, ``(low, typical, high)``, an Estimate or None as one.

    Args:
        name: what it is, for the error.
        value: what was given.

    Raises:
        TypeError: if it is something else.
        ValueError: if it is negative, or not in ascending order.
    """
    if value is None or isinstance(value, Estimate):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) not in (2, 3):
            raise ValueError(f"{name} must be one number, (low, high) or three; got {value!r}")
        ends = [checks.number(f"{name}", item, least=0.0) for item in value]
        if sorted(ends) != ends:
            raise ValueError(f"{name} must be in ascending order, got {value!r}")
        return Estimate(ends[0], sum(ends) / 2 if len(ends) == 2 else ends[1], ends[-1])
    return Estimate.exact(checks.number(name, value, least=0.0))
