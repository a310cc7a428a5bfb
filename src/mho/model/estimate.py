"""What a model on crossbars will take, before any crossbar is made.

Counts follow from the shapes of the matrices. Memory and time follow from small crossbars of the
same hardware that are made, programmed, read and trained on this machine at once: what each takes
for one weight, for one weight and input vector, and for one value driven or converted, is carried
over to the model's own sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mho.cells import kept
from mho.core import checks, memory
from mho.core.selection import Selectors
from mho.core.text import quantity, size, table
from mho.hardware import Hardware
from mho.model import sizes
from mho.model.convert import choose
from mho.model.inputs import call_of
from mho.model.pace import SIDE, Pace, measured, on_line, plain, values
from mho.model.report import attempt, pattern, patterns, percent
from mho.model.tracer import Product, Trace
from mho.nn.registry import BY_OPTION

WITHIN = 2.0
"""Factor within which times lie, more or less, where the machine's load stays as it is
(``benchmarks/estimate.py``). It is no bound: what else the machine does may change between the
estimate and the work."""


@dataclass(frozen=True)
class CrossbarEstimate:
    """One crossbar that is to be.

    Attributes:
        name: of its layer, and of layers with several its own.
        rows: inputs, of one group.
        cols: outputs, of one group.
        groups: equal matrices side by side.
        tiles: physical tiles over all slices.
        cells: cells used.
        vectors: inputs it is given in one call; None: not known.
    """

    name: str
    rows: int
    cols: int
    groups: int
    tiles: int
    cells: int
    vectors: float | None = None

    @property
    def weights(self) -> int:
        """Numbers it stores."""
        return self.groups * self.rows * self.cols


@dataclass(frozen=True, repr=False)
class Estimate:
    """What `estimate` returns; print it.

    Times are those of this machine with what it has to do besides now, within a factor of about
    `WITHIN` where that stays as it is; None where they were not asked for, or where inputs are
    needed to know.

    Attributes:
        crossbars: one entry each; tied weights once.
        model: bytes of the given model.
        converted: bytes of the converted one, its cells programmed.
        without_cells: the same before programming (``convert(…, program=False)``).
        reading: bytes of the converted model and what one call of it holds at a time, at most.
        training: bytes of the converted model, gradients, and what one step keeps for them;
            without the state of an optimizer.
        convert: time of ``mho.convert`` (s).
        program: of ``mho.program`` (s).
        read: of one call in ``eval()`` (s).
        step: of one forward and backward pass in ``train()`` (s).
        products: parameters outside of crossbars that are multiplied with what the model is given.
        macs: multiply–accumulates with what goes on crossbars, in one call.
        of_macs: those with any parameter.
        available: free bytes on the model's device; None: not known.
        untraced: why numbers that need inputs are not known.
        reckoned: which numbers follow from a formula, as nothing of the kind was measured.
    """

    crossbars: tuple[CrossbarEstimate, ...]
    model: int
    converted: int
    without_cells: int
    reading: int | None
    training: int | None
    convert: float | None
    program: float | None
    read: float | None
    step: float | None
    products: tuple[Product, ...] = ()
    macs: int | None = None
    of_macs: int | None = None
    available: int | None = None
    untraced: str = ""
    reckoned: tuple[str, ...] = ()

    @property
    def tiles(self) -> int:
        """All tiles."""
        return sum(crossbar.tiles for crossbar in self.crossbars)

    @property
    def cells(self) -> int:
        """All cells."""
        return sum(crossbar.cells for crossbar in self.crossbars)

    @property
    def fits(self) -> bool | None:
        """Whether the converted model fits into the memory there is; None: not known."""
        return None if self.available is None else self.converted <= self.available

    def __str__(self) -> str:
        head = ("crossbar", "matrix", "tiles", "cells", "vectors")
        groups: dict[Any, list[CrossbarEstimate]] = {}
        for c in self.crossbars:
            same = (pattern(c.name), c.rows, c.cols, c.groups, c.vectors)
            groups.setdefault(same, []).append(c)
        rows = [_row(group) for group in groups.values()]
        rows.append(("total", "", f"{self.tiles:,}", f"{self.cells:,}", ""))
        memory = (
            ("model", self.model),
            ("converted", self.converted),
            ("converted, no cells yet", self.without_cells),
            ("reading", self.reading),
            ("training", self.training),
            ("available", self.available),
        )
        times = (
            ("convert", self.convert),
            ("program", self.program),
            ("read", self.read),
            ("training step", self.step),
        )
        lines = [table(head, rows, left=2), ""]
        lines += [f"{name:<24}{'–' if n is None else size(n)}" for name, n in memory]
        lines += [""]
        lines += [f"{name:<24}{'–' if t is None else quantity(t, 's')}" for name, t in times]
        if self.of_macs:
            share = percent(self.macs or 0, self.of_macs)
            lines += ["", f"{share} of {self.of_macs:,} multiply–accumulates on crossbars"]
        if self.products:
            names = patterns([f"{p.name} ({p.operation})" for p in self.products])
            lines += [f"outside of them: {names}"]
        if self.untraced:
            lines += ["", f"not known{self.untraced}"]
        lines += ["", *self.reckoned] if self.reckoned else []
        return "\n".join(lines)

    __repr__ = __str__


def _row(group: list[CrossbarEstimate]) -> tuple[str, ...]:
    one = group[0]
    return (
        one.name if len(group) == 1 else f"{len(group)} × {pattern(one.name)}",
        f"{one.groups} × " * (one.groups > 1) + f"{one.rows} × {one.cols}",
        f"{sum(c.tiles for c in group):,}",
        f"{sum(c.cells for c in group):,}",
        "–" if one.vectors is None else f"{one.vectors:,.4g}",
    )


def estimate(
    model: nn.Module,
    hardware: Hardware,
    inputs: Any = None,
    *,
    only: Selectors | None = None,
    skip: Selectors | None = None,
    overrides: Mapping[str, Hardware | None] | None = None,
    cells_dtype: torch.dtype | None = None,
    embeddings: bool = False,
    times: bool = True,
) -> Estimate:
    """Say what `mho.convert` with these arguments will take, without doing it.

    Nothing of the model's size is allocated: it may live on the meta device.

    Args:
        model: a torch model; it is not changed, and not run on data.
        hardware: as in `mho.convert`.
        inputs: of one call: a tensor (of the meta device, too), an array, a table, a list of rows,
            a tuple of arguments, or a mapping of keyword arguments; of a DataLoader or a Dataset
            the first batch. None: what needs them is not known.
        only: as in `mho.convert`.
        skip: as in `mho.convert`.
        overrides: as in `mho.convert`.
        cells_dtype: as in `mho.convert`.
        embeddings: as in `mho.convert`.
        times: whether a small crossbar is timed, which takes some seconds for each hardware;
            without, memory of reading and training is not known either.

    Raises:
        TypeError, ValueError: as `mho.convert`.
    """
    checks.instance("model", model, nn.Module)
    checks.instance("hardware", hardware, Hardware)
    cells_dtype = kept.check(cells_dtype)
    inputs = call_of(inputs, model)
    times = checks.truth("times", times)
    embeddings = checks.truth("embeddings", embeddings)
    chosen = choose(model, hardware, only, skip, dict(overrides or {}), embeddings)
    if not chosen:
        raise ValueError("the model has no layer to convert to crossbars")
    found = sizes.matrices(chosen)
    traced, untraced = (None, "") if inputs is None else attempt(model, inputs)
    if inputs is None:
        untraced = ": what needs inputs (reads, training steps)"
    vectors = _vectors(found, chosen, traced)
    own = sizes.bytes_of(model)
    cells = _bytes(found, cells_dtype)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    known = Estimate(
        tuple(_crossbar(m, v) for m, v in zip(found, vectors, strict=True)),
        model=own,
        converted=own + cells,
        without_cells=own,
        reading=None,
        training=None,
        convert=None,
        program=None,
        read=None,
        step=None,
        products=_outside(traced, set(chosen)),
        macs=None if traced is None else traced.within(set(chosen)),
        of_macs=None if traced is None else traced.macs,
        available=memory.available(device),
        untraced=untraced,
        reckoned=_uncounted(found, cells_dtype),
    )
    if not times:
        return known
    layers = {module for module, _ in chosen.values()}
    known = replace(known, reckoned=(*known.reckoned, *_unmeasured(layers, traced, device)))
    with torch.random.fork_rng([] if device.type in ("cpu", "meta") else [device]):
        return _timed(known, found, vectors, traced, device)


def _bytes(found: list[sizes.Matrix], cells_dtype: torch.dtype | None) -> int:
    """Return what the cells of all crossbars, and what reads keep ready of them, take."""
    each: dict[tuple[int, torch.dtype], float] = {}
    for m in found:
        key = id(m.hardware), m.kind
        if key not in each:
            each[key] = sizes.bytes_a_weight(m.hardware, cells_dtype, m.kind)
    return round(sum(m.weights * each[id(m.hardware), m.kind] for m in found))


def _uncounted(found: list[sizes.Matrix], cells_dtype: torch.dtype | None) -> tuple[str, ...]:
    """Say where memory is a formula's, as cells of the hardware fail to be programmed."""
    each = {(id(m.hardware), m.kind): m for m in found}
    failed = [
        m for m in each.values() if sizes.counted_bytes(m.hardware, cells_dtype, m.kind) is None
    ]
    names = patterns([m.name for m in failed])
    return (f"memory of cells by formula, as a sample of them fails: {names}",) if failed else ()


