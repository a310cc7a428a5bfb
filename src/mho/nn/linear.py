"""Linear layers on crossbars."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer


class Linear(AnalogLayer):
    """``y = x Wᵀ + b`` with ``W`` on a crossbar; takes the place of `torch.nn.Linear`.

    Args:
        in_features: inputs, the crossbar's rows.
        out_features: outputs, the crossbar's columns.
        bias: whether there is a bias; ``hardware.bias`` says where it is added.
        hardware: what the crossbar is made of.
        seed: of the crossbar.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: digital weights ``[out_features, in_features]``.
        bias: digital bias ``[out_features]`` or None.
        crossbar: the cells.
    """

    kind = nn.Linear
    in_features: int
    out_features: int
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
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
        in_features = checks.integer("in_features", in_features)
        out_features = checks.integer("out_features", out_features)
        self._build(nn.Linear(in_features, out_features, bias, device, dtype), hardware, seed)

    @property
    def _bias_on_array(self) -> bool:
        return self.hardware.bias == "array" and self.holds("bias")

    def matrices(self) -> dict[str, Tensor]:
        """The weights ``[in_features, out_features]``; a bias on the array is the last row."""
        if not self._bias_on_array:
            return {"crossbar": self.weight.T}
        bias: Any = self.bias
        return {"crossbar": torch.cat((self.weight.T, bias.unsqueeze(0)))}

    def forward(self, input: Tensor) -> Tensor:
        """Map ``input [..., in_features]`` to ``[..., out_features]``."""
        if self.hardware.bias == "array" and self.holds("bias"):
            checks.columns("input", input, self.in_features)
            return self.read(
                "crossbar", torch.cat((input, torch.ones_like(input[..., :1])), dim=-1)
            )
        own = self._parameters  # what nothing computes is looked up at once, and not twice
        bias = own["bias"] if "bias" in own else self.bias  # noqa: SIM401
        return self.read("crossbar", input, bias)

    def to_digital(self) -> nn.Linear:
        """Return a `torch.nn.Linear` with the weights as now stored, output correction included.

        The weights are plain parameters, whatever computed the digital ones.
        """
        crossbar = self.crossbars["crossbar"]
        matrix = (crossbar.effective_weight * crossbar.gain).detach()
        bias = crossbar.offset.detach().clone()
        if self._bias_on_array:
            bias += matrix[-1]
            matrix = matrix[:-1]
        elif self.holds("bias"):
            with self.at_rest():
                digital: Any = self.bias
            bias += digital.detach()
        needed = self.holds("bias") or bool(bias.any())
        layer = nn.Linear(
            self.in_features, self.out_features, needed, device="meta", dtype=matrix.dtype
        )
        layer.weight = nn.Parameter(matrix.T.contiguous())
        if needed:
            layer.bias = nn.Parameter(bias)
        return layer.to(self.kind_of_numbers).train(self.training)

    def extra_repr(self) -> str:
        """As `torch.nn.Linear` prints itself."""
        bias = self.holds("bias")
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"
