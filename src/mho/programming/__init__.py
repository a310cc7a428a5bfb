"""Programming: write–verify with pulses, on whole arrays at once."""

from mho.devices.waveforms import programming_signal
from mho.programming.crossbar import program_crossbar
from mho.programming.loop import write_verify
from mho.programming.pulses import Pulses
from mho.programming.report import REASONS, ProgrammingError, WriteReport
from mho.programming.scheme import WriteVerify

__all__ = [
    "REASONS",
    "ProgrammingError",
    "Pulses",
    "WriteReport",
    "WriteVerify",
    "program_crossbar",
    "programming_signal",
    "write_verify",
]