def _unmeasured(
    layers: set[nn.Module], traced: Trace | None, device: torch.device
) -> Iterator[str]:
    """Say of what times are not measured, but follow from those of something else."""
    if device.type == "meta":
        yield "times are those of the CPU, as the model is on no device"
    other = sorted({type(layer).__name__ for layer in layers if type(layer) is not nn.Linear})
    if other:
        yield f"times by formula, from a linear layer's: {', '.join(other)}"
    if traced is not None:
        yield "times by formula, from torch's products: what stays digital (norms and such free)"


def _outside(traced: Trace | None, layers: set[str]) -> tuple[Product, ...]:
    if traced is None:
        return ()
    return tuple(p for p in traced.products if not traced.belongs(p, layers))


def _crossbar(matrix: sizes.Matrix, vectors: float | None) -> CrossbarEstimate:
    tiling = matrix.tiling
    return CrossbarEstimate(
        matrix.name,
        tiling.rows,
        matrix.cols,
        tiling.groups,
        tiling.tiles,
        tiling.cells,
        vectors,
    )


def _vectors(
    found: list[sizes.Matrix],
    chosen: Mapping[str, tuple[nn.Module, Hardware]],
    traced: Trace | None,
) -> list[float | None]:
    """Return how many inputs each crossbar is given: products of its layer over its weights."""
    if traced is None:
        return [None] * len(found)
    owner = {m.name: m.name if m.name in chosen else m.name.rpartition(".")[0] for m in found}
    weights: dict[str, int] = {}
    for m in found:
        weights[owner[m.name]] = weights.get(owner[m.name], 0) + m.weights

    def count(name: str) -> float:
        if isinstance(chosen[name][0], BY_OPTION):
            return float(traced.looked_up(name))
        return traced.within({name}) / weights[name]

    return [count(owner[m.name]) for m in found]


