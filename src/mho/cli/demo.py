"""The demo from the command line: what ``mho demo`` does."""

from __future__ import annotations

from pathlib import Path

from mho.core.extras import need


def run(out: Path, *, seed: int = 0, quick: bool = False) -> None:
    """Run the demo; see `mho.demo.run.run`.

    Args:
        out: folder for the report.
        seed: of everything random.
        quick: fewer chips, values and epochs.

    Raises:
        ImportError: if what it needs is missing, before any work.
    """
    for module in ("matplotlib", "jinja2", "bokeh", "sklearn"):
        need(module, "viz")
    from mho.demo.run import run as demo

    demo(out, seed=seed, quick=quick)
