"""MemTorch 1.1.6's interface on mho.

Every documented name is where it was, and does its work with mho's own rooms: devices are
`mho.devices`, passive arrays `mho.circuit`, converters `mho.periphery`. What differs on purpose is
listed in the documentation ("MemTorch on mho"). Randomness comes from torch's global generator, so
``torch.manual_seed`` reproduces a program.
"""
# ruff: noqa: F403 (the flat names are the stars of the packages, as they were)

from mho.compat.memtorch import bh, map, mn, submodules, utils, version
from mho.compat.memtorch.bh import *
from mho.compat.memtorch.bh.nonideality import *
from mho.compat.memtorch.map import *
from mho.compat.memtorch.mn import *  # type: ignore[no-redef]  # Module, of both
from mho.compat.memtorch.utils import *
from mho.compat.memtorch.version import __version__

__all__ = ["__version__", "bh", "map", "mn", "submodules", "utils", "version"]
__all__ += bh.__all__
__all__ += bh.nonideality.__all__
__all__ += map.__all__
__all__ += mn.__all__
__all__ += utils.__all__
