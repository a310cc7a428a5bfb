"""``mho report``."""

from __future__ import annotations

from typing import Annotated

import typer

from mho_cli import options


def report(
    model: Annotated[
        str,
        typer.Argument(
            metavar="model.pt",
            help="An exported program (.pt2); MODULE:FUNCTION that makes a model; or a file of "
            "weights, with --network.",
        ),
    ],
    hardware: options.Hardware,
) -> None:
    """A saved model on a hardware: what is on crossbars, tiles, memory, cost, accuracy."""
    from mho.cli.report import run

    run(model, hardware)
