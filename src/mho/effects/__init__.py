"""Effects: non-idealities, one stage each."""

from mho.effects.aging import PowerLawDrift
from mho.effects.base import (
    AgingEffect,
    Effect,
    FabricationEffect,
    ProgrammingEffect,
    ReadingEffect,
)
from mho.effects.fabrication import StuckAt
from mho.effects.programming import FiniteStates, WriteNoise
from mho.effects.reading import ReadNoise

__all__ = [
    "AgingEffect",
    "Effect",
    "FabricationEffect",
    "FiniteStates",
    "PowerLawDrift",
    "ProgrammingEffect",
    "ReadNoise",
    "ReadingEffect",
    "StuckAt",
    "WriteNoise",
]
