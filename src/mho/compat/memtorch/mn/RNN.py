"""Recurrent layers."""
# ruff: noqa: N999
# mypy: disable-error-code="misc, override, assignment"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn.Linear import Linear
from mho.recurrence.form import Form
from mho.recurrence.layout import Sequences
from mho.recurrence.runner import run


class RNN(nn.RNN):
    """A recurrent layer whose weights are on crossbars, two for each layer and direction.

    Args:
        rnn_layer: what it stands for; its parameters are shared.
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
        **kwargs: ``legacy=True`` for the layers of all weights, see `Linear`.

    Attributes:
        arrays: the memristive `Linear` layers of all weights, by their names in `torch.nn.RNN`.
        return_hidden: whether ``forward`` returns ``(output, h_n)`` as `torch.nn.RNN` does, rather
            than the output alone; `patch_model` asks for it.

    Raises:
        Refused: if an argument is refused.
    """

    def __init__(
        self,
        rnn_layer: nn.RNN,
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
        require(
            isinstance(rnn_layer, nn.RNN),
            f"rnn_layer must be a torch.nn.RNN, got {type(rnn_layer).__name__}",
        )
        given = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "rnn_layer", "args", "kwargs", "__class__")
        }
        legacy = bool(kwargs.get("legacy", False))
        super().__init__(
            rnn_layer.input_size,
            rnn_layer.hidden_size,
            rnn_layer.num_layers,
            nonlinearity=rnn_layer.nonlinearity,
            bias=rnn_layer.bias,
            batch_first=rnn_layer.batch_first,
            dropout=rnn_layer.dropout,
            bidirectional=rnn_layer.bidirectional,
        )
        for name, parameter in rnn_layer.named_parameters():
            setattr(self, name, nn.Parameter(parameter.detach(), requires_grad=False))
        self.arrays = nn.ModuleDict(
            {name: Linear(self._digital(name), **given, legacy=legacy) for name in self._weights()}
        )
        self.verbose = verbose
        self.return_hidden = False
        self._legacy = False
        self.train(rnn_layer.training)

    def _weights(self) -> list[str]:
        return [name for name, _ in self.named_parameters(recurse=False) if "weight" in name]

    def _digital(self, name: str) -> nn.Linear:
        weight: Tensor = getattr(self, name)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=self.bias, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        if self.bias:
            bias: Tensor = getattr(self, name.replace("weight", "bias"))
            layer.bias = nn.Parameter(bias, requires_grad=False)
        return layer

    @property
    def forward_legacy_enabled(self) -> bool:
        """Whether ``forward`` is the digital layer's."""
        return self._legacy

    @forward_legacy_enabled.setter
    def forward_legacy_enabled(self, enabled: bool) -> None:
        self._legacy = bool(enabled)
        for array in self.arrays.values():
            array.forward_legacy_enabled = bool(enabled)

    def forward(self, input: Sequences, h_0: Tensor | None = None) -> Any:
        """Run a sequence.

        Args:
            input: ``[time, batch, features]`` (``[batch, time, features]`` if ``batch_first``, and
                without a batch ``[time, features]``), or packed.
            h_0: hidden states at first, ``[layers · directions, batch, hidden]``, or with the
                directions as a dimension of their own before the layers; 0 if not given.

        Returns:
            The last layer's outputs; with ``return_hidden`` also the last hidden states.
        """
        if h_0 is not None and h_0.dim() == 4:
            h_0 = h_0.transpose(0, 1).flatten(0, 1)
        output, (h_n,) = run(Form.of(self), input, h_0, self._product, training=self.training)
        return (output, h_n) if self.return_hidden else output

    def _product(self, part: str, x: Tensor) -> Tensor:
        return self.arrays[f"weight_{part}"](x)

    def tune(self) -> None:
        """Tune the layers of all weights."""
        for array in self.arrays.values():
            array.tune()  # type: ignore[operator]

    def __str__(self) -> str:
        return (
            f"bh.RNN(input_size={self.input_size}, hidden_size={self.hidden_size}, "
            f"num_layers={self.num_layers}, nonlinearity={self.nonlinearity}, bias={self.bias}, "
            f"bidirectional={self.bidirectional})"
        )
