"""From instruments' files to a device: what ``mho fit`` does."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mho import fit
from mho.cells.device import Device
from mho.cli.fitting import Choices, Fitted, fitted
from mho.cli.pictures import draw, format_of
from mho.core.files import drafts

_WIDTH = 96


def run(
    paths: Sequence[Path],
    out: Path,
    *,
    figure: Path | None = None,
    dry_run: bool = False,
    choices: Choices | None = None,
    kind: str | None = None,
    **reading: Any,
) -> None:
    """Read files, say what was understood, fit a device, and write it with a figure.

    Nothing is written unless all of it worked, and the device reads back as it is.

    Args:
        paths: of the files of one measurement.
        out: of the YAML file.
        figure: of the picture; a png beside ``out`` if not given.
        dry_run: say what was understood, and no more.
        choices: of the fit.
        kind: of measurement, where the files leave it open; also by names of once.
        reading: how to read; see `mho.fit.read`.

    Raises:
        OSError: if a file cannot be read or written.
        ImportError: if a workbook needs pandas, or the figure matplotlib.
        ValueError: if a file is not understood (saying the line and the column), the data cannot
            be fitted, or the picture's ending is no format.
    """
    picture = figure or out.with_suffix(".png")
    if not dry_run:  # what is missing at the end of the work is said before
        format_of(picture)
    _check(out, picture)
    choices = _as_once(kind, choices or Choices())
    measured = fit.read(paths, kind=_OLD_KINDS.get(kind or "", kind), **reading)
    print(measured)
    if dry_run:
        return
    found = fitted(measured, choices)
    print("\n" + "\n".join(_wrapped(line) for line in found.told))
    if found.device is None:
        raise ValueError("no device can be made of these data: nothing was written")
    _write(found.device, found, paths, out, picture)
    print(f"written: {out} and {picture}")


_OLD_KINDS = {"jump-table": "jumps", "exponential": "pulses"}


def _as_once(kind: str | None, choices: Choices) -> Choices:
    # Scripts that name this kind were written for its one device.
    if kind != "exponential":
        return choices
    if choices.law not in (None, "exponential"):
        raise ValueError(
            f"--kind exponential is --law exponential, got --law {choices.law}: --kind pulses"
        )
    return replace(choices, law="exponential")


def _check(out: Path, picture: Path) -> None:
    for target in (out, picture):
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder, not a file to write")
    if picture.resolve() == out.resolve():
        raise ValueError(f"--out and --figure must be two files, got {out} for both")


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _write(device: Device, found: Fitted, paths: Sequence[Path], out: Path, picture: Path) -> None:
    # Both are complete under other names before either takes its place.
    with drafts(out, picture) as (device_file, picture_file):
        device.save(device_file)
        if Device.load(device_file) != device:
            raise ValueError(f"the {type(device).__name__} does not read back from its YAML")
        name = paths[0].name + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        draw(picture_file, format_of(picture), name, found.reports)
