"""How pictures look: colours everyone can tell apart, and a style that stays inside its context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mho.core.extras import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The first module that `mho.plot` imports: what is missing is named here, for all of them.
matplotlib, plt = need("matplotlib", "viz"), need("matplotlib.pyplot", "viz")

# Okabe and Ito's palette, safe for the colour-blind: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#6B6B6B"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)

_STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "savefig.dpi": 160.0,
}
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


@contextmanager
def style() -> Iterator[None]:
    """Draw in mho's style inside a ``with`` block; matplotlib's own settings stay untouched."""
    with matplotlib.rc_context(_STYLE):
        yield


def axes(ax: Axes | None) -> Axes:
    """Return the Axes given, or those of a new figure."""
    if ax is not None:
        return ax
    made: Axes = plt.subplots(layout="constrained")[1]
    return made


def numbers(values: Tensor) -> npt.NDArray[np.float64]:
    """Return a tensor's values for drawing, from wherever it lives."""
    return values.detach().cpu().double().numpy()


def unit(largest: float) -> tuple[float, str]:
    """Return the SI prefix that suits a magnitude: its size and its letter."""
    small = _PREFIXES[-1] if largest > 0.0 else _PREFIXES[0]
    return next((p for p in _PREFIXES if largest >= p[0]), small)
