"""Moving a crossbar: to another device or dtype, to the meta device and back, out of its values.

`apply` is the method ``_apply`` of `Crossbar`, by which torch moves a module.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mho.core.precision import keeping

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


def apply(crossbar: Crossbar, fn: Any, recurse: bool = True) -> Crossbar:
    """As `torch.nn.Module._apply`; half precision changes nothing here.

    Args:
        crossbar: what is moved.
        fn: from a tensor to the moved one.
        recurse: whether its cells are moved as well.
    """
    away = crossbar.scale.is_meta
    emptied = not away and _empties(fn, crossbar.scale)
    if emptied and crossbar.fabricated:
        crossbar._next_seed = crossbar.cells.next_seed()
    nn.Module._apply(crossbar, keeping(fn), recurse)
    # A shared crossbar is visited once for each layer that has it. What is left of cells whose
    # values are lost is as good as none.
    if (away or emptied) and not crossbar.scale.is_meta:
        crossbar.arrive(crossbar.scale.device)
    crossbar.refresh()
    return crossbar


def _empties(fn: Any, like: Tensor) -> bool:
    """Whether what is applied to tensors loses their values, as `torch.nn.Module.to_empty` does."""
    numbers = time.perf_counter_ns().to_bytes(8, "little")  # nothing in memory looks like it
    mark = [number % 128 for number in numbers]  # which any dtype holds
    found = fn(torch.tensor(mark, dtype=torch.int64, device=like.device))
    return type(found) is Tensor and (found.is_meta or found.tolist() != mark)
