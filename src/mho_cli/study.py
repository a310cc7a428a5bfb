"""``mho study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def study(
    what: Annotated[Path, typer.Argument(metavar="study.yaml", help="The file of a study.")],
) -> None:
    """Run a study, or go on with it: many hardwares, several chips each."""
    from mho.cli.study import run

    run(what)
