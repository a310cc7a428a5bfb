"""MemTorch 1.1.6's interface on mho.

Every documented name is where it was, and does its work with mho's own rooms: devices are
`mho.devices`, passive arrays `mho.circuit`, converters `mho.periphery`. What differs on purpose is
listed in the documentation ("MemTorch on mho"). Randomness comes from torch's global generator, so
``torch.manual_seed`` reproduces a program.

The flat names are the stars of the packages, as they were.
"""
# ruff: noqa: F401, F403

from mho.compat.memtorch import submodules
from mho.compat.memtorch.bh import *
from mho.compat.memtorch.bh.nonideality import *
from mho.compat.memtorch.map import *
from mho.compat.memtorch.mn import *
from mho.compat.memtorch.utils import *
from mho.compat.memtorch.version import __version__
