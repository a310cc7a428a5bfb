"""Settings of parameter groups, as they are at this step: schedulers and people change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from mho.core import checks

_BOUNDS: Mapping[str, Mapping[str, float]] = {
    "momentum": {"least": 0.0},
    "momentum_decay": {"least": 0.0},
    "weight_decay": {"least": 0.0},
    "lr_decay": {"least": 0.0},
    "eps": {"least": 0.0},
    "alpha": {"least": 0.0},
    "lambd": {},
    "dampening": {},
    "rho": {"least": 0.0, "most": 1.0},
    "betas": {"least": 0.0, "below": 1.0},
    "etas": {"above": 0.0},
    "step_sizes": {"least": 0.0},
}
"""What torch's optimizers ask of their settings when they are made, and at no later step."""

_TRUTHS = ("maximize", "nesterov", "amsgrad", "centered")


def by_parameter(groups: Iterable[Mapping[str, Any]]) -> dict[Any, float]:
    """Return the learning rate of every parameter.

    Raises:
        TypeError, ValueError: if one is no finite number >= 0 (0 is a schedule's: a warm-up), or
            another setting of torch's optimizers is none that they would have been made with.
    """
    found: dict[Any, float] = {}
    for number, group in enumerate(groups):
        where = f"of parameter group {number}"
        rate = checks.number(f"lr {where}", _plain(group.get("lr", 0.0)), least=0.0)
        for name in group:
            if name in _BOUNDS:
                _check(name, where, group[name])
            elif name in _TRUTHS:
                checks.truth(f"{name} {where}", group[name])
        found.update(dict.fromkeys(group["params"], float(rate)))
    return found


def _check(name: str, where: str, value: Any) -> None:
    if isinstance(value, (tuple, list)):
        for place, one in enumerate(value):
            _check_one(f"{name}[{place}] {where}", one, _BOUNDS[name])
    else:
        _check_one(f"{name} {where}", value, _BOUNDS[name])


def _check_one(name: str, value: Any, bounds: Mapping[str, float]) -> None:
    if value is not None:  # as the first eps of Adafactor, which then is the dtype's
        checks.number(name, _plain(value), **bounds)


def _plain(value: Any) -> Any:
    # Of one number, whatever its shape, torch makes a learning rate.
    return value.detach().reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value
