"""How the results of fits print: what was found, and no thousands of residuals."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor

from mho.core.spec import Spec
from mho.fit.estimates import Estimates

_SHORT = 72  # characters of a field


class Printed:
    """A dataclass (``repr=False``) that prints a line for each field, and its verdict.

    Arrays are said by their shapes, long records by their kind. Every number is in the attributes.
    """

    def __repr__(self) -> str:
        found = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        verdict = found.pop("verdict", "")
        width = max(map(len, found), default=0)
        lines = [f"  {name:<{width}}  {_said(value)}" for name, value in found.items()]
        return "\n".join([type(self).__name__, *lines, *filter(None, [str(verdict)])])


def _said(value: Any) -> str:
    if isinstance(value, np.ndarray | Tensor):
        return f"array of shape {list(value.shape)}"
    if isinstance(value, Estimates):
        return str(value).replace("\n", ", ")
    if isinstance(value, Spec):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list) and any(isinstance(v, np.ndarray | Tensor) for v in value):
        return f"arrays of shapes {', '.join(str(list(np.shape(v))) for v in value)}"
    shown = repr(value)
    if len(shown) <= _SHORT and "\n" not in shown:
        return shown
    return f"{len(value)} entries" if hasattr(value, "__len__") else type(value).__name__
