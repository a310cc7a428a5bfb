"""Whole models."""
# ruff: noqa: N999

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from mho.compat._common import require, truth
from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn._layer import Memristive
from mho.compat.memtorch.mn.Conv1d import Conv1d
from mho.compat.memtorch.mn.Conv2d import Conv2d
from mho.compat.memtorch.mn.Conv3d import Conv3d
from mho.compat.memtorch.mn.Linear import Linear
from mho.compat.memtorch.mn.RNN import RNN
from mho.core import notice
from mho.nn.registry import self_contained

__all__ = ["patch_model", "supported_module_parameters"]

M = TypeVar("M", bound=nn.Module)

supported_module_parameters: dict[str, Any] = {
    "<class 'torch.nn.modules.linear.Linear'>": Linear,
    "<class 'torch.nn.modules.conv.Conv1d'>": Conv1d,
    "<class 'torch.nn.modules.conv.Conv2d'>": Conv2d,
    "<class 'torch.nn.modules.conv.Conv3d'>": Conv3d,
    "<class 'torch.nn.modules.rnn.RNN'>": RNN,
}
"""Memristive layers by what they stand for."""


def patch_model(
    model: M,
    memristor_model: Any,
    memristor_model_params: Mapping[str, Any],
    module_parameters_to_patch: Iterable[type[nn.Module]] = {},
    mapping_routine: Callable[..., Any] = naive_map,
    transistor: bool = True,
    programming_routine: Callable[..., Any] | None = None,
    programming_routine_params: Mapping[str, Any] = {"rel_tol": 0.1},
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
    **kwargs: Any,
) -> M:
    """Put a model's layers on crossbars, wherever they are in it.

    The model gets the methods ``tune_(tune_kwargs=None)``, ``forward_legacy(enable)``,
    ``disable_legacy()`` and ``set_cuda_malloc_heap_size(size)``.

    Args:
        model: it is changed; copy it before if it is still needed.
        memristor_model: class of the cells.
        memristor_model_params: its keyword arguments.
        module_parameters_to_patch: types of layers to patch. Subclasses are, too, but stay digital,
            with a warning, where they compute otherwise (a ``forward`` of their own).
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
        **kwargs: ``legacy=True`` leaves currents scaled as `naive_scale` scaled their inputs, as
            MemTorch 1.1.6 did. All else has no effect, with a warning.

    Returns:
        The model; if it is itself a layer to patch, the memristive layer.

    Raises:
        Refused: if a type is not supported, or an argument is refused.
    """
    options = {name: value for name, value in locals().items() if name not in _NOT_OPTIONS} | kwargs
    wanted = _types(module_parameters_to_patch)
    kinds, digital = _chosen(model, wanted)
    patched = {module: kind(module, **options) for module, kind in kinds.items()}
    for layer in patched.values():
        if isinstance(layer, RNN):
            layer.return_hidden = True
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name and module in patched:  # more than once, if the model has it more than once
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, patched[module])
    model = patched.get(model, model)
    if digital:
        message = "stay digital, as something else computes with their weights than their type does"
        notice.warn(f"{', '.join(digital)}: {message}")
    elif not _layers(model):
        names = ", ".join(kind.__name__ for kind in wanted) or "no types"
        notice.warn(f"nothing was patched: module_parameters_to_patch has {names}")
    for method in (tune_, forward_legacy, disable_legacy, set_cuda_malloc_heap_size):
        # Not methods of a class, but of this model: they are copied and saved with it.
        setattr(model, method.__name__, functools.partial(method, model))
    return model


_NOT_OPTIONS = ("model", "module_parameters_to_patch", "kwargs")


def _types(given: Any) -> tuple[type[nn.Module], ...]:
    """Return types of layers, given by themselves or by their names in the table."""
    known = {n: getattr(kind, "digital", None) for n, kind in supported_module_parameters.items()}
    found: tuple[Any, ...] = (given,) if isinstance(given, type) else tuple(given)
    found = tuple(known.get(kind, kind) for kind in found)
    for kind in found:
        message = f"module_parameters_to_patch must be types of layers, got {kind!r}"
        require(isinstance(kind, type), message)
    return found


def _chosen(model: nn.Module, wanted: tuple[type[nn.Module], ...]) -> tuple[Any, list[str]]:
    """Return the memristive types of the layers to patch, and the names of those left digital."""
    known = supported_module_parameters
    kinds: dict[nn.Module, Any] = {}
    digital = []
    # They read the weights of their parts themselves.
    attentions = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    closed = {part for attention in attentions for part in attention.children()}
    for name, module in model.named_modules():
        self_contained(module)
        if not isinstance(module, wanted) or isinstance(module, (Memristive, RNN)):
            continue
        found: Any = type(module)
        base: Any = next((base for base in found.__mro__ if str(base) in known), None)
        require(base is not None, f"patching of {found} is not supported")
        own = found.forward is not base.forward or "forward" in vars(module)
        if own or module in closed:
            digital.append(f"{name} ({found.__name__})")
        else:
            kinds[module] = known[str(base)]
    return kinds, digital


def _layers(model: nn.Module) -> list[Any]:
    return [m for m in model.modules() if isinstance(m, (Memristive, RNN))]


def tune_(model: nn.Module, tune_kwargs: Mapping[Any, Mapping[str, Any]] | None = None) -> None:
    """Tune all layers of a model.

    Args:
        model: patched.
        tune_kwargs: keyword arguments of ``tune`` by type of layer: the class, its name or
            ``str`` of it.
    """
    given = tune_kwargs or {}
    layer: Any
    for layer in model.modules():
        if hasattr(layer, "tune") and not getattr(layer, "lent", False):
            kind = type(layer)
            path = f"{kind.__module__}.{kind.__qualname__}".removeprefix("mho.compat.")
            keys = (kind, str(kind), f"<class '{path}'>", kind.__name__)
            layer.tune(**next((given[key] for key in keys if key in given), {}))


def forward_legacy(model: nn.Module, enable_forward_legacy: bool) -> None:
    """Make all layers compute digitally (True) or on their crossbars (False)."""
    enable_forward_legacy = truth("enable_forward_legacy", enable_forward_legacy)
    for layer in _layers(model):
        layer.forward_legacy_enabled = enable_forward_legacy


def disable_legacy(model: nn.Module) -> None:
    """Give up the digital weights; all layers compute on their crossbars from now on."""
    for layer in _layers(model):
        layer.forward_legacy_enabled = False
        for name in [n for n, _ in layer.named_parameters(recurse=False) if "weight" in n]:
            layer.register_parameter(name, None)
    if hasattr(model, "forward_legacy"):
        delattr(model, "forward_legacy")
    torch.cuda.empty_cache()  # nothing where there is none


def set_cuda_malloc_heap_size(model: nn.Module, cuda_malloc_heap_size: int) -> None:
    """Keep a number that has no effect."""
    for layer in _layers(model):
        layer.cuda_malloc_heap_size = cuda_malloc_heap_size
