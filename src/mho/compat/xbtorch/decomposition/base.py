"""What a decomposition is, and the one that leaves nothing out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any

from torch import Tensor

from mho import decomposition as rooms


class GenericDecomposition(ABC):
    """Base of all decompositions: a subclass defines `decompose`."""

    @abstractmethod
    def decompose(self, input: Any, delta: Any, gradient: Any, group_param_idx: Any) -> Tensor:
        """Return the gradient as the decomposition gives it back.

        Args:
            input: what the layer was given, ``[batch, inputs]``.
            delta: derivatives of the loss by its outputs, ``[batch, outputs]``.
            gradient: ``[outputs, inputs]``.
            group_param_idx: names the parameter, for what has to be remembered of it.

        Returns:
            Tensor of the gradient's shape.
        """


class Translated(GenericDecomposition):
    """Base of those that mho's decompositions do."""

    def _engine(self, largest: int) -> rooms.Decomposition:
        """Return mho's decomposition for a matrix whose smaller side is ``largest``."""
        raise NotImplementedError

    def decompose(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, group_param_idx: Any
    ) -> Tensor:
        """See `GenericDecomposition.decompose`."""
        key: Hashable = group_param_idx
        engine = self._engine(min(gradient.shape))
        # A new model has the same numbers of parameters, and other parameters.
        shapes: dict[Hashable, Any] = self.__dict__.setdefault("_shapes", {})
        if shapes.setdefault(key, gradient.shape) != gradient.shape:
            shapes[key] = gradient.shape
            engine.memory(key).clear()
        if input is None or delta is None:
            input = delta = None
        else:  # sequences and the like: every step is a sample
            input, delta = input.detach().flatten(0, -2), delta.detach().flatten(0, -2)
        return engine.decompose(input, delta, gradient, key)


class FullOuterProduct(Translated):
    """The whole sum of outer products, ``deltaᵀ · input``: the reference for low ranks.

    It is the sum over the batch, not its mean.
    """

    def __init__(self) -> None:
        self._whole = rooms.FullOuterProduct()

    def _engine(self, largest: int) -> rooms.Decomposition:
        return self._whole

    def decompose(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, group_param_idx: Any
    ) -> Tensor:
        """Return ``deltaᵀ · input``, summed over the batch.

        Args:
            input: ``[batch, inputs]``.
            delta: ``[batch, outputs]``.
            gradient: for the shape, ``[outputs, inputs]``.
            group_param_idx: not used.
        """
        return super().decompose(input, delta, gradient, group_param_idx)
