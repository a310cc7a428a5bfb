"""Devices whose cells hold the weights in training."""

from mho.compat.xbtorch.devices.base import AnalyticalDevice, GenericDevice, TabularDevice
from mho.compat.xbtorch.devices.presets import (
    AnalyticalIdeal,
    AnalyticalReal,
    TabularAnalyticalReal,
    TabularCompactFeFETKriging,
    TabularExperimentalFemFETKriging,
)

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
