"""Periphery: converters between the digital world and the array."""

from mho.periphery import converters, formats, quantize
from mho.periphery.adc import ADC
from mho.periphery.amplifier import Amplifier
from mho.periphery.characterise import code_transitions, dnl, enob, inl
from mho.periphery.converters import (
    SAR,
    Architecture,
    Cyclic,
    Flash,
    Measured,
    Oscillator,
    Pipeline,
    Ramp,
)
from mho.periphery.dac import DAC
from mho.periphery.drivers import DriverErrors
from mho.periphery.pulses import PulseWidth

__all__ = [
    "ADC",
    "DAC",
    "SAR",
    "Amplifier",
    "Architecture",
    "Cyclic",
    "DriverErrors",
    "Flash",
    "Measured",
    "Oscillator",
    "Pipeline",
    "PulseWidth",
    "Ramp",
    "code_transitions",
    "converters",
    "dnl",
    "enob",
    "formats",
    "inl",
    "quantize",
]
