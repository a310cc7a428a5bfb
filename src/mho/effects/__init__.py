"""Effects: non-idealities, one stage each."""

from mho.effects.aging import PowerLawDrift, ReadDisturb, Relaxation
from mho.effects.base import (
    AgingEffect,
    Effect,
    FabricationEffect,
    ProgrammingEffect,
    ReadingEffect,
)
from mho.effects.fabrication import StuckAt, StuckCells
from mho.effects.metal_oxide import Endurance, FailureLaw, Retention
from mho.effects.programming import CycleVariability, FiniteStates, WriteNoise
from mho.effects.reading import AccessResistance, ReadNoise, Temperature
from mho.effects.telegraph import TelegraphNoise

__all__ = [
    "AccessResistance",
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
    "StuckCells",
    "TelegraphNoise",
    "Temperature",
    "WriteNoise",
]
