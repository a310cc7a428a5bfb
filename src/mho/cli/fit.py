"""From a CSV file of measurements to a device: what ``mho fit-device`` does.

The columns say what was measured; a unit may stand behind a name, ``conductance (uS)``.

    g, dg[, direction]                 a jump table per direction (set, reset)
    pulse, conductance[, direction]    an exponential device; cycles one after the other
    voltage, current                   a current–voltage law
    time, conductance                  retention: power-law drift
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from mho import fit
from mho.devices.tabular import TabularDevice
from mho.effects.aging import PowerLawDrift

Array = npt.NDArray[np.float64]

COLUMNS = {
    "jump-table": ("g", "dg"),
    "exponential": ("pulse", "conductance"),
    "iv": ("voltage", "current"),
    "retention": ("time", "conductance"),
}
_BASE = {"g": "S", "dg": "S", "conductance": "S", "voltage": "V", "current": "A", "time": "s"}
_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "k": 1e3}
_LONG_TIMES = {"min": 60.0, "h": 3600.0, "d": 86400.0}
_DIRECTIONS = {"set": 1, "reset": -1, "+1": 1, "1": 1, "-1": -1}


@dataclass(frozen=True)
class Data:
    """Columns of a CSV file.

    Attributes:
        path: of the file.
        columns: numbers in SI units, by name; ``direction`` is +1 (set) or -1 (reset).
        lines: line of the file that every row stands in.
    """

    path: Path
    columns: dict[str, Array]
    lines: list[int]

    def refuse(self, row: int, column: str, why: str) -> ValueError:
        """Return the error of a value, with its line and column."""
        return ValueError(f"{self.path}, line {self.lines[row]}, column {column!r}: {why}")


def run(
    path: Path,
    out: Path,
    *,
    kind: str | None = None,
    figure: Path | None = None,
    rows: int = 60,
    seed: int = 0,
) -> str:
    """Fit a device to a CSV file; write it as YAML, and a figure of the fit.

    Args:
        path: of the CSV file.
        out: of the YAML file.
        kind: one of `COLUMNS`; told from the header if not given.
        figure: of the PNG file; beside ``out`` if not given.
        rows: conductance rows of a jump table.
        seed: of the choice of the data held out to test the fit.

    Returns:
        What was fitted, in a few lines.

    Raises:
        OSError: if a file cannot be read or written.
        ValueError: if the file is no table of numbers (saying the line and the column), or the
            data cannot be fitted.
    """
    data = read(path, kind)
    name = kind or detect(data)
    found, told, reports = _FITS[name](data, rows, seed)
    picture = figure or out.with_suffix(".png")
    for target in (out, picture):
        target.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(yaml.safe_dump(found, sort_keys=False), encoding="utf-8")
    _draw(picture, path.name, reports)
    files = f"written: {out} and {picture}"
    return "\n".join([f"{name} fitted to {len(data.lines)} rows of {path}", *told, files])


def detect(data: Data) -> str:
    """Return the kind of fit that a header asks for.

    Raises:
        ValueError: if no kind has these columns, or more than one.
    """
    kinds = [kind for kind, needed in COLUMNS.items() if set(needed) <= set(data.columns)]
    if len(kinds) == 1:
        return kinds[0]
    known = "; ".join(f"{', '.join(needed)} ({kind})" for kind, needed in COLUMNS.items())
    what = f"fits {' and '.join(kinds)}: choose with --kind" if kinds else f"fits none of: {known}"
    raise ValueError(f"{data.path}, line 1: header {', '.join(data.columns)} {what}")


def read(path: Path, kind: str | None = None) -> Data:
    """Read a CSV file with a header; empty lines and lines that begin with # are skipped.

    Args:
        path: of the file.
        kind: whose columns must be there; others are then ignored.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is no table of finite numbers; says the line and the column.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = [(k, row) for k, row in enumerate(csv.reader(file), 1) if _matters(row)]
    if not table:
        raise ValueError(f"{path}: empty; a header and rows of numbers are needed")
    header = [_column(path, table[0][0], cell) for cell in table[0][1]]
    names = [name for name, _ in header]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}, line {table[0][0]}: a column is named twice: {', '.join(names)}")
    missing = sorted(set(COLUMNS[kind]) - set(names)) if kind else []
    if missing:
        raise ValueError(
            f"{path}, line {table[0][0]}: no column {', '.join(map(repr, missing))}; "
            f"{kind} needs {', '.join(COLUMNS[kind or ''])}, the header has {', '.join(names)}"
        )
    if len(table) == 1:
        raise ValueError(f"{path}: no rows below the header")
    lines = [line for line, _ in table[1:]]
    for line, row in table[1:]:
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {line}: {len(row)} columns, the header has {len(names)}"
            )
    columns: dict[str, Array] = {}
    for k, (name, scale) in enumerate(header):
        cells = [(line, row[k].strip()) for line, row in table[1:]]
        columns[name] = np.array([scale * _number(path, line, name, cell) for line, cell in cells])
    return Data(path, columns, lines)


