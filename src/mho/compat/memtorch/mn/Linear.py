"""Linear layers."""
# ruff: noqa: N999
# mypy: disable-error-code="misc, override"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mho.compat._common import Refused
from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.bh.Quantize import Converter
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn import _read
from mho.compat.memtorch.mn._layer import Memristive


class Linear(Memristive, nn.Linear):
    """A linear layer whose weight is on crossbars.

    Args: ``linear_layer`` is what it stands for; for the others see `patch_model`.
    """

    digital = nn.Linear

    def __init__(
        self,
        linear_layer: nn.Linear,
        memristor_model: Any,
        memristor_model_params: Mapping[str, Any],
        mapping_routine: Callable[..., Any] = naive_map,
        transistor: bool = True,
        programming_routine: Callable[..., Any] | None = None,
        programming_routine_params: Mapping[str, Any] = {},
        p_l: float | None = None,
        scheme: Scheme = Scheme.DoubleColumn,
        tile_shape: tuple[int, int] | None = None,
        max_input_voltage: float | None = None,
        scaling_routine: Callable[..., Any] = naive_scale,
        scaling_routine_params: Mapping[str, Any] = {},
        source_resistance: float | None = None,
        line_resistance: float | None = None,
        ADC_resolution: int | None = None,
        ADC_overflow_rate: float = 0.0,
        quant_method: str | None = None,
        use_bindings: bool = True,
        random_crossbar_init: bool = False,
        verbose: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._patch("linear_layer", locals())

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs ``[…, out_features]`` of inputs ``[…, in_features]``."""
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
