"""Patching of models, layers and optimizers."""

from mho.compat.xbtorch.patches.model import xbtorch_model
from mho.compat.xbtorch.patches.utils import (
    replace_all_layers_stateful,
    replace_all_layers_stateless,
)

__all__ = ["replace_all_layers_stateful", "replace_all_layers_stateless", "xbtorch_model"]
