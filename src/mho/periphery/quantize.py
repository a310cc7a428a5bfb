"""Rounding and number grids, with straight-through gradients.

Every quantiser here has the same gradient rule: rounding passes the gradient as it is
(straight-through), clipping keeps its own (no gradient outside the range).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mho.core import checks, derivatives

ROUNDINGS = ("nearest", "stochastic")


class _ToGrid(torch.autograd.Function):
    """round, then clip to ``[low, high]``; the gradient passes where nothing was clipped."""

    # In the older form, with ctx: torch binds the arguments of the newer one by introspection,
    # which costs more than the rounding.
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.round().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        # Half a step beyond the last level still rounds to it: nothing is lost there.
        low, high = ctx.low - 0.5, ctx.high + 0.5
        if torch.compiler.is_compiling():  # a graph expects other strides of the one operation
            inside = torch.where((x > low) & (x < high), grads[0], 0.0)
        else:
            inside = torch.ops.aten.hardtanh_backward(grads[0], x, low, high)
        return inside, None, None


# torch.func's transforms want the newer form; without a way to ask, take the way that always works.
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


def to_grid(x: Tensor, low: float, high: float, *, fresh: bool = False) -> Tensor:
    """Round to integers (half to even) and clip to ``[low, high]``.

    Args:
        x: in units of one step, any shape.
        low: lowest integer level.
        high: highest integer level.
        fresh: the caller owns ``x`` and allows it to be overwritten where no gradient is needed.

    Returns:
        Integer-valued floats; gradient straight through, zero where clipped.
    """
    if derivatives.wanted(x):
        if _transforming() or derivatives.forward_mode():
            hard = x.detach().round().clamp(low, high)
            return straight_through(hard, x.clamp(low - 0.5, high + 0.5))
        grid: Tensor = _ToGrid.apply(x, low, high)
        return grid
    return (x.round_() if fresh else x.round()).clamp_(low, high)


def levels(bits: int, *, signed: bool = True) -> tuple[int, int]:
    """Return the lowest and highest integer level of a uniform converter.

    Signed converters are symmetric, ``±(2^(bits-1) - 1)``, so that zero is a level; one bit is
    the sign alone. Unsigned ones span ``0 … 2^bits - 1``.
    """
    signed = checks.truth("signed", signed)
    if not signed:
        return 0, 2**bits - 1
    top = max(2 ** (bits - 1) - 1, 1)
    return -top, top


def uniform(
    x: Tensor,
    bits: int,
    limit: Tensor | float,
    *,
    signed: bool = True,
    rounding: str = "nearest",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Quantise to the uniform grid of ``bits`` bits over ``[-limit, limit]`` (or ``[0, limit]``).

    Args:
        x: any shape.
        bits: >= 1; one signed bit is ``sign(x) · limit``.
        limit: largest magnitude represented; broadcast to ``x``.
        signed: whether negative values exist.
        rounding: ``"nearest"`` (half to even) or ``"stochastic"`` (unbiased).
        generator: for stochastic rounding.

    Returns:
        Tensor of ``x``'s shape; straight-through gradient, zero where clipped.

    Raises:
        ValueError: if ``bits`` < 1 or the rounding is unknown.
    """
    bits = checks.integer("bits", bits)
    checks.one_of("rounding", rounding, ROUNDINGS)
    if bits == 1 and signed:
        return sign_ste(x, limit)
    low, high = levels(bits, signed=signed)
    step = limit / high
    scaled = over(x, step)
    if rounding == "stochastic":
        # floor(x + u) = round(x + u - 1/2): the expectation of the level is x itself.
        dither = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        scaled = scaled + (dither - 0.5)
    return to_grid(scaled, low, high, fresh=True) * step


def in_steps(x: Tensor, limit: Tensor | float, count: float) -> Tensor:
    """Return ``x · count / limit``, finite wherever ``x / limit`` is about 1 or less.

    ``count / limit`` alone overflows where the limit is next to nothing (below 3.7e-37 for 127
    steps in float32). There both are multiplied by one power of two first, which is exact. A limit
    of zero counts as smaller than every number but zero.

    Args:
        x: any shape.
        limit: broadcasts to ``x``, >= 0.
        count: steps in one limit.
    """
    least, lift, floor = lifting(limit.dtype if isinstance(limit, Tensor) else x.dtype)
    if isinstance(limit, Tensor):
        up = (limit < least).to(limit.dtype) * lift + 1.0  # 1, or the power of two
        factor = count / (limit * up).clamp_min(floor)  # of a limit of zero
        lifted = x * up
        if torch.is_grad_enabled() and (lifted.requires_grad or factor.requires_grad):
            return lifted * factor
        return lifted.mul_(factor)
    if limit >= least:
        return x * (count / limit)
    return (x * lift) * (count / max(limit * lift, floor))


def lifting(kind: torch.dtype) -> tuple[float, float, float]:
    """Return below what a range is tiny, what then multiplies it, and what is least after that."""
    return _LIFTING.get(kind, (2.0**-100, 2.0**100, 2.0**-100))


_LIFTING = {
    torch.float64: (2.0**-900, 2.0**900, 2.0**-900),
    torch.float16: (2.0**-7, 2.0**15, 2.0**-9),
}


