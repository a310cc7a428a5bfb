"""``mho card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho_cli import options


def card(
    device: options.Device,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A png, pdf or svg; without, a png named after the device."
        ),
    ] = None,
    seed: options.Seed = 0,
) -> None:
    """Draw a device on one page: its parameters and what it does."""
    from mho.cli.card import run

    run(device, out, seed=seed)
