"""``mho study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho_cli import options


def study(
    what: Annotated[
        str,
        typer.Argument(
            metavar="study.yaml",
            help="The file of a study, or the name of a built-in one (which_hardware). Its "
            "module:function is called: run only files of people you trust.",
        ),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="The shorter study that the file describes.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where tables, report and figures go; without, where the file says.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; without, as many as there are cores.", **options.POSITIVE),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="The file may name folders and stores that do not lie beside it."
        ),
    ] = False,
) -> None:
    """Run a study, or go on with it: many hardwares, several chips each.

    What was finished is kept: a study that was stopped goes on by the same line.
    """
    from mho.cli.study import run

    run(what, quick=quick, out=out, workers=workers, trust=trust)
