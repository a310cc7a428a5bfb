"""Pictures of networks on the cores of a chip: which tile lies where, and who works when.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from mho.chip import CoreMapping, Cores
from mho.chip.told import rate
from mho.core import checks
from mho.plot.styles import BLUE, GREEN, GREY, ORANGE, PURPLE, axes, plain, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mho.chip.mapping import Bar

_INFERENCES = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9")
_NAMED = 26  # layers in a legend
_GAP = 0.1  # between cores, of a core's width
_PIXELS = 900
_REST = "#DDDDDD"
Colour = tuple[float, float, float, float]
BY = ("layer", "core")


class Grid(NamedTuple):
    """Where cores are drawn.

    Attributes:
        cores: the chip.
        panels: arrays of a core that are drawn beside one another.
        columns: cores in a row.
    """

    cores: Cores
    panels: int
    columns: int

    @property
    def gap(self) -> int:
        """Between cores, in cells."""
        return math.ceil(_GAP * min(self.cores.rows, self.panels * self.cores.cols))

    @property
    def pitch(self) -> tuple[int, int]:
        """From one core to the next, down and across, in cells."""
        return self.cores.rows + self.gap, self.panels * self.cores.cols + self.gap

    @property
    def lines(self) -> int:
        """Rows of cores."""
        return math.ceil(self.cores.count / self.columns)

    def corner(self, core: int, panel: int = 0) -> tuple[int, int]:
        """Return word line and bit line of the picture at which an array begins."""
        line, column = divmod(core, self.columns)
        down, across = self.pitch
        return line * down, column * across + panel * self.cores.cols


def grid_of(cores: Cores, panels: int, columns: int | None = None) -> Grid:
    """Return a grid of cores that is about as wide as high, or so many cores wide."""
    if columns is not None:
        return Grid(cores, panels, checks.integer("columns", columns))
    down, across = Grid(cores, panels, 1).pitch
    return Grid(cores, panels, max(1, round(math.sqrt(cores.count * down / across))))


@styled
def core_plan(
    mapping: CoreMapping, ax: Axes | None = None, *, turn: int = 0, columns: int | None = None
) -> Axes:
    """Draw the cores of a chip from above, with the tiles that lie on them.

    Layers have numbers, and colours from dark to light, in the order in which they are read; copies
    are hatched. Arrays whose currents are joined are drawn once; where further ones lie above
    them, these are drawn beside them.

    Args:
        mapping: as `mho.chip.place` returns it.
        ax: where to draw.
        turn: which, where layers lie there in turns.
        columns: cores in a row.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("mapping", mapping, CoreMapping)
    turn = checks.integer("turn", turn, least=0, most=mapping.turns - 1)
    here = [tile for tile in mapping.tiles if tile.turn == turn]
    panels = {array: i for i, array in enumerate(sorted({t.array for t in mapping.tiles}))}
    grid = grid_of(mapping.cores, len(panels), columns)
    ax = axes(ax)
    draw_cores(grid, ax)
    colours = _in_order(len(mapping.shapes))
    least = 4.0 if grid.columns * len(panels) <= 10 else 2.5  # parts of a core that hold a number
    for tile in here:
        top, left = grid.corner(tile.core, panels[tile.array])
        place = (left + tile.col, top + tile.row)
        size = (tile.piece.width, tile.piece.height)
        hatch = "////" if tile.copy else None
        look: dict[str, Any] = {
            "facecolor": colours[tile.layer],
            "edgecolor": "white",
            "linewidth": 0.4,
        }
        ax.add_patch(Rectangle(place, *size, **look, hatch=hatch))
        if least * size[0] >= mapping.cores.cols and least * size[1] >= mapping.cores.rows:
            middle = (place[0] + size[0] / 2, place[1] + size[1] / 2)
            ink = "white" if tile.layer < 0.6 * len(mapping.shapes) else "black"
            look = {"color": ink, "fontsize": max(4.0, min(9.0, 90.0 / grid.columns / len(panels)))}
            back = {"boxstyle": "square,pad=0.1", "color": colours[tile.layer]} if hatch else None
            ax.annotate(f"{tile.layer + 1}", middle, ha="center", va="center", bbox=back, **look)
    _name_layers(mapping, sorted({t.layer for t in here}), colours, ax)
    used = len({tile.core for tile in here})
    part = f", turn {turn + 1} of {mapping.turns}" if mapping.turns > 1 else ""
    ax.set_title(f"{used} of {mapping.cores.count} cores, {mapping.policy}{part}")
    return ax


