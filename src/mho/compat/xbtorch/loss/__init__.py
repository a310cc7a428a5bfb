"""Loss landscapes."""

from mho.compat.xbtorch.loss import landscapes
from mho.compat.xbtorch.loss.landscapes import *  # noqa: F403

__all__ = landscapes.__all__
