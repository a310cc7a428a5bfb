"""``mho report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho_cli import options


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(
            f"must be integers >= 1 with commas, as 1,28,28, got {text!r}", param_hint="--shape"
        )
    return tuple(map(int, parts))


def report(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A file of weights (a state_dict of torch.save, or safetensors; with --network); "
            "MODULE:FUNCTION that returns a model; with --trust, an exported program (.pt2) or a "
            "module that torch.save wrote.",
        ),
    ],
    hardware: options.Hardware,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION", help="What makes the model that a file of weights is of."
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Read a file that may run code: exported programs and pickled modules. Only for "
            "files of people you trust.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Inputs and labels: an .npz file with arrays of these names, or MODULE:FUNCTION "
            "that returns both. Accuracy is measured with them.",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="1,28,28", help="Of one input, where there are no data: random ones are drawn."
        ),
    ] = None,
    chip: options.Chip = "generic_22nm",
    bits: options.Bits = None,
    chips: options.Chips = 4,
    samples: options.Samples = 32,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes.")] = Path(
        "mho-report.html"
    ),
    seed: options.Seed = 0,
) -> None:
    """A saved model on a hardware: what is on crossbars, tiles, memory, cost, accuracy.

    Printed, and written as one page of HTML. Costs need inputs, accuracy needs labels, too.
    """
    from mho.cli.report import run

    run(
        model,
        hardware,
        out,
        network=network,
        trust=trust,
        data=data,
        shape=_shape(shape),
        chip=chip,
        bits=bits,
        chips=chips,
        samples=samples,
        seed=seed,
    )
