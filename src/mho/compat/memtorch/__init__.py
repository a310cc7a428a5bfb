"""MemTorch 1.1.6's interface on mho.

Every documented name is where it was, and does its work with mho's own rooms: devices are
`mho.devices`, passive arrays `mho.circuit`, converters `mho.periphery`. What differs on purpose is
listed in the documentation ("MemTorch on mho"). Randomness comes from torch's global generator, so
``torch.manual_seed`` reproduces a program.
"""

from mho.compat.memtorch import bh, map, mn, utils

__version__ = "1.1.6-cpu"
"""The interface's version. Programs of the old API ask it for "cpu" to choose a device."""

__all__ = ["__version__", "bh", "map", "mn", "utils"]
