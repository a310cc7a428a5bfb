"""Patching of models, layers and optimizers."""
# ruff: noqa: F401

from mho.compat import _names
from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch.patches import decorators
from mho.compat.xbtorch.patches.model import xbtorch_model
from mho.compat.xbtorch.patches.utils import (
    replace_all_layers_stateful,
    replace_all_layers_stateless,
)

_names.lend(decorators, get_xbtorch_param)
