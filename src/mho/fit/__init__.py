"""Fits: from measured data to a device, with how well it predicts data it has not seen.

Every fit returns a small result: what was fitted, its residuals, and its calibration: how often
measured values left out of the fit fall inside the intervals it predicts for them.
"""

from mho.fit.calibration import Calibration
from mho.fit.conduction import IVFit, iv
from mho.fit.drift import RetentionFit, retention
from mho.fit.jumps import JumpTableFit, jump_table, pairs
from mho.fit.pulse_response import PulseFit, exponential, pulses

__all__ = [
    "Calibration",
    "IVFit",
    "JumpTableFit",
    "PulseFit",
    "RetentionFit",
    "exponential",
    "iv",
    "jump_table",
    "pairs",
    "pulses",
    "retention",
]
