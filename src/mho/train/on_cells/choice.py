"""Which parameters live on cells, what they are called, and what each one is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

Predicate = Callable[[str, Tensor], bool]
Groups = Iterable[Mapping[str, Any]]


def parameters_of(groups: Groups) -> list[Tensor]:
    """Return an optimizer's parameters in the order in which its ``state_dict`` counts them."""
    return [parameter for group in groups for parameter in group["params"]]


def names_of(groups: Groups, model: nn.Module | None) -> dict[Tensor, str]:
    """Return what parameters are called: in the model, in the optimizer, or by their number.

    Names differ: what is drawn for a parameter follows from its name.
    """
    known = {} if model is None else {p: name for name, p in model.named_parameters()}
    names: dict[Tensor, str] = {}
    taken: set[str] = set()
    for group in groups:
        # torch >= 2.6 keeps the names of optimizers made of ``model.named_parameters()``.
        own = group.get("param_names") or [None] * len(group["params"])
        for parameter, name in zip(group["params"], own, strict=True):
            called = known.get(parameter) or name or f"parameter {len(names)}"
            names[parameter] = called if called not in taken else f"{called} ({len(names)})"
            taken.add(names[parameter])
    return names


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a weight matrix or kernel: those live on cells unless told else."""
    return parameter.dim() >= 2


def matrix_shape(parameter: Tensor) -> tuple[int, int]:
    """Return the shape ``(out, in)`` that a parameter has as a matrix; a vector is one column."""
    out = parameter.shape[0] if parameter.dim() else 1
    return out, parameter.numel() // max(out, 1)


def cells_dtype(parameter: Tensor) -> torch.dtype:
    """Return the dtype of a parameter's conductances: half precision would lose pulses' steps."""
    return parameter.dtype if torch.finfo(parameter.dtype).bits >= 32 else torch.float32


def per_parameter(
    what: str, given: Any, names: Mapping[Tensor, str], refused: Mapping[str, str] | None = None
) -> dict[Tensor, Any]:
    """Return what each parameter is given.

    Args:
        what: the argument's name, for messages.
        given: one thing for all, or a mapping from parameters or name patterns to things; the
            first pattern that matches counts.
        names: the parameters, and what they are called.
        refused: names of parameters that cannot be given anything, with the reasons.

    Raises:
        TypeError: if a key is neither a parameter nor a pattern.
        ValueError: if a key fits no parameter, or a parameter is given nothing.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    for key in given:
        _check_key(what, key, names, refused or {})
    found = {}
    for parameter, name in names.items():
        keys = [key for key in given if _fits(key, parameter, name)]
        if not keys:
            raise ValueError(
                f"{what} says nothing of {name!r}: add a key for it, or '*' for all others"
            )
        found[parameter] = given[keys[0]]
    return found


def _check_key(
    what: str, key: Any, names: Mapping[Tensor, str], refused: Mapping[str, str]
) -> None:
    if not isinstance(key, (str, Tensor)):
        raise TypeError(f"keys of {what} must be parameters or name patterns, got {key!r}")
    if any(_fits(key, parameter, name) for parameter, name in names.items()):
        return
    shown = repr(key) if isinstance(key, str) else f"a parameter of shape {list(key.shape)}"
    known = ", ".join(repr(name) for name in names.values()) or "none"
    reasons = [
        f"{n!r}: {r}" for n, r in refused.items() if isinstance(key, str) and fnmatchcase(n, key)
    ]
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise ValueError(
        f"{what}: {shown} fits no parameter that can live on cells{why}; there are {known}"
    )


def _fits(key: Any, parameter: Tensor, name: str) -> bool:
    return key is parameter if isinstance(key, Tensor) else fnmatchcase(name, key)
