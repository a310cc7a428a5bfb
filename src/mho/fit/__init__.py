"""Fits: from measured data to a device, with how well it predicts data it has not seen.

Every fit returns a small result: what was fitted, its residuals, and its calibration: how often
measured values left out of the fit fall inside the intervals it predicts for them.
"""

from mho.fit.access import Access
from mho.fit.branches import Hysteresis, hysteresis
from mho.fit.calibration import Calibration
from mho.fit.combine import statistical
from mho.fit.conduction import IVFit, iv
from mho.fit.drift import RetentionFit, retention
from mho.fit.estimates import Estimate, Estimates
from mho.fit.jumps import JumpTableFit, jump_table, pairs
from mho.fit.loops import LoopFit, loop
from mho.fit.pit import Agreement
from mho.fit.programming_error import ProgrammingFit, programming
from mho.fit.pulse_response import PulseFit, exponential, pulses
from mho.fit.reading import Measurement, read
from mho.fit.twin import TwinFit, hardware
from mho.fit.twin_products import ProductsFit, products
from mho.fit.wafer import CellMapFit, cell_map

__all__ = [
    "Access",
    "Agreement",
    "Calibration",
    "CellMapFit",
    "Estimate",
    "Estimates",
    "Hysteresis",
    "IVFit",
    "JumpTableFit",
    "LoopFit",
    "Measurement",
    "ProductsFit",
    "ProgrammingFit",
    "PulseFit",
    "RetentionFit",
    "TwinFit",
    "cell_map",
    "exponential",
    "hardware",
    "hysteresis",
    "iv",
    "jump_table",
    "loop",
    "pairs",
    "products",
    "programming",
    "pulses",
    "read",
    "retention",
    "statistical",
]
