"""The settings of a session: the one global state of this layer, because its API is built on it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from mho.compat.xbtorch.quant import wage_qtorch

_QUANTISERS = ("quantizer_weight", "quantizer_grad", "grad_clip", "quantizer_act_error")


class WeightQuantizer:
    """Weights as they are read, see `wage_qtorch.QW`."""

    def __init__(self, bits: int, mode: str) -> None:
        self.bits, self.mode = bits, mode

    def __call__(self, x: Tensor, scale: float) -> Tensor:
        """Round to the layer's grid."""
        return x if self.bits == -1 else wage_qtorch.QW(x, self.bits, scale, mode=self.mode)


class GradientQuantizer:
    """Steps of the weights as they are kept, see `wage_qtorch.QG`."""

    def __init__(self, bits: int, mode: str) -> None:
        self.bits, self.mode = bits, mode

    def __call__(self, x: Tensor, lr: float) -> Tensor:
        """Normalise, scale by the learning rate, round."""
        return lr * x if self.bits == -1 else wage_qtorch.QG(x, self.bits, lr, mode=self.mode)


class Clip:
    """Limits of the weights as they are kept, see `wage_qtorch.C`."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def __call__(self, x: Tensor) -> Tensor:
        """Clip."""
        return x if self.bits == -1 else wage_qtorch.C(x, self.bits)


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
        "wl_weight": 2,
        "wl_activation": 8,
        "wl_grad": 8,
        "wl_error": 8,
        "rounding_weight": "nearest",
        "rounding_activation": "nearest",
        "rounding_grad": "nearest",
        "rounding_error": "nearest",
    }
    _global_dict: ClassVar[dict[str, Any]] = dict(_defaults)

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
            pytorch_device: where tensors live.
            wage_quantize: train with WAGE quantisation.
            wage_params: those of its parameters that are not at their defaults: bits ``wl_*`` (-1
                for none), ``rounding_*``; or quantisers of one's own, ``quantizer_weight(x,
                scale)``, ``quantizer_grad(x, lr)``, ``grad_clip(x)``, ``quantizer_act_error(bits_A,
                bits_E)``.
            inference_accelerator: the accelerator that models are deployed on.

        Raises:
            TypeError: if a part is of another kind, or ``weight_range`` is no range.
        """
        _check_kind("decomposition algorithm", decomposition_algorithm, "decompose")
        _check_kind("device type", device_type, "write", "weight_to_conductance")
        _check_kind("accelerator", inference_accelerator, "DAC_quantize", "ADC_quantize")
        values = dict(self._defaults)
        values.update(
            initialized=True,
            decomposition_algorithm=decomposition_algorithm,
            device_type=device_type,
            pytorch_device=pytorch_device,
            weight_range=_range(weight_range),
            inference_accelerator=inference_accelerator,
            wage_quantize=bool(wage_quantize),
            wage_params=self._wage(wage_params) if wage_quantize else {},
        )
        self._global_dict.clear()
        self._global_dict.update(values)

    def _wage(self, given: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(given) - set(self._wage_defaults) - set(_QUANTISERS))
        if unknown:
            warnings.warn(f"wage_params has no meaning for {', '.join(unknown)}", stacklevel=4)
        found = {key: given.get(key, value) for key, value in self._wage_defaults.items()}
        found["quantizer_weight"] = WeightQuantizer(found["wl_weight"], found["rounding_weight"])
        found["quantizer_grad"] = GradientQuantizer(found["wl_grad"], found["rounding_grad"])
        found["grad_clip"] = Clip(found["wl_weight"])
        found["quantizer_act_error"] = partial(
            wage_qtorch.WAGEQuantizer,
            A_mode=found["rounding_activation"],
            E_mode=found["rounding_error"],
        )
        found.update({key: given[key] for key in _QUANTISERS if key in given})
        return found


def _check_kind(what: str, value: Any, *methods: str) -> None:
    # By what it does: a module of this layer that looked its classes up here would be a cycle.
    if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
        raise TypeError(f"Invalid {what} provided: {value!r} has no {', '.join(methods)}")


def _range(given: Any) -> tuple[float, float]:
    try:
        low, high = given
        valid = bool(low < high)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise TypeError(f"Invalid weight range provided: must be (low, high), got {given!r}")
    return low, high


def get_xbtorch_param(key: str, default: Any = None) -> Any:
    """Return a parameter of the session.

    Args:
        key: its name.
        default: what is returned if there is none of that name.
    """
    return XBParams().get_var(key, default)


def initialize(*args: Any, **kwargs: Any) -> None:
    """Start a session; see `XBParams.initialize`."""
    XBParams().initialize(*args, **kwargs)


def require_initialized() -> None:
    """Refuse to go on before `initialize` (RuntimeError)."""
    if not get_xbtorch_param("initialized"):
        raise RuntimeError("XBTorch needs to be initialized: call xbtorch.initialize(...) first")
