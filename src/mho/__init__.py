"""mho: neural networks on memristive crossbars, from one cell's physics to a network's accuracy."""

import importlib
from typing import TYPE_CHECKING, Any

from mho import circuit, devices, effects, encoding, programming
from mho import nn as nn
from mho.citations import cite
from mho.crossbar import Crossbar
from mho.crossbar.report import ProgramReport
from mho.hardware import Array, Hardware, load_hardware, save_hardware
from mho.model.calibrate import calibrate
from mho.model.compensate import compensate, maintain
from mho.model.convert import convert
from mho.model.crossbars import crossbars, layers
from mho.model.estimate import Estimate, estimate
from mho.model.frozen import freeze, unfreeze
from mho.model.lifecycle import ModelReport, age, collapse, fabricate, program
from mho.model.memory import limit_memory
from mho.model.quiet import noise_free
from mho.model.summary import Summary, summary
from mho.periphery import ADC, DAC, Amplifier, PulseWidth

if TYPE_CHECKING:
    from mho import analysis, chip, decomposition, fit, study, testing, train
    from mho import plot as plot
    from mho.analysis.tuning import tune

__version__ = "0.1.0"

# Rooms that a hardware and the reads of a converted model do not need, or that need an extra:
# imported when first asked for. Modules of SciPy are, too: ``import scipy`` alone loads none.
_ON_FIRST_USE = (
    "analysis",
    "chip",
    "decomposition",
    "fit",
    "plot",
    "study",
    "testing",
    "train",
)
# Functions of such rooms, by the module they are in.
_FROM = {"tune": "mho.analysis.tuning"}

# Without ``nn``: after ``from mho import *`` that name is still torch's. Also without ``plot``,
# which needs an extra.
__all__ = [
    "ADC",
    "DAC",
    "Amplifier",
    "Array",
    "Crossbar",
    "Estimate",
    "Hardware",
    "ModelReport",
    "ProgramReport",
    "PulseWidth",
    "Summary",
    "age",
    "analysis",
    "calibrate",
    "chip",
    "circuit",
    "cite",
    "collapse",
    "compensate",
    "convert",
    "crossbars",
    "decomposition",
    "devices",
    "effects",
    "encoding",
    "estimate",
    "fabricate",
    "fit",
    "freeze",
    "layers",
    "limit_memory",
    "load_hardware",
    "maintain",
    "noise_free",
    "program",
    "programming",
    "save_hardware",
    "study",
    "summary",
    "testing",
    "train",
    "tune",
    "unfreeze",
]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return importlib.import_module(f"mho.{name}")
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "nn", "plot"])
