"""What all memristive layers share: their settings, crossbars, reads, tuning and state."""
# mypy: disable-error-code="misc"

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.compat.memtorch._numbers import real, sides, whole
from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, Operation, Scheme, init_crossbar
from mho.compat.memtorch.bh.crossbar.Passive import wires
from mho.compat.memtorch.bh.Quantize import converter
from mho.compat.memtorch.map.Input import naive_scale, scale
from mho.compat.memtorch.map.Module import Line, identity, naive_tune
from mho.compat.memtorch.mn import _read

SETTINGS = (
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
"""Arguments of `patch_model` that are attributes of a layer, which reads go by."""

FOR_CROSSBARS = (
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
"""Arguments of `patch_model` that crossbars are made by."""

_NUMBERS: dict[str, Callable[[str, Any], Any]] = {
    "tile_shape": lambda _, value: sides(value),
    "ADC_resolution": whole,
    **dict.fromkeys(("max_input_voltage", "ADC_overflow_rate", "p_l"), real),
    **dict.fromkeys(("source_resistance", "line_resistance"), real),
}


class Memristive(nn.Module):
    """Base, beside the torch layer, of memristive layers.

    Programs may set ``non_linear`` (see `apply_non_linear`), which fresh layers do not have.

    Attributes:
        crossbars: what holds the weight.
        crossbar_operation: joins what an operation gives on them; see `Operation`.
        weight: the digital weight, for comparison and tuning; None once it was given up.
        bias: added to the outputs digitally.
        transform_output: from currents (A) to outputs; what tuning finds.
        forward_legacy_enabled: whether ``forward`` is the digital layer's.
        legacy: whether currents stay as `naive_scale` scaled their inputs, as in MemTorch 1.1.6.
    """

    crossbars: list[Crossbar]
    crossbar_operation: Operation
    transform_output: Callable[[Tensor], Tensor]
    forward_legacy_enabled: bool
    legacy: bool
    lent = False
    """Whether its parameters are another layer's, which saves and loads them."""

    def _patch(self, digital: nn.Module, given: Mapping[str, Any]) -> None:
        """Take a digital layer's parameters and put its weight on crossbars.

        Args:
            digital: the layer; its parameters are shared.
            given: the constructor's arguments, ``locals()``.
        """
        for name, parameter in digital.named_parameters(recurse=False):
            shared = nn.Parameter(parameter.detach(), requires_grad=False)
            self.register_parameter(name, shared)
        chosen = take_settings(self, given)
        self.transform_output = identity
        self._kept: dict[str, Any] = {}
        weight: Any = self.weight
        self.crossbars, self.crossbar_operation = init_crossbar(weights=weight, **chosen)
        self.train(digital.training)
        if self.verbose:
            print(f"Patched {digital} -> {self}")

    # ---- what a kind of layer says ------------------------------------------------------------

    def _digital(self, x: Tensor) -> Tensor:
        """Return the digital layer's outputs."""
        raise NotImplementedError

    def _arranged(self, matrices: Tensor) -> Tensor:
        """Return ``[arrays, rows, columns]`` as `_product` takes it."""
        raise NotImplementedError

    def _product(self, v: Tensor, arranged: Tensor) -> Tensor:
        """Return the currents of all tiles together."""
        raise NotImplementedError

    def _by_vector(self, v: Tensor) -> Tensor:
        """Return the currents, read tile by tile with `_read.vectors`."""
        raise NotImplementedError

    def _over_outputs(self, bias: Tensor) -> Tensor:
        """Return the bias as it is added to outputs."""
        return bias

    # ---- reads --------------------------------------------------------------------------------

    def _outputs(self, x: Tensor) -> Tensor:
        """Return what ``forward`` returns for inputs of the right shape."""
        if self.forward_legacy_enabled:
            require(self.weight is not None, f"{self} has given up its weight")
            return self._digital(x)
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        # Differences of conductances need more digits than half precision has.
        volts, unscale = self._volts(x.to(torch.promote_types(dtype, torch.float32)))
        driven = None if self.quant_method is not None else _read.driven(self, volts)
        if driven is None:
            currents = self._by_vector(volts)
        else:
            make = lambda: self._arranged(_read.matrices_of(self))  # noqa: E731
            matrix = _read.kept(self, "arranged", driven.dtype, make)
            currents = self._product(driven, matrix)
        return self._finished(currents, unscale).to(dtype)

    def _volts(self, x: Tensor) -> tuple[Tensor, float]:
        """Return voltages, and what currents are to be multiplied by."""
        params, routine = self.scaling_routine_params, self.scaling_routine
        if routine is not naive_scale:
            return routine(self, x, **params), 1.0
        factor = scale(self, x, **params)
        if factor is None:
            return x, 1.0
        return x * factor, 1.0 if self.legacy else 1.0 / factor

    def _finished(self, currents: Tensor, unscale: float) -> Tensor:
        """Return outputs: scaled back, transformed, with the bias."""
        line, bias = self.transform_output, self.bias
        over = None if bias is None else self._over_outputs(bias)
        if isinstance(line, Line) and over is not None:  # one pass instead of four
            return torch.add(over + line.intercept, currents, alpha=unscale * line.slope)
        out = line(currents if unscale == 1.0 else currents * unscale)
        return out if over is None else out + over

    def _tune(self, *shape: int) -> None:
        require(self.weight is not None, f"{self} cannot be tuned: its weight was given up")
        sizes = tuple(whole("the input's size", size) for size in shape)
        self.transform_output = naive_tune(self, sizes, self.verbose)

    # ---- state --------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the crossbars are."""
        return self.crossbars[0].conductance_matrix.device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        for crossbar in getattr(self, "crossbars", ()):
            crossbar.apply(fn)
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if not self.lent:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        # Beside the tensors, where torch keeps versions: keys are those of the digital layer.
        line, beside = self.transform_output, getattr(destination, "_metadata", {})
        beside.setdefault(prefix[:-1], {})["memristive"] = {
            "crossbars": [crossbar.state() for crossbar in self.crossbars],
            "line": [line.slope, line.intercept] if isinstance(line, Line) else None,
        }

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *others: Any
    ) -> None:
        held = local_metadata.get("memristive")
        own = {} if self.lent else dict(self.named_parameters(recurse=False))
        before = {name: value.detach().clone() for name, value in own.items()}
        if not self.lent:
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)
        if held is not None and [c["conductance_matrix"].shape for c in held["crossbars"]] == [
            c.conductance_matrix.shape for c in self.crossbars
        ]:
            for crossbar, values in zip(self.crossbars, held["crossbars"], strict=True):
                crossbar.restore(values)
            if held["line"] is not None:
                self.transform_output = Line(*held["line"])
        elif any(not torch.equal(before[name], own[name]) for name in before):
            warnings.warn(
                f"{prefix[:-1] or self}: other weights were loaded, without conductances that fit: "
                "the crossbars keep what they hold. Patch a model after its weights are loaded",
                stacklevel=2,
            )