def draw_cores(grid: Grid, ax: Axes) -> None:
    """Draw empty cores, and what they are measured in."""
    cores = grid.cores
    size = (grid.panels * cores.cols, cores.rows)
    for core in range(cores.count):
        top, left = grid.corner(core)
        ax.add_patch(
            Rectangle((left, top), *size, facecolor="#F4F4F4", edgecolor="#BBBBBB", linewidth=0.6)
        )
    down, across = grid.pitch
    ax.set(xlim=(-grid.gap, grid.columns * across), ylim=(grid.lines * down, -grid.gap))
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.set_xlabel(f"every core {cores.arrays} × {cores.rows} × {cores.cols} cells")
    for side in ax.spines.values():
        side.set_visible(False)
    ax.grid(False)


def draw_defects(stuck: Tensor, grid: Grid, ax: Axes) -> None:
    """Draw the share of broken cells on every array, all panels beside one another.

    Args:
        stuck: mask ``[all word lines, bit lines]`` of the chip.
        grid: with as many panels as a core has arrays.
        ax: where to draw.
    """
    cores = grid.cores
    whole = torch.full((grid.lines * grid.columns, *cores.layout[1:]), math.nan)
    whole[: cores.count] = stuck.detach().float().cpu().view(cores.layout)
    rows = whole.transpose(1, 2).flatten(2)  # [cores, rows, panels · cols]
    rows = F.pad(rows, (0, grid.gap, 0, grid.gap), value=math.nan)
    picture = rows.unflatten(0, (grid.lines, grid.columns)).transpose(1, 2).flatten(2).flatten(0, 1)
    block = max(1, math.ceil(max(picture.shape) / _PIXELS))
    share = F.avg_pool2d(picture.nan_to_num(0.0)[None, None], block, ceil_mode=True)[0, 0]
    inside = F.avg_pool2d((~picture.isnan()).float()[None, None], block, ceil_mode=True)[0, 0]
    share = torch.where(inside > 0, share / inside, math.nan)
    ink = LinearSegmentedColormap.from_list("defects", ["#FFFFFF", "#404040"])
    high, wide = share.shape
    ax.imshow(
        100.0 * share.numpy(),
        cmap=ink,
        vmin=0.0,
        vmax=max(100.0 * float(share.nan_to_num(0.0).max()), 1e-9),
        extent=(0, wide * block, high * block, 0),
        interpolation="nearest",
    )


def _in_order(count: int) -> list[Colour]:
    """Return colours from dark to light, that differ in lightness for those who see no hues."""
    scale = matplotlib.colormaps["viridis"]
    return [scale(0.05 + 0.9 * i / max(count - 1, 1)) for i in range(count)]


def _name_layers(
    mapping: CoreMapping, layers: Sequence[int], colours: Sequence[Colour], ax: Axes
) -> None:
    shown = layers if len(layers) <= _NAMED else _thinned(layers)
    handles = [
        Patch(facecolor=colours[i], label=f"{i + 1}  {plain(_short(mapping.shapes[i].name))}")
        for i in shown
    ]
    if any(mapping.copies[i] > 1 for i in layers):
        handles.append(Patch(facecolor="white", edgecolor=GREY, hatch="////", label="copies"))
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize=7.0,
        title=None if len(shown) == len(layers) else f"{len(layers)} layers, some of them:",
        title_fontsize=7.0,
        handlelength=1.2,
        labelspacing=0.3,
    )


def _thinned(layers: Sequence[int]) -> list[int]:
    """Return some of many, first and last among them."""
    step = (len(layers) - 1) / (_NAMED - 1)
    return [layers[round(i * step)] for i in range(_NAMED)]


def _short(name: str, most: int = 46) -> str:
    """Return the end of a name, from a dot on."""
    if len(name) <= most:
        return name or "crossbar"
    kept = name[1 - most :]
    return f"…{kept[kept.find('.') + 1 :]}"


# ── a timeline ───────────────────────────────────────────────────────────────────────────────


