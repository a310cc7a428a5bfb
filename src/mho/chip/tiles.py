"""Layers as rectangles of cells that want a place on a chip's cores."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.chip.cores import Cores
from mho.chip.placement import Region
from mho.core import checks
from mho.core.spec import Spec
from mho.crossbar.tiling import Tiling
from mho.encoding.base import Encoding
from mho.hardware import Hardware
from mho.model import sizes
from mho.model.convert import choose
from mho.model.crossbars import entries
from mho.model.inputs import call_of
from mho.model.lifecycle import collapse
from mho.model.report import patterns
from mho.model.samples import Samples, samples_of, time_first
from mho.model.sizes import on_meta
from mho.model.tracer import Trace, call, to_meta, trace
from mho.nn.base import AnalogLayer
from mho.nn.registry import BY_OPTION


@dataclass(frozen=True)
class LayerShape(Spec):
    """One matrix that wants a place: its size, and how often it is read.

    Attributes:
        name: of the layer, or of the crossbar where a layer has several.
        rows: word lines (inputs) of one group, >= 1.
        cols: bit lines (outputs) of one group on one array, >= 1.
        reads: of the whole matrix in one inference, >= 0.
        groups: equal matrices on tiles of their own, >= 1.
        arrays: of every tile: how many arrays must lie on one core, their currents being joined
            before they are converted, for each conversion of an output. ``(2,)`` is a
            differential pair; ``(2, 2, 2, 2)`` are four pairs that are added digitally.
        tile: word lines and bit lines of a tile; None for those of a core's arrays.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    name: str
    rows: int
    cols: int
    reads: float = 1.0
    groups: int = 1
    arrays: tuple[int, ...] = (2,)
    tile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        checks.instance("LayerShape name", self.name, str)
        for name in ("rows", "cols", "groups"):
            checks.integer(f"LayerShape {name} of {self.name!r}", getattr(self, name))
        checks.number(f"LayerShape reads of {self.name!r}", self.reads, least=0.0)
        for name in ("arrays", "tile"):
            value = getattr(self, name)
            if name == "tile" and value is None:
                continue
            checks.instance(f"LayerShape {name} of {self.name!r}", value, (tuple, list))
            object.__setattr__(self, name, tuple(value))
            for number in value:
                checks.integer(f"every LayerShape {name} of {self.name!r}", number)
        if not self.arrays or (self.tile is not None and len(self.tile) != 2):
            raise ValueError(
                f"LayerShape of {self.name!r} must have arrays of at least one and a tile of two "
                f"numbers, got arrays={self.arrays!r}, tile={self.tile!r}"
            )

    @property
    def cells(self) -> int:
        """Cells that it takes."""
        return self.groups * self.rows * self.cols * sum(self.arrays)

    def pieces(self, cores: Cores) -> list[Piece]:
        """Return the rectangles that it takes on a chip's cores, in the order of `Tiling.cut`.

        Raises:
            ValueError: if its tiles or joined arrays are more than a core has.
        """
        high, wide = self.tile or (cores.rows, cores.cols)
        if min(high, self.rows) > cores.rows or min(wide, self.cols) > cores.cols:
            raise ValueError(
                f"tiles of {self.name!r} have {min(high, self.rows)} × {min(wide, self.cols)} "
                f"cells, more than the {cores.rows} × {cores.cols} of a core: convert with "
                f"Array({cores.rows}, {cores.cols}), or take larger cores"
            )
        if max(self.arrays) > cores.arrays:
            raise ValueError(
                f"{self.name!r} joins the currents of {max(self.arrays)} arrays before they are "
                f"converted, a core has {cores.arrays}: take Cores(arrays={max(self.arrays)}), or "
                "an encoding that subtracts digitally"
            )
        heights = _spans(self.rows, high)
        widths = _spans(self.cols, wide)
        return [
            Piece(group, down, across, part, height, width, planes)
            for group in range(self.groups)
            for down, height in enumerate(heights)
            for across, width in enumerate(widths)
            for part, planes in enumerate(self.arrays)
        ]


class Piece(NamedTuple):
    """A rectangle of cells without a place: which tile of a matrix, and which joined arrays."""

    group: int
    down: int
    across: int
    part: int
    height: int
    width: int
    arrays: int