def take_settings(layer: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a constructor's arguments as attributes; return those its crossbars are made by.

    Args:
        layer: memristive; it may be a recurrent one, whose crossbars are others'.
        given: the arguments, ``locals()``. Numbers may be NumPy's.

    Raises:
        Refused: if an argument is refused.
    """
    values = dict(given)
    for name, number in _NUMBERS.items():
        if values[name] is not None:
            values[name] = number(name, values[name])
    require(
        isinstance(values["scheme"], Scheme), f"scheme must be a Scheme, got {given['scheme']!r}"
    )
    lines = values["source_resistance"], values["line_resistance"]
    if not values["transistor"]:
        message = "source_resistance and line_resistance must be given when transistor is False"
        require(None not in lines, message)
        wires(*lines)
    bits, rate, method = (
        values[n] for n in ("ADC_resolution", "ADC_overflow_rate", "quant_method")
    )
    if converter(bits, rate, method) is None and bits is not None:
        warnings.warn("ADC_resolution has no effect without a quant_method", stacklevel=5)
    for name in SETTINGS:
        setattr(layer, name, values[name])
    layer.cuda_malloc_heap_size = None
    layer.forward_legacy_enabled = False
    layer.legacy = bool(values["kwargs"].get("legacy", False))
    return {name: values[name] for name in FOR_CROSSBARS}


def torch_settings(
    digital: Any, kind: type[nn.Module], name: str, same: tuple[str, ...], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that make a torch layer like a given one, without memory.

    Args:
        digital: the layer.
        kind: what it must be.
        name: of the argument, for the refusal.
        same: names of arguments that are attributes, too.
        more: further arguments of a memristive layer: ``legacy``, and torch's own.

    Raises:
        Refused: if it is of another kind.
    """
    require(
        isinstance(digital, kind),
        f"{name} must be a torch.nn.{kind.__name__}, got {type(digital).__name__}",
    )
    settings = {n: getattr(digital, n) for n in same} | {"bias": _has_bias(digital), **more}
    return {n: value for n, value in settings.items() if n != "legacy"} | {"device": "meta"}


def _has_bias(digital: Any) -> bool:
    return bool(digital.bias) if isinstance(digital.bias, bool) else digital.bias is not None
