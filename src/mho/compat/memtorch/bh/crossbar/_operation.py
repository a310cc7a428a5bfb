"""How crossbars hold signed weights, and what joins them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor

from mho.compat._common import require


class Scheme(Enum):
    """How a signed weight is held: by one column and a reference, or by a pair of columns."""

    SingleColumn = 1
    DoubleColumn = 2


@dataclass(frozen=True)
class Operation:
    """What `init_crossbar` returns beside the crossbars: an operation on all that hold a weight.

    For a pair it is the difference of the operation's results; for a single column the result
    less the reference ``g_m``, the middle of the window (S), which stands for a weight of 0.
    """

    scheme: Scheme
    g_m: float

    def __call__(
        self, crossbars: Any, operation: Callable[..., Any], idx: Any = None, **kwargs: Any
    ) -> Any:
        """Apply ``operation(crossbar, **kwargs)`` to those of a layer's crossbars.

        ``idx`` says which: two numbers of a pair, or one; the first if not given.
        """
        if self.scheme is Scheme.DoubleColumn:
            pair = (0, 1) if idx is None else tuple(idx)
            require(len(pair) == 2, f"idx must be two numbers, got {idx!r}")
            positive, negative = (operation(crossbars[i], **kwargs) for i in pair)
            return positive - negative
        crossbar = crossbars[0 if idx is None else int(idx)]
        result = operation(crossbar, **kwargs)
        if isinstance(result, Tensor) and result.shape == crossbar._g.shape:
            return result - self.g_m * crossbar.used
        return result - self.g_m
