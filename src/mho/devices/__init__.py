"""Devices: what one memory cell does.

Voltage-driven models (`VTEAM`, …) follow a waveform; pulse-count models (`ExponentialDevice`, …)
answer pulses; statistical models (`PCM`, …) know their errors, drift and noise. All fit a
crossbar. `presets` has named, cited ones; `mho.fit` makes one from measured data.
"""

import importlib
from typing import Any

from mho.cells.device import Device
from mho.cells.population import Cells
from mho.cells.spread import Spread
from mho.devices import presets, spice, waveforms
from mho.devices.antiserial import simulate_antiserial
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.exponential import ExponentialDevice
from mho.devices.fefet import MultiDomainFeFET
from mho.devices.jart_vcm import JARTVCM
from mho.devices.linear import LinearDevice
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.mtj import MTJ
from mho.devices.pcm import PCM, PCMHermes
from mho.devices.pickett import Pickett
from mho.devices.pulsed import PulsedCells, PulsedDevice
from mho.devices.reram import ReRAMCMO, ReRAMWan
from mho.devices.series import Resistor, Transistor
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.statistical import GenericStatistical
from mho.devices.steps import (
    ConstantStep,
    ExpStep,
    LinearStep,
    PiecewiseStep,
    PowStep,
    SoftBoundsDevice,
    StepDevice,
)
from mho.devices.switching import SwitchingDevice
from mho.devices.switching_cells import SwitchingCells
from mho.devices.tabular import JumpTable, TabularCells, TabularDevice
from mho.devices.team import TEAM
from mho.devices.vteam import VTEAM
from mho.devices.windows import (
    Biolek,
    Joglekar,
    Kvatinsky,
    Prodromakis,
    Rectangular,
    Window,
)
from mho.devices.yakopcic import Yakopcic

__all__ = [
    "JARTVCM",
    "MTJ",
    "PCM",
    "TEAM",
    "VTEAM",
    "Biolek",
    "Cells",
    "ConstantStep",
    "DataDriven2018",
    "DataDriven2021",
    "Device",
    "ExpStep",
    "ExponentialDevice",
    "GenericStatistical",
    "Joglekar",
    "JumpTable",
    "Kvatinsky",
    "LinearDevice",
    "LinearIonDrift",
    "LinearStep",
    "MultiDomainFeFET",
    "PCMHermes",
    "Pickett",
    "PiecewiseStep",
    "PowStep",
    "Prodromakis",
    "PulsedCells",
    "PulsedDevice",
    "ReRAMCMO",
    "ReRAMWan",
    "Rectangular",
    "Resistor",
    "SoftBoundsDevice",
    "Spread",
    "StanfordPKU",
    "StepDevice",
    "SwitchingCells",
    "SwitchingDevice",
    "TabularCells",
    "TabularDevice",
    "Transistor",
    "Window",
    "Yakopcic",
    "presets",
    "simulate_antiserial",
    "spice",
    "waveforms",
]


def __getattr__(name: str) -> Any:
    if name == "fit":  # the old name of a room that stands on this one
        return importlib.import_module("mho.fit")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
