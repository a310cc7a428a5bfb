"""Layers. What ``import *`` brings does not hide ``torch.nn``."""

from mho.compat.xbtorch.nn import nn
from mho.compat.xbtorch.nn.nn import *  # noqa: F403

__all__ = nn.__all__
