"""What all memristive layers share: their settings, crossbars, tuning and state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, Operation, init_crossbar
from mho.compat.memtorch.bh.crossbar.Passive import wires
from mho.compat.memtorch.bh.crossbar.Tile import check_converter
from mho.compat.memtorch.map.Input import naive_scale, scale
from mho.compat.memtorch.map.Module import Line, identity, naive_tune

_SETTINGS = (
    "transistor",
    "scheme",
    "tile_shape",
    "max_input_voltage",
    "scaling_routine",
    "scaling_routine_params",
    "source_resistance",
    "line_resistance",
    "ADC_resolution",
    "ADC_overflow_rate",
    "quant_method",
    "use_bindings",
    "verbose",
)
_FOR_CROSSBARS = (
    "memristor_model",
    "memristor_model_params",
    "transistor",
    "mapping_routine",
    "programming_routine",
    "programming_routine_params",
    "p_l",
    "scheme",
    "tile_shape",
    "use_bindings",
    "random_crossbar_init",
)


class Memristive(nn.Module):
    """Base, beside the torch layer, of memristive layers.

    Attributes:
        crossbars: what holds the weight.
        crossbar_operation: joins what an operation gives on them; see `Operation`.
        weight: the digital weight, for comparison and tuning; None once it was given up.
        bias: added to the outputs digitally.
        transform_output: from currents (A) to outputs; what tuning finds.
        non_linear: None, or ``f(crossbar, v)`` of reads ``I = g · f(v)``.
        forward_legacy_enabled: whether ``forward`` is the digital layer's.
        legacy: whether currents stay as `naive_scale` scaled their inputs, as in MemTorch 1.1.6.
    """

    crossbars: list[Crossbar]
    crossbar_operation: Operation
    transform_output: Callable[[Tensor], Tensor]
    non_linear: Callable[[Crossbar, Tensor], Tensor] | None
    forward_legacy_enabled: bool
    legacy: bool
    transistor: bool
    tile_shape: tuple[int, int] | None
    max_input_voltage: float | None
    source_resistance: float | None
    line_resistance: float | None
    ADC_resolution: int | None
    ADC_overflow_rate: float
    quant_method: str | None
    verbose: bool

    def _patch(self, digital: nn.Module, given: Mapping[str, Any]) -> None:
        """Take a digital layer's parameters and put its weight on crossbars.

        Args:
            digital: the layer; its parameters are shared.
            given: the constructor's arguments, ``locals()``.
        """
        for name, parameter in digital.named_parameters(recurse=False):
            shared = nn.Parameter(parameter.detach(), requires_grad=False)
            self.register_parameter(name, shared)
        self._set(given)
        weight: Any = self.weight
        chosen = {name: given[name] for name in _FOR_CROSSBARS}
        self.crossbars, self.crossbar_operation = init_crossbar(weights=weight, **chosen)
        self.train(digital.training)
        if self.verbose:
            print(f"Patched {digital} -> {self}")

    def _set(self, given: Mapping[str, Any]) -> None:
        _check(given)
        for name in _SETTINGS:
            setattr(self, name, given[name])
        self.cuda_malloc_heap_size = None
        self.transform_output = identity
        self.non_linear = None
        self.forward_legacy_enabled = False
        self.legacy = bool(given.get("kwargs", {}).get("legacy", False))
        self._kept: dict[Any, tuple[Any, list[Tensor], Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the crossbars are."""
        return self.crossbars[0].conductance_matrix.device

    def _volts(self, x: Tensor) -> tuple[Tensor, float]:
        """Return voltages, and what currents are to be multiplied by."""
        params: Mapping[str, Any] = self.scaling_routine_params  # type: ignore[assignment]
        routine: Any = self.scaling_routine
        if routine is not naive_scale:
            return routine(self, x, **params), 1.0
        factor = scale(self, x, **params)
        if factor is None:
            return x, 1.0
        return x * factor, 1.0 if self.legacy else 1.0 / factor

    def _finished(self, currents: Tensor, unscale: float, bias: Tensor | None) -> Tensor:
        """Return outputs: scaled back, transformed, with the bias."""
        line = self.transform_output
        if isinstance(line, Line) and bias is not None:  # one pass instead of four
            return torch.add(bias + line.intercept, currents, alpha=unscale * line.slope)
        out = line(currents if unscale == 1.0 else currents * unscale)
        return out if bias is None else out + bias

    def _tune(self, shape: tuple[int, ...]) -> None:
        require(self.weight is not None, f"{self} cannot be tuned: its weight was given up")
        self.transform_output = naive_tune(self, shape, self.verbose)

    # ---- state --------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        for crossbar in getattr(self, "crossbars", ()):
            crossbar.apply(fn)
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def get_extra_state(self) -> dict[str, Any]:
        """Return what the crossbars hold, and the tuned line, for ``state_dict``."""
        line = self.transform_output
        return {
            "crossbars": [crossbar.state() for crossbar in self.crossbars],
            "line": [line.slope, line.intercept] if isinstance(line, Line) else None,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_extra_state` returned.

        Raises:
            Refused: if the crossbars are others.
        """
        require(
            len(state["crossbars"]) == len(self.crossbars),
            f"the state is of {len(state['crossbars'])} crossbars, not {len(self.crossbars)}",
        )
        for crossbar, values in zip(self.crossbars, state["crossbars"], strict=True):
            crossbar.restore(values)
        if state["line"] is not None:
            self.transform_output = Line(*state["line"])


def torch_settings(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer's further keyword arguments without its own, ``legacy``."""
    return {name: value for name, value in kwargs.items() if name != "legacy"}


def _check(given: Mapping[str, Any]) -> None:
    if not given["transistor"]:
        require(
            given["source_resistance"] is not None and given["line_resistance"] is not None,
            "source_resistance and line_resistance must be given when transistor is False",
        )
        wires(given["source_resistance"], given["line_resistance"])
    if given["quant_method"] is not None:
        check_converter(given["ADC_resolution"], given["ADC_overflow_rate"], given["quant_method"])
    elif given["ADC_resolution"] is not None:
        warnings.warn("ADC_resolution has no effect without a quant_method", stacklevel=5)
