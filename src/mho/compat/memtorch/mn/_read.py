"""Reads of a layer's crossbars: whole tensors, and what does not depend on inputs only once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.compat.memtorch.bh.crossbar import _currents
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, Scheme
from mho.compat.memtorch.bh.crossbar.Passive import effective
from mho.compat.memtorch.bh.crossbar.Tile import sum_converted
from mho.compat.memtorch.bh.Quantize import convert
from mho.compat.memtorch.mn._layer import Memristive
from mho.crossbar.read import partial_currents
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import ADC

# Partial currents held at once: more vectors are read in turns.
_MOST_CURRENTS = 1 << 20
# Hardware that keeps tiles apart; MemTorch's converters themselves are its own (`Quantize`).
_CONVERTED = Hardware(adc=ADC())
_NO_NOISE = torch.zeros(2, dtype=torch.int64)


def linear(
    layer: Memristive, v: Tensor, multiply_by: Callable[[Tensor, Tensor], Tensor]
) -> Tensor | None:
    """Read without converters: one product for all tiles.

    Args:
        layer: the layer.
        v: voltages, as ``multiply_by`` takes them (V).
        multiply_by: ``(voltages, matrix)`` to currents; the matrix is ``[arrays, rows, columns]``
            with an array for each channel that has its own.

    Returns:
        Currents (A), or None if this layer cannot be read so.
    """
    if layer.quant_method is not None or _objects(layer):
        return None
    if layer.non_linear is None:
        return multiply_by(v, whole(layer).to(v.dtype))
    driven = _driven(layer, v)
    if len(driven) == 1:
        return multiply_by(driven[0], whole(layer).to(v.dtype))
    signs = (1.0, -1.0)
    parts = (
        sign * multiply_by(f, whole(layer, offset).to(v.dtype))
        for offset, (sign, f) in enumerate(zip(signs, driven, strict=True))
    )
    return sum(parts, torch.zeros(()))


def vectors(layer: Memristive, v: Tensor) -> Tensor:
    """Read voltage vectors ``[vectors, arrays, rows]`` (V) through converters: ``[…, columns]``.

    Each tile's currents (of a pair of columns: their difference) are converted, then added.
    """
    if _objects(layer):
        return _object_vectors(layer, v)
    driven = (v,) if layer.non_linear is None else _driven(layer, v)
    readout = _readout(layer, len(driven), v.dtype)
    inputs = driven[0] if len(driven) == 1 else torch.stack(driven, -1).flatten(-2)
    rows, columns = layer.crossbars[0].rows, layer.crossbars[0].columns
    height, width = layer.tile_shape or (rows, columns)
    size = max(1, _MOST_CURRENTS // (inputs.shape[1] * math.ceil(rows / height) * columns))
    chunks = []
    for part in inputs.split(size):
        level = part.transpose(0, 1)
        parts = partial_currents(level, readout, _CONVERTED, _NO_NOISE, tile_rows=height)
        settings = (layer.ADC_resolution, layer.ADC_overflow_rate, layer.quant_method)
        chunks.append(sum_converted([p.flatten(0, 1) for p in parts], width, *settings))
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


def _readout(layer: Memristive, terms: int, dtype: torch.dtype) -> Readout:
    """Return the layer's cells as mho reads them.

    Where each of a pair has voltages of its own (``terms = 2``), their rows alternate.
    """
    if terms == 1:
        matrix = whole(layer)
    else:
        matrix = torch.stack((whole(layer, 0), -whole(layer, 1)), 2).flatten(1, 2)
    return Readout(matrix.to(dtype), None, None, matrix.new_ones(()), terms=terms)


def _driven(layer: Memristive, v: Tensor) -> tuple[Tensor, ...]:
    """Return ``f(v)``: once, or of positive and negative crossbars where they differ."""
    assert layer.non_linear is not None
    if not layer.transistor:
        warnings.warn(
            "nonlinear reads do not account for source and line resistances", stacklevel=4
        )
    first = layer.non_linear(layer.crossbars[0], v)
    if layer.crossbar_operation.scheme is Scheme.SingleColumn:
        return (first,)
    second = layer.non_linear(layer.crossbars[1], v)
    return (first,) if torch.equal(first, second) else (first, second)


def _objects(layer: Memristive) -> bool:
    return layer.non_linear is not None and layer.crossbars[0].per_device


def _object_vectors(layer: Memristive, v: Tensor) -> Tensor:
    single = layer.crossbar_operation.scheme is Scheme.SingleColumn
    total = v.new_zeros(len(v), layer.crossbars[0].columns)
    for array, x in enumerate(v.unbind(1)):
        pair = layer.crossbars[array : array + 1] if single else layer.crossbars[2 * array :][:2]
        part = _currents.object_currents(x, pair[0])
        if single:
            part = part - _currents.reference_currents(x, pair[0], layer.crossbar_operation.g_m)
        else:
            part = part - _currents.object_currents(x, pair[1])
        if layer.quant_method is not None:
            assert layer.ADC_resolution is not None
            settings = (layer.ADC_resolution, layer.ADC_overflow_rate, layer.quant_method)
            part = convert(part, *settings, each_row=True)
        total = total + part
    return total


# ---- matrices, made once ------------------------------------------------------------------------


def whole(layer: Memristive, offset: int | None = None) -> Tensor:
    """Return the matrices that voltages meet, ``[arrays, rows, columns]`` (S).

    Args:
        layer: the layer.
        offset: of a pair, the positive (0) or negative (1) one alone; None: their difference.
    """
    operation, first = layer.crossbar_operation, layer.crossbars[0]
    single = operation.scheme is Scheme.SingleColumn

    def matrix(array: int) -> Tensor:
        if offset is not None:
            seen = _seen(layer, layer.crossbars[2 * array + offset])
        else:
            idx = array if single else (2 * array, 2 * array + 1)
            seen = operation(layer.crossbars, lambda c: _seen(layer, c), idx)
        tiles = _place(first, seen)
        high, wide, height, width = tiles.shape
        joined = tiles.transpose(1, 2).reshape(high * height, wide * width)
        return joined[: first.rows, : first.columns]

    def make() -> Tensor:
        return torch.stack([matrix(array) for array in range(_arrays(layer))])

    return _kept(layer, ("whole", offset), make)


def _place(crossbar: Crossbar, tiles: Tensor) -> Tensor:
    """Return tiles in their places, ``[tile rows, tile columns, rows, columns]``."""
    if crossbar.tile_shape is None:
        return tiles[None, None]
    assert crossbar.tiles_map is not None
    return tiles[crossbar.tiles_map.long()]


def _arrays(layer: Memristive) -> int:
    pairs = layer.crossbar_operation.scheme is Scheme.DoubleColumn
    return len(layer.crossbars) // (2 if pairs else 1)


def _seen(layer: Memristive, crossbar: Crossbar) -> Tensor:
    g = crossbar.conductance_matrix
    if layer.transistor or layer.non_linear is not None:
        return g
    source, line = layer.source_resistance, layer.line_resistance
    assert source is not None
    assert line is not None
    return effective(g, source, line)


def _kept(layer: Memristive, key: Any, make: Callable[[], Tensor]) -> Tensor:
    """Return what was made for the conductances and settings as they are, or make it."""
    sources = [crossbar.conductance_matrix for crossbar in layer.crossbars]
    now = (
        tuple(g._version for g in sources),
        (layer.transistor, layer.source_resistance, layer.line_resistance),
        layer.non_linear is None,
    )
    kept = layer._kept.get(key)
    if kept is not None and kept[0] == now:
        before, made = kept[1:]
        if all(a is b for a, b in zip(before, sources, strict=True)):
            return made
    with torch.no_grad():
        result = make()
    layer._kept[key] = (now, sources, result)
    return result
