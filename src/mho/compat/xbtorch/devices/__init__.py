"""Devices whose cells hold the weights in training."""
# ruff: noqa: F401

from mho.compat import _names
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

_names.lend(base, find_nearest, find_nearest_2d, stochastic_round)