def _matters(row: list[str]) -> bool:
    return any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")


def _column(path: Path, line: int, cell: str) -> tuple[str, float]:
    # The name, and what one unit of it is in SI.
    match = re.fullmatch(r"\s*([^\s(\[]+)\s*(?:[(\[]\s*([^)\]]*?)\s*[)\]])?\s*", cell)
    if match is None:
        raise ValueError(
            f"{path}, line {line}: {cell!r} is no column name; write name or name (unit)"
        )
    name, unit = match[1].lower(), match[2]
    base = _BASE.get(name)
    if not unit or base is None:
        return name, 1.0
    if base == "s" and unit in _LONG_TIMES:
        return name, _LONG_TIMES[unit]
    if not unit.endswith(base) or unit[: -len(base)] not in _PREFIXES:
        raise ValueError(
            f"{path}, line {line}, column {name!r}: unit {unit!r} is not one of {base}"
        )
    return name, _PREFIXES[unit[: -len(base)]]


def _number(path: Path, line: int, name: str, cell: str) -> float:
    if name == "direction":
        if cell.lower() not in _DIRECTIONS:
            raise ValueError(
                f"{path}, line {line}, column 'direction': must be set or reset, got {cell!r}"
            )
        return float(_DIRECTIONS[cell.lower()])
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{path}, line {line}, column {name!r}: {cell!r} is not a finite number")
    return value


# ---- the fits: what to write, what to say, what to draw ------------------------------------------

Report = tuple[str, Any, tuple[Array, Array] | None]
Result = tuple[dict[str, Any], list[str], list[Report]]


def _fit_jumps(data: Data, rows: int, seed: int) -> Result:
    g, dg = data.columns["g"], data.columns["dg"]
    _refuse_below_zero(data, "g")
    way = data.columns.get("direction", np.ones(len(g)))
    fits = {}
    for name, sign in (("set", 1), ("reset", -1)):
        if (way == sign).any():
            pairs = (g[way == sign], dg[way == sign])
            fits[name] = fit.jump_table(*pairs, rows=rows, columns=200, seed=seed)
    told = [_calibrated(f"{name} jumps", found.calibration) for name, found in fits.items()]
    reports: list[Report] = [(f"{name} jumps", found, None) for name, found in fits.items()]
    if len(fits) == 2:
        device = TabularDevice(set_table=fits["set"].table, reset_table=fits["reset"].table)
        return device.to_dict(), told, reports
    told.append("one direction only: a JumpTable; a TabularDevice needs set and reset")
    return next(iter(fits.values())).table.to_dict(), told, reports


def _fit_response(data: Data, rows: int, seed: int) -> Result:
    _refuse_below_zero(data, "conductance")
    found = fit.exponential(_halves(data), seed=seed)
    device: Any = found.device
    told = [
        f"g {device.g_min:.4g} … {device.g_max:.4g} S, nonlinearity "
        f"{device.nonlinearity_set:.3g} / {device.nonlinearity_reset:.3g}, c2c {device.c2c:.3g}"
    ]
    if found.calibration is not None:
        told.append(_calibrated("single steps", found.calibration))
    return device.to_dict(), told, [("pulse response", found, None)]


