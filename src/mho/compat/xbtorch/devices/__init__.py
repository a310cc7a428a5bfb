"""Devices whose cells hold the weights in training."""

from mho.compat.xbtorch.devices import presets
from mho.compat.xbtorch.devices.base import GenericDevice
from mho.compat.xbtorch.devices.presets import *  # noqa: F403

__all__ = [*presets.__all__, "GenericDevice"]
