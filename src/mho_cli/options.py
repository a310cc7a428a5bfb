"""What several commands have in common: kinds of numbers, and options of the same meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def natural(text: str | int) -> int:
    """Read an integer >= 0."""
    return _integer(text, 0)


def positive(text: str | int) -> int:
    """Read an integer >= 1."""
    return _integer(text, 1)


def _integer(text: str | int, least: int) -> int:
    # Defaults come as they are, not as text.
    if not str(text).isdecimal() or int(text) < least:
        raise typer.BadParameter(f"must be an integer >= {least}, got {str(text)!r}")
    return int(text)


# Integers of the command line: what they are called in the help, and how they are read.
NATURAL = {"parser": natural, "metavar": "N"}
POSITIVE = {"parser": positive, "metavar": "N"}

Seed = Annotated[
    int,
    typer.Option(
        help="Of everything random; the same seed gives the same numbers.",
        parser=natural,
        metavar="N",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="One's own network: a function that returns (model, inputs, labels, calibration "
        "inputs), the model trained; without, two networks on scikit-learn's digits.",
    ),
]
Device = Annotated[
    str, typer.Argument(metavar="device.yaml", help="A file, or the name of a preset.")
]
Hardware = Annotated[
    str,
    typer.Argument(
        metavar="hardware.yaml",
        help="The file of a whole hardware or of a device, or the name of a preset device.",
    ),
]
Figure = Annotated[Path | None, typer.Option(metavar="FILE", help="Where a picture goes.")]
Report = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where the report and its figures go.")
]
Chips = Annotated[int, typer.Option(help="Each with its own cells.", **POSITIVE)]
Chip = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="A published chip's name in mho.analysis.chips (neurram, hermes, isaac, …), or the "
        "file of an architecture. A device lies on arrays of the chip's size.",
    ),
]
Bits = Annotated[
    int | None,
    typer.Option(
        help="Of the converters around a device, drivers' and bit lines'; without, 8.", **POSITIVE
    ),
]
Samples = Annotated[int, typer.Option(help="Inputs over which energies are averaged.", **POSITIVE)]
