"""A backend of matplotlib for notebooks that run without a browser: show() closes the pictures."""

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

__all__ = ["FigureCanvas", "show"]


def show(*args: Any, **options: Any) -> None:
    """Close all pictures: a notebook has drawn them below the cell."""
    plt.close("all")
