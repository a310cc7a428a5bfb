"""Currents to outputs: tuning a layer's scale."""
# ruff: noqa: N999

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.compat._common import truth
from mho.compat.memtorch.utils import pad_tensor

__all__ = ["naive_tune", "pad_tensor"]


def identity(x: Tensor) -> Tensor:
    """Return what is given: the output of a layer that is not tuned."""
    return x


@dataclass
class Line:
    """A straight line: what a tuned layer applies to its currents."""

    slope: float  # per ampere
    intercept: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``slope · x + intercept``."""
        return x * self.slope + self.intercept


@torch.no_grad()
def naive_tune(
    module: Any, input_shape: tuple[int, ...], verbose: bool = True
) -> Callable[[Tensor], Tensor]:
    """Fit a straight line from a layer's currents to the outputs of the layer it stands for.

    Inputs of the given shape are uniform on [-1, 1], from torch's global generator. The layer,
    which still has its weight, is left as it was. With ``verbose`` the coefficient of
    determination is printed.
    """
    verbose = truth("verbose", verbose)
    like = next((p for p in module.parameters()), torch.empty(()))
    inputs = torch.rand(tuple(input_shape), dtype=like.dtype, device=like.device) * 2.0 - 1.0
    kept = (module.bias, module.transform_output, module.forward_legacy_enabled)
    try:
        module.bias, module.transform_output = None, identity
        module.forward_legacy_enabled = False
        found = module.forward(inputs).flatten()
        module.forward_legacy_enabled = True
        wanted = module.forward(inputs).flatten()
    finally:
        module.bias, module.transform_output, module.forward_legacy_enabled = kept
    line, determination = _fit(found, wanted)
    if verbose:
        fitted = f"{determination:f} [{line.slope:f}, {line.intercept:f}]"
        print(f"Tuned {module}. Coefficient of determination: {fitted}")
    return line


def _fit(x: Tensor, y: Tensor) -> tuple[Line, float]:
    """Least squares, and R²."""
    # In float64 sums over float32 data: currents are small and their squares smaller.
    mx, my = float(x.mean(dtype=torch.float64)), float(y.mean(dtype=torch.float64))
    dx, dy = x - mx, y - my
    unit = float(dx.abs().amax()) or 1.0
    dx = dx / unit
    sxx, sxy, syy = (float(torch.dot(a, b)) for a, b in ((dx, dx), (dx, dy), (dy, dy)))
    slope = sxy / sxx if sxx > 0.0 else 0.0
    residual = syy - slope * sxy
    determination = 1.0 - residual / syy if syy > 0.0 else 1.0
    return Line(slope / unit, my - slope / unit * mx), determination
