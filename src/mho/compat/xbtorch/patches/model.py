"""Patching of models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mho.compat.xbtorch._params import get_xbtorch_param, require_initialized
from mho.compat.xbtorch._seeds import seed
from mho.compat.xbtorch.patches import _deployed
from mho.compat.xbtorch.patches._layer import CrossbarLayer
from mho.compat.xbtorch.patches.utils import (
    replace_all_layers_stateful,
    replace_all_layers_stateless,
    toggle_xb_eval_all_layers_stateless,
    unpatched,
)
from mho.core import checks

_NO_MAPPINGS: list[Any] = []  # stands for "not given"; nothing is ever put into it
_NO_ARGS: dict[str, Any] = {}
_TRIES = 20  # of random places: large matrices may be in one another's way

_METHODS = ("xb_eval", "initialize_array_mappings", "get_array_mappings", "reprogram_xb")


class _Method:
    """A method of one model. Unlike a closure it is copied and saved with the model."""

    def __init__(self, model: Any, accelerator: Any, everywhere: bool) -> None:
        # Not as attributes of a module: the model would be a part of itself.
        self.model, self.accelerator, self.everywhere = model, accelerator, everywhere

    @property
    def layers(self) -> list[Any]:
        """Layers of XBTorch's in the model, in the order of its modules."""
        return [m for m in self.model.modules() if isinstance(m, CrossbarLayer)]

    def draw(self) -> None:
        """Take other cells, where nobody asked for certain ones."""
        given = getattr(self.accelerator, "_seed", None)
        drawn = 0 if self.accelerator.stateful else seed()
        for number, layer in enumerate(self.layers):
            layer._xb_number, layer._xb_drawn = number, drawn
            if layer._xb_base is None:
                layer._xb_base = given


class XbEval(_Method):
    """``model.xb_eval(enable=True)``."""

    def __call__(self, enable: bool = True) -> None:
        """Compute on the accelerator from now on, or no longer.

        Without a chip, and without a seed that says which, a model is deployed on other cells.
        """
        self.model.xb_forward = enable
        if enable:
            self.draw()
        toggle_xb_eval_all_layers_stateless(self.model, enable)


class InitializeArrayMappings(_Method):
    """``model.initialize_array_mappings(…)``."""

    def __call__(
        self,
        output_polling_mode: str = "avg",
        existing_mappings: list[Any] = _NO_MAPPINGS,
        additional_args: Mapping[str, Any] = _NO_ARGS,
    ) -> None:
        """Write the model to the chip.

        Args:
            output_polling_mode: how the currents of copies become one: ``"avg"``, ``"sum"``, or
                ``"reduced_avg"`` (of the rows that the encoding keeps).
            existing_mappings: places that are taken, for example by other members of a committee;
                those of this model are added to it. Without it nothing is taken.
            additional_args: of the encoding.

        Raises:
            ValueError: if there is no chip, the mode is unknown, or the model does not fit.
        """
        if self.everywhere or not self.accelerator.stateful:
            raise ValueError("a model without a chip (stateless) cannot be mapped to one")
        checks.one_of("output_polling_mode", output_polling_mode, _deployed.MODES)
        taken = [] if existing_mappings is _NO_MAPPINGS else existing_mappings
        before = list(taken)
        for attempt in range(_TRIES):
            try:
                for layer in self.layers:
                    layer._xb_map(output_polling_mode, taken, dict(additional_args))
                break
            except ValueError:
                if attempt == _TRIES - 1 or len(taken) == len(before):
                    raise  # it cannot be that places are in one another's way
                taken[:] = before
        self.model._array_mappings_all = taken


class GetArrayMappings(_Method):
    """``model.get_array_mappings()``."""

    def __call__(self) -> list[dict[str, Any]]:
        """Return where each matrix is: places of its positive and negative arrays."""
        return [
            {"Gpos": mapping["Gpos"], "Gneg": mapping["Gneg"]}
            for layer in self.layers
            for mapping in layer._xb_mappings.values()
            if "Gpos" in mapping
        ]


class ReprogramXb(_Method):
    """``model.reprogram_xb(seed)``."""

    def __call__(self, programming_seed: int) -> None:
        """Take other cells for a model without a chip.

        Args:
            programming_seed: of the first layer; each next one has the next.
        """
        self.accelerator.programming_seed = int(programming_seed)
        for layer in self.layers:
            layer._xb_base = int(programming_seed)


def xbtorch_model(
    original_model: Any, replace_all: bool = False, exclude: Sequence[str] | None = None
) -> Any:
    """Make a model XBTorch's.

    Its layers learn on cells, with decomposed gradients, and quantised, as `initialize` was told.
    Weights stay what they are. If there is an accelerator the model gets ``xb_eval(enable=True)``,
    ``initialize_array_mappings(…)``, ``get_array_mappings()`` and ``reprogram_xb(seed)``.

    Args:
        original_model: with its layers one after the other in ``model.model``; it is changed.
        replace_all: replace layers anywhere in the model; without a chip.
        exclude: with ``replace_all``, names of children that stay as they are.

    Returns:
        The model given.

    Raises:
        RuntimeError: before `initialize`; without ``replace_all``, if there is no ``model.model``.
    """
    require_initialized()
    accelerator = get_xbtorch_param("inference_accelerator")
    for name in _METHODS:
        original_model.__dict__.pop(name, None)
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
    if accelerator is not None:
        kinds = (XbEval, InitializeArrayMappings, GetArrayMappings, ReprogramXb)
        for name, kind in zip(_METHODS, kinds, strict=True):
            setattr(original_model, name, kind(original_model, accelerator, replace_all))
        original_model.xb_eval.draw()
    _warn(original_model, exclude or ())
    return original_model


def _warn(model: Any, exclude: Sequence[str]) -> None:
    """Name what stays digital, once."""
    patched = any(isinstance(m, CrossbarLayer) for m in model.modules())
    left = unpatched(model, exclude)
    if patched and not left:
        return
    kinds = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in left.items())
    warnings.warn(
        f"xbtorch_model {'left' if patched else 'replaced nothing and left'} as they are, "
        f"digital: {kinds or 'all layers, none of which has a matrix'}",
        stacklevel=3,
    )
