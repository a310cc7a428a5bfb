"""Configurations and checkpoints of other simulators, as mho's hardware, recipes and weights.

    `from_aihwkit`            AIHWKit's inference configurations, the objects or what they print
    `from_aihwkit_lightning`  those of AIHWKit-Lightning
    `from_crosssim`           CrossSim's parameters, a JSON file or a mapping
    `from_neurosim`           NeuroSim's ``Param.cpp`` and the flags of its Python wrapper

Each returns a `Translation`: the hardware, a training recipe where the source says how to
train, and an account in which every setting of the source stands once: with its counterpart, or
without one and why. None of those tools needs to be installed.
"""

from mho.compat.configs.aihwkit import from_aihwkit
from mho.compat.configs.checkpoints import (
    Checkpoint,
    set_input_ranges,
    weights_from_aihwkit,
    weights_from_aihwkit_lightning,
)
from mho.compat.configs.crosssim import from_crosssim
from mho.compat.configs.lightning import from_aihwkit_lightning
from mho.compat.configs.neurosim import from_neurosim
from mho.compat.configs.translation import Matched, Translation, Unmatched

__all__ = [
    "Checkpoint",
    "Matched",
    "Translation",
    "Unmatched",
    "from_aihwkit",
    "from_aihwkit_lightning",
    "from_crosssim",
    "from_neurosim",
    "set_input_ranges",
    "weights_from_aihwkit",
    "weights_from_aihwkit_lightning",
]
