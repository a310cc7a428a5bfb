"""Pictures of a chip: what lies where on it, its defects, and what these cost.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle

from mho.chip import Chip, Cores
from mho.core import checks
from mho.plot.cores import draw_cores, draw_defects, grid_of
from mho.plot.styles import BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_PIXELS = 250
_LETTER = 0.033  # size of a name's letter, of the chip's edge
_MORE = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000")
_MARKS = "osD^vPX"


@styled
def floor_plan(chip: Chip, ax: Axes | None = None, *, defects: bool = True) -> Axes:
    """Draw a chip from above: its defects, and the regions of all that lies on it.

    Every model has a colour. Each region is the slice of a crossbar and carries the crossbar's
    name and the slice's number where there is room. Defects are shown as the share of broken cells
    in squares that make up the picture; on a small chip a square is one cell. Of a chip of cores
    every core is drawn apart, its arrays beside one another; see `core_plan` for a mapping.

    Args:
        chip: what to show.
        ax: where to draw.
        defects: whether to show them.
    """
    defects = checks.truth("defects", defects)
    checks.instance("chip", chip, Chip)
    ax = axes(ax)
    if chip.cores is not None:
        return _on_cores(chip, chip.cores, ax, defects)
    if defects:
        _defects(chip, ax)
    owners: dict[str, str] = {}
    for label, regions in chip.regions.items():
        owner, _, name = label.partition("/")
        colour = owners.setdefault(owner, COLOURS[len(owners) % len(COLOURS)])
        for number, region in enumerate(regions):
            corner = (region.col - 0.5, region.row - 0.5)
            size = (region.width, region.height)
            ax.add_patch(Rectangle(corner, *size, facecolor=colour, alpha=0.14))
            ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=1.2))
            if region.height > _LETTER * chip.rows:
                middle = (region.col + region.width / 2, region.row + region.height / 2)
                room = region.width / (_LETTER * chip.cols)  # letters
                names = (f"{name or owner}·{number}", f"·{number}")
                text = next((n for n in names if len(n) < room), "")
                ax.annotate(text, middle, ha="center", va="center", color=colour, fontsize=8)
    ax.set(xlabel="bit line", ylabel="word line", title=_taken(chip), aspect="equal")
    ax.set(xlim=(-0.5, chip.cols - 0.5), ylim=(chip.rows - 0.5, -0.5))
    ax.grid(False)
    _name_owners(owners, ax)
    return ax


def _taken(chip: Chip) -> str:
    return f"{chip.occupancy:.0%} taken, {float(chip.stuck.float().mean()):.1%} stuck"


def _name_owners(owners: Mapping[str, str], ax: Axes) -> None:
    if owners:
        handles = [
            Patch(facecolor=c, alpha=0.4, edgecolor=c, label=owner) for owner, c in owners.items()
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _on_cores(chip: Chip, cores: Cores, ax: Axes, defects: bool) -> Axes:
    grid = grid_of(cores, cores.arrays)
    draw_cores(grid, ax)
    if defects:
        limits = ax.get_xlim(), ax.get_ylim()
        draw_defects(chip.stuck, grid, ax)
        ax.set(xlim=limits[0], ylim=limits[1])
    owners: dict[str, str] = {}
    for resident in chip.residents:
        owner = resident.owner
        colour = owners.setdefault(owner, COLOURS[len(owners) % len(COLOURS)])
        for region in (*resident.regions, *resident.reserved):
            array, row = divmod(region.row, cores.rows)
            top, left = grid.corner(*divmod(array, cores.arrays))
            corner, size = (left + region.col, top + row), (region.width, region.height)
            ax.add_patch(Rectangle(corner, *size, facecolor=colour, alpha=0.3))
            ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=0.8))
    ax.set_title(_taken(chip))
    _name_owners(owners, ax)
    return ax


def _defects(chip: Chip, ax: Axes) -> None:
    block = max(1, math.ceil(max(chip.rows, chip.cols) / _PIXELS))
    mask = chip.stuck.float().unsqueeze(0).unsqueeze(0)
    share = F.avg_pool2d(mask, block, ceil_mode=True, count_include_pad=False)[0, 0]
    paper_to_ink = LinearSegmentedColormap.from_list("defects", ["white", "#404040"])
    rows, cols = share.shape
    image = ax.imshow(
        100.0 * share.cpu().numpy(),
        cmap=paper_to_ink,
        vmin=0.0,
        vmax=100.0 * max(float(share.max()), 1e-9),
        extent=(-0.5, cols * block - 0.5, rows * block - 0.5, -0.5),
        interpolation="nearest",
    )
    if block > 1:
        label = f"broken cells in {block} × {block} (%)"
        # Below: the legend of the models is on the right.
        ax.figure.colorbar(image, ax=ax, label=label, orientation="horizontal", shrink=0.6)


@styled
def fault_tolerance(
    accuracy: Mapping[str, Sequence[Sequence[float]]],
    stuck: Sequence[float],
    ax: Axes | None = None,
    *,
    published: Mapping[str, Sequence[float]] | None = None,
) -> Axes:
    """Draw accuracy against the fraction of stuck cells, one line a method.

    Lines are means over chips, with a band of one standard deviation of a chip.

    Args:
        accuracy: by method, one row a stuck fraction and one number a chip, in [0, 1].
        stuck: fractions of stuck cells, in [0, 1].
        ax: where to draw.
        published: by method, other numbers to compare with, one a stuck fraction; drawn as dashed
            lines in the colour of the method of the same name.

    Raises:
        ValueError: if the number of rows is not that of the stuck fractions.
    """
    ax = axes(ax)
    published = dict(published or {})
    x = 100.0 * np.asarray(stuck, dtype=float)
    lines: dict[str, Line2D] = {}
    for index, (method, rows) in enumerate(accuracy.items()):
        values = 100.0 * np.asarray(rows, dtype=float)
        if values.ndim != 2 or len(values) != len(x):
            raise ValueError(
                f"accuracy of {method!r} must have one row for each of {len(x)} stuck fractions, "
                f"got shape {list(values.shape)}"
            )
        colour, mark = _MORE[index % len(_MORE)], _MARKS[index % len(_MARKS)]
        (lines[method],) = ax.plot(x, values.mean(1), color=colour, marker=mark, label=method)
        low, high = values.mean(1) - values.std(1), values.mean(1) + values.std(1)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    for method, row in published.items():
        if len(row) != len(x):
            raise ValueError(
                f"published {method!r} must have {len(x)} numbers, one a stuck fraction, got "
                f"{len(row)}"
            )
        known = lines[method].get_color() if method in lines else GREY
        ax.plot(x, 100.0 * np.asarray(row), color=known, linestyle="--", linewidth=1.0, alpha=0.8)
    if published:
        ax.plot([], [], color=GREY, linestyle="--", linewidth=1.0, label="published (MNIST)")
    ax.set(xlabel="stuck cells (%)", ylabel="accuracy (%)", ylim=(0, 101))
    ax.legend()
    return ax
