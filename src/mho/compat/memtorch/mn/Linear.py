"""Linear layers."""
# ruff: noqa: N999
# mypy: disable-error-code="misc, override"

from __future__ import annotations

from torch import Tensor, nn

from mho.compat._common import Refused
from mho.compat.memtorch.bh.Quantize import Converter
from mho.compat.memtorch.mn import _read
from mho.compat.memtorch.mn._layer import Memristive, constructor
from mho.core import checks


class Linear(Memristive, nn.Linear):
    """A linear layer whose weight is on crossbars.

    Args: ``linear_layer`` is what it stands for; for the others see `patch_model`.
    """

    digital = nn.Linear
    __init__ = constructor("linear_layer")

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs ``[…, out_features]`` of inputs ``[…, in_features]``."""
        checks.instance("input", input, Tensor)
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            shape = list(input.shape)
            raise Refused(f"input must have shape […, {self.in_features}], got {shape}")
        return self._outputs(input)

    def tune(self, input_shape: int = 4098) -> None:
        """Find ``transform_output`` with ``input_shape`` random inputs; see `naive_tune`."""
        self._tune(input_shape, self.in_features)

    def _arranged(self, matrices: Tensor) -> Tensor:
        return matrices[0]

    def _product(self, v: Tensor, arranged: Tensor) -> Tensor:
        return v @ arranged

    def _by_vector(self, v: Tensor, ready: Converter | None) -> Tensor:
        currents = _read.vectors(self, v.reshape(-1, 1, self.in_features), ready)
        return currents.reshape(*v.shape[:-1], self.out_features)

    def __str__(self) -> str:
        return (
            f"bh.Linear(in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None})"
        )
