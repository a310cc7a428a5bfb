"""Bilinear layers: the first input drives a crossbar, the second weighs its outputs."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer
from mho.nn.columns import in_its_dtype, summed, tell_bias_is_digital

_NEGLIGIBLE = 1e-4  # offsets, relative to the largest weight


class Bilinear(AnalogLayer):
    """``y_o = x1ᵀ W_o x2 + b_o`` with all ``W_o`` on one crossbar; as `torch.nn.Bilinear`.

    ``x1`` drives the rows; the columns are all pairs of an output and an element of ``x2``. The
    product with ``x2``, which is no stored matrix, is digital, and so is the bias even where
    ``hardware.bias`` is ``"array"``: what a row adds would be multiplied with ``x2``. A warning
    says so.

    Args:
        in1_features: elements of ``x1``, the crossbar's rows.
        in2_features: elements of ``x2``.
        out_features: outputs.
        bias: whether there is a bias.
        hardware: what the crossbar is made of.
        seed: of the crossbar.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: digital weights ``[out_features, in1_features, in2_features]``.
        bias: digital bias ``[out_features]`` or None.
        crossbar: the cells, ``out_features · in2_features`` columns.
    """

    kind = nn.Bilinear
    in1_features: int
    in2_features: int
    out_features: int
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        hardware: Hardware,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        bias = checks.truth("bias", bias)
        super().__init__()
        given = {"in1_features": in1_features, "in2_features": in2_features}
        given["out_features"] = out_features
        for name, value in given.items():
            checks.integer(name, value)
        digital = nn.Bilinear(in1_features, in2_features, out_features, bias, device, dtype)
        self._build(digital, hardware, seed)

    def put_on(self, hardware: Hardware, seed: int, **how: Any) -> None:
        """As the base's; says where the bias is."""
        super().put_on(hardware, seed, **how)
        tell_bias_is_digital(self, "what a row adds would be multiplied with the second input")

    def _versions(self) -> dict[str, tuple[int, int]]:
        return {path: v for path, v in super()._versions().items() if "bias" not in path}

    def matrices(self) -> dict[str, Tensor]:
        """The weights ``[in1_features, out_features · in2_features]``."""
        return {"crossbar": self.weight.transpose(0, 1).flatten(1)}

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Map ``[..., in1_features]`` and ``[..., in2_features]`` to ``[..., out_features]``."""
        checks.columns("input1", input1, self.in1_features)
        checks.columns("input2", input2, self.in2_features)
        if input1.shape[:-1] != input2.shape[:-1]:
            raise ValueError(
                f"input1 and input2 must be alike but for their last dimension, got "
                f"{list(input1.shape)} and {list(input2.shape)}"
            )
        flat = [x.reshape(-1, x.shape[-1]) for x in (input1, input2)]
        y = summed(self, self._weighed, *flat, outputs=self.out_features * self.in2_features)
        bias = self.bias  # looked at once: a parametrization computes it anew
        y = y if bias is None else y + bias
        return y.reshape(*input1.shape[:-1], self.out_features)

    def _weighed(self, columns: Tensor, x2: Tensor) -> Tensor:
        by_output = columns.unflatten(-1, (self.out_features, self.in2_features))
        return (by_output @ x2.to(columns.dtype).unsqueeze(-1)).squeeze(-1)

    def to_digital(self) -> nn.Bilinear:
        """Return a `torch.nn.Bilinear` with the weights as now stored, gains included.

        Offsets of a correction are left out: they depend on the second input alone, and torch's
        layer has no such term. A warning says so where they matter. The weights are plain
        parameters, whatever computed the digital ones.
        """
        crossbar = self.crossbars["crossbar"]
        matrix = (crossbar.effective_weight * crossbar.gain).detach()
        lost = float(crossbar.offset.abs().max())
        if lost > _NEGLIGIBLE * float(matrix.abs().max()):
            warnings.warn(
                "torch.nn.Bilinear has no term of its second input alone: the output offsets of "
                f"the crossbar, up to {lost:.3g}, are left out",
                stacklevel=2,
            )
        sizes = (self.in1_features, self.in2_features, self.out_features)
        layer = nn.Bilinear(*sizes, self.holds("bias"), device="meta", dtype=matrix.dtype)
        by_output = matrix.unflatten(1, (self.out_features, self.in2_features)).transpose(0, 1)
        layer.weight = nn.Parameter(by_output.contiguous())
        if self.holds("bias"):
            with self.at_rest():
                digital: Any = self.bias
            layer.bias = nn.Parameter(digital.detach().clone())
        return cast(nn.Bilinear, in_its_dtype(self, layer))

    def extra_repr(self) -> str:
        """As `torch.nn.Bilinear` prints itself."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.holds('bias')}"
        )
