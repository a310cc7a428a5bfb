"""The command ``mho``. A command is two small functions: its arguments, and what it does.

To add one, write both and name the first in ``_COMMANDS``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mho

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those of the command line, if not given.

    Returns:
        The exit status: 0, or 1 after an error (said on stderr, without a traceback).
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 0
    try:
        options.run(options)
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"mho {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mho", description="Neural networks on memristive crossbars, in PyTorch."
    )
    parser.add_argument("--version", action="version", version=f"mho {mho.__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="")
    for add in _COMMANDS:
        add(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    text = "train two small networks on digits, put them on crossbars, show what harms them"
    parser = commands.add_parser("demo", help=text, description=f"{text.capitalize()}.")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("mho-demo"),
        metavar="FOLDER",
        help="where the report and its figures go (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=_natural,
        default=0,
        help="of everything random; the same seed gives the same numbers (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="a smaller run of a few seconds")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    # What a command needs is imported when it is called: other commands work without it.
    from mho.demo.run import run

    run(options.out, seed=options.seed, quick=options.quick)


def _add_fit(commands: Commands) -> None:
    text = "fit a device to what an instrument measured"
    for name, more in (("fit", ""), ("fit-device", " (the old name of fit)")):
        parser = commands.add_parser(
            name,
            help=text + more,
            description=f"F{text[1:]}: say what the files hold, fit, and write the device as YAML "
            "with a figure of the fit.",
            epilog=_MEASUREMENTS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument(
            "data", type=Path, nargs="+", metavar="FILE", help="of one measurement, in their order"
        )
        _add_reading(parser)
        _add_fitting(parser)
        parser.set_defaults(run=_fit)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to read, where a file leaves two ways")
    kinds = ("pulses", "jumps", "iv", "programming", "retention", "map", *_OLD_KINDS)
    group.add_argument(
        "--kind",
        choices=kinds,
        metavar="KIND",
        help=f"one of {', '.join(kinds[:6])}; as once, jump-table is jumps, and exponential is "
        "pulses with --law exponential",
    )
    group.add_argument(
        "--read-voltage", type=float, metavar="V", help="at which currents were read"
    )
    pairs = (("unit", "COLUMN=UNIT", "as in G=µS"), ("column", "NAME=MEANING", "as in Foo=voltage"))
    for name, form, example in pairs:
        group.add_argument(
            f"--{name}", type=_pair, action="append", default=[], metavar=form, help=example
        )
    group.add_argument("--separator", metavar="NAME", help="comma, semicolon, tab, bar or blanks")
    group.add_argument("--decimal", choices=(".", ","), help="the decimal mark")
    group.add_argument("--sheet", metavar="NAME", help="of a workbook")
    group.add_argument(
        "--cycles", type=_positive, metavar="N", help="of a pulse counter that runs on"
    )
    group.add_argument(
        "--each-file", choices=("cell", "cycle", "state", "part"), help="what each of several is"
    )
    group.add_argument("--cell", metavar="NAME", help="the only one to read")
    group.add_argument(
        "--dry-run", action="store_true", help="say what was understood, and no more"
    )


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the fit, and what is written")
    group.add_argument(
        "--out",
        type=Path,
        default=Path("device.yaml"),
        metavar="FILE",
        help="where the YAML goes (default: %(default)s)",
    )
    group.add_argument(
        "--figure", type=Path, metavar="FILE", help="where the PNG goes (default: beside --out)"
    )
    group.add_argument(
        "--law", metavar="NAME", help="of pulses, a curve or a loop (default: the best)"
    )
    group.add_argument(
        "--rows",
        type=_positive,
        help="conductances of a jump table (default: 60)",
    )
    for name, end in (("--g-min", "lowest"), ("--g-max", "highest")):
        group.add_argument(
            name, type=float, metavar="S", help=f"{end} conductance, where the data do not say it"
        )
    group.add_argument(
        "--clock",
        choices=("programming", "running"),
        help="whether times of a record count from each cell's programming, or run on",
    )
    group.add_argument(
        "--rate", type=float, metavar="V/S", help="of a switching loop measured without times"
    )
    group.add_argument(
        "--seed",
        type=_natural,
        default=0,
        help="of the choice of the data held out to test the fit (default: %(default)s)",
    )


_OLD_KINDS = {"jump-table": "jumps", "exponential": "pulses"}
_MEASUREMENTS = """\
what the columns say (any order; others are named as not read):
  pulse, conductance [, direction, cycle, cell]   pulse responses (or LTP and LTD side by side)
  g, dg, direction                                jumps of set and reset pulses
  voltage, current [, time, cycle]                a current-voltage curve, or a switching loop
  target, achieved [, cell]                       errors of programming
  time, conductance [, cell]                      retention
  x, y, LRS, HRS                                  a map of cells (also as grids, one file a state)
