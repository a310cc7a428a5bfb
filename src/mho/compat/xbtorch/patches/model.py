"""Patching of models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mho.compat._common import seed
from mho.compat.xbtorch._params import get_xbtorch_param, require_initialized
from mho.compat.xbtorch.patches import _deployed
from mho.compat.xbtorch.patches.utils import (
    patched_layers,
    replace_all_layers_stateful,
    replace_all_layers_stateless,
    toggle_xb_eval_all_layers_stateless,
    unpatched,
)
from mho.core import checks

_NO_MAPPINGS: list[Any] = []  # stands for "not given"; nothing is ever put into it
_NO_ARGS: dict[str, Any] = {}
_TRIES = 20  # of random places: large matrices may be in one another's way

# ── methods that a model gets ────────────────────────────────────────────────────────────────


def xb_eval(model: Any, accelerator: Any, enable: bool = True) -> None:
    """Compute on the accelerator from now on, or no longer.

    Without a chip, and without a seed that says which, a model is deployed on other cells.
    """
    model.xb_forward = enable
    if enable:
        _take_cells(model, accelerator)
    toggle_xb_eval_all_layers_stateless(model, enable)


def _take_cells(model: Any, accelerator: Any) -> None:
    given, drawn = getattr(accelerator, "_seed", None), seed()
    for number, layer in enumerate(patched_layers(model)):
        layer._xb_number, layer._xb_drawn = number, drawn
        if layer._xb_base is None:
            layer._xb_base = given


def initialize_array_mappings(
    model: Any,
    accelerator: Any,
    output_polling_mode: str = "avg",
    existing_mappings: list[Any] = _NO_MAPPINGS,
    additional_args: Mapping[str, Any] = _NO_ARGS,
) -> None:
    """Write the model to the chip.

    Args:
        model: patched.
        accelerator: with the chip.
        output_polling_mode: how the currents of copies become one: ``"avg"``, ``"sum"``, or
            ``"reduced_avg"`` (of the rows that the encoding keeps).
        existing_mappings: places that are taken, for example by other members of a committee;
            those of this model are added to it. Without it nothing is taken.
        additional_args: of the encoding.

    Raises:
        ValueError: if there is no chip, the mode is unknown, or the model does not fit.
    """
    if not accelerator.stateful:
        raise ValueError("a model without a chip (stateless) cannot be mapped to one")
    checks.one_of("output_polling_mode", output_polling_mode, _deployed.MODES)
    taken = [] if existing_mappings is _NO_MAPPINGS else existing_mappings
    before = list(taken)
    for attempt in range(_TRIES):
        try:
            for layer in patched_layers(model):
                layer._xb_map(output_polling_mode, taken, dict(additional_args))
            break
        except ValueError:
            if attempt == _TRIES - 1 or len(taken) == len(before):
                raise  # it cannot be that places are in one another's way
            taken[:] = before
    model._array_mappings_all = taken


def get_array_mappings(model: Any, accelerator: Any) -> list[dict[str, Any]]:
    """Return where each matrix is: places of its positive and negative arrays."""
    found = [mapping for layer in patched_layers(model) for mapping in layer._xb_mappings.values()]
    return [{"Gpos": m["Gpos"], "Gneg": m["Gneg"]} for m in found if m]


def reprogram_xb(model: Any, accelerator: Any, programming_seed: int) -> None:
    """Take the cells of a seed for a model without a chip; each next layer has the next seed."""
    accelerator.programming_seed = int(programming_seed)
    for layer in patched_layers(model):
        layer._xb_base = int(programming_seed)


_METHODS = (xb_eval, initialize_array_mappings, get_array_mappings, reprogram_xb)


def xbtorch_model(
    original_model: Any, replace_all: bool = False, exclude: Sequence[str] | None = None
) -> Any:
    """Make a model XBTorch's.

    Its layers learn on cells, with decomposed gradients, and quantised, as `initialize` was told.
    Weights stay what they are. If there is an accelerator the model gets ``xb_eval(enable=True)``,
    ``initialize_array_mappings(…)``, ``get_array_mappings()`` and ``reprogram_xb(seed)``.

    Args:
        original_model: with its layers one after the other in ``model.model``; it is changed.
        replace_all: replace layers anywhere in the model.
        exclude: with ``replace_all``, names of children that stay as they are.

    Returns:
        The model given. Layers with matrices that stay as they are are named in a warning.

    Raises:
        RuntimeError: before `initialize`; without ``replace_all``, if there is no ``model.model``.
    """
    require_initialized()
    accelerator = get_xbtorch_param("inference_accelerator")
    if replace_all:
        replace_all_layers_stateless(original_model, exclude or ())
    elif hasattr(original_model, "model"):
        replace_all_layers_stateful(original_model, get_xbtorch_param("wage_quantize"))
    else:
        raise RuntimeError(
            "the model has no attribute model with its layers; give replace_all=True to replace "
            "layers anywhere in it"
        )
    original_model.xb_forward = False
    for method in _METHODS:
        vars(original_model).pop(method.__name__, None)
        if accelerator is not None:  # unlike a closure this is copied and saved with the model
            setattr(original_model, method.__name__, partial(method, original_model, accelerator))
    if accelerator is not None:
        _take_cells(original_model, accelerator)
    _warn(original_model, exclude or ())
    return original_model


def _warn(model: Any, exclude: Sequence[str]) -> None:
    left, patched = unpatched(model, exclude), any(patched_layers(model))
    if patched and not left:
        return
    kinds = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in left.items())
    warnings.warn(
        f"xbtorch_model {'left' if patched else 'replaced nothing and left'} as they are, "
        f"digital: {kinds or 'all layers, none of which has a matrix'}",
        stacklevel=3,
    )
