"""Number formats: which numbers a tensor may hold, as specs that are called on tensors.

A format rounds to the numbers it has, and clips where they end. Its gradient is straight through,
zero where it clips. Wherever a format is asked for, any function from a tensor to one of the same
shape may be given instead, see `apply`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks, derivatives
from mho.core.constants import constant
from mho.core.spec import Spec
from mho.periphery.quantize import ROUNDINGS, straight_through
from mho.periphery.rounding import Randomness, integers, power_below, widened

Quantiser = Callable[..., Tensor]
"""A `Format`; a module (it keeps its own gradient); or any function from tensor to tensor."""

# torch.func's transforms want another form of function; without a way to ask, take the safe one.
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


@dataclass(frozen=True)
class Format(Spec):
    """Base of all number formats.

    A subclass gives `values`, and `bounds` if it clips; one that may round stochastically has a
    field ``rounding``, one of ``"nearest"`` and ``"stochastic"``.
    """

    def __call__(self, x: Tensor, rng: Randomness = None) -> Tensor:
        """Round a tensor to this format's numbers.

        Args:
            x: floating point, any shape.
            rng: for stochastic rounding, a stream (`mho.core.random.stream`) or a generator.

        Returns:
            Tensor of ``x``'s shape and dtype; gradient straight through, zero where clipped.

        Raises:
            TypeError: if ``x`` is not a floating-point tensor.
            ValueError: if the rounding is stochastic and there is no randomness.
        """
        checks.instance("x", x, Tensor)
        if not x.is_floating_point():
            raise TypeError(f"x must be a floating-point tensor, got {x.dtype}")
        if rng is None and self.stochastic:
            raise ValueError(f"{self} rounds stochastically: give it a stream or a generator")
        if not derivatives.wanted(x):
            return self.values(x.detach().clone(), rng)
        if torch.compiler.is_compiling() or _transforming() or derivatives.forward_mode():
            low, high = self.bounds() or (None, None)
            soft = x if low is None else derivatives.clip(x, low, high)
            return straight_through(self.values(x.detach().clone(), rng), soft)
        rounded: Tensor = _Rounded.apply(x, self, rng)
        return rounded

    @property
    def stochastic(self) -> bool:
        """Whether randomness is needed."""
        return getattr(self, "rounding", None) == "stochastic"

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """Return the numbers of this format that stand for ``x``.

        ``x`` has no gradient, and may be overwritten: fresh memory costs more than rounding.
        """
        raise NotImplementedError(f"{type(self).__name__} must define values(…)")

    def bounds(self) -> tuple[float, float] | None:
        """Return the ends, included, outside of which the gradient is zero; None for no ends."""
        return None


class _Rounded(torch.autograd.Function):
    """A format's values; the gradient passes where nothing was clipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, number: Format, rng: Randomness) -> Tensor:
        ctx.bounds = number.bounds()
        if ctx.bounds is not None:
            ctx.save_for_backward(x)
        return number.values(x.clone(), rng)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        if ctx.bounds is None:
            return grads[0], None, None
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        return grads[0].masked_fill((x < low) | (x > high), 0.0), None, None


