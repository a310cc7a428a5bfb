"""Decorators that make torch's layers and optimizers XBTorch's."""

from __future__ import annotations

from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch.patches._layer import C, CrossbarLayer, mixed
from mho.compat.xbtorch.patches._optimizer import CellOptimizer

__all__ = ["get_xbtorch_param", "xbtorch_layer", "xbtorch_optimizer"]


def xbtorch_layer(cls: C) -> C:
    """Give a layer class samples for decompositions, and deployment.

    Args:
        cls: a torch layer class, or a subclass of one. A ``forward`` of its own is called, deployed
            too; the products with its weight are then the accelerator's.

    Returns:
        A subclass of the same name.
    """
    return mixed(CrossbarLayer, cls)


def xbtorch_optimizer(cls: C) -> C:
    """Give an optimizer class decomposed gradients, WAGE quantisation, and cells.

    Args:
        cls: `torch.optim.SGD`, `torch.optim.Adam`, or a subclass of one.

    Returns:
        A subclass of the same name.
    """
    return mixed(CellOptimizer, cls)
