"""Which layer errs, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm

from mho.plot.styles import axes, plain, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mho.analysis.layer_errors import LayerErrors

_LEAST = 1e-4  # relative: what is smaller is drawn as nothing


@styled
def layer_errors(errors: LayerErrors, ax: Axes | None = None) -> Axes:
    """Draw what each stage adds to the error of each layer, as a map: a row a layer.

    Colours are logarithmic from 0.01 % on, numbers are percent of the layer's exact outputs. Right
    of the stages stand the error of the layer's own outputs, and what it does to the model's.

    Args:
        errors: of `mho.analysis.layers`.
        ax: where to draw.

    Raises:
        ValueError: if there are no layers.
    """
    if not errors.layers:
        raise ValueError("errors must be of at least one layer, got none: nothing was reached")
    ax = axes(ax)
    causes, whole = list(errors.causes), any(e.alone is not None for e in errors.layers)
    last = ["own", "at the outputs"] if whole else ["own"]
    rows = [
        [*(e.added.get(c, 0.0) for c in causes), e.own, *([e.alone or 0.0] if whole else [])]
        for e in errors.layers
    ]
    found = np.asarray(rows, dtype=float)
    shown = np.ma.masked_less(np.ma.masked_invalid(found), _LEAST)
    top = max(float(found[np.isfinite(found)].max(initial=0.0)), 10 * _LEAST)
    ax.imshow(shown, cmap="YlOrRd", norm=LogNorm(_LEAST, top), aspect="auto")
    ax.axvline(len(causes) - 0.5, color="black", linewidth=1.0)
    ax.set_xticks(range(len(causes) + len(last)), [*causes, *last], rotation=40, ha="right")
    ax.set_yticks(range(len(rows)), [plain(e.name or "crossbar") for e in errors.layers])
    ax.grid(visible=False)
    for (i, j), value in np.ndenumerate(found):
        # Dark ink on pale cells, pale ink on dark ones.
        dark = np.isfinite(value) and value > _LEAST * (top / _LEAST) ** 0.7
        text = f"{100 * value:.2g}" if not value < _LEAST else "–"
        ax.text(j, i, text, ha="center", va="center", color="white" if dark else "black", size=8)
    ax.set_title(f"error added by each stage (%); outputs in all: {100 * errors.outputs:.2g} %")
    return ax
