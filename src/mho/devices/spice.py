"""Voltage-driven cells as ngspice subcircuits, and arrays of them as decks.

A subcircuit is written from the model's own equations, with behavioural sources alone. Its state is
the voltage of the node ``x``, in [0, 1], on a capacitor of 1 F: ``C dx/dt = rate(x, v)``.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mho.circuit.deck import OPTIONS, bit_node, wiring, word_node
from mho.circuit.wires import Wires
from mho.core import checks
from mho.core.spec import Spec
from mho.devices.expressions import Expression, Written
from mho.devices.switching import SwitchingDevice
from mho.devices.switching_cells import SwitchingCells

# Where equations are traced: the scale of what they come to.
_STATE, _VOLTS = 0.5, 0.5
# A state slows down over this last part of its range, and stops at the end.
_STOP = 1e-7
# How long an inner voltage takes to follow (s).
_LAG = 1e-13
_WIDTH = 100
# Names that mean something else in a deck.
_TAKEN = {"x0", "hold", "time", "temper", "hertz"}

TRANSIENT = ".options reltol=1e-6 abstol=1e-15 vntol=1e-9 itl4=200 method=gear"
"""Tolerances of waveforms; ngspice's defaults let stiff states wander."""


def subcircuit(device: SwitchingDevice, name: str | None = None) -> str:
    """Write a model as an ngspice subcircuit.

        X1 word bit name x0=0.3

    Its parameters are those of the device that act in it, by name (of a window as
    ``window_<name>``), at their nominal values; an instance may give others. ``x0`` is the state
    at the start of a transient analysis, which must be asked for with ``uic``. With ``hold=1`` the
    state stays ``x0`` whatever happens: for operating points and reads. Node ``x`` inside is the
    state.

    The random term of a stochastic model is left out, and so are differences from cycle to cycle;
    the text says so.

    Args:
        device: a voltage-driven device.
        name: of the subcircuit; by default the model's, in small letters.

    Returns:
        The text, from ``.subckt`` to ``.ends``.

    Raises:
        TypeError: if the device is not voltage-driven, or its equations need more than
            behavioural sources know.
        ValueError: if the name is none, or a parameter has one that a deck needs.
    """
    checks.instance("device", device, SwitchingDevice)
    name = name or type(device).__name__.lower()
    if not name.isidentifier() or not name.isascii():
        raise ValueError(f"name must be letters, digits and underscores, got {name!r}")
    values, traced, p = _symbols(device)
    taken = _TAKEN & values.keys()
    if taken:
        raise ValueError(f"parameters must not have names that a deck needs: {sorted(taken)}")
    x = Expression("V(x)", value=_STATE)
    inside = torch.clamp(x, 0.0, 1.0)  # type: ignore[call-overload]
    v = Expression("V(p,n)", value=_VOLTS)
    inner, current, rate = _equations(traced, inside, v, p)
    text = Written()
    text.count((current, rate, *(() if inner is None else (inner,))))
    sources = [f"Bcell p n I = {text.text(current)}"]
    if inner is not None:
        # It follows within a tenth of a picosecond: small steps in time help Newton's method then.
        sources += [f"Binner inner 0 V = {text.text(inner)}", "Ru inner u 1", f"Cu u 0 {_LAG!r}"]
    move = f"V(rate)*(V(rate) > 0 ? min(1,max(0,1-V(x))/{_STOP!r}) : min(1,max(0,V(x))/{_STOP!r}))"
    sources += [
        f"Brate rate 0 V = {text.text(rate)}",
        f"Bx 0 x I = hold > 0.5 ? x0-V(x) : {move}",
        "Cx x 0 1 ic={x0}",
    ]
    words = set(re.findall(r"[a-z_]\w*", " ".join((*text.lines, *sources))))
    given = " ".join(f"{key}={value!r}" for key, value in values.items() if key in words)
    head = [f"* {type(device).__name__}: x=1 is low resistance; SI units", *_left_out(device)]
    lines = [*head, f".subckt {name} p n params: x0=0.0 hold=0.0 {given}", *text.lines, *sources]
    return "\n".join((*(_wrapped(line) for line in lines), f".ends {name}", ""))


