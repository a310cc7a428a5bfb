"""mho: neural networks on memristive crossbars, from one cell's physics to a network's accuracy."""

from mho import (
    analysis,
    chip,
    circuit,
    decomposition,
    devices,
    effects,
    encoding,
    nn,
    programming,
    train,
)
from mho.calibrate import calibrate
from mho.compensate import compensate, maintain
from mho.convert import age, collapse, convert, fabricate, layers, program
from mho.crossbar import Crossbar
from mho.hardware import Array, Hardware, load_hardware, save_hardware
from mho.life import ProgramReport
from mho.periphery import ADC, DAC
from mho.summary import Summary, summary

__version__ = "0.1.0"

__all__ = [
    "ADC",
    "DAC",
    "Array",
    "Crossbar",
    "Hardware",
    "ProgramReport",
    "Summary",
    "age",
    "analysis",
    "calibrate",
    "chip",
    "circuit",
    "collapse",
    "compensate",
    "convert",
    "decomposition",
    "devices",
    "effects",
    "encoding",
    "fabricate",
    "layers",
    "load_hardware",
    "maintain",
    "nn",
    "program",
    "programming",
    "save_hardware",
    "summary",
    "train",
]
