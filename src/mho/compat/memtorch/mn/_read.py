"""Reads of a layer's crossbars: whole tensors, and what does not depend on inputs only once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar import _views
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, Scheme
from mho.compat.memtorch.bh.crossbar.Passive import effective
from mho.compat.memtorch.bh.crossbar.Tile import multiply
from mho.compat.memtorch.bh.Quantize import convert
from mho.periphery import ADC

if TYPE_CHECKING:
    from mho.compat.memtorch.mn._layer import Memristive

# Partial currents held at once: more vectors are read in turns.
_MOST_CURRENTS = 1 << 20


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
    columns = layer.crossbars[0].columns
    if _objects(layer):
        return _object_vectors(layer, v)
    driven = (v,) if layer.non_linear is None else _driven(layer, v)
    offsets = (None,) if len(driven) == 1 else (0, 1)
    cells = _kept(layer, ("side by side", offsets), lambda: _side_by_side(layer, offsets))
    cells = cells.to(v.dtype)
    high, height, wide, width = cells.shape
    size = max(1, _MOST_CURRENTS // (high * wide * width))
    chunks = []
    for part in range(0, max(len(v), 1), size):
        tiles = [_input_tiles(f[part : part + size], high, height // len(driven)) for f in driven]
        inputs = tiles[0] if len(tiles) == 1 else torch.cat(tiles, -1)
        chunks.append(_product(layer, inputs, cells)[:, :columns])
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


def _side_by_side(layer: Memristive, offsets: tuple[int | None, ...]) -> Tensor:
    """Return all tiles as ``[tile rows, rows, tile columns, columns]``, negative ones negated."""
    tiles = [placed(layer, offset) * (-1.0 if offset == 1 else 1.0) for offset in offsets]
    beside = torch.cat(tiles, -2).transpose(1, 2).contiguous()
    # Lines that no weight uses have no converter: what they carry must not set a full scale.
    beside.flatten(2)[..., layer.crossbars[0].columns :] = 0.0
    return beside


def _product(layer: Memristive, inputs: Tensor, cells: Tensor) -> Tensor:
    """Multiply tiles, convert and add along the tile rows, as `multiply` does.

    Where no gradient is needed a linear converter works in place: at this size fresh memory
    costs more than the arithmetic.
    """
    bits, rate, method = layer.ADC_resolution, layer.ADC_overflow_rate, layer.quant_method
    graded = torch.is_grad_enabled() and (inputs.requires_grad or cells.requires_grad)
    if graded or method != "linear" or bits is None or bits == 1 or rate:
        columns = layer.crossbars[0].columns
        return multiply(inputs, cells.transpose(1, 2), bits, rate, method, columns)
    high, rows, wide, width = cells.shape
    currents = torch.bmm(inputs, cells.view(high, rows, wide * width)).view(
        high, inputs.shape[1], wide, width
    )
    limit = torch.maximum(currents.amax(-1, keepdim=True), -currents.amin(-1, keepdim=True))
    adc = ADC(bits=bits, method=method)
    step = adc.step(torch.where(limit == 0.0, 1.0, limit))
    return adc.to_levels(currents.div_(step)).mul_(step).sum(0).flatten(1)


def _input_tiles(v: Tensor, high: int, height: int) -> Tensor:
    """Cut vectors ``[vectors, arrays, rows]`` to ``[tile rows, vectors, tile height]``."""
    arrays = v.shape[1]
    missing = high // arrays * height - v.shape[2]
    padded = F.pad(v, (0, missing)) if missing else v
    return padded.reshape(len(v), high, height).transpose(0, 1)


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
        part = _views.object_currents(x, pair[0])
        if single:
            part = part - _views.reference_currents(x, pair[0], layer.crossbar_operation.g_m)
        else:
            part = part - _views.object_currents(x, pair[1])
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

    def make() -> Tensor:
        tiles = placed(layer, offset)
        arrays = _arrays(layer)
        first = layer.crossbars[0]
        high, wide, height, width = tiles.shape
        matrix = tiles.transpose(1, 2).reshape(arrays, high // arrays * height, wide * width)
        return matrix[:, : first.rows, : first.columns].contiguous()

    return _kept(layer, ("whole", offset), make)


def placed(layer: Memristive, offset: int | None = None) -> Tensor:
    """Return the same as tiles in their places, ``[tile rows, tile columns, rows, columns]``."""

    def make() -> Tensor:
        operation = layer.crossbar_operation
        single = operation.scheme is Scheme.SingleColumn
        parts = []
        for array in range(_arrays(layer)):
            if offset is not None:
                seen = _seen(layer, layer.crossbars[2 * array + offset])
            else:
                idx = array if single else (2 * array, 2 * array + 1)
                seen = operation(layer.crossbars, lambda c: _seen(layer, c), idx)
            parts.append(_place(layer.crossbars[0], seen))
        tiles = torch.cat(parts)
        # Lines that no weight uses have no converter (and faults in them no effect).
        if tiles.shape[1] == 1:
            return tiles[..., : layer.crossbars[0].columns]
        used = _place(layer.crossbars[0], layer.crossbars[0].used)
        return torch.where(used.repeat(_arrays(layer), 1, 1, 1), tiles, 0.0)

    return _kept(layer, ("placed", offset), make)


def _place(crossbar: Crossbar, tiles: Tensor) -> Tensor:
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


# ---- state --------------------------------------------------------------------------------------


def state(crossbar: Crossbar) -> dict[str, Any]:
    """Return a crossbar's tensors."""
    return {
        "conductance_matrix": crossbar.conductance_matrix,
        "stuck": crossbar.stuck,
        "parameters": {n: v for n, v in crossbar.parameters.items() if isinstance(v, Tensor)},
    }


def restore(crossbar: Crossbar, values: dict[str, Any]) -> None:
    """Take back a crossbar's tensors.

    Raises:
        Refused: if they are of another crossbar.
    """
    g = values["conductance_matrix"]
    require(
        g.shape == crossbar.conductance_matrix.shape,
        f"conductances {list(g.shape)} do not fit {list(crossbar.conductance_matrix.shape)}",
    )
    crossbar.conductance_matrix = g.to(crossbar.conductance_matrix).clone()
    crossbar.stuck = values["stuck"]
    if crossbar.per_device:
        crossbar.update(from_devices=False)
    else:
        crossbar.parameters.update({n: v.clone() for n, v in values["parameters"].items()})