def _largest(found: Iterable[sizes.Matrix]) -> tuple[int, int]:
    """Return rows and columns of the largest matrix, within what is measured."""
    most = max(found, key=lambda m: m.tiling.rows * m.cols)
    rows, cols = (min(max(n, 16), SIDE) for n in (most.tiling.rows, most.cols))
    return rows, cols


def _timed(
    known: Estimate,
    found: list[sizes.Matrix],
    vectors: list[float | None],
    traced: Trace | None,
    device: torch.device,
) -> Estimate:
    where = torch.device("cpu") if device.type == "meta" else device
    paces: dict[Hardware, Pace] = {}
    sums = dict.fromkeys(("convert", "program", "read", "step"), 0.0)
    kept, most = 0.0, 0.0
    for matrix, count in zip(found, vectors, strict=True):
        pace = next((p for h, p in paces.items() if h == matrix.hardware), None)
        if pace is None:
            shape = _largest(m for m in found if m.hardware == matrix.hardware)
            usual = max((n for n in vectors if n is not None), default=None)
            pace = paces[matrix.hardware] = measured(matrix.hardware, *shape, where, usual)
        sums["convert"] += on_line(pace.convert, matrix.weights)
        sums["program"] += on_line(pace.program, matrix.weights)
        if count is None:
            continue
        products = matrix.weights * count / (matrix.tiling.rows if matrix.lookup else 1)
        rows, groups = matrix.tiling.rows, matrix.tiling.groups
        driven = values(1 if matrix.lookup else rows, matrix.cols, count * groups, matrix.hardware)
        sums["read"] += on_line(pace.read, products, driven)
        sums["step"] += on_line(pace.step, products, driven)
        results = count * groups * matrix.tiling.down * matrix.cols
        kept += pace.kept[0] * matrix.weights + pace.kept[1] * results
        most = max(most, 4.0 * results)
    timed = replace(known, convert=sums["convert"], program=sums["program"])
    if traced is None:
        return timed
    rest = (traced.macs - traced.within({m.name for m in found}) + traced.between) * plain(where)
    rest *= max((pace.load for pace in paces.values()), default=1.0)
    outputs = 4 * sum(
        round(c * m.cols * m.tiling.groups) for c, m in zip(vectors, found, strict=True) if c
    )
    return replace(
        timed,
        reading=known.converted + round(2 * most),
        training=known.converted + known.model + round(kept) + outputs,
        read=sums["read"] + max(rest, 0.0),
        step=sums["step"] + 3.0 * max(rest, 0.0),
    )
