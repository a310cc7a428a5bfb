"""Devices whose cells hold the weights in training."""

from mho.compat.xbtorch.devices.base import AnalyticalDevice, TabularDevice
from mho.compat.xbtorch.devices.base import GenericDevice as GenericDevice
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
    "TabularAnalyticalReal",
    "TabularCompactFeFETKriging",
    "TabularDevice",
    "TabularExperimentalFemFETKriging",
]
