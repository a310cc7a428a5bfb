"""``mho doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """What mho finds on this machine: versions, threads, memory, disk, accelerators, extras."""
    from mho.cli.doctor import run

    run(as_json=as_json)
