"""Loss landscapes."""

from mho.compat._names import lend
from mho.compat.xbtorch.loss import landscapes
from mho.compat.xbtorch.loss.landscapes import compute_grid_loss, reduction_pca, reduction_random
from mho.compat.xbtorch.nn.utils import train_classifier

__all__ = ["compute_grid_loss", "reduction_pca", "reduction_random", "train_classifier"]

lend(landscapes, train_classifier)