@dataclass(frozen=True)
class FixedPoint(Format):
    """Integers of ``word`` bits times ``2^-fraction``, in two's complement.

    Signed words span ``-2^(word-1) … 2^(word-1) - 1``, without the lowest if ``symmetric``;
    unsigned ones ``0 … 2^word - 1``.

    Attributes:
        word: bits of a word, sign included, 1 … 53.
        fraction: of these behind the point; may be negative, or more than the word has.
        signed: whether negative numbers exist.
        clamp: clip to the range of the word; else only the step counts.
        rounding: ``"nearest"`` (half to even) or ``"stochastic"`` (unbiased).
        symmetric: the range is the same on both sides of zero.
    """

    word: int
    fraction: int
    signed: bool = True
    clamp: bool = True
    rounding: str = "nearest"
    symmetric: bool = False

    def __post_init__(self) -> None:
        checks.integer("FixedPoint word", self.word, most=53)
        checks.integer("FixedPoint fraction", self.fraction, least=-126, most=126)
        checks.one_of("FixedPoint rounding", self.rounding, ROUNDINGS)
        if self.symmetric and self.word == 1 and self.signed:
            raise ValueError("FixedPoint word must be >= 2 where signed and symmetric, got 1")

    @property
    def step(self) -> float:
        """Distance of neighbouring numbers."""
        return 2.0**-self.fraction

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest number."""
        low, high = self._levels
        return low * self.step, high * self.step

    @property
    def _levels(self) -> tuple[int, int]:
        if not self.signed:
            return 0, 2**self.word - 1
        top = 2 ** (self.word - 1) - 1
        return -top - (not self.symmetric), top

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        level = integers(x.mul_(2.0**self.fraction), rng if self.stochastic else None)
        if self.clamp:
            level = level.clamp(*self._levels)  # in place it has no rule for vmap
        return level.mul_(self.step)

    def bounds(self) -> tuple[float, float] | None:
        """Half a step beyond the last number still rounds to it: nothing is lost there."""
        if not self.clamp:
            return None
        low, high = self.range
        return low - self.step / 2, high + self.step / 2


@dataclass(frozen=True)
class FloatFormat(Format):
    """Small floating-point numbers: sign, ``exponent`` bits, ``mantissa`` bits (IEEE 754).

    Numbers are ``±2^e · (1 + m / 2^mantissa)`` with ``e`` from ``2 - 2^(exponent-1)``, and below
    these the subnormals, evenly spaced down to zero. NaN stays NaN.

    ``FloatFormat(5, 10)`` is IEEE's half precision, ``(8, 7)`` bfloat16, ``(5, 2)`` E5M2 and
    ``(4, 3, finite=True)`` E4M3.

    Attributes:
        exponent: bits, 2 … 8; the bias is ``2^(exponent-1) - 1``.
        mantissa: bits without the implicit one, 0 … 23 (from 1 if ``finite``).
        subnormals: whether there are any; else what is below the smallest normal number is
            rounded to it or to zero.
        saturate: overflow gives the largest number; else infinity, or NaN where there is none.
        finite: the highest exponent is used for numbers, too, except its last one, NaN; there is
            no infinity.
        rounding: ``"nearest"`` (half to even) or ``"stochastic"`` (unbiased).

    Source: IEEE 754-2019; of the 8-bit formats P. Micikevicius et al., 2022, arXiv:2209.05433.
    """

    exponent: int
    mantissa: int
    subnormals: bool = True
    saturate: bool = True
    finite: bool = False
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        checks.integer("FloatFormat exponent", self.exponent, least=2, most=8)
        checks.integer("FloatFormat mantissa", self.mantissa, least=int(self.finite), most=23)
        checks.one_of("FloatFormat rounding", self.rounding, ROUNDINGS)
        if self.exponent == 8 and self.finite:
            raise ValueError("FloatFormat finite needs exponent < 8: float32 has no room for more")

    @property
    def smallest(self) -> float:
        """Smallest normal number."""
        return 2.0 ** (2 - 2 ** (self.exponent - 1))

    @property
    def largest(self) -> float:
        """Largest finite number."""
        top = 2 ** (self.exponent - 1) - 1 + self.finite
        missing = 2.0 if self.finite else 1.0
        return 2.0**top * (2.0 - missing * 2.0**-self.mantissa)

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        wide = widened(x)
        step = power_below(wide).mul_(2.0**-self.mantissa)
        if self.subnormals:
            step.clamp_(min=self.smallest * 2.0**-self.mantissa)
        else:
            step.masked_fill_(wide.abs() < self.smallest, self.smallest)
        found = integers(wide / step, rng if self.stochastic else None).mul_(step)
        # Infinity divided by its own step is no number.
        found = torch.where(wide.isinf(), wide, found)
        if self.saturate:
            return found.clamp_(-self.largest, self.largest).to(x.dtype)
        over = float("nan") if self.finite else float("inf")
        too_large = found.abs() > self.largest
        beyond = torch.copysign(constant(over, found.dtype, found.device), found)
        return torch.where(too_large, beyond, found).to(x.dtype)

    def bounds(self) -> tuple[float, float] | None:
        """What saturates loses its gradient."""
        if not self.saturate:
            return None
        step = 2.0 ** (2 ** (self.exponent - 1) - 1 + self.finite - self.mantissa)
        return -self.largest - step / 2, self.largest + step / 2


@dataclass(frozen=True)
class BlockFloat(Format):
    """Block floating point: words of ``word`` bits that share one exponent per block.

    The largest magnitude of a block, ``2^e … 2^(e+1)``, sets its step ``2^(e + 2 - word)``; words
    are two's complement without the lowest number. A block of zeros stays so.

    Attributes:
        word: bits of a word, sign included, 2 … 24.
        dim: along this dimension every index is a block of its own (0: one per row of a weight
            matrix); None for one block in all.
        rounding: ``"nearest"`` (half to even) or ``"stochastic"`` (unbiased).
    """

    word: int
    dim: int | None = None
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        checks.integer("BlockFloat word", self.word, least=2, most=24)
        if self.dim is not None:
            checks.integer("BlockFloat dim", self.dim, least=-64, most=63)
        checks.one_of("BlockFloat rounding", self.rounding, ROUNDINGS)

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        if not x.numel():
            return x
        wide = widened(x)
        largest = wide.abs().amax(self._block(x.dim()), keepdim=True)
        tiny = torch.finfo(wide.dtype).tiny
        # Not below where the step itself would be lost.
        step = power_below(largest).clamp_(min=tiny * 2.0**self.word).mul_(2.0 ** (2 - self.word))
        level = integers(wide / step, rng if self.stochastic else None)
        top = 2 ** (self.word - 1) - 1
        return level.clamp_(-top, top).mul_(step).to(x.dtype)

    def _block(self, dims: int) -> list[int]:
        if self.dim is None:
            return list(range(dims))
        if not -dims <= self.dim < dims:
            raise ValueError(
                f"BlockFloat dim must be one of the tensor's {dims} dimensions, got {self.dim}"
            )
        return [d for d in range(dims) if d != self.dim % dims]


FLOAT16 = FloatFormat(5, 10)
BFLOAT16 = FloatFormat(8, 7)
FLOAT8_E5M2 = FloatFormat(5, 2)
FLOAT8_E4M3 = FloatFormat(4, 3, finite=True)


def check(name: str, quantiser: Any) -> None:
    """Refuse what is neither None nor can be called (TypeError)."""
    if quantiser is not None and (isinstance(quantiser, type) or not callable(quantiser)):
        raise TypeError(
            f"{name} must be a number format, a function from tensor to tensor or None, "
            f"got {quantiser!r}"
        )


def is_stochastic(quantiser: Any) -> bool:
    """Whether a quantiser takes its randomness from a stream."""
    return isinstance(quantiser, Format) and quantiser.stochastic


def apply(
    quantiser: Quantiser | None, x: Tensor, rng: Randomness = None, *, fresh: bool = False
) -> Tensor:
    """Quantise by a format, or by anything else that turns tensors into tensors.

    Args:
        quantiser: a `Format`; a module, which keeps the gradient that it defines itself; any
            other function, which is called without gradient and made straight-through; or None,
            to leave ``x`` as it is.
        x: any shape.
        rng: of a format that rounds stochastically.
        fresh: the caller owns ``x``, needs no gradient and allows it to be overwritten.

    Raises:
        TypeError, ValueError: if the function returns no tensor, or one of another shape.
    """
    if quantiser is None:
        return x
    if isinstance(quantiser, Format):
        return quantiser.values(x, rng) if fresh else quantiser(x, rng)
    if isinstance(quantiser, nn.Module):
        found = quantiser(x)
    else:
        with torch.no_grad():
            found = quantiser(x.detach())
    if not isinstance(found, Tensor) or found.shape != x.shape:
        checks.shape(f"result of {quantiser!r}", found, tuple(x.shape))
    if isinstance(quantiser, nn.Module):
        return found
    return straight_through(found.to(x.dtype), x)
