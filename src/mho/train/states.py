"""States of optimizers: whether one is of the optimizer that it is loaded into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from mho.core import checks

# What others write into groups: schedulers, and torch since it knows it (older states lack it).
_BESIDE = {"params", "param_names", "initial_lr", "max_lr", "min_lr", "max_momentum"}
_BESIDE |= {"base_momentum", "swa_lr", "foreach", "fused", "capturable", "differentiable"}
_BESIDE |= {"maximize", "decoupled_weight_decay"}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "SGD": (),
    "Adam": ("step", "exp_avg", "exp_avg_sq"),
    "AdamW": ("step", "exp_avg", "exp_avg_sq"),
    "NAdam": ("step", "mu_product", "exp_avg", "exp_avg_sq"),
    "RAdam": ("step", "exp_avg", "exp_avg_sq"),
    "Adamax": ("step", "exp_avg", "exp_inf"),
    "Adadelta": ("step", "square_avg", "acc_delta"),
    "Adagrad": ("step", "sum"),
    "ASGD": ("step", "eta", "mu", "ax"),
    "RMSprop": ("step", "square_avg"),
    "Rprop": ("step", "prev", "step_size"),
}
"""What torch's optimizers keep of a parameter; all but single numbers in its shape."""


def refuse_other(optimizer: Optimizer, state: Any) -> None:
    """Refuse what is no state of this kind of optimizer, before anything of it is taken.

    Torch looks at the number of groups and parameters alone, and what is missing is missed by the
    next step. Kinds are told apart by their settings: each knows one that the other does not.

    Args:
        optimizer: torch's, or of its kind.
        state: what is to be loaded.

    Raises:
        TypeError, ValueError: saying in what it differs.
    """
    checks.instance("state_dict", state, Mapping)
    for name, kind in (("state", Mapping), ("param_groups", (list, tuple))):
        if not isinstance(state.get(name), kind):
            raise ValueError(f"state_dict must have {name!r}, as state_dict() gives it")
    own, given = optimizer.param_groups, state["param_groups"]
    if [_count(group) for group in given] != [_count(group) for group in own]:
        raise ValueError(
            f"state_dict must be of groups of {[_count(g) for g in own]} parameters, got "
            f"{[_count(g) for g in given]}"
        )
    for number, (group, theirs) in enumerate(zip(own, given, strict=True)):
        lacking, strange = ({*a} - {*b} - _BESIDE for a, b in ((group, theirs), (theirs, group)))
        if lacking and strange:
            raise ValueError(
                f"state_dict is of another optimizer than {type(optimizer).__name__}: its group "
                f"{number} has {_listed(strange)} and no {_listed(lacking)}"
            )
    if type(optimizer).__name__ in _NEEDED:
        _refuse_kept(optimizer, state)


def _refuse_kept(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    kind = type(optimizer).__name__
    for number, parameter in zip(numbers, parameters, strict=True):
        kept = state["state"].get(number, {})
        lacking = {*_NEEDED[kind]} - {*kept}
        if kept and lacking:
            raise ValueError(
                f"state_dict is of another optimizer than {kind}: of parameter {number} it keeps "
                f"no {_listed(lacking)}"
            )
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(
                    f"state_dict's {name} of parameter {number} must have shape "
                    f"{list(parameter.shape)}, got {list(value.shape)}"
                )


def _count(group: Any) -> int:
    return len(group["params"]) if isinstance(group, Mapping) and "params" in group else -1


def _listed(names: set[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
