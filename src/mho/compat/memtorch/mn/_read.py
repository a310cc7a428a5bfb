"""Reads of a layer's crossbars: whole tensors, and what does not depend on inputs only once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.compat.memtorch.bh.crossbar import _currents
from mho.compat.memtorch.bh.crossbar._currents import Law
from mho.compat.memtorch.bh.crossbar._operation import Scheme
from mho.compat.memtorch.bh.crossbar.Passive import effective
from mho.compat.memtorch.bh.Quantize import converter

# Partial currents held at once: more vectors are read in turns.
_MOST_CURRENTS = 1 << 20


def law(layer: Any) -> Law:
    """Return by what law a layer's cells are read, None for ``I = g · v``.

    ``non_linear`` is not there or false (none), a function of the user's, or true: the devices'
    own. Reads disturb no device, so that ``simulate`` makes no difference.
    """
    # As getattr, which is slow for what a module has not.
    given = layer.__dict__.get("non_linear", getattr(type(layer), "non_linear", None))
    if not callable(given):
        return _currents.common if given else None
    result: Law = given
    return result


def driven(layer: Any, v: Tensor) -> Tensor | None:
    """Return what voltages become at the cells (V), or None if cells differ in that."""
    f = law(layer)
    if f is None:
        return v
    if not layer.transistor:
        message = "nonlinear reads do not account for source and line resistances"
        warnings.warn(message, stacklevel=4)
    if f is _currents.common:
        apart = any(c.per_device or _currents.spread(c) for c in layer.crossbars)
        return None if apart else _currents.common(layer.crossbars[0], v)
    each: list[Any] = [f(crossbar, v) for crossbar in layer.crossbars]
    return each[0] if all(torch.equal(each[0], other) for other in each[1:]) else None


def vectors(layer: Any, v: Tensor) -> Tensor:
    """Read voltage vectors ``[vectors, arrays, rows]`` (V) tile by tile: ``[vectors, columns]``.

    Each tile's currents (of a pair of columns: their difference) are converted, then added.
    """
    first = layer.crossbars[0]
    height, width = _currents.size(first)
    ready = converter(layer.ADC_resolution, layer.ADC_overflow_rate, layer.quant_method)
    tiles = v.shape[1] * -(-first.rows // height)
    chunks = []
    for part in v.split(max(1, _MOST_CURRENTS // (tiles * first.columns))):
        same = driven(layer, part)
        if same is None:
            each = enumerate(part.unbind(1))
            parts = [torch.cat([_array(layer, array, x) for array, x in each])]
        else:
            matrices = kept(layer, "matrices", same.dtype, lambda: matrices_of(layer))
            parts = _currents.products(same.transpose(0, 1), matrices, height)
        chunks.append(_currents.added(parts, width, ready))
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


def _array(layer: Any, array: int, v: Tensor) -> Tensor:
    """Read the crossbars of one array one by one: ``[tile rows, vectors, columns]`` (A)."""
    f = law(layer)
    if layer.scheme is Scheme.SingleColumn:
        crossbar = layer.crossbars[array]
        return _currents.tile_currents(v, crossbar, f) - _currents.reference(v, crossbar, f)
    result: Tensor = layer.crossbar_operation(
        layer.crossbars, lambda c: _currents.tile_currents(v, c, f), _places(layer, array)
    )
    return result


def matrices_of(layer: Any) -> Tensor:
    """Return the matrices that voltages meet, ``[arrays, rows, columns]`` (S)."""

    def seen(crossbar: Any) -> Tensor:
        g: Tensor = crossbar.conductance_matrix
        if layer.transistor or law(layer) is not None:
            return g
        return effective(g, layer.source_resistance, layer.line_resistance)

    count = len(layer.crossbars) // (2 if layer.scheme is Scheme.DoubleColumn else 1)
    first, join = layer.crossbars[0], layer.crossbar_operation
    arrays = (join(layer.crossbars, seen, _places(layer, array)) for array in range(count))
    return torch.stack([_currents.joined(first, g) for g in arrays])


def _places(layer: Any, array: int) -> Any:
    return array if layer.scheme is Scheme.SingleColumn else (2 * array, 2 * array + 1)


def kept(layer: Any, key: str, dtype: torch.dtype, make: Callable[[], Tensor]) -> Tensor:
    """Return what was made for the conductances and settings as they are, or make it."""
    sources = [crossbar.conductance_matrix for crossbar in layer.crossbars]
    now = [_version(crossbar) for crossbar in layer.crossbars]
    lines = layer.transistor, layer.source_resistance, layer.line_resistance, law(layer) is None
    now += [*lines, layer.crossbar_operation, dtype]
    found = layer._kept.get(key)
    # Tensors are compared by what they are, not by what they hold.
    if found is not None and found[0] == now and list(map(id, found[1])) == list(map(id, sources)):
        result: Tensor = found[2]
        return result
    # Not an inference tensor: it is kept for reads that need gradients.
    with torch.inference_mode(False), torch.no_grad():
        made = make().to(dtype)
    layer._kept[key] = (now, sources, made)
    return made


def _version(crossbar: Any) -> Any:
    """Return what changes with every write to a crossbar's conductances."""
    g = crossbar.conductance_matrix
    # Tensors of inference mode do not count their changes: nothing is kept of them.
    return getattr(crossbar, "version", object() if g.is_inference() else g._version)
