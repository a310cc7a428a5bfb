"""Memristive layers."""

from mho.compat.memtorch.mn import Module
from mho.compat.memtorch.mn.Conv1d import Conv1d
from mho.compat.memtorch.mn.Conv2d import Conv2d
from mho.compat.memtorch.mn.Conv3d import Conv3d
from mho.compat.memtorch.mn.Linear import Linear
from mho.compat.memtorch.mn.Module import patch_model, supported_module_parameters
from mho.compat.memtorch.mn.RNN import RNN

__all__ = [
    "RNN",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Linear",
    "Module",
    "patch_model",
    "supported_module_parameters",
]

# Each name is the class and the module of that name.
for _class in (Linear, Conv1d, Conv2d, Conv3d, RNN):
    setattr(_class, _class.__name__, _class)
del _class
