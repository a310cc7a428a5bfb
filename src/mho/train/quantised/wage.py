"""WAGE: training with integers of few bits for weights, activations, gradients and errors.

With ``S(k) = 2^(k-1)``, all numbers are multiples of ``1 / S(k)`` between ``±(1 - 1 / S(k))``:

    Q(x, k)   = round(x · S) / S          (one bit: the sign; above 15 bits: x itself)
    C(x, k)   = clip(x, ±(1 - 1 / S))     (one bit, or above 15: ±1)
    Shift(x)  = 2^round(log2 x)

Source: S. Wu, G. Li, F. Chen, L. Shi, 2018, arXiv:1802.04680.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.core import checks, derivatives, random
from mho.periphery.formats import FixedPoint, Format, Quantiser
from mho.periphery.rounding import Randomness, power_below, widened
from mho.train.quantised.layers import weight_names
from mho.train.quantised.scheme import Reading, Scheme

SHIFTS = ("round", "ceil")
_EXACT = 15  # more bits than these are not rounded
_SCALED = 1.8  # layers with smaller scales are not scaled
_MARGIN = 1.5  # of the initial weights over the smallest number, the paper's β


def levels(bits: int) -> float:
    """Return ``S(k) = 2^(k-1)``, how many steps one has."""
    bits = checks.integer("bits", bits)
    return 2.0 ** (bits - 1)


def on_grid(x: Tensor, bits: int) -> Tensor:
    """``Q(x, k)``: to the nearest multiple of ``1 / S(k)``, half to even; no gradient of its own.

    One bit is the sign, with sign(0) = 0; above 15 bits nothing is rounded.
    """
    bits = checks.integer("bits", bits)
    if bits > _EXACT:
        return x
    return _on_grid(x.detach().clone(), bits)


def _on_grid(x: Tensor, bits: int, scale: float = 1.0) -> Tensor:
    """``Q(x, k) / scale``, in the memory of ``x``."""
    if bits == 1:
        return x.sign_() if scale == 1.0 else x.sign_().div_(scale)
    return x.mul_(levels(bits)).round_().div_(levels(bits) * scale)


def limit(bits: int) -> float:
    """Return the largest number of ``k`` bits, ``1 - 1 / S(k)``; 1 for one bit and above 15."""
    bits = checks.integer("bits", bits)
    return 1.0 if bits == 1 or bits > _EXACT else 1.0 - 1.0 / levels(bits)


def clip(x: Tensor, bits: int) -> Tensor:
    """``C(x, k)``: clip to ``±limit(k)``."""
    return derivatives.clip(x, -limit(bits), limit(bits))


def _clip_(x: Tensor, bits: int) -> Tensor:
    return x.clamp_(-limit(bits), limit(bits))


def shift(x: Tensor, rule: str = "round") -> Tensor:
    """``Shift(x)``: a power of two near ``x``, with no logarithm and no rounding error.

    Args:
        x: any shape, >= 0.
        rule: ``"round"``, ``2^round(log2 x)``, as in the paper; or ``"ceil"``, the next power of
            two not below, as in QPyTorch's example.

    Returns:
        As ``x``; 1 where ``x`` is zero, or too small to be a normal number.
    """
    checks.one_of("shift", rule, SHIFTS)
    wide = widened(x)
    power = power_below(wide)
    # x = power · m, 1 <= m < 2: log2 x is nearer to the next integer if m > √2.
    upper = wide > power * (math.sqrt(2.0) if rule == "round" else 1.0)
    found = torch.where(upper, 2.0 * power, power)
    return torch.where(power == 0, torch.ones_like(found), found).to(x.dtype)


def peak(x: Tensor) -> Tensor:
    """Return the largest magnitude; 0 of nothing."""
    if not x.numel():
        return x.new_zeros(())
    low, high = torch.aminmax(x)  # in one pass, and in no new memory
    return torch.maximum(-low, high)


@dataclass(frozen=True)
class _Bits(Format):
    bits: int

    def __post_init__(self) -> None:
        checks.integer(f"{type(self).__name__} bits", self.bits)


@dataclass(frozen=True)
class Clipped(_Bits):
    """Activations: ``Q(C(x, k), k)``; the clip's gradient is kept, and straight through inside.

    Attributes:
        bits: k, >= 1; above 15, nothing is done.
    """

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        return x if self.bits > _EXACT else _on_grid(_clip_(x, self.bits), self.bits)

    def bounds(self) -> tuple[float, float] | None:
        """The clip's own."""
        return None if self.bits > _EXACT else (-limit(self.bits), limit(self.bits))


