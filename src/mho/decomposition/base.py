"""What a decomposition of a gradient is: factors of a matrix, and a memory per layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.core import checks

Memory = dict[str, Any]
"""What is remembered of one layer: tensors and numbers by name."""


@dataclass(frozen=True)
class Factors:
    """A matrix as a sum of ``rank`` outer products, ``left @ right.T``.

    Attributes:
        left: ``[out, rank]``.
        right: ``[in, rank]``.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        checks.instance("left", self.left, Tensor)
        checks.instance("right", self.right, Tensor)
        shapes = self.left.shape, self.right.shape
        if any(len(s) != 2 for s in shapes) or shapes[0][1] != shapes[1][1]:
            raise ValueError(
                "left and right must have shapes [out, rank] and [in, rank], got "
                f"{list(shapes[0])} and {list(shapes[1])}"
            )

    @property
    def rank(self) -> int:
        """Number of outer products."""
        return self.left.shape[1]

    @property
    def numel(self) -> int:
        """Numbers that say it all: ``rank · (out + in)``."""
        return self.left.numel() + self.right.numel()

    def product(self) -> Tensor:
        """Return the whole matrix ``[out, in]``."""
        return self.left @ self.right.T

    def split(self) -> list[Factors]:
        """Return the outer products one by one, each with factors of its own (views)."""
        pairs = zip(self.left.split(1, 1), self.right.split(1, 1), strict=True)
        return [Factors(left, right) for left, right in pairs]


class Decomposition(ABC):
    """How a gradient is said in few outer products.

    A subclass says `factors`, no more. What it has to remember of a layer from one batch to the
    next it keeps in ``self.memory(key)``, a dict of tensors and numbers: `state_dict`,
    `load_state_dict` and `reset` take care of it.

    Class attributes:
        streams: whether the samples ``(input, delta)`` are read. If not, the gradient alone is
            (so that what an optimizer has made of it can be decomposed as well).

    Attributes:
        rank: largest number of outer products for a matrix, where there is one. It must not
            exceed the matrix's smaller side.
    """

    streams: bool = False
    rank: int | None = None

    @abstractmethod
    def factors(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, key: Hashable
    ) -> Factors:
        """Return the factors of a gradient.

        Args:
            input: what the layer's weight was multiplied with, ``[samples, in]``, or None.
            delta: derivatives of the loss by the layer's products, ``[samples, out]``, or None.
                Where both are None, one that streams takes `stream` of the gradient.
            gradient: ``[out, in]``, in exact arithmetic ``delta.T @ input``. Not changed.
            key: names the layer; what is remembered is remembered under it.

        Raises:
            ValueError: if the rank exceeds the matrix's smaller side.
        """

    @torch.no_grad()
    def decompose(
        self,
        input: Tensor | None,
        delta: Tensor | None,
        gradient: Tensor,
        group_param_idx: Hashable = 0,
    ) -> Tensor:
        """Return the gradient as its factors give it back, a sum over samples (not a mean).

        Args:
            input: ``[samples, in]`` or None.
            delta: ``[samples, out]`` or None.
            gradient: ``[out, in]``.
            group_param_idx: names the layer.

        Returns:
            ``[out, in]``.

        Raises:
            TypeError: if something is not a tensor.
            ValueError: if shapes do not fit one another, the gradient or a sample read is NaN or
                infinite, or the rank exceeds the matrix's smaller side. Nothing is remembered then.
        """
        self.check(input, delta, gradient)
        return self.factors(input, delta, gradient, group_param_idx).product().to(gradient)

    def check(self, input: Tensor | None, delta: Tensor | None, gradient: Tensor) -> None:
        """Refuse what cannot be decomposed (see `decompose`)."""
        checks.instance("gradient", gradient, Tensor)
        if gradient.dim() != 2:
            raise ValueError(f"gradient must have shape [out, in], got {list(gradient.shape)}")
        if not gradient.is_floating_point():
            raise TypeError(f"gradient must be of a floating dtype, got {gradient.dtype}")
        if (input is None) != (delta is None):
            raise ValueError("input and delta must be given both, or neither")
        checks.finite("gradient", gradient)
        if input is None or delta is None:
            return
        checks.instance("input", input, Tensor)
        checks.instance("delta", delta, Tensor)
        samples = input.shape[0] if input.dim() else 0
        checks.shape("input", input, (samples, gradient.shape[1]))
        checks.shape("delta", delta, (samples, gradient.shape[0]))
        if self.streams:
            checks.finite("input", input)
            checks.finite("delta", delta)

    def memory(self, key: Hashable) -> Memory:
        """Return what is remembered of a layer: a dict to read and to write."""
        return self._memories.setdefault(key, {})

    @property
    def _memories(self) -> dict[Hashable, Memory]:
        # Made when first needed: a subclass need not call our __init__.
        found: dict[Hashable, Memory] = self.__dict__.setdefault("_memory", {})
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return all that is remembered, as plain tensors and numbers (copies)."""
        return {"memory": {key: _copied(memory) for key, memory in self._memories.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave.

        Raises:
            ValueError: if it is not of `state_dict`'s form.
        """
        memories = state.get("memory") if isinstance(state, Mapping) else None
        if not isinstance(memories, Mapping):
            raise ValueError("state must be a dict with 'memory', as state_dict() gives it")
        self.reset()
        self._memories.update({key: _copied(memory) for key, memory in memories.items()})

    def reset(self) -> None:
        """Forget everything: the next batch is the first."""
        self._memories.clear()

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({values})"


def _copied(memory: Memory) -> Memory:
    return {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in memory.items()}


def check_rank(rank: int, shape: torch.Size) -> None:
    """Refuse a rank larger than a matrix's smaller side (ValueError)."""
    if rank > min(shape):
        raise ValueError(
            f"rank must be <= {min(shape)}, the smaller side of a gradient of shape "
            f"{list(shape)}; got {rank}"
        )


def working(gradient: Tensor) -> Tensor:
    """Return a gradient in a dtype that matrices are decomposed in: 16 bits become float32."""
    return gradient.float() if gradient.dtype.itemsize < 4 else gradient


def stream(input: Tensor | None, delta: Tensor | None, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples, or where there are none the gradient's own rows as samples.

    Row ``o`` of a gradient is what one sample with ``input = gradient[o]`` and ``delta`` one at
    ``o`` alone would have given: ``I.T @ gradient = gradient``.

    Returns:
        ``input [samples, in]`` and ``delta [samples, out]``, of the gradient's dtype.
    """
    if input is None or delta is None:
        eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
        return gradient, eye
    return input.to(gradient), delta.to(gradient)


class FullOuterProduct(Decomposition):
    """The whole sum of outer products, ``Σ_s delta_s input_sᵀ``: nothing is left out.

    The reference that low ranks are compared with; its rank is the number of samples. Without
    samples the gradient itself is given back, in as many terms as it has rows.
    """

    streams = True

    def factors(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, key: Hashable
    ) -> Factors:
        """See `Decomposition.factors`."""
        input, delta = stream(input, delta, gradient)
        return Factors(delta.T, input.T)
