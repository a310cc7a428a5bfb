"""Copies of what a torch layer holds, for the crossbar layer that takes its place."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch

from mho.crossbar.crossbar import Crossbar

_IMMUTABLE = (bool, int, float, str, type(None))


def without_cells(value: Any) -> Any:
    """Leave crossbars out of a layer's modules.

    Args:
        value: of any attribute of a layer.
    """
    if not isinstance(value, dict) or not any(isinstance(v, Crossbar) for v in value.values()):
        return value
    return type(value)((k, v) for k, v in value.items() if not isinstance(v, Crossbar))


def copy_of(name: str, value: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy of an attribute, or say which one cannot be copied.

    Args:
        name: of the attribute.
        value: what it holds.
        memo: of `copy.deepcopy`.

    Raises:
        MemoryError: if there is no room for it.
        ValueError: if it cannot be copied for another reason.
    """
    if type(value) in _IMMUTABLE:
        return value
    if type(value) is OrderedDict and not value and id(value) not in memo:  # no hooks: most layers
        empty: OrderedDict[Any, Any] = OrderedDict()
        memo[id(value)] = empty
        memo.setdefault(id(memo), []).append(value)  # its id is to stay its own
        return empty
    try:
        return copy.deepcopy(value, memo)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "memory" in str(error):  # as torch says it on the host
            raise MemoryError(f"no room for a copy of {name}: {error}") from error
        raise ValueError(f"{name} cannot be copied ({error}); remove it first") from error
