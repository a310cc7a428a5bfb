"""Patching of models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mho.compat._common import seed, truth
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch._params import get_xbtorch_param, require_initialized
from mho.compat.xbtorch.deployment._given import NO_ARGS, NOWHERE
from mho.compat.xbtorch.patches import _deployed
from mho.compat.xbtorch.patches.utils import (
    patched_layers,
    replace_all_layers_stateful,
    replace_all_layers_stateless,
    toggle_xb_eval_all_layers_stateless,
    unpatched,
)
from mho.core import checks

_TRIES = 20  # of random places: large matrices may be in one another's way

# ── methods that a model gets ────────────────────────────────────────────────────────────────


def xb_eval(model: Any, accelerator: Any, enable: bool = True) -> None:
    """Compute on the accelerator from now on, or no longer."""
    enable = truth("enable", enable)
    model.xb_forward = enable
    toggle_xb_eval_all_layers_stateless(model, enable)


def initialize_array_mappings(
    model: Any,
    accelerator: Any,
    output_polling_mode: str = "avg",
    existing_mappings: list[Any] = NOWHERE,
    additional_args: Mapping[str, Any] = NO_ARGS,
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
    taken = [] if existing_mappings is NOWHERE else existing_mappings
    if any(isinstance(place, Mapping) for place in taken):
        raise TypeError(
            "existing_mappings must be a list of ((row, column), (rows, columns)): give all models "
            "of a chip the same one, which collects them"
        )
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
    """Take the cells of a seed for this model, without a chip; each next layer has the next."""
    base = whole("programming_seed", programming_seed, least=0)
    for layer in patched_layers(model):
        layer._xb_cells = (base, *layer._xb_cells[1:])


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
        exclude: with ``replace_all``, names or dotted paths of children that stay as they are.

    Returns:
        The model given. Layers with matrices that stay as they are are named in a warning.

    Raises:
        RuntimeError: before `initialize`; without ``replace_all``, if there is no ``model.model``.
    """
    replace_all = truth("replace_all", replace_all)
    require_initialized()
    exclude = [exclude] if isinstance(exclude, str) else list(exclude or ())
    accelerator = get_xbtorch_param("inference_accelerator")
    if replace_all:
        replace_all_layers_stateless(original_model, exclude)
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
    drawn = 0 if accelerator is None else seed()
    for number, layer in enumerate(patched_layers(original_model)):
        layer._xb_cells = (None, drawn, number)
    _warn(original_model, exclude)
    return original_model


def _warn(model: Any, exclude: Sequence[str]) -> None:
    names = {part for path, _ in model.named_modules() for part in (path, path.split(".")[-1])}
    if not names.issuperset(exclude):
        unknown = ", ".join(map(repr, sorted(set(exclude) - names)))
        warnings.warn(f"exclude names what the model has not: {unknown}", stacklevel=3)
    left, patched = unpatched(model, exclude), any(patched_layers(model))
    if patched and not left:
        return
    kinds = "; ".join(f"{kind} ({', '.join(found)})" for kind, found in left.items())
    warnings.warn(
        f"xbtorch_model {'left' if patched else 'replaced nothing and left'} as they are, "
        f"digital: {kinds or 'all layers, none of which has a matrix'}",
        stacklevel=3,
    )
