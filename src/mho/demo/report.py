"""The demo's folder: figures, numbers, hardware, and one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

import mho
from mho.demo.page import picture, png, render
from mho.demo.results import LOSS, Results, accuracy_rows, tolerance_rows

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
        image = png(figure)
        (out / f"{name}.png").write_bytes(image)
        pictures.append(picture(*CAPTIONS[name], image))
    numbers = json.dumps(results.to_dict(), indent=1, ensure_ascii=False)
    (out / "numbers.json").write_text(numbers + "\n", encoding="utf-8")
    mho.save_hardware(hardware, out / "hardware.yaml")
    page = out / "report.html"
    page.write_text(
        render(
            "report.html.j2",
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
