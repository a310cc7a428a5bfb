"""The demo's folder: figures, numbers, hardware, and one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

import mho
from mho.core.files import drafts
from mho.demo.figures import Charts
from mho.demo.results import LOSS, Results, Row, accuracy_rows, tolerance_rows
from mho.plot import page
from mho.plot.page import Cards, Code, Section, Table

_INTRODUCTION = Markup(
    "Two small networks were trained on scikit-learn’s handwritten digits in plain PyTorch, then "
    'written to crossbars of the <a href="#hardware">base chip</a>. One property of the chip was '
    "varied at a time. Every number is from {chips} chips with cells of their own, each calibrated "
    "on training images after programming and tested on 450 images that no network was trained on."
)
_ACCURACY = (
    "Lines are means over the chips, bands one standard deviation to each side; dotted lines are "
    "the same networks in plain PyTorch. Recalibrated: gain and offset of every output are fitted "
    "anew before the test, the cells are left as they are. Time harms so much because healthy "
    "cells drift and stuck ones do not: what 1 % of cells stuck adds to every sum grows, next to "
    "weights that shrink."
)
_CELLS = (
    "Every weight is a pair of cells; the idle one rests at the lowest conductance. White lines "
    "are borders of tiles, crosses are cells that no programming moves."
)
_PROGRAMMING = (
    "First, conductances asked for and stored; the steps at both ends are cells at rest and stuck "
    "cells. Then weights as the crossbar holds them, just after programming and a day later, when "
    "drift has shrunk them."
)


def write(
    out: Path,
    results: Results,
    figures: Mapping[str, Figure],
    charts: Charts,
    hardware: mho.Hardware,
    summary: str,
) -> list[Path]:
    """Write everything into a folder.

    Args:
        out: the folder; it is made if need be, files of the same names are replaced.
        results: what was measured.
        figures: by file name.
        charts: of the page.
        hardware: the base chip.
        summary: the models on it, in words.

    Returns:
        The files written, the HTML file first.
    """
    for name, figure in figures.items():
        with drafts(out / f"{name}.png") as (draft,):
            draft.write_bytes(page.png(figure))
    numbers = json.dumps(results.to_dict(), indent=1, ensure_ascii=False)
    with drafts(out / "numbers.json") as (draft,):
        draft.write_text(numbers + "\n", encoding="utf-8")
    mho.save_hardware(hardware, out / "hardware.yaml")
    written = (out / "hardware.yaml").read_text(encoding="utf-8")
    head = page.write(
        out / "report.html",
        "Digits on memristive crossbars",
        _sections(results, charts, written, summary),
        subtitle=f"mho {mho.__version__} demo · seed {results.seed} · {results.chips} chips per "
        "point",
    )
    files = [out / f"{name}.png" for name in figures]
    return [head, *files, out / "hardware.yaml", out / "numbers.json"]


def _sections(results: Results, charts: Charts, hardware: str, summary: str) -> list[Section]:
    return [
        Section("", [_INTRODUCTION.format(chips=results.chips), _cards(results)]),
        Section(
            "What each network tolerates",
            [
                f"The furthest value that costs at most {100 * LOSS:g} percentage points against "
                "the base chip.",
                _tolerated(results),
            ],
        ),
        Section("Accuracy against one property of the chip at a time", charts.accuracy, _ACCURACY),
        Section("The hidden layer of the MLP, cell by cell", charts.cells, _CELLS),
        Section(
            "What was asked of these cells, and what they hold", charts.programming, _PROGRAMMING
        ),
        Section(
            "All numbers",
            [
                "Accuracy on the test digits in percent: mean ± standard deviation over "
                f"{results.chips} chips.",
                _all_numbers(results),
            ],
        ),
        Section("The networks on the base chip", [Code(summary)]),
        Section(
            "The base chip",
            [
                Markup('In SI units, as <code>mho.load_hardware("hardware.yaml")</code> reads it.'),
                Code(hardware),
            ],
            anchor="hardware",
        ),
    ]


def _cards(results: Results) -> Cards:
    return Cards(
        [
            (
                f"{name}, {results.parameters[name]:,} parameters",
                f"{100 * digital:.1f} % → {100 * results.base[name].mean().item():.1f} %",
                "digital → base chip (mean)",
            )
            for name, digital in results.digital.items()
        ]
    )


def _table(head: Sequence[str], results: Results, rows: Sequence[Any], **more: Any) -> Table:
    return Table((*head, *results.digital), rows, left=len(head), **more)


def _tolerated(results: Results) -> Table:
    rows = [(row.effect, *row.cells) for row in tolerance_rows(results)]
    return _table(("property",), results, rows)


def _all_numbers(results: Results) -> Table:
    groups: list[list[Row]] = [
        list(rows) for _, rows in groupby(accuracy_rows(results), lambda row: row.effect)
    ]
    rows = [
        ("" if k else row.effect, row.value, *row.cells)
        for group in groups
        for k, row in enumerate(group)
    ]
    return _table(("property", "value"), results, rows, blocks=[len(group) for group in groups])
