"""Patching of models, layers and optimizers."""

from mho.compat.xbtorch._params import get_xbtorch_param as get_xbtorch_param
from mho.compat.xbtorch.patches import decorators as decorators
from mho.compat.xbtorch.patches.model import xbtorch_model
from mho.compat.xbtorch.patches.utils import (
    replace_all_layers_stateful as replace_all_layers_stateful,
)
from mho.compat.xbtorch.patches.utils import replace_all_layers_stateless

__all__ = ["replace_all_layers_stateless", "xbtorch_model"]
