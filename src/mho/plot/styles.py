"""How pictures look: colours everyone can tell apart, and a style that stays inside its context."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mho.core.extras import need

if TYPE_CHECKING:
    from typing import ParamSpec

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    P = ParamSpec("P")

T = TypeVar("T")

# The first module that `mho.plot` imports: what is missing is named here, for all of them.
matplotlib, plt = need("matplotlib", "viz"), need("matplotlib.pyplot", "viz")
rcsetup, ticker = need("matplotlib.rcsetup", "viz"), need("matplotlib.ticker", "viz")

# Okabe and Ito's palette, safe for the colour-blind: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#6B6B6B"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
MORE_COLOURS = (*COLOURS, "#E69F00", "#56B4E9", "#000000")

# Of pages and their charts, on white: text, lesser text, lines, and the paper itself.
INK, SOFT, HAIR, PAPER = "#1C2530", "#5D6875", "#DFE4EA", "#FFFFFF"
# What each of these becomes where a page is dark; text keeps a contrast above 7, marks above 4.5.
DARK = {
    INK: "#E6EAEF",
    SOFT: "#A9B4C0",
    HAIR: "#323B45",
    PAPER: "#14191F",
    BLUE: "#5CB8F0",
    ORANGE: "#FF9A52",
    GREEN: "#3BD0A4",
    PURPLE: "#E9A3CA",
    GREY: "#A3A6AA",
    "#E69F00": "#F7C548",
    "#56B4E9": "#A3DCFF",
    "#000000": "#FAFAFA",
}

_STYLE: Any = {
    # Read at half their width, letters are still nine pixels high.
    "figure.figsize": (5.6, 4.0),
    "figure.constrained_layout.use": True,
    "font.size": 10.5,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": rcsetup.cycler(color=MORE_COLOURS),
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "savefig.dpi": 160.0,
}
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))
PREFIXED = frozenset({"A", "V", "S", "J", "W", "s", "F", "C", "Ω", "Hz", "m"})
"""Units that `unit` has prefixes for."""


@contextmanager
def style() -> Iterator[None]:
    """Draw in mho's style inside a ``with`` block; matplotlib's own settings stay untouched."""
    with matplotlib.rc_context(_STYLE):
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Make a function draw in mho's style, whatever is set outside."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return draw(*args, **kwargs)

    return drawn


def axes(ax: Axes | None) -> Axes:
    """Return the Axes given, in mho's style if nothing is drawn there yet, or a new figure's."""
    if ax is None:
        return plt.subplots()[1]
    if not ax.has_data():
        _dress(ax)
    return ax


def panels(given: Sequence[Axes] | None, *shape: int, **layout: Any) -> list[Axes]:
    """Return the several Axes given, or those of a new figure, in mho's style.

    Args:
        given: as many as the shape has places, or None.
        shape: rows and columns.
        layout: of the new figure, as `matplotlib.pyplot.subplots` takes it.

    Raises:
        ValueError: if there are too few or too many.
    """
    if given is None:
        return list(plt.subplots(*shape, squeeze=False, **layout)[1].flat)
    if len(given) != math.prod(shape):
        raise ValueError(f"axes must be {math.prod(shape)} Axes, got {len(given)}")
    return [axes(ax) for ax in given]


def _dress(ax: Axes) -> None:
    # What a style says when Axes are made, for those that were made outside of it.
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(visible=True, color=_STYLE["grid.color"], linewidth=_STYLE["grid.linewidth"])
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=_STYLE["xtick.labelsize"])
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(_STYLE["axes.labelsize"])
    ax.set_prop_cycle(_STYLE["axes.prop_cycle"])


def name_lines(ax: Axes, label: str | None) -> None:
    """Put a legend where something has a label; drawn anew for every line that is added."""
    if label:
        ax.legend()


def cell_map(
    ax: Axes,
    values: npt.ArrayLike,
    label: str,
    *,
    places: tuple[str, str] | None = None,
    **look: Any,
) -> AxesImage:
    """Draw a number of every cell of an array, rows downwards, with a scale beside the map.

    Args:
        ax: where to draw.
        values: ``[rows, cols]``.
        label: of the scale.
        places: what runs to the right and downwards; bit and word lines if None.
        look: as `matplotlib.axes.Axes.imshow` takes it; ``extend`` as a scale does.
    """
    extend = look.pop("extend", "neither")
    image = ax.imshow(values, **{"aspect": "auto", "interpolation": "nearest", **look})
    bar: Any = ax.figure.colorbar(image, ax=ax, label=label, pad=0.02, extend=extend)
    bar.outline.set_visible(False)
    right, down = places or ("bit line", "word line")
    ax.set(xlabel=right, ylabel=down)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=6))
    ax.grid(visible=False)
    return image


def numbers(values: Tensor) -> npt.NDArray[np.float64]:
    """Return a tensor's values for drawing, from wherever it lives."""
    return values.detach().cpu().double().numpy()


def unit(largest: float) -> tuple[float, str]:
    """Return the SI prefix that suits a magnitude: its size and its letter."""
    small = _PREFIXES[-1] if largest > 0.0 else _PREFIXES[0]
    return next((p for p in _PREFIXES if largest >= p[0]), small)


def plain(text: object) -> str:
    """Return a name that others chose as matplotlib draws it: a dollar sign begins no formula."""
    return str(text).replace("$", r"\$")


def quantity(value: float, symbol: str) -> str:
    """Say a number with its unit and the SI prefix that suits it; of no unit, the number alone."""
    if symbol and value != 0:
        return str(ticker.EngFormatter(symbol, places=None)(float(f"{value:.4g}")))
    return f"{value:.4g}"
