"""Linear layers on crossbars."""

from __future__ import annotations

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
        super().__init__()
        checks.integer("in_features", in_features)
        checks.integer("out_features", out_features)
        self._build(nn.Linear(in_features, out_features, bias, device, dtype), hardware, seed)

    def takes(self, name: str) -> bool:
        """Take the weight and the bias, not what a parametrisation keeps them in."""
        return name in ("weight", "bias")

    def _adopt(self, digital: nn.Module) -> None:
        if not isinstance(digital, nn.Linear):
            raise TypeError(f"layer must be torch.nn.Linear, got {type(digital).__name__}")
        self.in_features, self.out_features = digital.in_features, digital.out_features
        if "weight" not in self._parameters:  # a parametrised weight: its value now
            self.weight = nn.Parameter(digital.weight.detach().clone())
        if "bias" not in self._parameters:
            self.register_parameter("bias", None)

    @property
    def _bias_on_array(self) -> bool:
        return self.bias is not None and self.hardware.bias == "array"

    def matrices(self) -> dict[str, Tensor]:
        """The weights ``[in_features, out_features]``; a bias on the array is the last row."""
        if self.bias is None or not self._bias_on_array:
            return {"crossbar": self.weight.T}
        return {"crossbar": torch.cat((self.weight.T, self.bias.unsqueeze(0)))}

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x [..., in_features]`` to ``[..., out_features]``."""
        checks.columns("input", x, self.in_features)
        if self._bias_on_array:
            return self.read("crossbar", torch.cat((x, torch.ones_like(x[..., :1])), dim=-1))
        return self.read("crossbar", x, self.bias)

    def to_digital(self) -> nn.Linear:
        """Return a `torch.nn.Linear` with the weights as now stored, output correction included."""
        crossbar = self.crossbars["crossbar"]
        matrix = (crossbar.effective_weight * crossbar.gain).detach()
        bias = crossbar.offset.detach().clone()
        if self._bias_on_array:
            bias += matrix[-1]
            matrix = matrix[:-1]
        elif self.bias is not None:
            bias += self.bias.detach()
        needed = self.bias is not None or bool(bias.any())
        layer = nn.Linear(
            self.in_features, self.out_features, needed, device="meta", dtype=matrix.dtype
        )
        layer.weight = nn.Parameter(matrix.T.contiguous())
        if needed:
            layer.bias = nn.Parameter(bias)
        return layer.train(self.training)

    def extra_repr(self) -> str:
        """As `torch.nn.Linear` prints itself."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"
