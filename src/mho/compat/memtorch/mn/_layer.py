"""What all memristive layers share: their settings, crossbars, reads, tuning and state."""
# mypy: disable-error-code="misc"

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mho.compat._common import real, require, sides, truth, whole
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, Operation, Scheme, init_crossbar
from mho.compat.memtorch.bh.crossbar.Passive import wires
from mho.compat.memtorch.bh.Quantize import Converter, converter
from mho.compat.memtorch.map.Input import naive_scale, scale
from mho.compat.memtorch.map.Module import Line, identity, naive_tune
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn import _read
from mho.core import notice

LINES = ("transistor", "source_resistance", "line_resistance")
INPUTS = ("max_input_voltage", "scaling_routine", "scaling_routine_params")
CONVERTER = ("ADC_resolution", "ADC_overflow_rate", "quant_method")
SETTINGS = (*LINES, *INPUTS, *CONVERTER, "scheme", "tile_shape", "use_bindings", "verbose")
"""Arguments of `patch_model` that are attributes of a layer, which reads go by."""

_FOR_CROSSBARS = frozenset(inspect.signature(init_crossbar).parameters)
_NUMBERS: dict[str, Callable[[str, Any], Any]] = {
    "tile_shape": lambda _, value: sides(value),
    "ADC_resolution": whole,
    **dict.fromkeys((*LINES[1:], "max_input_voltage", "ADC_overflow_rate", "p_l"), real),
}


def _arguments(
    self: Any,
    layer: Any,
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
    """Take what every layer's constructor takes; see `patch_model`."""


def constructor(name: str) -> Any:
    """Return a layer's constructor, whose first argument, the digital layer, has this name.

    It calls ``_patch`` with the name and all arguments.
    """
    same = inspect.signature(_arguments)
    itself, layer, *others = same.parameters.values()
    signature = same.replace(parameters=[itself, layer.replace(name=name), *others])

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        self._patch(name, given.arguments)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


class Memristive(nn.Module):
    """Base, before the torch layer, of memristive layers.

    Programs may set ``non_linear`` (see `apply_non_linear`), which fresh layers do not have.

    Attributes:
        crossbars: what holds the weight.
        crossbar_operation: joins what an operation gives on them; see `Operation`.
        weight: the digital weight, for comparison and tuning; None once it was given up.
        bias: added to the outputs digitally.
        device: where the crossbars are; assigning moves the layer.
        transform_output: from currents (A) to outputs; what tuning finds.
        forward_legacy_enabled: whether ``forward`` is the digital layer's.
        legacy: whether currents stay as `naive_scale` scaled their inputs, as in MemTorch 1.1.6.
    """

    crossbars: list[Crossbar]
    crossbar_operation: Operation
    transform_output: Callable[[Tensor], Tensor]
    forward_legacy_enabled: bool
    scaling_routine: Callable[..., Any]
    scaling_routine_params: Mapping[str, Any]
    legacy: bool
    quant_method: str | None
    bias: Any
    verbose: bool
    lent = False
    """Whether its parameters are another layer's, which saves and loads them."""

    # What a kind of layer says: the torch layer; ``[arrays, rows, columns]`` as the product takes
    # them; currents of voltages and these; currents read (and converted) tile by tile.
    digital: Any
    _arranged: Callable[[Tensor], Tensor]
    _product: Callable[[Tensor, Tensor], Tensor]
    _by_vector: Callable[[Tensor, Converter | None], Tensor]

    def _patch(self, name: str, given: Mapping[str, Any]) -> None:
        """Put the weight of the layer ``name`` on crossbars, given its constructor's arguments."""
        layer = given[name]
        take_over(self, name, layer, self.digital, ("weight", "bias"))
        chosen = take_settings(self, given)
        self.transform_output = identity
        self._kept: dict[str, Any] = {}
        weight: Any = self.weight
        self.crossbars, self.crossbar_operation = init_crossbar(weights=weight, **chosen)
        if self.verbose:
            print(f"Patched {layer} -> {self}")

    def _outputs(self, x: Tensor) -> Any:
        """Return what ``forward`` returns for inputs of the right shape."""
        if self.forward_legacy_enabled:
            require(self.weight is not None, f"{self} has given up its weight")
            return self.digital.forward(self, x)
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        # Differences of conductances need more digits than half precision has.
        volts, unscale = self._volts(x.to(torch.promote_types(dtype, torch.float32)))
        ready = converter(*(getattr(self, name) for name in CONVERTER))
        driven = None if ready is not None else _read.driven(self, volts)
        if driven is None:
            currents = self._by_vector(volts, ready)
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
        dims = len(self.__dict__.get("kernel_size", ()))
        over = bias.view(-1, *[1] * dims) if dims and bias is not None else bias
        if isinstance(line, Line) and over is not None:  # one pass instead of four
            return torch.add(over + line.intercept, currents, alpha=unscale * line.slope)
        out = line(currents if unscale == 1.0 else currents * unscale)
        return out if over is None else out + over

    def _tune(self, *shape: int) -> None:
        require(self.weight is not None, f"{self} cannot be tuned: its weight was given up")
        sizes = tuple(whole("the input's size", size) for size in shape)
        self.transform_output = naive_tune(self, sizes, self.verbose)

    device = property(lambda self: self.crossbars[0].device, lambda self, where: self.to(where))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def moved(tensor: Tensor) -> Tensor:
            after = fn(tensor)
            # Small conductances have no half precision: only the place changes.
            narrowed = after.element_size() < 4 <= tensor.element_size()
            return tensor.to(after.device) if narrowed else after

        for crossbar in getattr(self, "crossbars", ()):
            crossbar.apply(moved)
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if not self.lent:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        line: Any = self.transform_output  # of a user's function nothing can be said
        fitted = [line.slope, line.intercept] if isinstance(line, Line) else None
        tuned = [] if line is identity else fitted
        cells = [crossbar.state() for crossbar in self.crossbars]
        keep_beside(destination, prefix, {"crossbars": cells, "line": tuned})

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *others: Any
    ) -> None:
        held = local_metadata.get(BESIDE, {"crossbars": (), "line": None})
        shapes = [values["conductance_matrix"].shape for values in held["crossbars"]]
        fits = shapes == [crossbar.conductance_matrix.shape for crossbar in self.crossbars]
        if not self.lent:
            with telling(self, prefix, fits):
                super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)
        if fits:
            for crossbar, values in zip(self.crossbars, held["crossbars"], strict=True):
                crossbar.restore(values)
            if held["line"] is not None:
                self.transform_output = Line(*held["line"]) if held["line"] else identity


