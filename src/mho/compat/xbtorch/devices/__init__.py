"""Devices whose cells hold the weights in training."""

from mho.compat._names import lend
from mho.compat.xbtorch.devices import base
from mho.compat.xbtorch.devices.base import AnalyticalDevice, GenericDevice, TabularDevice
from mho.compat.xbtorch.devices.presets import (
    AnalyticalIdeal,
    AnalyticalReal,
    TabularAnalyticalReal,
    TabularCompactFeFETKriging,
    TabularExperimentalFemFETKriging,
)
from mho.compat.xbtorch.devices.utils import find_nearest, find_nearest_2d, stochastic_round

__all__ = [
    "AnalyticalDevice",
    "AnalyticalIdeal",
    "AnalyticalReal",
    "GenericDevice",
    "TabularAnalyticalReal",
    "TabularCompactFeFETKriging",
    "TabularDevice",
    "TabularExperimentalFemFETKriging",
]

lend(base, find_nearest, find_nearest_2d, stochastic_round)
