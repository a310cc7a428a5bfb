"""States of optimizers: whether one is of the optimizer that it is loaded into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, optim
from torch.optim import Optimizer

from mho.core import checks

# What others write into groups: schedulers, and torch since it knows it (older states lack it).
_BESIDE = {
    *("params", "param_names", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"),
    *("swa_lr", "foreach", "fused", "capturable", "differentiable", "maximize"),
    "decoupled_weight_decay",
}
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
_SINGLE = ("step", "mu_product", "eta", "mu")
"""Single numbers, of shape [] or, as some versions of torch kept them, [1]."""


def kind(optimizer: Optimizer) -> str:
    """Return the name of an optimizer's class; of one derived from torch's, of torch's."""
    own = type(optimizer)
    return next((base.__name__ for base in own.__mro__ if _is_torch_s(base)), own.__name__)


def _is_torch_s(given: type) -> bool:
    return given is not Optimizer and given is getattr(optim, given.__name__, None)


def refuse_other_inside(wrapper: Optimizer, inner: Optimizer, told: Any) -> None:
    """Refuse the state of a wrapper around another kind of optimizer.

    Args:
        wrapper: that loads the state.
        inner: the optimizer inside.
        told: what the state says of the one inside, as `kind` does; None if it says nothing, as
            those of older versions.

    Raises:
        ValueError: if it is of another kind.
    """
    if told not in (None, kind(inner), type(inner).__name__):
        name = type(wrapper).__name__
        raise ValueError(f"state_dict is of {name}({told}), not of {name}({kind(inner)})")


def refuse_other(optimizer: Optimizer, state: Any) -> None:
    """Refuse what is no state of this kind of optimizer, before anything of it is taken.

    Torch looks at the number of groups and parameters alone, and what is missing is missed by the
    next step. Kinds are told apart by their settings: each knows one that the other does not.
    What users themselves write into groups tells nothing.

    Args:
        optimizer: torch's, or of its kind.
        state: what is to be loaded.

    Raises:
        TypeError, ValueError: saying in what it differs.
    """
    checks.instance("state_dict", state, Mapping)
    for name, types in (("state", Mapping), ("param_groups", (list, tuple))):
        if not isinstance(state.get(name), types):
            raise ValueError(f"state_dict must have {name!r}, as state_dict() gives it")
    own, given = optimizer.param_groups, state["param_groups"]
    for number, group in enumerate(given):
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), (list, tuple)):
            raise ValueError(
                f"state_dict's group {number} must have 'params', as state_dict() gives it"
            )
    wanted, found = ([len(group["params"]) for group in groups] for groups in (own, given))
    if found != wanted:
        raise ValueError(f"state_dict must be of groups of {wanted} parameters, got {found}")
    for number, (group, theirs) in enumerate(zip(own, given, strict=True)):
        lacking = {*optimizer.defaults} - {*theirs} - _BESIDE
        strange = {*theirs} - {*group} - _BESIDE
        if lacking and strange:
            raise ValueError(
                f"state_dict is of another optimizer than {type(optimizer).__name__}: its group "
                f"{number} has {_listed(strange)} and no {_listed(lacking)}"
            )
    if _is_torch_s(type(optimizer)) and type(optimizer).__name__ in _NEEDED:
        _refuse_kept(optimizer, state)


def _refuse_kept(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    own = kind(optimizer)
    for number, parameter in zip(numbers, parameters, strict=True):
        kept = state["state"].get(number, {})
        checks.instance(f"state_dict's state of parameter {number}", kept, Mapping)
        lacking = {*_NEEDED[own]} - {*kept}
        if kept and lacking:
            raise ValueError(
                f"state_dict is of another optimizer than {own}: of parameter {number} "
                f"it keeps no {_listed(lacking)}"
            )
        for name, value in kept.items():
            shape = [1] if name in _SINGLE else list(parameter.shape)
            if isinstance(value, Tensor) and value.dim() and list(value.shape) != shape:
                raise ValueError(
                    f"state_dict's {name} of parameter {number} must have shape {shape}, got "
                    f"{list(value.shape)}"
                )


def _listed(names: set[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
