"""A backend of matplotlib for notebooks that run without a browser: show() closes the pictures."""

from typing import Any

from mho.core.extras import need

plt = need("matplotlib.pyplot", "viz")
FigureCanvas = need("matplotlib.backends.backend_agg", "viz").FigureCanvasAgg

__all__ = ["FigureCanvas", "show"]


def show(*args: Any, **options: Any) -> None:
    """Close all pictures: a notebook has drawn them below the cell."""
    plt.close("all")
