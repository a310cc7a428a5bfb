"""``mho convert-config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert_config(
    what: Annotated[Path, typer.Argument(metavar="FILE", help="Another tool's settings.")],
) -> None:
    """Make a hardware's YAML of another tool's settings, with a list of what has no counterpart."""
    from mho.cli.convert_config import run

    run(what)
