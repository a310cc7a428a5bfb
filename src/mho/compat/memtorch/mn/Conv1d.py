"""Convolutions of one dimension."""
# ruff: noqa: N999
# mypy: disable-error-code="misc, override, assignment"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn import _conv
from mho.compat.memtorch.mn._layer import Memristive, torch_settings


class Conv1d(nn.Conv1d, Memristive):
    """A convolution whose kernels are columns of crossbars.

    Args:
        convolutional_layer: what it stands for; its parameters are shared.
        memristor_model: class of the cells.
        memristor_model_params: its keyword arguments.
        mapping_routine: from weights to conductances, such as `naive_map`.
        transistor: 1T1R cells (True), or passive ones (False), whose lines count.
        programming_routine: writes passive cells, such as `naive_program`.
        programming_routine_params: its keyword arguments.
        p_l: if not None, the proportion of weights to retain.
        scheme: how weights are held.
        tile_shape: rows and columns of a tile; None: arrays are not cut.
        max_input_voltage: what inputs are encoded to at most (V); None: they are voltages.
        scaling_routine: from inputs to voltages, such as `naive_scale`.
        scaling_routine_params: its keyword arguments.
        source_resistance: between sources and lines (Ω).
        line_resistance: between neighbouring cells (Ω).
        ADC_resolution: bits, with a ``quant_method``.
        ADC_overflow_rate: fraction of currents that full scale may leave out.
        quant_method: one of ``memtorch.bh.Quantize.quant_methods``; None: no conversion.
        use_bindings: has no effect.
        random_crossbar_init: cells begin at random conductances.
        verbose: print what is patched and tuned.
        *args: have no effect.
        **kwargs: of the torch layer; and ``legacy=True``: currents are not scaled back where
            `naive_scale` scaled inputs, as in MemTorch 1.1.6, to compare with its results.

    Raises:
        Refused: if an argument is refused.
    """

    def __init__(
        self,
        convolutional_layer: nn.Conv1d,
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
        super().__init__(**_conv.settings(convolutional_layer, nn.Conv1d, torch_settings(kwargs)))
        self._patch(convolutional_layer, locals())

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs of inputs ``[batch, in_channels, size]``."""
        return _conv.forward(self, input)

    def tune(self, input_batch_size: int = 8, input_shape: int = 32) -> None:
        """Find ``transform_output`` with random inputs of this size; see `naive_tune`."""
        self._tune((input_batch_size, self.in_channels, input_shape))

    def __str__(self) -> str:
        return _conv.text(self)
