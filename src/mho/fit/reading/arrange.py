"""A table of one kind, arranged as its fit takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mho.fit.calibration import Array
from mho.fit.reading import files, maps, pulses, readings, sweeps
from mho.fit.reading.columns import Column
from mho.fit.reading.names import READINGS
from mho.fit.reading.plausible import question, question_conductances, question_jumps
from mho.fit.reading.table import Ints, Table
from mho.fit.reading.wishes import Wishes

Mask = npt.NDArray[np.bool_]
Arranged = tuple[dict[str, Array], tuple[str, ...], str, list[str]]


def arranged(
    kind: str,
    table: Table,
    columns: Sequence[Column],
    wishes: Wishes,
    before: Sequence[Sequence[str]],
) -> Arranged:
    """Return the arrays of a measurement, the cells' names, what it is and what was left out.

    Args:
        kind: of the measurement.
        table: of all files.
        columns: those read.
        wishes: what the user says of the files.
        before: the lines above the header, of every file.

    Raises:
        ValueError: if the table is not what the kind needs.
    """
    table = _named_cells(table)
    if wishes.cell is not None:
        table = _one_cell(table, wishes.cell)
    for column in {c.quantity: c for c in columns}.values():
        question(table, column)
    if wishes.read_voltage is not None and (kind == "iv" or not _currents(columns)):
        raise ValueError(f"{table.paths[0]}: no current is read at a voltage: no --read-voltage")
    if kind == "iv":
        _question_sweep(table, columns)
        return _iv(table, wishes)
    voltage, said = readings.read_voltage(table, wishes.read_voltage, before)
    quantity = readings.reading(columns)
    if kind == "programming":
        return _programming(table, columns, quantity, voltage, said)
    if quantity is None:
        raise ValueError(f"{table.paths[0]}: no conductance, resistance or current")
    dimension = readings.dimension_of(columns, quantity)
    noisy = kind == "retention"
    g, noted = readings.conductance(table, quantity, dimension, voltage, noisy=noisy)
    column = next(c for c in columns if c.quantity == quantity)
    question_conductances(table, column, g)
    noted = [*([said] if dimension == "A" else []), *noted]
    if kind != "jumps":
        noted += readings.agreement(table, quantity, g, voltage)
    arrange = {"pulses": _pulses, "jumps": _jumps, "retention": _retention, "map": _map}[kind]
    arrays, names, what, left = arrange(table, g, wishes)
    return arrays, names, what, noted + left


def _currents(columns: Sequence[Column]) -> bool:
    return any("A" in (c.meaning.dimension, _BASES.get(c.quantity)) for c in columns)


_BASES = {name: base for base, name in READINGS.items()}


def _named_cells(table: Table) -> Table:
    # A word line and a bit line, or a position, name a cell as well as a name does.
    parts = [table.labels[name] for name in ("cell", "wordline", "bitline") if name in table.labels]
    if "cell" not in table.labels:
        places = [table.values[axis] for axis in ("x", "y") if axis in table.values]
        parts += [np.array([f"{value:g}" for value in place], object) for place in places]
    if not parts:
        return table
    return table.labelled("cell", ["/".join(row) for row in zip(*parts, strict=True)])


def _one_cell(table: Table, name: str) -> Table:
    names = list(dict.fromkeys(table.labels.get("cell", np.array([], object)).tolist()))
    if name not in names:
        shown = ", ".join(names[:12]) or "none that has a name"
        raise ValueError(f"{table.paths[0]}: no cell {name!r}; there are {shown}")
    return table.kept(table.labels["cell"] == name)


def _question_sweep(table: Table, columns: Sequence[Column]) -> None:
    # Where the voltage is large enough to say a conductance.
    voltage, current = np.abs(table.values["voltage"]), np.abs(table.values["current"])
    if np.isfinite(voltage).any() and np.nanmax(voltage) > 0.0:
        far = voltage > 0.2 * np.nanmax(voltage)
        g = np.where(far, current, np.nan) / np.where(far, voltage, 1.0)
        question_conductances(table, next(c for c in columns if c.quantity == "current"), g)


def _cells(table: Table) -> list[tuple[str, Ints]]:
    if "cell" not in table.labels:
        return [("", np.arange(len(table)))]
    rows: dict[str, list[int]] = {}
    for k, name in enumerate(table.labels["cell"]):
        rows.setdefault(name, []).append(k)
    return [(name, np.array(index, np.int64)) for name, index in rows.items()]


def _codes(table: Table, label: str = "cell") -> tuple[Array, tuple[str, ...]]:
    names = list(dict.fromkeys(table.labels[label].tolist()))
    place = {name: float(k) for k, name in enumerate(names)}
    return np.array([place[name] for name in table.labels[label]]), tuple(names)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _complete(table: Table, *columns: Array) -> tuple[Mask, list[str]]:
    whole: Mask = np.asarray(np.isfinite(np.array(columns)).all(axis=0))
    if not whole.any():
        raise ValueError(f"{table.paths[0]}: no row has all its values")
    if whole.all():
        return whole, []
    lost = ~whole
    return whole, [f"{_count(int(lost.sum()), 'row')} without a value ({table.lines(lost)})"]


def _pulses(table: Table, g: Array, wishes: Wishes) -> Arranged:
    if "counter" in table.values:
        values = {**table.values, "pulse": table.values["counter"]}
        names = {**table.names, "pulse": table.names["counter"]}
        table = replace(table, values=values, names=names)
    if "number" in table.labels:
        raise table.refuse(
            0,
            "conductance",
            "numbered columns: are they cells or cycles? Name them, as in "
            f"--column {table.used[-1].name!r}='conductance cell {table.used[-1].meaning.number}'",
        )
    cells = _cells(table)
    up, down, known, left = pulses.response(table, g, cells, wishes.cycles)
    left = files.check_cycles(table, up.shape[1], wishes) + left
    lost = int(np.isnan(g).sum())
    if lost:
        left = [f"{_count(lost, 'reading')} missing ({table.lines(np.isnan(g))})", *left]
    what = (
        f"{_count(up.shape[0], 'cell')}, {_count(up.shape[1], 'cycle')} of "
        f"{up.shape[2] - 1} set and {down.shape[2] - 1} reset pulses"
    )
    return {"set": up, "reset": down}, known if known != ("",) else (), what, left


def _jumps(table: Table, g: Array, wishes: Wishes) -> Arranged:
    dg = table.values["dg"]
    whole, left = _complete(table, g, dg)
    question_jumps(table, g, dg)
    way = table.values.get("direction", np.ones(len(g)))
    if "amplitude" in table.values:
        way = np.sign(table.values["amplitude"])
        if (way > 0).any() and np.nanmean(dg[way > 0]) < 0.0:
            way = -way
            left.append("negative pulses set")
    arrays: dict[str, Array] = {}
    counts = []
    for name, sign in (("set", 1.0), ("reset", -1.0)):
        chosen = whole & (way == sign)
        if chosen.any():
            arrays |= {f"{name}_g": g[chosen], f"{name}_dg": dg[chosen]}
            counts.append(f"{int(chosen.sum())} {name}")
    return arrays, (), f"{' and '.join(counts)} jumps", left


def _iv(table: Table, wishes: Wishes) -> Arranged:
    voltage, current = table.values["voltage"], table.values["current"]
    whole, left = _complete(table, voltage, current)
    table = table.kept(whole)
    files.check_sweep(table, wishes)
    voltage, current = table.values["voltage"], table.values["current"]
    names = _cells(table)
    if len(names) > 1:
        shown = ", ".join(name for name, _ in names[:8])
        raise table.refuse(
            0,
            "current",
            f"sweeps of {len(names)} cells ({shown}): say which, as in --cell {names[0][0]}",
        )
    gate = table.values.get("gate")
    if gate is not None and np.nanmin(gate) < np.nanmax(gate):
        row = int((gate != gate[0]).argmax())
        raise table.refuse(
            row, "gate", "the gate's voltage changes here: fit the curve of one gate voltage"
        )
    if np.ptp(voltage) == 0.0:
        raise table.refuse(0, "voltage", f"{voltage[0]:g} V in every row: this is no sweep")
    current, turned = sweeps.signed(table, voltage, current)
    arrays = {"voltage": voltage, "current": current}
    if "time" in table.values and np.isfinite(table.values["time"]).all():
        arrays["time"] = table.values["time"]
    states = ""
    if "state" in table.labels:
        arrays["state"], known = _codes(table, "state")
        states = f", {_count(len(known), 'state')}"
    cycle = _cycles(table, voltage, arrays.get("state"))
    count = len(np.unique(cycle))
    if count > 1:
        arrays["cycle"] = cycle
    what = (
        f"{len(voltage)} points, {voltage.min():g} … {voltage.max():g} V, {_count(count, 'cycle')}"
        + states
    )
    return arrays, (), what, left + turned


def _cycles(table: Table, voltage: Array, state: Array | None) -> Array:
    # Those named, else those of the sweeps; states are swept one by one.
    if "cycle" in table.labels:
        return _codes(table, "cycle")[0]
    if state is None:
        return sweeps.cycles_of(voltage)
    cycle = np.zeros(len(voltage))
    for code in np.unique(state):
        cycle[state == code] = sweeps.cycles_of(voltage[state == code])
    return cycle


def _programming(
    table: Table,
    columns: Sequence[Column],
    quantity: str | None,
    voltage: Array | float | None,
    said: str,
) -> Arranged:
    noted: list[str] = []
    found = []
    for name in ("target", "achieved" if "achieved" in table.values else quantity):
        dimension = readings.dimension_of(columns, name or "")
        g, more = readings.conductance(table, name or "", dimension, voltage)
        noted += [*([said] if dimension == "A" else []), *more]
        found.append(g)
    whole, left = _complete(table, *found)
    arrays = {"target": found[0][whole], "achieved": found[1][whole]}
    names: tuple[str, ...] = ()
    if "cell" in table.labels:
        codes, names = _codes(table.kept(whole))
        arrays["cell"] = codes
    levels = _count(len(np.unique(arrays["target"])), "target")
    what = f"{int(whole.sum())} programmed conductances of {levels}"
    what += f", {_count(len(names), 'cell')}" if names else ""
    return arrays, names, what, noted + left


def _retention(table: Table, g: Array, wishes: Wishes) -> Arranged:
    time = table.values["time"]
    whole, left = _complete(table, time, g)
    table, time, g = table.kept(whole), time[whole], g[whole]
    for name in ("number", "state"):
        if name in table.labels and "cell" not in table.labels:
            table = table.labelled("cell", table.labels[name].tolist())
    table, said = files.cells_of_records(table, time, wishes)
    left += said
    arrays = {"time": time, "g": g}
    names: tuple[str, ...] = ()
    if "cell" in table.labels:
        arrays["cell"], names = _codes(table)
    for name, rows in _cells(table):
        if (time[rows] < 0.0).any():
            row = int(rows[int((time[rows] < 0.0).argmax())])
            raise table.refuse(row, "time", f"must be >= 0, got {time[row]:g} s")
        falls = np.diff(time[rows]) <= 0.0
        if falls.any():
            k = int(falls.argmax()) + 1
            of_cell = f" in the record of cell {name}" if name else ""
            raise table.refuse(
                int(rows[k]),
                "time",
                f"must increase{of_cell}, got {time[rows[k]]:g} s after {time[rows[k - 1]]:g} s; "
                "several cells need a column that names them",
            )
    span = f"{time.min():g} … {time.max():g} s"
    what = f"{_count(max(len(names), 1), 'cell')}, {len(g)} readings, {span}"
    return arrays, names, what, left


def _map(table: Table, g: Array, wishes: Wishes) -> Arranged:
    places = [table.values[axis] for axis in ("x", "y") if axis in table.values]
    placed, lost = _complete(table, *places) if places else (np.ones(len(g), bool), [])
    arrays, left = maps.states(table.kept(placed), g[placed])
    left = lost + left
    number = len(arrays["lrs"] if "lrs" in arrays else arrays["hrs"])
    known = " and ".join(name.upper() for name in ("lrs", "hrs") if name in arrays)
    return arrays, (), f"{_count(number, 'cell')}, {known}", left
