"""How large a model's crossbars will be, before any is made."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mho.core import memory
from mho.core.precision import wide
from mho.crossbar import Crossbar
from mho.crossbar.readout import collapses
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware
from mho.model import tied
from mho.nn.base import AnalogLayer, blank
from mho.nn.embedding import Embedding
from mho.nn.registry import crossbar_layer

_AT_MOST = 256  # bytes a weight, at a guess: below, nothing is counted
_SAMPLE = 64  # rows and columns of the crossbar that is counted


class Matrix(NamedTuple):
    """One crossbar that is to be.

    Attributes:
        name: of its layer, and of layers with several its own.
        tiling: how it lies on tiles.
        cols: outputs of one group.
        hardware: what it is made of.
        lookup: whether a vector drives one of its rows alone.
        kind: dtype of the weights.
    """

    name: str
    tiling: Tiling
    cols: int
    hardware: Hardware
    lookup: bool = False
    kind: torch.dtype = torch.float32

    @property
    def weights(self) -> int:
        """Numbers it stores."""
        return self.tiling.groups * self.tiling.rows * self.cols


def on_meta(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a copy of a model whose tensors have shapes and no memory.

    Args:
        model: it is not changed.
        memo: of `copy.deepcopy`, so that parameters tied in a model stay tied.
    """
    memo = {} if memo is None else memo
    for module in model.modules():
        held: list[Any] = [*module._parameters.values(), *module._buffers.values()]
        for value in (*held, *vars(module).values()):
            if isinstance(value, Tensor) and id(value) not in memo:
                memo[id(value)] = _shape_of(value)
    return copy.deepcopy(model, memo)


def _shape_of(value: Tensor) -> Tensor:
    if isinstance(value, nn.UninitializedParameter):
        raise ValueError("a layer has no weights yet: run one batch through the model first")
    empty = torch.empty_like(value, device="meta", requires_grad=False)
    if isinstance(value, nn.Parameter):
        return nn.Parameter(empty, requires_grad=value.requires_grad)
    return empty


def matrices(chosen: Mapping[str, tuple[nn.Module, Hardware]]) -> list[Matrix]:
    """Return the crossbars that layers will have; nothing is allocated.

    Args:
        chosen: layers by name, and what each is put on. What several share is there once.
    """
    shapes: dict[int, Any] = {}
    taken: dict[int, Any] = {}
    layers: dict[str, AnalogLayer] = {}
    for name, (module, hardware) in chosen.items():
        layers[name] = layer = blank(crossbar_layer(module))
        layer.take_over(on_meta(module, shapes), taken)
        layer.hardware = hardware
    joined, _ = tied.plan(layers, {name: hardware for name, (_, hardware) in chosen.items()})
    own = {name: layer for name, layer in layers.items() if name not in joined}
    return [matrix for name, layer in own.items() for matrix in _with_parts(name, layer)]


def _with_parts(name: str, layer: AnalogLayer) -> Iterator[Matrix]:
    """Yield the crossbars of a layer, and of the layers it holds (attention's output)."""
    for path, part in layer.named_modules():
        if isinstance(part, AnalogLayer):
            part.hardware = layer.hardware
            yield from _of_layer(".".join(filter(None, (name, path))), part)


def _of_layer(name: str, layer: AnalogLayer) -> list[Matrix]:
    hardware, wanted = layer.hardware, layer.wanted()
    encoding, found = hardware.encoding, []
    for part, matrix in wanted.items():
        rows, cols = layer._matrix_shape(part, matrix)
        shape = (encoding.slices, layer._groups(part), rows, encoding.physical_cols(cols))
        label = name if len(wanted) == 1 else ".".join(filter(None, (name, part)))
        tiling = Tiling(*shape, hardware.array)
        lookup = isinstance(layer, Embedding)
        found.append(Matrix(label, tiling, cols, hardware, lookup, matrix.dtype))
    return found


# ── memory ───────────────────────────────────────────────────────────────────────────────────


def bytes_of(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, each once."""
    held = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in held.values())


def bytes_a_weight(
    hardware: Hardware, cells_dtype: torch.dtype | None = None, kind: torch.dtype = torch.float32
) -> float:
    """Return the bytes that cells, and what reads keep ready of them, take for one weight.

    Counted on a small crossbar, for what a cell needs beside its conductance is its device's and
    its effects' own: where it is broken, how it drifts, how it is noisy, its pulses.

    Args:
        hardware: of the crossbar.
        cells_dtype: see `mho.convert`.
        kind: dtype of the weights.
    """
    kind = wide(kind)
    found = counted_bytes(hardware, cells_dtype, kind)
    if found is not None:
        return found
    encoding = hardware.encoding
    ready = 1 if collapses(hardware) else encoding.converters
    cell = kind.itemsize if cells_dtype is None else cells_dtype.itemsize
    return float(cell * encoding.slices + kind.itemsize * ready)


def counted_bytes(
    hardware: Hardware, cells_dtype: torch.dtype | None, kind: torch.dtype
) -> float | None:
    """Return `bytes_a_weight` as counted; None where the cells of the small crossbar fail."""
    side = _SAMPLE
    try:
        with warnings.catch_warnings(), torch.random.fork_rng([]), torch.no_grad():
            warnings.simplefilter("ignore")  # of cells that fail
            crossbar = Crossbar(side, side, hardware, dtype=kind, device="cpu", kept_as=cells_dtype)
            weight = torch.linspace(-1, 1, side * side, dtype=kind, device="cpu").sin()
            crossbar.program(weight.view(side, side))
            stored = tree_leaves(tuple(crossbar.reader.stored))
    except Exception:  # a chip whose cells fail is no reason to say nothing
        return None
    held = [b for name, b in crossbar.cells.named_buffers() if name != "streams"]
    known = {b.untyped_storage().data_ptr() for b in held}
    for value in stored:
        large = isinstance(value, Tensor) and value.numel() >= side * side  # else of lines
        if large and value.untyped_storage().data_ptr() not in known:
            held.append(value)
    return sum(b.numel() * b.element_size() for b in held) / side**2


def refuse_too_large(
    model: nn.Module,
    chosen: Mapping[str, tuple[nn.Module, Hardware]],
    cells_dtype: torch.dtype | None = None,
) -> None:
    """Refuse a conversion for which the memory does not suffice (MemoryError)."""
    if sum(p.numel() for p in _known(model)) * _AT_MOST < memory.CHECKED_FROM:
        return
    need: dict[torch.device, int] = {}
    counted: set[nn.Parameter] = set()
    sampled: dict[tuple[int, torch.dtype], float] = {}
    for module, hardware in chosen.values():
        for parameter in _known(module):
            if parameter.dim() > 1 and parameter not in counted:
                counted.add(parameter)
                key = id(hardware), parameter.dtype
                if key not in sampled:
                    sampled[key] = bytes_a_weight(hardware, cells_dtype, parameter.dtype)
                each = round(parameter.numel() * sampled[key])
                need[parameter.device] = need.get(parameter.device, 0) + each
    for parameter in _known(model):
        if parameter.device in need:
            need[parameter.device] += parameter.numel() * parameter.element_size()
    for device, count in need.items():
        memory.refuse(
            "the converted model",
            count,
            device,
            "convert less of it (only, skip), or go on in spite of it with check_memory=False. "
            "mho.estimate says what needs how much",
        )


def _known(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if not isinstance(p, nn.UninitializedParameter)]
