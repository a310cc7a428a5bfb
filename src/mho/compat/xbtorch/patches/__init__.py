"""Patching of models, layers and optimizers."""
# ruff: noqa: F401

from mho.compat.xbtorch.patches import decorators
from mho.compat.xbtorch.patches.model import xbtorch_model
from mho.compat.xbtorch.patches.utils import (
    replace_all_layers_stateful,
    replace_all_layers_stateless,
)
