"""``mho demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho_cli import options


def demo(
    out: options.Report = Path("mho-demo"),
    seed: options.Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run of a few seconds.")] = False,
) -> None:
    """Train two small networks on digits, put them on crossbars, show what harms them."""
    from mho.cli.demo import run

    run(out, seed=seed, quick=quick)