class Tile(NamedTuple):
    """A rectangle of cells on a core.

    Attributes:
        layer: index of its layer in the mapping.
        copy: of the layer.
        piece: which tile of the matrix it is.
        turn: in which it lies there.
        core: index.
        array: of the core, its first.
        row: first word line.
        col: first bit line.
    """

    layer: int
    copy: int
    piece: Piece
    turn: int
    core: int
    array: int
    row: int
    col: int

    @property
    def cells(self) -> int:
        """How many it takes."""
        return self.piece.height * self.piece.width * self.piece.arrays

    def regions(self, cores: Cores) -> list[Region]:
        """Return its rectangle on each of its arrays, in a field of all arrays of the chip."""
        first = self.core * cores.arrays + self.array
        size = (self.piece.height, self.piece.width)
        return [
            Region((first + plane) * cores.rows + self.row, self.col, *size)
            for plane in range(self.piece.arrays)
        ]


def _spans(size: int, tile: int) -> list[int]:
    whole, rest = divmod(size, tile)
    return [tile] * whole + [rest] * (rest > 0)


# ── from models ──────────────────────────────────────────────────────────────────────────────


def joined(encoding: Encoding, interleaved: bool = False) -> list[list[int]]:
    """Return the slices that must lie on one core, their currents flowing into one converter."""
    if interleaved:  # neighbouring columns of one array
        return [[0]]
    groups: list[set[int]] = [{s} for s in range(encoding.slices)]
    for row in encoding.analog:
        used = {s for s, share in enumerate(row) if share}
        touched = [group for group in groups if group & used]
        merged = set().union(*touched)
        groups = [group for group in groups if group not in touched] + [merged] * bool(merged)
    return sorted(map(sorted, groups))


def shape_of(name: str, tiling: Tiling, hardware: Hardware, reads: float = 1.0) -> LayerShape:
    """Return a crossbar that is, or is to be, as a layer that wants a place."""
    array = tiling.array
    sets = joined(hardware.encoding, array.interleaved)
    wide = tiling.outputs * tiling.slices // tiling.arrays
    return LayerShape(
        name,
        tiling.rows,
        tiling.lines,
        reads,
        tiling.groups,
        tuple(map(len, sets)),
        (array.rows, wide),
    )


def shapes_of(
    model: nn.Module, hardware: Hardware | None, inputs: Any, samples: int | None
) -> list[LayerShape]:
    """Return a model's matrices in the order in which they are read.

    Args:
        model: converted, or any torch model together with its hardware.
        hardware: of a model that is not converted; else None.
        inputs: of one call; None: every matrix is read once, in the order of its modules.
        samples: inferences that these are; None: of one tensor what the layers that take it say
            (a sequence is one, time first or not), else the length of the first.
    """
    here = entries(model)
    inputs = call_of(inputs, model)
    if inputs is None and samples is not None:
        raise ValueError("samples says how many inferences inputs are; there are no inputs")
    if here:
        if hardware is not None:
            raise ValueError(
                "hardware must be None for a converted model: its crossbars have their own"
            )
        found, layers = _crossbars(model)
    else:
        if hardware is None:
            raise ValueError(
                "hardware must be given for a model that is not converted (or convert it first)"
            )
        checks.instance("hardware", hardware, Hardware)
        chosen = choose(model, hardware, None, None, {})
        if not chosen:
            raise ValueError("the model has no layer to convert to crossbars")
        layers = {name: module for name, (module, _) in chosen.items()}
        found = [
            _Found(m.name, _named(m.name, layers), m.tiling, m.hardware, m.weights)
            for m in sizes.matrices(chosen)
        ]
    if inputs is None:
        _say_read_once(layers)
        return [shape_of(m.name, m.tiling, m.hardware) for m in found]
    count = _samples(model, inputs) if samples is None else checks.integer("samples", samples)
    if count < 1:
        raise ValueError("inputs must hold at least one sample, got none")
    if here and not all(entry.crossbar.fabricated for entry in here):
        raise ValueError(
            "inputs must be None for a converted model that was never programmed, since it cannot "
            "be traced: program it first, or give the torch model and its hardware"
        )
    traced = trace(model, inputs)
    weights: dict[str, int] = {}
    for m in found:
        weights[m.owner] = weights.get(m.owner, 0) + m.weights
    reads = {owner: _reads(traced, owner, layer, weights) for owner, layer in layers.items()}
    order = {owner: _first_use(traced, owner, layer) for owner, layer in layers.items()}
    found.sort(key=lambda m: order.get(m.owner, len(traced.products)))
    return [
        shape_of(m.name, m.tiling, m.hardware, reads.get(m.owner, count) / count) for m in found
    ]


