"""Loss landscapes."""

from mho.compat.xbtorch.loss.landscapes import (
    compute_grid_loss,
    reduction_pca,
    reduction_random,
    train_classifier,
)

__all__ = ["compute_grid_loss", "reduction_pca", "reduction_random", "train_classifier"]