def _left_out(device: SwitchingDevice) -> Iterator[str]:
    if device.stochastic:
        yield "* the random term of the state is left out"
    if device.cells_type is not SwitchingCells:
        yield "* differences from cycle to cycle are left out"


def _symbols(device: SwitchingDevice) -> tuple[dict[str, float], SwitchingDevice, Any]:
    """Return the values of all parameters, the device and its ``p`` with their names instead."""
    p = vars(device.parameters())
    values = {key: float(value) for key, value in p.items() if _plain(value)}
    symbols = {key: Expression(key, value=value) for key, value in values.items()}
    traced = copy.copy(device)
    for key, value in p.items():
        if isinstance(value, Spec):  # a window
            other = copy.copy(value)
            for field in dataclasses.fields(value):  # type: ignore[arg-type]
                label = f"window_{field.name}"
                values[label] = float(getattr(value, field.name))
                symbol = Expression(label, value=values[label])
                object.__setattr__(other, field.name, symbol)
            object.__setattr__(traced, key, other)
    return values, traced, SimpleNamespace(**{**p, **symbols})


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equations(device: SwitchingDevice, x: Any, v: Any, p: Any) -> tuple[Any, Any, Any]:
    """Return what the inner voltage must be (None where there is none), the current, the rate."""
    try:
        if device.implicit:
            u = Expression("V(u)", value=0.1 * _VOLTS)
            return device.settled(x, v, u, p)
        return None, device.current_at(x, v, p), device.rate(x, device.drive(v, p), p)
    except NotImplementedError:
        raise TypeError(f"{type(device).__name__} does not say its equations") from None


def _wrapped(line: str) -> str:
    # ngspice goes on with a line that begins with a plus; no token may be cut.
    if len(line) <= _WIDTH or line.startswith("*"):
        return line
    out, row = [], ""
    for token in line.split(" "):
        if row and len(row) + len(token) + 1 > _WIDTH:
            out.append(row)
            row = token
        else:
            row = f"{row} {token}" if row else token
    return "\n+ ".join((*out, row))


def netlist(
    cells: SwitchingCells,
    wires: Wires,
    voltages: Tensor,
    *,
    dt: float | None = None,
    sink: float = 0.0,
    output: str = "currents.data",
) -> str:
    """Write an array of cells as they are now as a deck for ngspice (``ngspice -b deck.cir``).

    Every cell has its own parameters, as fabrication drew them, and its own state; broken cells
    conduct as in `mho.cells.population.Cells.with_broken`. Nodes and lines are named as in
    `mho.circuit.netlist`.

    Args:
        cells: of shape ``[m, n]``.
        wires: line resistances and which ends are used; not gated.
        voltages: of the drivers (V): ``[m]``, for one read in which no state moves, which prints
            ``i(vsense<j>)`` (A) of every column; or a waveform ``[time, m]``.
        dt: between the samples of a waveform (s). The voltage is linear between them.
        sink: voltage of the sinks (V).
        output: the file that a waveform's currents are written to: columns of time, driver
            voltages and ``i(vsense<j>)``, as ngspice's ``wrdata`` writes them.

    Returns:
        The deck.

    Raises:
        TypeError: if ``cells`` are not voltage-driven or the voltages no tensor.
        ValueError: if shapes do not fit, the array is gated, or ``dt`` does not go with the
            voltages.
    """
    checks.instance("cells", cells, SwitchingCells)
    checks.instance("wires", wires, Wires)
    checks.instance("voltages", voltages, Tensor)
    if len(cells.shape) != 2:
        raise ValueError(f"cells must have shape [m, n], got {list(cells.shape)}")
    if wires.gated:
        raise ValueError("wires must not be gated: gated arrays have no netlist")
    m, n = cells.shape
    checks.finite("voltages", voltages)
    sink = checks.number("sink", sink)
    drivers = _held(voltages, m) if dt is None else _waveforms(voltages, m, dt)
    model = subcircuit(cells.spec, "cell")
    lines = [
        f"* {m} x {n} array of {type(cells.spec).__name__} cells",
        model,
        *(f"Vin{i} in_{i} 0 {each}" for i, each in enumerate(drivers)),
        *(f"Vsense{j} out_{j} 0 DC {sink!r}" for j in range(n)),
        *wiring(m, n, wires),
        *_instances(cells, wires, set(re.findall(r"(\w+)=", model)), hold=dt is None),
        OPTIONS if dt is None else TRANSIENT,
        ".control",
        "set numdgt=15",
    ]
    if dt is None:
        lines += ["op", *(f"print i(vsense{j})" for j in range(n))]
    else:
        lines += _transient(len(voltages), m, n, dt, output)
    return "\n".join((*lines, "quit", ".endc", ".end", ""))


