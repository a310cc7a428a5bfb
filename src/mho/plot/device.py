"""A device's one-page card: what it is, in numbers and in the pictures of its family."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from mho.cells.device import Device
from mho.cells.spread import Spread
from mho.devices.tabular import JumpTable
from mho.plot.families import pictures
from mho.plot.styles import GREY, plain, quantity, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (11.7, 8.3)  # A4, landscape
_UNITS = ("S", "V", "s", "Ω", "A", "m", "K", "T", "1/s", "m/s", "V/m")


@styled
def device_card(
    device: Device, fig: Figure | None = None, *, name: str | None = None, seed: int = 0
) -> Figure:
    """Draw what a device is on one page: its parameters, and four pictures of its family.

    Voltage-driven devices show a hysteresis loop, the switching on a logarithmic axis, their
    response to pulses and the currents of their states; pulse-count devices the response to pulses,
    the jump ΔG against G (of tables, as a heat map) and alternating pulses; statistical ones drift,
    programming error, read noise; magnetic ones the probability to switch, TMR and a loop.

    Args:
        device: the device.
        fig: an empty figure to draw into; a new one's if not given.
        name: heading; the class's name if not given.
        seed: of the populations drawn.

    Raises:
        TypeError: if it is no device.
    """
    if not isinstance(device, Device):
        raise TypeError(f"device must be a Device, got {device!r} ({type(device).__name__})")
    if fig is None:
        fig = plt.figure(figsize=_SIZE)
    left, right = fig.subfigures(1, 2, width_ratios=(1.0, 2.4), squeeze=False)[0]
    _table(left, device, name or type(device).__name__)
    for draw, ax in zip(pictures(device), right.subplots(2, 2).flat, strict=True):
        draw(device, ax, seed)
    return fig


def _table(fig: Any, device: Device, name: str) -> None:
    fig.text(0.06, 0.965, name, fontsize=15, fontweight="bold", va="top")
    first = (inspect.getdoc(type(device)) or "").partition("\n")[0].replace("``", "")
    told = textwrap.fill(first, 44)
    fig.text(0.06, 0.915, f"{type(device).__name__}\n{told}", fontsize=8.5, va="top", color=GREY)
    names = [field.name for field in dataclasses.fields(device)]  # type: ignore[arg-type]
    rows = [("conductance window", " … ".join(_value(g, "S") for g in device.window))]
    rows += [(n, _value(getattr(device, n), _unit_of(device, n))) for n in names]
    lines = [(key, part) for key, text in rows for part in _wrapped(key, text)]
    step = min(0.032, 0.80 / max(len(lines), 1))
    size = min(8.5, 8.5 * step / 0.024)
    for k, (key, text) in enumerate(lines):
        y = 0.83 - k * step
        fig.text(0.06, y, key, fontsize=size, color=GREY, va="top")
        fig.text(0.97, y, plain(text), fontsize=size, ha="right", va="top")


def _wrapped(key: str, text: str) -> list[str]:
    return textwrap.wrap(text, max(44 - len(key), 16)) or [""]


def _value(value: Any, symbol: str) -> str:
    if isinstance(value, Spread):
        return _spread(value, symbol)
    if isinstance(value, JumpTable):
        return f"{len(value.g)} × {len(value.dg)} table"
    if isinstance(value, tuple) and all(isinstance(item, float) for item in value):
        return "(" + ", ".join(f"{item:.3g}" for item in value) + ")"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        text = str(value)
        return text if len(text) <= 60 else text[:57] + "…"
    return quantity(value, symbol)


def _spread(spread: Spread, symbol: str) -> str:
    given = dict(spread.parameters)
    if spread.distribution == "LogNormal":  # its parameters are those of the logarithm
        median = _value(float(np.exp(given["loc"])), symbol)
        return f"LogNormal(median {median}, ln σ {given['scale']:.3g})"
    # Of a place and a width the unit is that of the parameter; of a shape there is none.
    sized = ("loc", "scale", "low", "high")
    said = [_value(v, symbol if name in sized else "") for name, v in given.items()]
    return f"{spread.distribution}({', '.join(said)})"


def _unit_of(device: Device, name: str) -> str:
    # Docstrings say every attribute's unit in brackets: "g_min: lowest conductance (S), >= 0".
    for kind in type(device).__mro__:
        found = re.search(rf"^\s*{name}: [^\n(]*\(([^)]+)\)", kind.__doc__ or "", re.MULTILINE)
        if found:
            return found[1] if found[1] in _UNITS else ""
    return ""
