"""Periphery: converters between the digital world and the array."""

from mho.periphery import formats, quantize
from mho.periphery.adc import ADC
from mho.periphery.amplifier import Amplifier
from mho.periphery.dac import DAC
from mho.periphery.pulses import PulseWidth

__all__ = ["ADC", "DAC", "Amplifier", "PulseWidth", "formats", "quantize"]