def least_positive(kind: torch.dtype) -> float:
    """Return the smallest positive number, below the normal ones."""
    info = torch.finfo(kind)
    return info.tiny * info.eps


def sign_ste(x: Tensor, limit: Tensor | float) -> Tensor:
    """One signed bit: ``sign(x) · limit`` with sign(0) = +1.

    The gradient is that of ``clip(x, ±limit)`` in ``x``, and the sign itself in ``limit``.
    """
    limit = torch.as_tensor(limit, dtype=x.dtype, device=x.device)
    clipped = derivatives.clip(x, -limit.detach(), limit.detach())
    hard = torch.where(x < 0, -1.0, 1.0).to(x.dtype) * limit
    return straight_through(hard, clipped)


def over(x: Tensor, step: Tensor | float, *, fresh: bool = False) -> Tensor:
    """Return ``x / step``, with the smallest number there is in place of a step of zero.

    Steps of limits next to nothing underflow; zero over zero would be no number.

    Args:
        x: any shape.
        step: broadcasts to ``x``.
        fresh: the caller owns ``x`` and allows it to be overwritten where no gradient is needed.
    """
    least = least_positive(x.dtype)
    step = step.clamp_min(least) if isinstance(step, Tensor) else max(step, least)
    of = (x, step) if isinstance(step, Tensor) else (x,)
    if not fresh or derivatives.wanted(*of):
        return x / step
    return x.div_(step)


def power_of_two_step(limit: Tensor, bits: int) -> Tensor:
    """Step ``2^sf``, ``sf = 1 - bits + ceil(log2(limit))``, of the *linear* fixed-point grid."""
    exponent = torch.ceil(torch.log2(limit.clamp_min(torch.finfo(limit.dtype).tiny)))
    return torch.exp2(1 - bits + exponent)


def companded_tanh(x: Tensor, bits: int, limit: Tensor | float) -> Tensor:
    """Quantise uniformly in ``tanh(x / limit)``: finer near zero than near the ends."""
    edge = math.tanh(1.0)
    inner = torch.tanh(derivatives.clip(over(x, limit), -1.0, 1.0))
    level = uniform(inner, bits, edge)
    return torch.atanh(derivatives.clip(level, -edge, edge)) * limit


def companded_log(x: Tensor, bits: int, smallest: Tensor, largest: Tensor) -> Tensor:
    """Quantise the magnitude on a logarithmic grid from ``smallest`` to ``largest``, keep the sign.

    One bit is the sign; the others number the magnitudes and zero, ``2^bits - 1`` values in all.
    What lies below the smallest level by more than half a (logarithmic) step becomes zero. The
    gradient is straight through in ``x``; in ``largest``, with which all levels grow, it is that of
    ``largest · q(x / largest)`` with ``q`` straight through. It is finite at 0.
    """
    if bits == 1:
        return sign_ste(x, largest)
    top = 2 ** (bits - 1) - 2
    largest = largest.clamp_min(torch.finfo(x.dtype).tiny)
    smallest = torch.minimum(smallest, largest).clamp_min(least_positive(x.dtype))
    step = torch.log(largest / smallest).clamp_min(torch.finfo(x.dtype).eps) / max(top, 1)
    # Counted from the top, so that two bits (one magnitude) stand at full scale.
    with torch.no_grad():
        index = torch.round(torch.log(x.abs() / largest) / step) + top
        ratio = torch.exp((index.clamp(0, top) - top) * step)
        hard = torch.where(index < 0, torch.zeros_like(ratio), ratio) * x.sign()
    if not derivatives.wanted(x, largest):
        return hard * largest
    return straight_through(hard, derivatives.clip(x / largest, -1.0, 1.0)) * largest


def min_max(x: Tensor, bits: int, low: Tensor, high: Tensor) -> Tensor:
    """Quantise to ``2^bits`` levels from ``low`` to ``high``, both included."""
    step = (high - low).clamp_min(torch.finfo(x.dtype).tiny) / (2**bits - 1)
    return to_grid(over(x - low, step), 0, 2**bits - 1, fresh=True) * step + low


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Give ``hard`` the gradient of ``soft``, to the bit (what is added is zero)."""
    followed = soft.requires_grad or derivatives.forward_mode()
    return hard + (soft - soft.detach()) if followed else hard


def magnitude(x: Tensor) -> Tensor:
    """Return the largest magnitude as a scalar tensor, 1 where there is nothing to measure."""
    if not x.numel():
        return torch.ones((), dtype=x.dtype, device=x.device)
    largest = x.detach().abs().amax()
    return torch.where(largest == 0, torch.ones_like(largest), largest)


def check_percentile(converter: str, percentile: float | None, policy: str | float) -> None:
    """Refuse a percentile for calibration that is out of range, or would not act."""
    if percentile is None:
        return
    percentile = checks.number(f"{converter} percentile", percentile, above=0.0, most=100.0)
    if policy != "calibrated":
        raise ValueError(
            f"{converter} percentile={percentile:g} only acts where range is 'calibrated', got "
            f"range={policy!r}"
        )


def instead_of_zero(x: Tensor, least: float) -> Tensor:
    """Return sizes ``x`` with ``least`` in place of what is exactly 0; NaN stays."""
    return torch.where(x == 0, torch.full_like(x, least), x)
