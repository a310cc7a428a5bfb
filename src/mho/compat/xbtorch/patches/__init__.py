"""Patching of models, layers and optimizers."""

from mho.compat._names import lend
from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch.patches import decorators
from mho.compat.xbtorch.patches.model import xbtorch_model
from mho.compat.xbtorch.patches.utils import (
    replace_all_layers_stateful,
    replace_all_layers_stateless,
)

__all__ = ["replace_all_layers_stateful", "replace_all_layers_stateless", "xbtorch_model"]

lend(decorators, get_xbtorch_param)
