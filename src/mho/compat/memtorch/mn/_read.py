"""Reads of a layer's crossbars: whole tensors, and what does not depend on inputs only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.compat import _common
from mho.compat.memtorch.bh.crossbar import _currents
from mho.compat.memtorch.bh.crossbar._currents import Law
from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.bh.crossbar.Passive import effective
from mho.compat.memtorch.bh.Quantize import Converter
from mho.core import notice

# Partial currents held at once: more vectors are read in turns.
_MOST_CURRENTS = 1 << 20


def law(layer: Any) -> Law:
    """Return by what law a layer's cells are read, None for ``I = g · v``.

    ``non_linear`` is not there or false (none), a function of the user's, or true: the devices'
    own. Reads disturb no device, so that ``simulate`` makes no difference.
    """
    given: Any = getattr(layer, "non_linear", None)
    found: Law = given if callable(given) else _currents.common if given else None
    return found


def driven(layer: Any, v: Tensor) -> Tensor | None:
    """Return what voltages become at the cells (V), or None if cells differ in that."""
    f = law(layer)
    if f is None:
        return v
    if not layer.transistor:
        notice.warn("nonlinear reads do not account for source and line resistances")
    if f is _currents.common:
        return _currents.common(layer.crossbars[0], v) if _currents.alike(layer.crossbars) else None
    each: list[Any] = [f(crossbar, v) for crossbar in layer.crossbars]
    return each[0] if all(torch.equal(each[0], other) for other in each[1:]) else None


def vectors(layer: Any, v: Tensor, ready: Converter | None) -> Tensor:
    """Read voltage vectors ``[vectors, arrays, rows]`` (V) tile by tile: ``[vectors, columns]``.

    Each tile's currents (of a pair of columns: their difference) are converted, then added.
    """
    first = layer.crossbars[0]
    height, width = _currents.size(first)
    tiles = v.shape[1] * -(-first.rows // height)
    chunks = []
    for part in v.split(max(1, _MOST_CURRENTS // (tiles * first.columns))):
        same = driven(layer, part)
        if same is None:
            parts = [torch.cat(_one_by_one(layer, part))]
        else:
            matrices = kept(layer, "matrices", same.dtype, lambda: matrices_of(layer))
            parts = _currents.products(same.transpose(0, 1), matrices, height)
        chunks.append(_currents.added(parts, width, ready))
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


def _one_by_one(layer: Any, v: Tensor) -> list[Tensor]:
    """Read crossbar by crossbar: of every array ``[tile rows, vectors, columns]`` (A)."""
    f, each = law(layer), len(layer.crossbars) // v.shape[1]
    inputs = {id(crossbar): v[:, k // each] for k, crossbar in enumerate(layer.crossbars)}

    def currents(crossbar: Any) -> Tensor:
        return _currents.tile_currents(inputs[id(crossbar)], crossbar, f)

    if layer.scheme is Scheme.DoubleColumn:
        return _joined(layer, currents)
    # The operation of single columns is one on conductances.
    return [currents(c) - _currents.reference(inputs[id(c)], c, f) for c in layer.crossbars]


def matrices_of(layer: Any) -> Tensor:
    """Return the matrices that voltages meet, ``[arrays, rows, columns]`` (S)."""

    def seen(crossbar: Any) -> Tensor:
        g: Tensor = crossbar._g
        if layer.transistor or law(layer) is not None:
            return g
        return effective(g, layer.source_resistance, layer.line_resistance)

    return torch.stack([_currents.joined(layer.crossbars[0], g) for g in _joined(layer, seen)])


def _joined(layer: Any, operation: Callable[[Any], Tensor]) -> list[Tensor]:
    """Apply an operation to the crossbars of every array; the layer joins what it gives."""
    count, pairs = len(layer.crossbars), layer.scheme is Scheme.DoubleColumn
    places: Any = [(k, k + 1) for k in range(0, count, 2)] if pairs else range(count)
    return [layer.crossbar_operation(layer.crossbars, operation, place) for place in places]


def kept(layer: Any, key: str, dtype: torch.dtype, make: Callable[[], Tensor]) -> Tensor:
    """Return what was made for the conductances and settings as they are, or make it."""

    def made() -> Tensor:
        # Not an inference tensor: it is kept for reads that need gradients.
        with torch.inference_mode(False), torch.no_grad():
            return make().to(dtype)

    lines = layer.transistor, layer.source_resistance, layer.line_resistance, law(layer) is None
    sources = [crossbar._held.mark() for crossbar in layer.crossbars]
    settings = [*lines, layer.crossbar_operation, dtype]
    return _common.kept(layer._kept, key, settings, sources, made)
