"""What happens to gradients before an optimizer sees them: they may be decomposed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.decomposition import Capture, Decomposition, Factors

RANKS = ("summed", "one_by_one")

_UNSCALED = 1e-3  # a factor this near to 1 is rounding


@contextmanager
def replaced(gradients: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Put other gradients in the place of parameters' own for the time of a block."""
    kept = {parameter: parameter.grad for parameter in gradients}
    for parameter, gradient in gradients.items():
        parameter.grad = gradient
    try:
        yield
    finally:
        for parameter, grad in kept.items():
            parameter.grad = grad


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer's step asks for a closure, to call as often as it likes."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


class Decomposed:
    """A decomposition at work on a model's gradients.

    Args:
        decomposition: says a gradient in few outer products.
        model: whose layers' inputs and errors are captured, for decompositions that stream; None:
            the gradient's own rows are the stream.
        ranks: ``"summed"`` or ``"one_by_one"``.
    """

    def __init__(self, decomposition: Decomposition, model: nn.Module | None, ranks: str) -> None:
        checks.instance("decomposition", decomposition, Decomposition)
        checks.one_of("ranks", ranks, RANKS)
        self.decomposition, self.ranks = decomposition, ranks
        watched = model is not None and decomposition.streams
        self.capture = Capture(model) if watched and model is not None else None

    def factors(self, parameter: Tensor, key: int) -> Factors:
        """Return the factors of a parameter's gradient, as a matrix ``[out, in]``."""
        grad = parameter.grad
        assert grad is not None
        dense = grad.to_dense() if grad.is_sparse else grad
        gradient = dense.detach().reshape(parameter.shape[0], -1)
        samples = None
        if self.capture is not None and isinstance(parameter, nn.Parameter):
            samples = self.capture.of(parameter)
        input, delta = (None, None) if samples is None else as_scaled(*samples, gradient)
        self.decomposition.check(input, delta, gradient)
        return self.decomposition.factors(input, delta, gradient, key)

    def clear(self) -> None:
        """Forget the samples seen so far."""
        if self.capture is not None:
            self.capture.clear()


def products(factors: Mapping[Tensor, Factors]) -> dict[Tensor, Tensor]:
    """Return the gradients that factors stand for, shaped and typed as their parameters."""
    return {p: one.product().to(p.dtype).view(p.shape) for p, one in factors.items()}


def as_scaled(input: Tensor, delta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples that follow what was done to their gradient as a whole.

    Between backward and step a gradient may be scaled (loss scaling, clipping). The factor is
    found along one direction, at the cost of three products with a vector. Normalised inputs sum
    to nothing, and so do errors of a softmax: the direction is one without any pattern.
    """
    count = torch.arange(1, input.shape[1] + 1, dtype=torch.float32, device=input.device)
    direction = count.square().cos().to(input)
    expected = delta.T @ (input @ direction)
    size = float(expected.square().sum())
    if size == 0.0:
        return input, delta
    factor = float((expected * (gradient.to(input) @ direction)).sum()) / size
    if abs(factor - 1.0) < _UNSCALED:
        return input, delta
    return input, delta * factor


def rates(inner: torch.optim.Optimizer) -> dict[Tensor, float]:
    """Return η of updates ``ΔW = −η·gradient``, by parameter; negative where loss is maximised.

    Raises:
        ValueError: if the optimizer's update is not of this form.
    """
    found = {}
    for group in inner.param_groups:
        plain = type(inner) is torch.optim.SGD
        if not plain or group["momentum"] or group["weight_decay"]:
            raise ValueError(
                "ranks='one_by_one' needs torch.optim.SGD without momentum and weight decay, got "
                f"{inner!r}: other updates are no sum over the gradient's outer products; use "
                "ranks='summed'"
            )
        rate = float(group["lr"]) * (-1.0 if group["maximize"] else 1.0)
        found.update(dict.fromkeys(group["params"], rate))
    return found
