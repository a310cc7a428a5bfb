"""What the cells of a crossbar stand for: the weights that are stored, and how reads show them.

These functions are the methods and properties of `Crossbar` that bear their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from mho.cells import life as cell_life
from mho.cells.population import Cells
from mho.crossbar import exact, expansion
from mho.crossbar.wires import wired

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


def weight(crossbar: Crossbar) -> Tensor:
    """The weights ``[groups · rows, cols]`` that the stored conductances stand for."""
    return crossbar.decode(crossbar.G)


def effective_weight(crossbar: Crossbar) -> Tensor:
    """`weight` as reads show it on average: with wires, and effects of reading."""
    drawn = crossbar.cells.drawn("read")
    return crossbar.decode(crossbar._on_wires(cell_life.shown(crossbar.G, drawn)))


def expansion_error(crossbar: Crossbar) -> float:
    """Largest error of nominal cells' read current.

    Of a cell, relative to ``g v_max``, where its current is not ``g · f(v)``
    (`mho.crossbar.expansion`); or, if that is more, of a bit line at full drive, relative to
    the largest current, where cells that are not ohmic are read through wires as if these saw
    low voltages (`mho.crossbar.exact.linearisation_error`; found when asked for, once for each
    change of the cells). 0 where reads are exact.
    """
    if not exact.linearises(crossbar.hardware):
        return expansion.error(crossbar.hardware)
    if crossbar.hardware.array.exact_reads or not crossbar.fabricated:
        return 0.0
    return max(
        expansion.error(crossbar.hardware), crossbar._wires.error(crossbar.G, crossbar.hardware)
    )


def decode(crossbar: Crossbar, g: Tensor) -> Tensor:
    """Return the weights ``[groups · rows, cols]`` that conductances ``g`` would stand for."""
    return crossbar.hardware.encoding.decode(g, crossbar.scale, crossbar.digital)


def reference_read(crossbar: Crossbar) -> Tensor:
    """Read all cells until noise has averaged out: ``Σ_rows |weight|`` ``[groups · cols]``."""
    return crossbar.reference_of(crossbar.cells, crossbar.scale, crossbar.digital)


def reference_of(
    crossbar: Crossbar,
    cells: Cells,
    scale: Tensor,
    digital: Tensor | None,
    known: Tensor | None = None,
) -> Tensor:
    """As `reference_read`, of cells that the crossbar does not hold yet.

    Args:
        crossbar: whose they will be.
        cells: shaped like ``G``.
        scale: ``[]`` or ``[cols]`` (1/S).
        digital: see `Crossbar`.
        known: the weights that their conductances stand for, where these are known.
    """
    shown = cell_life.shown(cells.g, cells.drawn("read"))
    # Reads of these very cells need the same solution.
    g = crossbar._wires.stored(shown) if shown is cells.g else crossbar._on_wires(shown)
    weight = known if g is cells.g else None
    if weight is None:
        weight = crossbar.hardware.encoding.decode(g, scale, digital)
    return crossbar.column_sums(weight)


def column_sums(crossbar: Crossbar, weight: Tensor) -> Tensor:
    """Return ``Σ_rows |weight|`` per column ``[groups · cols]``, for weights as stored here."""
    return weight.abs().unflatten(0, (crossbar.groups, crossbar.rows)).sum(1).flatten()


def on_wires(crossbar: Crossbar, g: Tensor) -> Tensor:
    """Return conductances as converters see them through the wires, ``g`` where these are ideal."""
    known = crossbar.fabricated and g is crossbar.cells.g
    return (
        crossbar._wires.stored(g) if known else wired(g, crossbar.hardware.array, crossbar.groups)
    )


def extra_repr(crossbar: Crossbar) -> str:
    """One line: the matrix, its cells and how it is read."""
    slices, rows, cols = crossbar.cells.shape
    groups = f"{crossbar.groups} × " if crossbar.groups > 1 else ""
    path, error = "collapsed" if crossbar.collapsed else "tiled", ""
    if not crossbar.hardware.device.separable or exact.linearises(crossbar.hardware):
        terms = expansion.terms(crossbar.hardware)
        many = f", {terms} terms a row" if terms > 1 else ""
        error = f"{many}, current error {crossbar.expansion_error:.0e}"
    cells = f"{slices} × {rows} × {cols} cells"
    cells = cells if crossbar.fabricated else f"{cells} (not fabricated yet)"
    return f"{groups}{crossbar.rows} → {crossbar.cols}, {cells}, {path} read{error}"
