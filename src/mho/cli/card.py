"""The one-page card of a device: what ``mho card`` does."""

from __future__ import annotations

from pathlib import Path

from mho.cells.device import Device
from mho.core.files import drafts
from mho.plot.device import device_card


def run(device: Device, name: str, out: Path, *, seed: int = 0) -> str:
    """Draw a device's card.

    Args:
        device: the device.
        name: heading.
        out: where the picture goes; its ending says the format (png, pdf, svg).
        seed: of the populations drawn.

    Returns:
        What to print.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.7, 8.3), layout="constrained")
    FigureCanvasAgg(figure)
    device_card(device, figure, name=name, seed=seed)
    with drafts(out) as (draft,):
        figure.savefig(draft)
    return f"{device}\nwritten: {out}"
