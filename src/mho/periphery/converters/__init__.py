"""Architectures of ADCs, one a file, with the errors of the circuits that they are built of."""

from mho.periphery.converters.base import Architecture
from mho.periphery.converters.cyclic import Cyclic
from mho.periphery.converters.flash import Flash
from mho.periphery.converters.measured import Measured
from mho.periphery.converters.oscillator import Oscillator
from mho.periphery.converters.pipeline import Pipeline
from mho.periphery.converters.ramp import Ramp
from mho.periphery.converters.sar import SAR

__all__ = [
    "SAR",
    "Architecture",
    "Cyclic",
    "Flash",
    "Measured",
    "Oscillator",
    "Pipeline",
    "Ramp",
]