def _held(voltages: Tensor, m: int) -> list[str]:
    if tuple(voltages.shape) != (m,):
        raise ValueError(
            f"voltages must have shape [{m}] (or [time, {m}] with dt), got {list(voltages.shape)}"
        )
    return [f"DC {value!r}" for value in voltages.detach().double().tolist()]


def _waveforms(voltages: Tensor, m: int, dt: float) -> list[str]:
    dt = checks.number("dt", dt, above=0.0)
    if voltages.ndim != 2 or voltages.shape[1] != m or len(voltages) < 2:
        raise ValueError(f"voltages must have shape [time, {m}], got {list(voltages.shape)}")
    out = []
    for column in voltages.detach().double().T.tolist():
        points = (f"{k * dt!r} {value!r}" for k, value in enumerate(column))
        out.append(_wrapped(" ".join(("PWL(", *points, ")"))))
    return out


def _transient(samples: int, m: int, n: int, dt: float, output: str) -> list[str]:
    seen = [f"v(in_{i})" for i in range(m)] + [f"i(vsense{j})" for j in range(n)]
    stop = (samples - 1) * dt
    return [
        f"tran {dt!r} {stop!r} 0 {dt!r} uic",
        "set wr_singlescale",
        f"wrdata {output} {' '.join(seen)}",
    ]


def _instances(cells: SwitchingCells, wires: Wires, used: set[str], hold: bool) -> Iterator[str]:
    m, n = cells.shape
    drawn = {key: value.double().tolist() for key, value in cells.present().items()}
    state, g = cells.x.double().tolist(), cells.g.double().tolist()
    stuck = None if cells.stuck is None else cells.stuck.tolist()
    for i in range(m):
        for j in range(n):
            ends = f"{word_node(i, j, n, wires)} {bit_node(i, j, m, wires)}"
            if stuck is not None and stuck[i][j]:
                if g[i][j] > 0.0:
                    yield _broken(cells.spec, f"cell_{i}_{j}", ends, g[i][j])
                continue
            own = " ".join(f"{key}={value[i][j]!r}" for key, value in drawn.items() if key in used)
            yield _wrapped(f"Xcell_{i}_{j} {ends} cell x0={state[i][j]!r} hold={hold:d} {own}")


def _broken(device: SwitchingDevice, name: str, ends: str, g: float) -> str:
    # As `Cells.with_broken` has it: a nominal cell's law, or a resistor where that is no product.
    if not device.separable or device.ohmic:
        return f"R{name} {ends} {1.0 / g!r}"
    v = Expression(f"V({ends.replace(' ', ',')})", value=_VOLTS)
    driven = Written().text(device.transfer_at(v, device.parameters()))
    return f"B{name} {ends} I = {g!r}*{driven}"
