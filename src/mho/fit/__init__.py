"""Fits: from measured data to a device, with how well it predicts data it has not seen.

Every fit returns a small result: what was fitted, its residuals, and its calibration: how often
measured values left out of the fit fall inside the intervals it predicts for them.
"""

from mho.fit.calibration import Calibration
from mho.fit.combine import statistical
from mho.fit.conduction import IVFit, iv
from mho.fit.drift import RetentionFit, retention
from mho.fit.jumps import JumpTableFit, jump_table, pairs
from mho.fit.programming_error import ProgrammingFit, programming
from mho.fit.pulse_response import ExponentialFit, exponential
from mho.fit.twin import TwinFit, hardware
from mho.fit.twin_products import ProductsFit, products

__all__ = [
    "Calibration",
    "ExponentialFit",
    "IVFit",
    "JumpTableFit",
    "ProductsFit",
    "ProgrammingFit",
    "RetentionFit",
    "TwinFit",
    "exponential",
    "hardware",
    "iv",
    "jump_table",
    "pairs",
    "products",
    "programming",
    "retention",
    "statistical",
]
