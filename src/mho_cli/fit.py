"""``mho fit``, and ``mho fit-device``, its old name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mho_cli import options

_READING = "How to read, where a file leaves two ways"
_FITTING = "The fit, and what is written"

Kind = Literal[
    "pulses", "jumps", "iv", "programming", "retention", "map", "jump-table", "exponential"
]

# A backslash before a bracket: it is none of rich's markup.
MEASUREMENTS = r"""
What the columns say (any order; others are named as not read):

  pulse, conductance \[, direction, cycle, cell]
    pulse responses (or LTP and LTD side by side)
  g, dg, direction
    jumps of set and reset pulses
  voltage, current \[, time, cycle]
    a current-voltage curve, or a switching loop
  target, achieved \[, cell]
    errors of programming
  time, conductance \[, cell]
    retention
  x, y, LRS, HRS
    a map of cells (also as grids, one file a state)

Resistance, or current with a read voltage, does in place of conductance. Units stand in brackets, behind a slash or in a row below the names: "G (uS)", "I_read \[nA]", "R / kOhm"; without, SI.

CSV of any separator, decimal mark and encoding; Excel and parquet with pip install "mho\[tables]".
"""  # noqa: E501 (filled by the terminal's width)


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        if not name or not value:
            raise typer.BadParameter(f"must be NAME=VALUE, got {text!r}", param_hint=option)
        pairs[name] = value
    return pairs


def fit(
    data: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Of one measurement, in their order.")
    ],
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="Of measurement. As once, jump-table is jumps, and exponential is pulses with "
            "--law exponential.",
            rich_help_panel=_READING,
        ),
    ] = None,
    read_voltage: Annotated[
        float | None,
        typer.Option(metavar="V", help="At which currents were read.", rich_help_panel=_READING),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=UNIT", help="As in G=µS.", rich_help_panel=_READING),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MEANING", help="As in Foo=voltage.", rich_help_panel=_READING),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="comma, semicolon, tab, bar or blanks.",
            rich_help_panel=_READING,
        ),
    ] = None,
    decimal: Annotated[
        Literal[".", ","] | None, typer.Option(help="The decimal mark.", rich_help_panel=_READING)
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a workbook.", rich_help_panel=_READING)
    ] = None,
    cycles: Annotated[
        int | None,
        typer.Option(
            help="Of a pulse counter that runs on.", rich_help_panel=_READING, **options.POSITIVE
        ),
    ] = None,
    each_file: Annotated[
        Literal["cell", "cycle", "state", "part"] | None,
        typer.Option(help="What each of several is.", rich_help_panel=_READING),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The only one to read.", rich_help_panel=_READING),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what was understood, and no more.", rich_help_panel=_READING
        ),
    ] = False,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where the YAML goes.", rich_help_panel=_FITTING),
    ] = Path("device.yaml"),
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the PNG goes; without, beside --out.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    law: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of pulses, a curve or a loop; without, the best.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            help="Conductances of a jump table; without, 60.",
            rich_help_panel=_FITTING,
            **options.POSITIVE,
        ),
    ] = None,
    g_min: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Lowest conductance, where the data do not say it.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    g_max: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Highest conductance, where the data do not say it.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    clock: Annotated[
        Literal["programming", "running"] | None,
        typer.Option(
            help="Whether times of a record count from each cell's programming, or run on.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="V/S",
            help="Of a switching loop measured without times.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Of the choice of the data held out to test the fit.",
            rich_help_panel=_FITTING,
            **options.NATURAL,
        ),
    ] = 0,
) -> None:
    """Fit a device to what an instrument measured.

    Says what the files hold, fits, and writes the device as YAML with a figure of the fit.
    """
    from mho.cli.fit import run
    from mho.cli.fitting import Choices

    run(
        data,
        out,
        figure=figure,
        dry_run=dry_run,
        choices=Choices(law, rows, seed, g_min, g_max, clock, rate),
        kind=kind,
        read_voltage=read_voltage,
        units=_pairs(unit, "--unit"),
        columns=_pairs(column, "--column"),
        separator=separator,
        decimal=decimal,
        sheet=sheet,
        cycles=cycles,
        cell=cell,
        each_file=each_file,
    )
