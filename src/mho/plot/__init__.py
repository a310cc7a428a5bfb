"""Pictures. Functions take matplotlib Axes (or make them) and return them.

Needs matplotlib: ``pip install 'mho[viz]'``.
"""

from mho.plot.accuracy import accuracy_against, time_axis
from mho.plot.crossbar import conductance_map, target_histogram, weight_error
from mho.plot.style import style

__all__ = [
    "accuracy_against",
    "conductance_map",
    "style",
    "target_histogram",
    "time_axis",
    "weight_error",
]