@styled
def core_timeline(
    mapping: CoreMapping,
    ax: Axes | None = None,
    *,
    inferences: int | None = None,
    by: str = "layer",
) -> Axes:
    """Draw which layer, or which core, works when and for which inference.

    Args:
        mapping: as `mho.chip.place` returns it.
        ax: where to draw.
        inferences: how many follow one another; see `CoreMapping.timeline`.
        by: a line for every ``"layer"`` or every ``"core"`` in use.

    Raises:
        TypeError, ValueError: if an argument is refused, or the times are not known.
    """
    checks.instance("mapping", mapping, CoreMapping)
    checks.one_of("by", by, BY)
    bars = mapping.timeline(inferences)
    ax = axes(ax)
    size, prefix = unit(max(bar.end for bar in bars))
    lines = _lines(mapping, bars, by)
    for height, spans in enumerate(lines.values()):
        for inference, merged in spans.items():
            parts = [(start / size, (end - start) / size) for start, end in merged]
            ax.broken_barh(parts, (height - 0.4, 0.8), linewidth=0.6, **_look(inference))
    names = [plain(_short(name)) for name in lines]
    ax.set_yticks(range(len(names)), names, fontsize=7.5 if len(names) <= 30 else 5)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0.0, None), xlabel=f"time ({prefix}s)")
    if by == "layer":
        ax.set_ylabel("layer")
    ax.grid(axis="y", visible=False)
    _say_times(mapping, bars, ax)
    return ax


Spans = dict[int | None, list[tuple[float, float]]]
"""By inference when somebody works; by None when cells are written, by -1 for all that follow."""


def _look(inference: int | None) -> dict[str, Any]:
    if inference is None:
        return {"facecolor": "white", "edgecolor": GREY, "hatch": "////"}
    colour = _REST if inference < 0 else _INFERENCES[inference % len(_INFERENCES)]
    return {"facecolor": colour, "edgecolor": colour}  # what is short is still a line


def _lines(mapping: CoreMapping, bars: Sequence[Bar], by: str) -> dict[str, Spans]:
    """Return when somebody works, by line; what overlaps as one."""
    found: dict[int, Spans] = {}
    for bar in (*_following(mapping, bars), *bars):
        if by == "core":
            keys = [bar.core]
        elif bar.layer is not None:
            keys = [bar.layer]
        else:
            keys = sorted(
                {t.layer for t in mapping.tiles if t.turn == bar.turn and t.core == bar.core}
            )
        for key in keys:
            spans = found.setdefault(key, {}).setdefault(bar.inference, [])
            spans.append((bar.start, bar.end))
    names = {key: f"core {key}" if by == "core" else mapping.shapes[key].name for key in found}
    return {
        names[key]: {inference: _merged(spans) for inference, spans in found[key].items()}
        for key in sorted(found)
    }


def _following(mapping: CoreMapping, bars: Sequence[Bar]) -> Iterator[Bar]:
    """Yield, in turns, the rest of a batch behind its first inferences."""
    if mapping.rewriting is None or mapping.turns == 1:
        return
    shown = 1 + max(bar.inference or 0 for bar in bars)
    for bar in bars:
        if bar.inference == shown - 1 < mapping.rewriting.batch - 1:
            interval = mapping.pipelines[bar.turn].interval
            more = (mapping.rewriting.batch - shown) * interval
            yield bar._replace(inference=-1, end=bar.end + more)


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _say_times(mapping: CoreMapping, bars: Sequence[Bar], ax: Axes) -> None:
    shown = sorted({bar.inference for bar in bars if bar.inference is not None})
    handles = [
        Patch(facecolor=_INFERENCES[n % len(_INFERENCES)], label=f"inference {n + 1}")
        for n in shown[: len(_INFERENCES)]
    ]
    if next(_following(mapping, bars), None) is not None:
        label = f"all {mapping.rewriting.batch:,} of a batch" if mapping.rewriting else ""
        handles.append(Patch(facecolor=_REST, label=label))
    if any(bar.layer is None for bar in bars):
        handles.append(Patch(facecolor="white", edgecolor=GREY, hatch="////", label="writing"))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    size, prefix = unit(mapping.interval or 0.0)
    ax.set_title(
        f"one inference every {(mapping.interval or 0.0) / size:.3g} {prefix}s, "
        f"{rate(mapping.throughput or 0.0)} in a second"
    )