def _halves(data: Data) -> tuple[Array, Array]:
    # Set and reset curves, [cycles, pulses + 1], from cycles that follow each other.
    pulse, g = data.columns["pulse"], data.columns["conductance"]
    starts = [0, *(np.flatnonzero(np.diff(pulse) < 0) + 1).tolist(), len(pulse)]
    lengths = np.diff(starts)
    for k, length in enumerate(lengths):
        if length != lengths[0]:
            why = f"this cycle has {length} rows, the first has {lengths[0]}"
            raise data.refuse(starts[k], "pulse", why)
    cycles = g.reshape(len(lengths), -1)
    if "direction" in data.columns:
        way = data.columns["direction"].reshape(len(lengths), -1)
        if (way != way[0]).any() or not ((way[0][:-1] >= way[0][1:]).all() and way[0][-1] < 0):
            raise data.refuse(0, "direction", "every cycle must be set pulses, then reset pulses")
        turn = int((way[0] > 0).sum()) - 1
    else:
        turn = int(cycles.mean(axis=0).argmax())
    return cycles[:, : turn + 1], cycles[:, turn:]


def _fit_iv(data: Data, rows: int, seed: int) -> Result:
    pair = (data.columns["voltage"], data.columns["current"])
    found = fit.iv(*pair)
    parameters = {name: float(value) for name, value in found.parameters.items()}
    told = [
        f"law {found.law}: " + ", ".join(f"{n} = {v:.5g}" for n, v in parameters.items()),
        f"relative error {found.relative_error:.2%}",
        _calibrated("currents", found.calibration),
    ]
    law = {"law": found.law, "parameters": parameters, "relative_error": found.relative_error}
    return law, told, [("current–voltage law", found, pair)]


def _fit_retention(data: Data, rows: int, seed: int) -> Result:
    time, g = data.columns["time"], data.columns["conductance"]
    for name, values in (("time", time), ("conductance", g)):
        if (values <= 0).any():
            row = int((values <= 0).argmax())
            raise data.refuse(row, name, f"must be > 0, got {values[row]:g}")
    if (np.diff(time) <= 0).any():
        row = int((np.diff(time) <= 0).argmax()) + 1
        raise data.refuse(row, "time", f"must increase, got {time[row]:g} after {time[row - 1]:g}")
    found = fit.retention(time, g)
    told = [f"ν = {found.nu:.4g} ± {found.nu_error:.2g}, g0 = {found.g0:.4g} S at {found.t0:g} s"]
    if found.nu < 0:
        told.append("the conductance rises: ν is negative")
    return (
        PowerLawDrift(nu=found.nu, t0=found.t0).to_dict(),
        told,
        [("retention", found, (time, g))],
    )


def _refuse_below_zero(data: Data, name: str) -> None:
    values = data.columns[name]
    if (values < 0).any():
        row = int((values < 0).argmax())
        raise data.refuse(row, name, f"must be >= 0, got {values[row]:g}")


def _calibrated(what: str, calibration: fit.Calibration) -> str:
    pairs = zip(calibration.levels, calibration.coverage, strict=True)
    inside = ", ".join(f"{level:.0%}: {found:.1%}" for level, found in pairs)
    return f"{calibration.count} held-out {what} inside their intervals – {inside}"


_FITS = {
    "jump-table": _fit_jumps,
    "exponential": _fit_response,
    "iv": _fit_iv,
    "retention": _fit_retention,
}


def _draw(path: Path, name: str, reports: list[Report]) -> None:
    # Imported here: the pictures are an extra, and what reads CSV files can be used without.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mho.plot.pulsed import fit_report
    from mho.plot.styles import style

    with style():
        figure = Figure(figsize=(7.0 * len(reports), 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, len(reports), sharex="col", squeeze=False, height_ratios=(3, 1))
        for k, (title, found, data) in enumerate(reports):
            fit_report(found, data=data, axes=(panels[0, k], panels[1, k]))
            said = panels[0, k].get_title("left")  # the calibration, where there is one
            panels[0, k].set_title(f"{name}: {title}\n{said}".rstrip(), fontsize=8)
        figure.savefig(path)
