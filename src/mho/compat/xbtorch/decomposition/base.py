"""What a decomposition is, what all of mho's share here, and the one that leaves nothing out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from mho import decomposition as rooms
from mho.compat._common import seed

__all__ = ["FullOuterProduct", "GenericDecomposition"]

Samples = Tensor | None
Parts = Mapping[str, Callable[[Mapping[str, Any]], Tensor]]


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
    """Base of those that mho's decompositions do: for every parameter one.

    Class attributes:
        _kind: mho's class.
        _parts: what `info` shows, by name: taken from what is remembered of a parameter.
    """

    _kind: ClassVar[Any]
    _parts: ClassVar[Parts] = {}

    def _room(self, rank: int) -> rooms.Decomposition:
        """Return mho's decomposition, as the settings are now."""
        return self._kind()

    @cached_property
    def _seed(self) -> int:
        return seed()

    @cached_property
    def _known(self) -> dict[Hashable, tuple[Any, rooms.Decomposition]]:
        return {}

    @property
    def info(self) -> dict[str, dict[Any, Tensor]]:
        """What is remembered so far: by its name, and by parameter."""
        memories = {key: room.memory(key) for key, (_, room) in self._known.items()}
        return {
            name: {key: part(memory).clone() for key, memory in memories.items() if memory}
            for name, part in self._parts.items()
        }

    def decompose(
        self, input: Samples, delta: Samples, gradient: Tensor, group_param_idx: Any
    ) -> Tensor:
        """See `GenericDecomposition.decompose`. Of sequences every step is a sample."""
        room = self._room(min(getattr(self, "rank", 1), *gradient.shape))
        # What is remembered is of these settings, and of this model: a new one has other shapes.
        what = tuple(gradient.shape), repr(room)
        known = self._known.get(group_param_idx)
        if known is None or known[0] != what:
            known = self._known[group_param_idx] = what, room
        if input is None or delta is None:
            return known[1].decompose(None, None, gradient, group_param_idx)
        input, delta = (part.detach().reshape(-1, part.shape[-1]) for part in (input, delta))
        return known[1].decompose(input, delta, gradient, group_param_idx)


class FullOuterProduct(Translated):
    """The whole sum of outer products, ``deltaᵀ · input``: the reference for low ranks.

    It is the sum over the batch, not its mean; of the gradient the shape alone counts.
    """

    _kind = rooms.FullOuterProduct