resistance, or current with a read voltage, does in place of conductance. Units stand in brackets,
behind a slash or in a row below the names: "G (uS)", "I_read [nA]", "R / kOhm"; without, SI.
CSV of any separator, decimal mark and encoding; Excel and parquet with pip install 'mho[tables]'.
"""


def _fit(options: argparse.Namespace) -> None:
    from mho.cli.fit import run
    from mho.cli.fitting import Choices

    run(
        options.data,
        options.out,
        figure=options.figure,
        dry_run=options.dry_run,
        choices=Choices(
            _law(options),
            options.rows,
            options.seed,
            options.g_min,
            options.g_max,
            options.clock,
            options.rate,
        ),
        kind=_OLD_KINDS.get(options.kind, options.kind),
        read_voltage=options.read_voltage,
        units=dict(options.unit),
        columns=dict(options.column),
        separator=options.separator,
        decimal=options.decimal,
        sheet=options.sheet,
        cycles=options.cycles,
        cell=options.cell,
        each_file=options.each_file,
    )


def _law(options: argparse.Namespace) -> str | None:
    # Scripts that name this kind were written for its one device.
    law: str | None = options.law
    if options.kind != "exponential":
        return law
    if law not in (None, "exponential"):
        raise ValueError(f"--kind exponential is --law exponential, got --law {law}: --kind pulses")
    return "exponential"


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.rpartition("=")
    if not found or not name or not value:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value


def _add_card(commands: Commands) -> None:
    text = "draw a device on one page: its parameters and what it does"
    parser = commands.add_parser("card", help=text, description=f"{text.capitalize()}.")
    parser.add_argument("device", metavar="device.yaml", help="a file, or the name of a preset")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a png, pdf or svg (default: named after the device)",
    )
    parser.add_argument(
        "--seed", type=_natural, default=0, help="of the cells drawn (default: %(default)s)"
    )
    parser.set_defaults(run=_card)


def _card(options: argparse.Namespace) -> None:
    from mho.cli import card, given

    name = Path(options.device).stem
    print(card.run(given.device(options.device), name, options.out or Path(f"{name}.png"),
                   seed=options.seed))  # fmt: skip


def _add_accuracy(commands: Commands) -> None:
    text = "the accuracy of networks on chips of a device"
    parser = commands.add_parser(
        "accuracy",
        help=text,
        description=f"{text.capitalize()}, beside plain PyTorch and ideal cells: printed, drawn, "
        "and written as a report.",
    )
    parser.add_argument(
        "device",
        metavar="device.yaml",
        help="a device's file, the name of a preset, or the file of a whole hardware",
    )
    parser.add_argument(
        "--model",
        metavar="MODULE:FUNCTION",
        help="one's own network: a function that returns (model, inputs, labels, calibration "
        "inputs), the model trained (default: two networks on scikit-learn's digits)",
    )
    parser.add_argument(
        "--chips", type=_positive, default=8, help="each with its own cells (default: %(default)s)"
    )
    parser.add_argument(
        "--adc-bits",
        type=_natural,
        help="of the converters around a device; 0: exact reads (default: 8)",
    )
    parser.add_argument(
        "--reads-per-second",
        type=float,
        default=0.0,
        metavar="RATE",
        help="that cells are through in service, of a hardware whose effects go by reads "
        "(default: none)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("mho-accuracy"),
        metavar="FOLDER",
        help="where the report and its figure go (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=_natural, default=0, help="of everything random (default: %(default)s)"
    )
    parser.set_defaults(run=_accuracy)


def _accuracy(options: argparse.Namespace) -> None:
    from mho.cli import accuracy, given

    accuracy.run(
        given.device_or_hardware(options.device),
        Path(options.device).stem,
        options.out,
        model=options.model,
        chips=options.chips,
        adc_bits=options.adc_bits,
        seed=options.seed,
        reads_per_second=options.reads_per_second,
    )


def _add_cost(commands: Commands) -> None:
    text = "energy, latency, area and programming of networks on a chip's architecture"
    parser = commands.add_parser(
        "cost",
        help=text,
        description=f"{text.capitalize()}: a table with its assumptions and what it leaves out.",
    )
    parser.add_argument(
        "device",
        metavar="hardware.yaml",
        help="the file of a whole hardware, a device's file, or the name of a preset device (on "
        "arrays of the chip's size)",
    )
    parser.add_argument(
        "--chip",
        default="generic_22nm",
        metavar="NAME",
        help="a published chip's name in mho.analysis.chips (neurram, hermes, isaac, …), or the "
        "file of an architecture (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        metavar="MODULE:FUNCTION",
        help="one's own network, as for accuracy (default: two networks on scikit-learn's digits)",
    )
    parser.add_argument(
        "--bits",
        type=_positive,
        help="of the converters around a device, drivers' and bit lines' (default: 8)",
    )
    parser.add_argument(
        "--samples",
        type=_positive,
        default=32,
        help="inputs over which energies are averaged (default: %(default)s)",
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="where a picture of the energies goes"
    )
    parser.add_argument(
        "--policy",
        choices=("packed", "layer", "tile"),
        help="put the network on the chip's cores: as few as possible, layers apart, or tiles "
        "apart (default: as many arrays as it takes)",
    )
    parser.add_argument(
        "--cores", type=_positive, help="with --policy: how many, if the chip does not say"
    )
    parser.add_argument(
        "--copies",
        action="store_true",
        help="with --policy: copy the layers that hold up the others onto free cores",
    )
    parser.add_argument(
        "--seed", type=_natural, default=0, help="of everything random (default: %(default)s)"
    )
    parser.set_defaults(run=_cost)


def _cost(options: argparse.Namespace) -> None:
    from mho.cli import cost, given

    cost.run(
        given.device_or_hardware(options.device),
        given.architecture(options.chip),
        model=options.model,
        bits=options.bits,
        samples=options.samples,
        figure=options.figure,
        policy=options.policy,
        cores=options.cores,
        copies=options.copies,
        seed=options.seed,
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer >= 0, got {text!r}")
    return int(text)


_COMMANDS = (_add_demo, _add_fit, _add_card, _add_accuracy, _add_cost)
