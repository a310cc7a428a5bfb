"""``mho cost``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mho_cli import options

_ON_CORES = "On the chip's cores"


def cost(
    device: options.Hardware,
    chip: options.Chip = "generic_22nm",
    model: options.Model = None,
    bits: options.Bits = None,
    samples: options.Samples = 32,
    figure: options.Figure = None,
    seed: options.Seed = 0,
    policy: Annotated[
        Literal["packed", "layer", "tile"] | None,
        typer.Option(
            help="Put the network on the chip's cores: as few as possible, layers apart, or tiles "
            "apart; without, there are as many arrays as it takes.",
            rich_help_panel=_ON_CORES,
        ),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(
            help="How many, if the chip does not say; with --policy.",
            rich_help_panel=_ON_CORES,
            **options.POSITIVE,
        ),
    ] = None,
    copies: Annotated[
        bool,
        typer.Option(
            "--copies",
            help="Copy the layers that hold up the others onto free cores; with --policy.",
            rich_help_panel=_ON_CORES,
        ),
    ] = False,
) -> None:
    """Energy, latency, area and programming of networks on a chip's architecture.

    A table with its assumptions and what it leaves out.
    """
    from mho.cli.cost import run

    run(
        device,
        chip,
        model=model,
        bits=bits,
        samples=samples,
        figure=figure,
        policy=policy,
        cores=cores,
        copies=copies,
        seed=seed,
    )
