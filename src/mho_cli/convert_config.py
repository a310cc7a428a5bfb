"""``mho convert-config``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Tool(str, Enum):
    """Simulators whose configurations are read."""

    AIHWKIT = "aihwkit"
    LIGHTNING = "lightning"
    CROSSSIM = "crosssim"
    NEUROSIM = "neurosim"


def convert_config(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What print(rpu_config) gives (aihwkit, lightning), a JSON file (crosssim), or "
            "Param.cpp (neurosim).",
        ),
    ],
    source: Annotated[Tool, typer.Option("--from", help="The simulator that it is of.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the hardware goes, as YAML."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the training recipe goes (aihwkit, lightning)."),
    ] = None,
    flags: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Flags of NeuroSim's network, as '--wl_weight 8 --vari 0.1', or its log.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="Cells for lightning, which names none: a preset or a YAML file."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail if anything that acts there has no counterpart."),
    ] = False,
) -> None:
    """Make a hardware's YAML of another simulator's configuration.

    Prints what each setting has become, and what has no counterpart and why.
    """
    from mho.cli.convert_config import run

    run(what, source.value, out, recipe=recipe, flags=flags, device=device, strict=strict)