def _say_read_once(layers: Mapping[str, nn.Module]) -> None:
    """Warn of layers that are read many times in an inference, where nothing says how many."""
    many = [n for n, m in layers.items() if hasattr(m, "kernel_size") or hasattr(m, "batch_first")]
    if many:
        warnings.warn(
            f"no inputs are given: {patterns(many) or 'the model'} counts as read once in an "
            "inference, while convolutions and sequences are read many times; give inputs=… for "
            "times that hold",
            stacklevel=4,
        )


class _Found(NamedTuple):
    """A matrix of a model: its name, its layer's, how it is cut, and how many weights it holds."""

    name: str
    owner: str
    tiling: Tiling
    hardware: Hardware
    weights: int


def _crossbars(model: nn.Module) -> tuple[list[_Found], dict[str, nn.Module]]:
    """Return the crossbars of a converted model, and its layers by name."""
    names: dict[nn.Module, str] = {}
    inside: dict[nn.Module, nn.Module] = {}  # layers that another holds: attention's output
    for name, module in model.named_modules():
        names[module] = name
        if isinstance(module, AnalogLayer):
            for part in module.modules():
                inside.setdefault(part, module)
    found: list[_Found] = []
    layers: dict[str, nn.Module] = {}
    for entry in entries(model):
        crossbar = entry.crossbar
        outer = None if entry.layer is None else inside[entry.layer]
        owner = entry.name if outer is None else names[outer]
        if outer is not None:
            layers[owner] = outer
        slices, rows, cols = crossbar.cells.shape
        array = crossbar.hardware.array
        tiling = Tiling(slices, crossbar.groups, rows // crossbar.groups, cols, array)
        weights = rows * crossbar.cols
        found.append(_Found(entry.name, owner, tiling, crossbar.hardware, weights))
    return found, layers


def _named(name: str, layers: Mapping[str, Any]) -> str:
    """Return the chosen layer that a matrix is of: the longest whose name begins its own."""
    parts = name.split(".")
    whole = [".".join(parts[:i]) for i in range(len(parts), -1, -1)]
    return next((prefix for prefix in whole if prefix in layers), name)


def _reads(traced: Trace, owner: str, layer: nn.Module, weights: Mapping[str, int]) -> float:
    """Return how many vectors a layer is given: its products over its weights."""
    if isinstance(layer, BY_OPTION):
        return float(traced.looked_up(owner))
    return traced.within({owner}) / weights[owner]


def _first_use(traced: Trace, owner: str, layer: nn.Module) -> int:
    if isinstance(layer, BY_OPTION):  # lookups are no products: tables come first
        return -1
    uses = (i for i, p in enumerate(traced.products) if traced.belongs(p, {owner}))
    return next(uses, len(traced.products))


def _samples(model: nn.Module, inputs: Any) -> int:
    """Return how many samples inputs are, as `mho.analysis.cost` counts them."""
    if isinstance(inputs, Tensor):
        return samples_of(model, inputs)
    if any(map(time_first, model.modules())):
        try:
            return _by_layers(model, inputs)
        except Exception:  # what looks at values cannot work without any: the first tensor tells
            pass
    first = inputs
    while not isinstance(first, Tensor):
        if isinstance(first, PackedSequence):
            return int(first.batch_sizes[0])
        values: Iterable[Any] = first.values() if isinstance(first, Mapping) else first
        if not isinstance(values, Iterable):
            raise TypeError(f"inputs must hold a tensor, got {type(first).__name__}; say samples=…")
        first = next(iter(values), None)
    return len(first) if first.dim() else 1


@torch.no_grad()
def _by_layers(model: nn.Module, inputs: Any) -> int:
    converted = any(isinstance(module, AnalogLayer) for module in model.modules())
    twin = on_meta(collapse(model) if converted else model).eval()
    given = to_meta(inputs)
    leading = given[0] if isinstance(given, (tuple, list)) else given
    with Samples(twin, [leading]) as counter:
        call(twin, given)
    return counter.count


def checked(layers: Sequence[Any]) -> list[LayerShape]:
    """Refuse what is no list of layers, and names that are there twice."""
    for layer in layers:
        checks.instance("every layer", layer, LayerShape)
    names = [layer.name for layer in layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ValueError(
            f"layers must have names of their own; {', '.join(map(repr, twice))} are there twice"
            if twice
            else "layers must be at least one, got none"
        )
    return list(layers)
