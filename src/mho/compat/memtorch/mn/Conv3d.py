"""Convolutions of three dimensions."""
# ruff: noqa: N999
# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn._conv import Convolution


class Conv3d(nn.Conv3d, Convolution):
    """A convolution whose kernels are columns of crossbars, one array a channel.

    Args: ``convolutional_layer`` is what it stands for; for the others see `patch_model`. Their
    order is this layer's own.
    """

    digital = nn.Conv3d
    forward = Convolution.forward

    def __init__(
        self,
        convolutional_layer: nn.Conv3d,
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
        line_resistance: float | None = None,
        source_resistance: float | None = None,
        ADC_overflow_rate: float = 0.0,
        ADC_resolution: int | None = None,
        quant_method: str | None = None,
        use_bindings: bool = True,
        random_crossbar_init: bool = False,
        verbose: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._patch("convolutional_layer", locals())

    def tune(self, input_batch_size: int = 4, input_shape: int = 32) -> None:
        """Find ``transform_output`` with random inputs of this size; see `naive_tune`."""
        super().tune(input_batch_size, input_shape)
