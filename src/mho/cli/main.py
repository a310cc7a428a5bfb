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


def _add_fit_device(commands: Commands) -> None:
    text = "fit a device to measurements in a CSV file"
    parser = commands.add_parser(
        "fit-device",
        help=text,
        description=f"F{text[1:]}, and write it as YAML with a figure of the fit.",
        epilog=_CSV_COLUMNS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="data.csv", help="the measurements")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("device.yaml"),
        metavar="FILE",
        help="where the YAML goes (default: %(default)s)",
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="where the PNG goes (default: beside --out)"
    )
    kinds = ("jump-table", "exponential", "iv", "retention")
    parser.add_argument("--kind", choices=kinds, help="told from the header if not given")
    parser.add_argument(
        "--rows",
        type=_natural,
        default=60,
        help="conductances of a jump table (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=_natural,
        default=0,
        help="of the choice of the data held out to test the fit (default: %(default)s)",
    )
    parser.set_defaults(run=_fit_device)


_CSV_COLUMNS = """\
the header of the CSV file says what was measured (SI units, or the unit behind the name, as in
"conductance (uS)"):
  g, dg [, direction]               S before a pulse and its change: a jump table; with directions
                                    (set, reset) both tables: a TabularDevice
  pulse, conductance [, direction]  pulse number and S, cycle after cycle (the number falls where a
                                    cycle begins), each set pulses and then reset pulses (without
                                    directions it turns where the mean is highest): an
                                    ExponentialDevice
  voltage, current                  V, A: a current-voltage law of one state
  time, conductance                 s since programming (> 0), S: power-law drift
lines that begin with # are skipped.
"""


def _fit_device(options: argparse.Namespace) -> None:
    from mho.cli.fit import run

    told = run(
        options.data,
        options.out,
        kind=options.kind,
        figure=options.figure,
        rows=options.rows,
        seed=options.seed,
    )
    print(told)


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
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer >= 0, got {text!r}")
    return int(text)


_COMMANDS = (_add_demo, _add_fit_device, _add_card, _add_accuracy)
