"""Optimizers whose weights live on cells."""

from __future__ import annotations

from torch import optim

from mho.compat.xbtorch.patches import decorators


@decorators.xbtorch_optimizer
class SGD(optim.SGD):
    """`torch.optim.SGD`; see `patches.decorators.xbtorch_optimizer`."""


@decorators.xbtorch_optimizer
class Adam(optim.Adam):
    """`torch.optim.Adam`; see `patches.decorators.xbtorch_optimizer`."""


__all__ = ["SGD", "Adam", "decorators"]