BESIDE = "memristive"
"""Under which name conductances are beside the tensors of a ``state_dict``."""


def keep_beside(destination: Any, prefix: str, values: Any) -> None:
    """Keep values beside a ``state_dict``'s tensors, where torch keeps (and saves) versions.

    So the tensors' names are those of the digital layer, and either loads the other's.
    """
    getattr(destination, "_metadata", {}).setdefault(prefix[:-1], {})[BESIDE] = values


@contextmanager
def telling(layer: nn.Module, prefix: str, fits: bool) -> Iterator[None]:
    """Warn if weights change within, without conductances that fit: crossbars stay as they are."""
    before = {name: p.detach().clone() for name, p in layer.named_parameters(recurse=False)}
    yield
    changed = (not torch.equal(value, getattr(layer, name)) for name, value in before.items())
    if not fits and any(changed):
        notice.warn(
            f"{prefix[:-1] or layer}: other weights were loaded, without conductances that fit: "
            "the crossbars keep what they hold. Patch a model after its weights are loaded"
        )


def take_settings(layer: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a constructor's arguments as attributes (or refuse them); return its crossbars'."""
    values = dict(given)
    for name, number in _NUMBERS.items():
        if values[name] is not None:
            values[name] = number(name, values[name])
    for name in ("transistor", "random_crossbar_init", "verbose"):
        values[name] = truth(name, values[name])
    scheme = values["scheme"]
    require(isinstance(scheme, Scheme), f"scheme must be a Scheme, got {scheme!r}")
    if not values["transistor"]:
        wires(values["source_resistance"], values["line_resistance"])
    converter(*(values[name] for name in CONVERTER))
    if values["quant_method"] is None and values["ADC_resolution"] is not None:
        notice.warn("ADC_resolution has no effect without a quant_method")
    unknown = [*sorted(set(values["kwargs"]) - {"legacy"}), *map(repr, values["args"])]
    if unknown:
        notice.warn(f"{', '.join(unknown)}: no argument of a layer, no effect")
    for name in SETTINGS:
        setattr(layer, name, values[name])
    layer.cuda_malloc_heap_size = None
    layer.forward_legacy_enabled = False
    layer.legacy = truth("legacy", values["kwargs"].get("legacy", False))
    return {name: value for name, value in values.items() if name in _FOR_CROSSBARS}


def take_over(
    layer: Any, name: str, digital: Any, kind: type[nn.Module], parameters: Iterable[str]
) -> None:
    """Be like a torch layer, the argument ``name``, and share its parameters (of these names).

    It may be pruned or parametrised: parameters count as they are now.
    """
    message = f"{name} must be a torch.nn.{kind.__name__}, got {type(digital).__name__}"
    require(isinstance(digital, kind), message)
    nn.Module.__init__(layer)
    others = {*vars(layer), *parameters, "non_linear", "simulate", "lent"}
    for own, value in vars(digital).items():
        if own not in others and not hasattr(nn.Module, own):
            setattr(layer, own, copy.copy(value))
    for own in parameters:
        value = getattr(digital, own)
        layer.register_parameter(own, None)
        if value is not None:
            setattr(layer, own, nn.Parameter(value.detach(), requires_grad=False))
    layer.train(digital.training)
