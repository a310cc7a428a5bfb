"""The demo's folder: figures, numbers, hardware, and one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

import mho
from mho import plot
from mho.demo.results import LOSS, Results, accuracy_rows, tolerance_rows

try:
    import jinja2
except ImportError as error:
    raise ImportError("the demo's report needs jinja2: pip install 'mho[viz]'") from error

CAPTIONS = {
    "accuracy": (
        "Accuracy against one property of the chip at a time",
        "Lines are means over the chips, bands one standard deviation to each side; dotted lines "
        "are the same networks in plain PyTorch. Recalibrated: gain and offset of every output "
        "are fitted anew before the test, the cells are left as they are. Time harms so much "
        "because healthy cells drift and stuck ones do not: what 1 % of cells stuck adds to "
        "every sum grows, next to weights that shrink.",
    ),
    "cells": (
        "The hidden layer of the MLP, cell by cell",
        "Every weight is a pair of cells; the idle one rests at the lowest conductance. White "
        "lines are borders of tiles, crosses are cells that no programming moves.",
    ),
    "programming": (
        "What was asked of these cells, and what they hold",
        "Left: conductances asked for and stored; the steps at both ends are cells at rest and "
        "stuck cells. Middle and right: weights as the crossbar holds them, just after "
        "programming and a day later, when drift has shrunk them.",
    ),
}


class Picture(NamedTuple):
    """A figure, ready for HTML."""

    title: str
    caption: str
    data: str


def write(
    out: Path,
    results: Results,
    figures: Mapping[str, Figure],
    hardware: mho.Hardware,
    summary: str,
) -> list[Path]:
    """Write everything into a folder.

    Args:
        out: the folder; it is made if need be, files of the same names are replaced.
        results: what was measured.
        figures: by file name.
        hardware: the base chip.
        summary: the models on it, in words.

    Returns:
        The files written, the HTML file first.
    """
    pictures = []
    for name, figure in figures.items():
        png = _png(figure)
        (out / f"{name}.png").write_bytes(png)
        pictures.append(Picture(*CAPTIONS[name], base64.b64encode(png).decode("ascii")))
    numbers = json.dumps(results.to_dict(), indent=1, ensure_ascii=False)
    (out / "numbers.json").write_text(numbers + "\n", encoding="utf-8")
    mho.save_hardware(hardware, out / "hardware.yaml")
    page = out / "report.html"
    page.write_text(
        _render(
            version=mho.__version__,
            results=results,
            models=list(results.digital),
            pictures=pictures,
            tolerance=tolerance_rows(results),
            loss=f"{100 * LOSS:g}",
            groups=[(e, list(rows)) for e, rows in groupby(accuracy_rows(results), lambda r: r[0])],
            hardware=(out / "hardware.yaml").read_text(encoding="utf-8"),
            summary=summary,
        ),
        encoding="utf-8",
    )
    images = [out / f"{name}.png" for name in figures]
    return [page, *images, out / "hardware.yaml", out / "numbers.json"]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with plot.style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _render(**values: object) -> str:
    source = resources.files("mho.demo").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(**values)
