"""The settings of a session: the one global state of this layer, because its API is built on it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.compat._common import truth
from mho.compat.xbtorch._numbers import integral
from mho.compat.xbtorch.quant import wage_qtorch
from mho.core import checks

# Quantisers that may be one's own, and what they quantise.
_QUANTISERS = {
    "quantizer_weight": ("weight",),
    "quantizer_grad": ("grad",),
    "grad_clip": (),
    "quantizer_act_error": ("activation", "error"),
}


def read_weight(x: Tensor, scale: float, bits: int, mode: str) -> Tensor:
    """Return weights as they are read; see `wage_qtorch.QW`."""
    return wage_qtorch.QW(x, bits, scale, mode)


def gradient_step(x: Tensor, lr: float, bits: int, mode: str) -> Tensor:
    """Return steps of the weights as they are kept; see `wage_qtorch.QG`."""
    return wage_qtorch.QG(x, bits, lr, mode)


class XBParams:
    """The settings that `initialize` makes and layers, optimizers and devices look up.

    There is one instance in a process. Every `initialize` starts from the defaults: nothing of an
    earlier one survives.
    """

    _instance: ClassVar[XBParams | None] = None
    _defaults: ClassVar[dict[str, Any]] = {
        "initialized": False,
        "decomposition_algorithm": None,
        "device_type": None,
        "pytorch_device": "cpu",
        "inference_accelerator": None,
        "weight_range": (-1, 1),
        "wage_quantize": False,
        "wage_params": {},
    }
    _wage_defaults: ClassVar[dict[str, Any]] = {
        **{"wl_weight": 2, "wl_activation": 8, "wl_grad": 8, "wl_error": 8},
        **{f"rounding_{part}": "nearest" for part in ("weight", "activation", "grad", "error")},
    }
    _global_dict: ClassVar[dict[str, Any]] = {**_defaults, "wage_params": {}}

    def __new__(cls) -> XBParams:
        """Return the one instance."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def set_var(self, key: str, value: Any) -> None:
        """Set one parameter."""
        self._global_dict[key] = value

    def get_var(self, key: str, default: Any = None) -> Any:
        """Return one parameter, or the default if there is none of that name."""
        return self._global_dict.get(key, default)

    def initialize(
        self,
        decomposition_algorithm: Any = None,
        device_type: Any = None,
        weight_range: Sequence[float] = (-1, 1),
        pytorch_device: Any = "cpu",
        wage_quantize: bool = False,
        wage_params: Mapping[str, Any] = {},
        inference_accelerator: Any = None,
    ) -> None:
        """Choose what models that are patched from now on are made of.

        Args:
            decomposition_algorithm: what gradients are decomposed by.
            device_type: the device whose cells hold the weights in training.
            weight_range: lowest and highest weight that its window stands for.
            pytorch_device: where devices' tables and sweeps live; all else follows its tensors.
            wage_quantize: train with WAGE quantisation.
            wage_params: those of its parameters that are not at their defaults: bits ``wl_*`` (-1
                for none), ``rounding_*``; or quantisers of one's own, ``quantizer_weight(x,
                scale)``, ``quantizer_grad(x, lr)`` (it returns the step), ``grad_clip(x)``,
                ``quantizer_act_error(bits_A, bits_E)``. What has no meaning is warned of.
            inference_accelerator: the accelerator that models are deployed on.

        Raises:
            TypeError: if a part is of another kind, or ``weight_range`` is no range.
            ValueError: if WAGE's bits or roundings are none.
        """
        wage_quantize = truth("wage_quantize", wage_quantize)
        _check_kind("decomposition algorithm", decomposition_algorithm, "decompose")
        _check_kind("device type", device_type, "write", "weight_to_conductance")
        _check_place(pytorch_device)
        _check_kind("accelerator", inference_accelerator, "DAC_quantize", "ADC_quantize")
        if wage_params and not wage_quantize:
            warnings.warn("wage_params have no meaning without wage_quantize", stacklevel=3)
        values = dict(
            self._defaults,
            initialized=True,
            decomposition_algorithm=decomposition_algorithm,
            device_type=device_type,
            pytorch_device=pytorch_device,
            weight_range=_range(weight_range),
            inference_accelerator=inference_accelerator,
            wage_quantize=wage_quantize,
            wage_params=_wage(self._wage_defaults, wage_params or {}) if wage_quantize else {},
        )
        self._global_dict.clear()
        self._global_dict.update(values)


def _wage(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return WAGE's parameters and quantisers; warn of what has no meaning, refuse what is none."""
    own = {key: given[key] for key in _QUANTISERS if given.get(key) is not None}
    found = {key: integral(given.get(key, value)) for key, value in defaults.items()}
    idle = set(given) - set(found) - set(_QUANTISERS)
    for name, parts in _QUANTISERS.items():
        for part in parts:
            mode = found[f"rounding_{part}"]
            if name not in own:
                wage_qtorch.WAGEQuantizer(found[f"wl_{part}"], -1, mode)  # refuses what is none
            elif mode != "nearest":
                idle.add(f"rounding_{part}")
    if "quantizer_grad" in own and found["wl_grad"] != defaults["wl_grad"]:
        idle.add("wl_grad")
    if idle:
        warnings.warn(f"wage_params has no meaning for {', '.join(sorted(idle))}", stacklevel=4)

    def bound(function: Any, part: str) -> Any:
        return partial(function, bits=found[f"wl_{part}"], mode=found[f"rounding_{part}"])

    modes = {"A_mode": found["rounding_activation"], "E_mode": found["rounding_error"]}
    return {
        **found,
        "quantizer_weight": bound(read_weight, "weight"),
        "quantizer_grad": bound(gradient_step, "grad"),
        "grad_clip": partial(wage_qtorch.C, bits=found["wl_weight"]),
        "quantizer_act_error": partial(wage_qtorch.WAGEQuantizer, **modes),
        **own,
    }


def _check_kind(what: str, value: Any, *methods: str) -> None:
    # By what it does: a module of this layer that looked its classes up here would be a cycle.
    if isinstance(value, type):
        raise TypeError(f"Invalid {what} provided: {value!r} is a class, give an object of it")
    if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
        raise TypeError(f"Invalid {what} provided: {value!r} has no {', '.join(methods)}")


def _check_place(device: Any) -> None:
    try:
        torch.device("cpu" if device is None else device)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"Invalid pytorch device provided: {device!r} ({error})") from None


def _range(given: Any) -> tuple[float, float]:
    with suppress(TypeError, ValueError):
        low, high = map(checks.plain, given)
        if low < high:
            return low, high
    raise TypeError(f"Invalid weight range provided: must be (low, high), got {given!r}")


def get_xbtorch_param(key: str, default: Any = None) -> Any:
    """Return a parameter of the session, or the default if there is none of that name."""
    return XBParams().get_var(key, default)


def initialize(*args: Any, **kwargs: Any) -> None:
    """Start a session; see `XBParams.initialize`."""
    XBParams().initialize(*args, **kwargs)


def require_initialized() -> None:
    """Refuse to go on before `initialize` (RuntimeError)."""
    if not get_xbtorch_param("initialized"):
        raise RuntimeError("XBTorch needs to be initialized: call xbtorch.initialize(...) first")
