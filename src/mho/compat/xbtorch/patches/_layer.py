"""What makes a torch layer one of XBTorch's: samples for decompositions, and deployment."""

# mypy: disable-error-code="misc,no-any-return"
from __future__ import annotations

import functools
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mho.compat.xbtorch._params import get_xbtorch_param, require_initialized
from mho.compat.xbtorch.deployment._given import call
from mho.compat.xbtorch.patches import _deployed
from mho.core import random
from mho.decomposition.convolution import convolution_samples
from mho.periphery.quantize import magnitude
from mho.recurrence.form import Form

C = TypeVar("C", bound=type)


class CrossbarLayer(nn.Module):
    """Mixed into a torch layer.

    Attributes:
        inference_accelerator: what it is deployed on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_initialized()
        super().__init__(*args, **kwargs)
        self._xb_setup()

    def _xb_setup(self) -> None:
        self._xb_inference = False
        self.inference_accelerator = get_xbtorch_param("inference_accelerator")
        self._xb_samples = get_xbtorch_param("decomposition_algorithm") is not None
        # Of its cells without a chip: the seed asked for, the one drawn, and its number.
        self._xb_cells: tuple[int | None, int, int] = (None, 0, 0)
        parts = Form.of(self).parts if isinstance(self, nn.RNNBase) else ()
        names = [f"weight_{part}" for part in parts] or ["weight"]
        self._xb_mappings: dict[str, dict[str, Any]] = {name: {} for name in names}
        self._xb_found: dict[str, Any] = {}

    @property
    def _array_mappings(self) -> dict[str, Any]:
        """Where the matrix (of several, the first) is on the chip."""
        return next(iter(self._xb_mappings.values()))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the torch layer; deployed, its products are the accelerator's."""
        if self._xb_inference:
            return _deployed.forward(self, super().forward, args, kwargs)
        if not self._xb_samples or not torch.is_grad_enabled() or isinstance(self, nn.RNNBase):
            return super().forward(*args, **kwargs)
        with _deployed.Products(self, self._xb_recorded):
            return super().forward(*args, **kwargs)

    def _xb_recorded(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute a product whose samples the weight gets when its gradient is known."""
        weight: Any = self.weight
        x, output = args[0] if args else kwargs["input"], func(*args, **kwargs)

        def keep(grad: Tensor) -> None:
            if isinstance(self, nn.Conv2d):
                found, delta = convolution_samples(self, x.detach(), grad.detach())
            else:
                found, delta = (part.detach().reshape(-1, part.shape[-1]) for part in (x, grad))
            weight.input, weight.delta = found, delta

        if output.requires_grad:
            output.register_hook(keep)
        return output

    # ── deployment ───────────────────────────────────────────────────────────────────────────

    @property
    def _xb_programming_seed(self) -> int:
        """Of its cells without a chip; a model's layers have one after the other."""
        accelerator = self.inference_accelerator
        base, drawn, number = self._xb_cells
        base = getattr(accelerator, "programming_seed", None) if base is None else base
        if base is None:  # nobody asked for certain cells
            base = random.derive(getattr(accelerator, "_drawn", 0), drawn)
        return (int(base) + number) % 2**63

    def _xb_seed(self, name: str) -> int:
        """Of a matrix's cells: a layer's several matrices are different ones."""
        seed = self._xb_programming_seed
        return seed if name == "weight" else random.derive(seed, name)

    def _xb_map(self, mode: str, taken: list[Any], args: dict[str, Any]) -> None:
        """Write all matrices to the chip."""
        accelerator: Any = self.inference_accelerator
        for name in self._xb_mappings:
            weight = getattr(self, name).detach().flatten(1)
            place, shape = accelerator.xb_mapping_scheme, tuple(weight.shape)
            positive, negative = (
                call(place, accelerator, shape, current_mappings=taken) for _ in range(2)
            )
            masks = accelerator.map_weights_to_array(
                weight, pos_idxs=positive, neg_idxs=negative, additional_args=args
            )
            found: dict[str, Any] = {"Gpos": positive, "Gneg": negative}
            found |= {"output_polling_mode": mode, "gamma": magnitude(weight)}
            if masks is not None and masks[0] is not None:
                found["maskpos"], found["maskneg"] = (mask.unsqueeze(1) for mask in masks)
            self._xb_mappings[name] = found

    def _xb_read(self, name: str, by_cell: bool = False) -> Tensor:
        """Return the combined conductances ``[outputs, inputs]`` of a matrix."""
        return _deployed.combined(self, name, by_cell).matrix

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and save: classes made by patching have no name of their own to be found by."""
        patched = vars(type(self)).get("_xb_patched")
        if patched is None:
            return super().__reduce_ex__(protocol)
        return _empty, (patched,), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """Copies of a parameter lose what is known of it: weights as WAGE keeps them."""
        known = {name: vars(p) for name, p in self._parameters.items() if p is not None}
        return {**vars(self), "_xb_known": known}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        for name, known in state.pop("_xb_known", {}).items():
            vars(state["_parameters"][name]).update(known)
        super().__setstate__(state)


def mixed(mixin: type, cls: C, **extra: Any) -> C:
    """Return a subclass of the same name."""
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    made: Any = type(cls.__name__, (mixin, cls), names | extra)
    return made


@functools.cache
def patched_class(cls: Any) -> Any:
    """Return XBTorch's class for a layer class of the user's own."""
    return mixed(CrossbarLayer, cls, _xb_patched=cls)


def _empty(cls: type) -> Any:
    kind: Any = patched_class(cls)
    return kind.__new__(kind)
