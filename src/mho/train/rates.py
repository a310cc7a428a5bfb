"""Learning rates, as parameter groups say them, now: schedulers and people change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from mho.core import checks


def by_parameter(groups: Iterable[Mapping[str, Any]]) -> dict[Any, float]:
    """Return the learning rate of every parameter.

    Raises:
        TypeError, ValueError: if one is no finite number >= 0. (0 is a schedule's: a warm-up.)
    """
    found: dict[Any, float] = {}
    for number, group in enumerate(groups):
        rate = group.get("lr", 0.0)
        if isinstance(rate, Tensor):
            rate = rate.detach()
        rate = checks.number(f"lr of parameter group {number}", rate, least=0.0)
        found.update(dict.fromkeys(group["params"], float(rate)))
    return found
