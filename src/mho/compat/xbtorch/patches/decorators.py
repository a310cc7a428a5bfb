"""Decorators that make torch's layers and optimizers XBTorch's."""

from __future__ import annotations

from typing import Any, TypeVar

from mho.compat.xbtorch.patches._layer import CrossbarLayer
from mho.compat.xbtorch.patches._optimizer import CellOptimizer

C = TypeVar("C", bound=type)


def xbtorch_layer(cls: C) -> C:
    """Give a layer class samples for decompositions, and deployment.

    Args:
        cls: a torch layer class, or a subclass of one.

    Returns:
        A subclass of the same name.
    """
    return _mixed(CrossbarLayer, cls)


def xbtorch_optimizer(cls: C) -> C:
    """Give an optimizer class decomposed gradients, WAGE quantisation, and cells.

    Args:
        cls: `torch.optim.SGD`, `torch.optim.Adam`, or a subclass of one.

    Returns:
        A subclass of the same name.
    """
    return _mixed(CellOptimizer, cls)


def _mixed(mixin: type, cls: C) -> C:
    names: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    made: Any = type(cls.__name__, (mixin, cls), names)
    return made
