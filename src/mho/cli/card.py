"""The one-page card of a device: what ``mho card`` does."""

from __future__ import annotations

from pathlib import Path

from mho.cli import given
from mho.cli.pictures import format_of
from mho.core.extras import need
from mho.core.files import drafts


def run(device: str, out: Path | None = None, *, seed: int = 0) -> None:
    """Draw a device's card, and print the device.

    Args:
        device: a file, or the name of a preset.
        out: where the picture goes; its ending says the format (png, pdf, svg). A png named after
            the device if not given.
        seed: of the populations drawn.
    """
    figures = need("matplotlib.figure", "viz")
    from mho.plot.device import device_card
    from mho.plot.styles import plain

    found, name = given.device(device), Path(device).stem
    out = out or Path(f"{name}.png")
    kind = format_of(out)
    figure = figures.Figure(figsize=(11.7, 8.3), layout="constrained")
    device_card(found, figure, name=plain(name), seed=seed)
    with drafts(out) as (draft,):
        figure.savefig(draft, format=kind)
    print(f"{found}\nwritten: {out}")
