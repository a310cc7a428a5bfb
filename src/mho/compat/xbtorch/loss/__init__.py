"""Loss landscapes."""
# ruff: noqa: F401

from mho.compat import _names
from mho.compat.xbtorch.loss import landscapes
from mho.compat.xbtorch.loss.landscapes import compute_grid_loss, reduction_pca, reduction_random
from mho.compat.xbtorch.nn.utils import train_classifier

_names.lend(landscapes, train_classifier)
