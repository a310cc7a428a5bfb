"""``mho doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """What mho finds on this machine: versions, threads, memory, disk, accelerators, extras."""
    # In this package, not in mho: it is to speak where torch does not load.
    from mho_cli.machine import facts, printed

    found = facts()
    if as_json:
        import json

        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print(printed(found))
