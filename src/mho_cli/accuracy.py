"""``mho accuracy``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho_cli import options


def accuracy(
    device: options.Hardware,
    model: options.Model = None,
    chips: options.Chips = 8,
    adc_bits: Annotated[
        int | None,
        typer.Option(
            help="Of the converters around a device; 0: exact reads; without, 8.",
            **options.NATURAL,
        ),
    ] = None,
    reads_per_second: Annotated[
        float,
        typer.Option(
            metavar="RATE",
            help="That cells are through in service, of a hardware whose effects go by reads.",
        ),
    ] = 0.0,
    out: options.Report = Path("mho-accuracy"),
    seed: options.Seed = 0,
) -> None:
    """The accuracy of networks on chips of a device.

    Beside plain PyTorch and ideal cells: printed, drawn, and written as a report.
    """
    from mho.cli.accuracy import run

    run(
        device,
        out,
        model=model,
        chips=chips,
        adc_bits=adc_bits,
        seed=seed,
        reads_per_second=reads_per_second,
    )
