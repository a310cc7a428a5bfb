"""Effects: non-idealities, one stage each."""

from mho.effects.aging import PowerLawDrift, ReadDisturb, Relaxation
from mho.effects.base import (
    AgingEffect,
    Effect,
    FabricationEffect,
    ProgrammingEffect,
    ReadingEffect,
)
from mho.effects.fabrication import StuckAt
from mho.effects.metal_oxide import Endurance, FailureLaw, Retention
from mho.effects.programming import CycleVariability, FiniteStates, WriteNoise
from mho.effects.reading import ReadNoise, Temperature
from mho.effects.telegraph import TelegraphNoise

__all__ = [
    "AgingEffect",
    "CycleVariability",
    "Effect",
    "Endurance",
    "FabricationEffect",
    "FailureLaw",
    "FiniteStates",
    "PowerLawDrift",
    "ProgrammingEffect",
    "ReadDisturb",
    "ReadNoise",
    "ReadingEffect",
    "Relaxation",
    "Retention",
    "StuckAt",
    "TelegraphNoise",
    "Temperature",
    "WriteNoise",
]
