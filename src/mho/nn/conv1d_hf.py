"""The linear layer of GPT-2 in Hugging Face transformers, which keeps its weights turned."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.core.extras import need
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer
from mho.nn.columns import as_stored, in_its_dtype, readers, with_row

_HOME = "transformers.pytorch_utils"


def known_conv1d() -> type[nn.Module] | None:
    """Return ``transformers.pytorch_utils.Conv1D`` if it is loaded; nothing is imported."""
    found: type[nn.Module] | None = getattr(sys.modules.get(_HOME), "Conv1D", None)
    return found


class Conv1D(AnalogLayer):
    """``y = x W + b`` with ``W [nx, nf]`` on a crossbar, as ``transformers.pytorch_utils.Conv1D``.

    Args:
        nf: outputs, the crossbar's columns.
        nx: inputs, the crossbar's rows.
        hardware: what the crossbar is made of.
        seed: of the crossbar.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: digital weights ``[nx, nf]``.
        bias: digital bias ``[nf]``.
        crossbar: the cells.
    """

    nf: int
    nx: int
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        nf: int,
        nx: int,
        *,
        hardware: Hardware,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        digital: Any = nn.Module()  # what theirs holds; transformers need not be there
        digital.nf, digital.nx = checks.integer("nf", nf), checks.integer("nx", nx)
        weight = torch.empty(nx, nf, device=device, dtype=dtype)
        digital.weight = nn.Parameter(nn.init.normal_(weight, std=0.02))
        digital.bias = nn.Parameter(torch.zeros(nf, device=device, dtype=dtype))
        self._build(digital, hardware, seed)

    def take_over(self, digital: nn.Module, memo: dict[int, Any]) -> None:
        """As the base's, of a module that holds ``nf``, ``weight`` and ``bias`` as theirs does."""
        if not all(hasattr(digital, name) for name in ("nf", "weight", "bias")):
            raise TypeError(f"layer must be a {_HOME}.Conv1D, got a {type(digital).__name__}")
        super().take_over(digital, memo)

    def _adopt(self, digital: nn.Module) -> None:
        self.nx = len(self.weight)  # older versions do not say it

    @property
    def _bias_on_array(self) -> bool:
        return self.hardware.bias == "array"

    def matrices(self) -> dict[str, Tensor]:
        """The weights ``[nx, nf]``; a bias on the array is the last row."""
        if not self._bias_on_array:
            return {"crossbar": self.weight}
        return {"crossbar": torch.cat((self.weight, self.bias.unsqueeze(0)))}

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x [..., nx]`` to ``[..., nf]``."""
        checks.columns("input", x, self.nx)
        read = readers(self)["crossbar"]
        return with_row(read, x) if self._bias_on_array else read(x, self.bias)

    def to_digital(self) -> nn.Module:
        """Return a ``transformers.pytorch_utils.Conv1D`` with the weights as now stored.

        The output correction is included. The weights are plain parameters, whatever computed the
        digital ones.

        Raises:
            ImportError: if transformers is not installed (``pip install "mho[hf]"``).
        """
        theirs = need("transformers.pytorch_utils", "hf").Conv1D
        with self.at_rest():
            digital = None if self._bias_on_array else self.bias
        matrix, bias, _ = as_stored(
            self.crossbars["crossbar"], digital, on_array=self._bias_on_array
        )
        with torch.device("meta"):
            layer: nn.Module = theirs(self.nf, self.nx)
        layer.weight = nn.Parameter(matrix.contiguous())
        layer.bias = nn.Parameter(bias)
        return in_its_dtype(self, layer)

    def extra_repr(self) -> str:
        """As theirs prints itself."""
        return f"nf={self.nf}, nx={self.nx}"
