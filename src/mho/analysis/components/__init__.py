"""Circuits around the cells: small cited specs of what each costs."""

from mho.analysis.components.adc import (
    NEUROSIM_CALIBRATION,
    HermesADC,
    IsaacADC,
    NeuroSimADC,
    RegressionADC,
    SurveyADC,
    ZigZagADC,
)
from mho.analysis.components.base import Component, Estimate, total
from mho.analysis.components.cells import CellArray, Line, ProgrammingPulse
from mho.analysis.components.drivers import (
    CapacitiveDAC,
    IsaacDriver,
    ResistiveDAC,
    SwitchMatrix,
    ZigZagDAC,
)
from mho.analysis.components.given import Given
from mho.analysis.components.interconnect import Bus, PumaRouter, Router, Wire
from mho.analysis.components.listing import LIBRARY, table
from mho.analysis.components.logic import (
    Adder,
    AdderTree,
    Comparator,
    Counter,
    Multiplier,
    Register,
    ShiftAdd,
)
from mho.analysis.components.memory import DRAM, EDRAM, SRAM, CacheSRAM
from mho.analysis.components.neurram import (
    NeuRRAMADC,
    NeuRRAMIntegrator,
    NeuRRAMSample,
    NeuRRAMShiftAdd,
)
from mho.analysis.components.processing import ActivationUnit, Arithmetic, VectorUnit
from mho.analysis.components.scaling import AtNode, area_factor, delay_factor, energy_factor
from mho.analysis.components.sensing import AlbireoTIA, ColumnMultiplexer, IsaacSampleHold
from mho.analysis.components.survey import adc_energy
from mho.analysis.components.timely import (
    TimelyComparator,
    TimelyCurrentAdder,
    TimelyDTC,
    TimelyTDC,
)

__all__ = [
    "DRAM",
    "EDRAM",
    "LIBRARY",
    "NEUROSIM_CALIBRATION",
    "SRAM",
    "ActivationUnit",
    "Adder",
    "AdderTree",
    "AlbireoTIA",
    "Arithmetic",
    "AtNode",
    "Bus",
    "CacheSRAM",
    "CapacitiveDAC",
    "CellArray",
    "ColumnMultiplexer",
    "Comparator",
    "Component",
    "Counter",
    "Estimate",
    "Given",
    "HermesADC",
    "IsaacADC",
    "IsaacDriver",
    "IsaacSampleHold",
    "Line",
    "Multiplier",
    "NeuRRAMADC",
    "NeuRRAMIntegrator",
    "NeuRRAMSample",
    "NeuRRAMShiftAdd",
    "NeuroSimADC",
    "ProgrammingPulse",
    "PumaRouter",
    "Register",
    "RegressionADC",
    "ResistiveDAC",
    "Router",
    "ShiftAdd",
    "SurveyADC",
    "SwitchMatrix",
    "TimelyComparator",
    "TimelyCurrentAdder",
    "TimelyDTC",
    "TimelyTDC",
    "VectorUnit",
    "Wire",
    "ZigZagADC",
    "ZigZagDAC",
    "adc_energy",
    "area_factor",
    "delay_factor",
    "energy_factor",
    "table",
    "total",
]
