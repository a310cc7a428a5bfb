"""What a study found: one record a chip of a configuration, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """One chip of one configuration.

    Attributes:
        trial: number of the configuration, from 0.
        seed: of the chip.
        settings: what was set, by path (``"adc.bits"``): plain values, as they go to JSON.
        results: what was found, by name (``"accuracy"``); empty if the evaluation failed.
        error: why it failed, in one line; None if it did not.
        seconds: that the evaluation took.
    """

    trial: int
    seed: int
    settings: Mapping[str, Any]
    results: Mapping[str, float]
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Everything a study has found so far.

    Attributes:
        name: of the study.
        records: of finished and failed chips, ordered by trial and seed.
        objectives: ``"maximize"`` or ``"minimize"``, by the name of a result.
        units: of settings and results, by path or name; ``""`` for plain numbers.
    """

    name: str
    records: tuple[Record, ...]
    objectives: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
