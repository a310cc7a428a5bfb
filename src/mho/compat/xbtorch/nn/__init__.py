"""Layers."""
# ruff: noqa: F403

from mho.compat import _names
from mho.compat.xbtorch.nn import nn
from mho.compat.xbtorch.nn.nn import *
from mho.compat.xbtorch.patches import decorators

_names.lend(nn, decorators)
