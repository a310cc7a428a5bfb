"""The command ``mho``: its commands, its exit status, and how errors are said."""

from __future__ import annotations

import importlib.metadata
import io
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mho_cli import (
    accuracy,
    card,
    convert_config,
    cost,
    demo,
    doctor,
    fit,
    report,
    study,
)

INTERRUPTED = 130  # 128 + SIGINT

app = typer.Typer(
    name="mho",
    help="Neural networks on memristive crossbars, in PyTorch.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those of the command line, if not given.

    Returns:
        The exit status: 0; 1 after an error and 2 after a wrong command line (said in one line on
        stderr; ``--debug`` shows where); 1, quietly, if the reader of a pipe has gone; 130 if
        interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _printable()
    debug = "--debug" in given
    # Before a command or behind it: who adds it to a line that failed adds it at the end.
    given = [text for text in given if text != "--debug"]
    with warnings.catch_warnings():
        if not debug:
            _quiet(given)
        status = _answered(given, debug)
    if status == INTERRUPTED:
        _say(given, "interrupted")
    return status


def _answered(given: list[str], debug: bool) -> int:
    try:
        status = app(given or ["--help"], prog_name="mho", standalone_mode=False)
        if sys.stdout is not None:  # as without a terminal
            sys.stdout.flush()  # what a closed pipe does not take is known now
    except BrokenPipeError:
        # What is left to write goes nowhere, or Python complains of it at exit. As Typer, which
        # sees a pipe that closes during the work.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stop:  # of shell completion
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except typer.TyperException as error:
        return _refused(error, given)
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            _say(given, _said(error, given))
        return 1
    return status or 0


def _printable() -> None:
    # Where a terminal or a pipe knows no ± or ─, a question mark is better than an error.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _quiet(given: list[str]) -> None:
    # A warning is a line for a user, not a place in a program; what libraries want to change in
    # future is for programmers.
    warnings.simplefilter("ignore", FutureWarning)

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        _say(given, _line(str(message)))

    warnings.showwarning = show


def _refused(error: typer.TyperException, given: list[str]) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else " ".join(("mho", *given[:1]))
    parameter, name = getattr(error, "param", None), getattr(error, "param_hint", None)
    text = error.format_message()
    if parameter is not None:
        name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
    if type(error) is typer.BadParameter and name:
        said = error.message.removeprefix("Value error, ")
        text = f"{name} {said}" if said.startswith("must") else f"{name}: {said}"
    print(f"{command}: {_line(text)} (see {command} --help)", file=sys.stderr)
    return error.exit_code


def _said(error: Exception, given: list[str]) -> str:
    text = _line(str(error))
    if isinstance(error, FileExistsError) and error.filename is not None:
        text = f"{error.filename} is a file, not a folder"  # nothing else is not written over
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.strerror}: {error.filename}"
    if isinstance(error, (ImportError, MemoryError, OSError, TypeError, ValueError)) and text:
        return text
    # Nobody has foreseen this one: say what it is, and how to see where it comes from.
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{said} (where: mho --debug {shlex.join(given)})"


def _say(given: list[str], text: str) -> None:
    print(f"mho {given[0]}: {text}" if given else f"mho: {text}", file=sys.stderr)


def _line(text: str) -> str:
    # As `mho.core.text.visible`, which is not imported for the sake of an error: names in files are
    # strangers', and must not move a terminal's cursor.
    shown = " ".join(text.split())
    return "".join(c if c.isprintable() or c == "\xa0" else repr(c)[1:-1] for c in shown)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"mho {version()}")
        raise typer.Exit


def version() -> str:
    """Return mho's version, without importing it if it is installed."""
    try:
        return importlib.metadata.version("mho")
    except importlib.metadata.PackageNotFoundError:
        import mho

        return mho.__version__


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from (a traceback).")
    ] = False,
) -> None:
    # main takes --debug out: it is declared for the help and for completion.
    ...


def _add(name: str, run: Callable[..., Any], **settings: Any) -> None:
    app.command(name, **settings)(run)


_add("demo", demo.demo)
_add("study", study.study)
_add("fit", fit.fit, epilog=fit.MEASUREMENTS)
_add("fit-device", fit.fit, epilog=fit.MEASUREMENTS, short_help="The old name of fit.", hidden=True)
_add("card", card.card)
_add("accuracy", accuracy.accuracy)
_add("cost", cost.cost)
_add("report", report.report)
_add("convert-config", convert_config.convert_config)
_add("doctor", doctor.doctor)