@dataclass(frozen=True)
class Scaled(_Bits):
    """Weights: ``Q(C(x, k), k) / scale``; the gradient is that of ``x``, also where clipped.

    Attributes:
        bits: k, >= 1; above 15, only scaled.
        scale: of the layer, see `layer_scale`; not used up to 1.8.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("Scaled scale", self.scale, above=0.0)

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        scale = self.scale if self.scale > _SCALED else 1.0
        if self.bits > _EXACT:
            return x.div_(scale)
        return _on_grid(_clip_(x, self.bits), self.bits, scale)


@dataclass(frozen=True)
class _Relative(_Bits):
    shift: str = "round"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of(f"{type(self).__name__} shift", self.shift, SHIFTS)

    def _shifted(self, x: Tensor, steps: float = 1.0) -> Tensor:
        """``x / Shift(max|x|) / steps``, in the memory of ``x``; steps are a power of two."""
        return x.div_(shift(peak(x), self.shift).mul_(steps))


@dataclass(frozen=True)
class Shifted(_Relative):
    """Errors: ``Q(C(e / Shift(max|e|), k), k)``, of a whole tensor. Zeros stay zeros.

    Attributes:
        bits: k, >= 1; above 15, nothing is done.
        shift: rule of ``Shift``.
    """

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        if self.bits > _EXACT:
            return x
        return _on_grid(_clip_(self._shifted(x), self.bits), self.bits)


@dataclass(frozen=True)
class Normalised(_Relative):
    """Gradients: ``x / Shift(max|x|) / S(k)``, so that a learning rate counts steps of weights.

    Attributes:
        bits: k, >= 1; above 15, nothing is done.
        shift: rule of ``Shift``.
    """

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        if self.bits > _EXACT:
            return x
        return self._shifted(x, levels(self.bits))


@dataclass(frozen=True)
class Bounded(_Bits):
    """Weights as they are kept: ``C(x, k)``.

    Attributes:
        bits: k, >= 1.
    """

    def values(self, x: Tensor, rng: Randomness) -> Tensor:
        """See `Format.values`."""
        return _clip_(x, self.bits)


@dataclass(frozen=True)
class WAGE(Scheme):
    """How many bits weights, activations, gradients and errors have, in the paper's order.

    ``WAGE(2, 8, 8, 8)`` is the paper's choice, with ternary weights. A width above 15 leaves
    those numbers as they are.

    * A layer reads its weights as ``Q(C(w, k_W), k_W) / scale`` (`layer_scale`), straight through.
    * Activations are ``Q(C(x, k_A), k_A)``; their clip's gradient is kept.
    * Errors are ``Q(C(e / Shift(max|e|), k_E), k_E)``.
    * A step of the optimizer (`optimizer`) sees gradients ``x = g / Shift(max|g|)``. It moves the
      weights by ``lr · x``, stochastically rounded to integers, in steps of ``1 / S(k_G)``, and
      clips them. So the learning rate counts steps; the paper's is 8, later 1 and 1/8.

    Weights are drawn as the paper does only when asked: `initialise`. Take `sse` as the loss.

    Attributes:
        weights: k_W.
        activations: k_A.
        gradients: k_G, of updates and of the weights as kept.
        errors: k_E.
        shift: ``"round"``, the paper's, or ``"ceil"``, that of QPyTorch's example.
        clip: which width limits the weights as kept: ``"gradients"``, as the paper writes, or
            ``"weights"``, as both published programs do.

    Source: S. Wu, G. Li, F. Chen, L. Shi, 2018, arXiv:1802.04680; the second forms of ``shift``
    and ``clip`` from the WAGE example of QPyTorch (T. Zhang et al., 2019, arXiv:1910.04540).
    """

    said: ClassVar[tuple[str, ...]] = ("weights", "activations", "gradients", "errors")

    weights: int = 2
    activations: int = 8
    gradients: int = 8
    errors: int = 8
    shift: str = "round"
    clip: str = "gradients"

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "gradients", "errors"):
            checks.integer(f"WAGE {name}", getattr(self, name), most=32)
        checks.one_of("WAGE shift", self.shift, SHIFTS)
        checks.one_of("WAGE clip", self.clip, ("gradients", "weights"))

    def reading(self, layer: nn.Module) -> Reading:
        """See `Scheme.reading`.

        Raises:
            ValueError: if the layer's dtype has fewer digits than one of the widths asks for.
        """
        for name in weight_names(layer):
            self._check_digits(layer.get_parameter(name).dtype)
        weights: dict[str, Quantiser | None] = {
            name: Scaled(self.weights, layer_scale(layer.get_parameter(name), self.weights))
            for name in weight_names(layer)
        }
        exact = _EXACT
        return Reading(
            weights=weights,
            activations=Clipped(self.activations) if self.activations <= exact else None,
            errors=Shifted(self.errors, self.shift) if self.errors <= exact else None,
        )

    def _check_digits(self, kind: torch.dtype) -> None:
        """Refuse widths whose numbers a floating dtype would round once more."""
        most = 2 - round(math.log2(torch.finfo(kind).eps))  # of ±(1 - 1/S) the sign is free
        for name in ("weights", "activations", "gradients", "errors"):
            bits = getattr(self, name)
            if most < bits <= _EXACT:
                raise ValueError(
                    f"WAGE {name} must be <= {most} (or > {_EXACT}, not rounded) for weights of "
                    f"{kind}, which has no digits for more, got {bits}: use model.float()"
                )

    def writing(self) -> dict[str, Any]:
        """See `Scheme.writing`."""
        kept = self.gradients if self.clip == "gradients" else self.weights
        if self.gradients > _EXACT:
            return {"weights": Bounded(kept)}
        return {
            "gradients": Normalised(self.gradients, self.shift),
            "updates": FixedPoint(
                self.gradients, self.gradients - 1, clamp=False, rounding="stochastic"
            ),
            "weights": Bounded(kept),
        }


def fan_in(weight: Tensor) -> int:
    """Return how many inputs one output sums: all dimensions of a weight but the first."""
    return weight[0].numel()


def spread(weight: Tensor, bits: int) -> float:
    """Return the largest initial weight, ``max(L_m, L)``.

    ``L = √(6 / fan_in)`` keeps variances from layer to layer; ``L_m = 1.5 / S(k)`` leaves room for
    numbers other than zero.
    """
    return max(math.sqrt(6.0 / fan_in(weight)), _smallest_spread(bits))


def layer_scale(weight: Tensor, bits: int) -> float:
    """Return by what a layer's weights are divided, ``max(Shift(L_m / L), 1)``.

    It undoes what `spread` adds to the variance, as a power of two.

    Args:
        weight: ``[outputs, inputs, …]``; only its shape counts.
        bits: k_W; above 15, the scale is 1.
    """
    ratio = _smallest_spread(bits) / math.sqrt(6.0 / fan_in(weight))
    return max(2.0 ** round(math.log2(ratio)), 1.0) if ratio > 0 else 1.0


def _smallest_spread(bits: int) -> float:
    return 0.0 if bits > _EXACT else _MARGIN / levels(bits)


@torch.no_grad()
def initialise(model: nn.Module, bits: int = 2, *, seed: int = 0) -> nn.Module:
    """Draw the weights anew, as the paper does: ``U(±max(L_m, L))``; biases become zero.

    Args:
        model: with linear, convolutional or recurrent layers, quantised or to be quantised; their
            weights are overwritten. A weight that several layers share is drawn once.
        bits: k_W.
        seed: of the weights.

    Returns:
        The model given.

    Raises:
        ValueError: if the model has no such layer.
    """
    checks.instance("model", model, nn.Module)
    bits = checks.integer("bits", bits)
    source = random.stream(seed)
    drawn: set[int] = set()
    for module in model.modules():
        for name in weight_names(module):
            weight = module._parameters[name]
            if weight is None or id(weight) in drawn:
                continue
            drawn.add(id(weight))
            width = spread(weight, bits)
            weight.uniform_(-width, width, generator=random.take(source, weight.device))
        if weight_names(module):
            for name, parameter in module._parameters.items():
                if parameter is not None and name.startswith("bias"):
                    parameter.zero_()
    if not drawn:
        raise ValueError("the model has no layer with weights to initialise")
    return model


def sse(output: Tensor, target: Tensor) -> Tensor:
    """Half the sum of squared errors, ``½ Σ (y - t)²``: the paper's loss.

    Args:
        output: ``[batch, classes]``, or any shape.
        target: class numbers ``[batch]`` (then ``t`` is 1 for the class and 0 for the others), or
            values of the output's shape.

    Raises:
        ValueError: if the shapes do not fit, or a class number is out of range.
    """
    checks.instance("output", output, Tensor)
    checks.instance("target", target, Tensor)
    if not target.is_floating_point() and target.dim() == output.dim() - 1:
        checks.shape("target", target, tuple(output.shape[:-1]))
        classes = output.shape[-1]
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < classes:
            raise ValueError(f"target must name classes 0 … {classes - 1}, got {target.unique()}")
        target = F.one_hot(target.long(), classes).to(output.dtype)
    checks.shape("target", target, tuple(output.shape))
    return 0.5 * (output - target.to(output.dtype)).square().sum()


class SSE(nn.Module):
    """`sse` as a module."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """See `sse`."""
        return sse(output, target)
