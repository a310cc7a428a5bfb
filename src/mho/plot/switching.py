"""Pictures of voltage-driven cells: hysteresis loops, log-scale switching, window functions.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mho.core import checks
from mho.devices.windows import Window
from mho.plot.styles import MORE_COLOURS, axes, name_lines, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]


@styled
def hysteresis_loop(
    voltage: Tensor,
    current: Tensor,
    *,
    label: str | None = None,
    arrows: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw current against voltage: a pinched loop for a memristive cell.

    Args:
        voltage: waveform (V), of shape ``[time]``.
        current: currents (A), of shape ``[time]`` or ``[time, cells]``.
        label: of the first curve, for a legend.
        arrows: whether arrows show the direction in which the loop is run through.
        ax: where to draw.

    Raises:
        ValueError: if the shapes do not fit.
    """
    arrows = checks.truth("arrows", arrows)
    ax = axes(ax)
    volts, amperes = _flat(voltage, current)
    colour = _draw(ax.plot(volts, amperes), label)
    if arrows:
        _direction(ax, volts, amperes[:, 0], colour)
    ax.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    ax.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    ax.set_xlabel("voltage (V)")
    ax.set_ylabel("current")
    _amperes(ax)
    name_lines(ax, label)
    return ax


@styled
def bipolar_switching(
    voltage: Tensor, current: Tensor, *, label: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw ``|I|`` on a logarithmic axis against voltage: set and reset branches.

    Args:
        voltage: waveform (V), of shape ``[time]``.
        current: currents (A), of shape ``[time]`` or ``[time, cells]``; left out at 0 V.
        label: of the first curve, for a legend.
        ax: where to draw.

    Raises:
        ValueError: if the shapes do not fit.
    """
    ax = axes(ax)
    volts, amperes = _flat(voltage, current)
    size = np.abs(amperes)
    # A logarithm has no place for zero, nor for the rounding left of it where V crosses 0.
    size[np.abs(volts) < 1e-6 * np.abs(volts).max(initial=0.0)] = np.nan
    size[size == 0.0] = np.nan
    _draw(ax.semilogy(volts, size), label)
    ax.set_xlabel("voltage (V)")
    ax.set_ylabel("|current|")
    _amperes(ax)
    name_lines(ax, label)
    return ax


@styled
def window_functions(
    windows: Mapping[str, Window] | list[Window], *, ax: Axes | None = None
) -> Axes:
    """Draw window functions against the state, rising (solid) and falling (dashed).

    Args:
        windows: by the names that the legend shall show, or a list.
        ax: where to draw.
    """
    ax = axes(ax)
    if not isinstance(windows, Mapping):
        windows = {_name(window): window for window in windows}
    x = torch.linspace(0.0, 1.0, 401, dtype=torch.float64)
    for k, (name, window) in enumerate(windows.items()):
        rising, falling = (window(x, torch.full_like(x, sign)) for sign in (1.0, -1.0))
        ax.plot(x, rising, color=MORE_COLOURS[k % len(MORE_COLOURS)], label=name)
        if not torch.allclose(rising, falling):
            ax.plot(x, falling, color=MORE_COLOURS[k % len(MORE_COLOURS)], linestyle="--")
    ax.set_xlabel("state x (1 is low resistance)")
    ax.set_ylabel("window f(x); dashed: falling")
    ax.set_ylim(bottom=0.0)
    ax.legend(fontsize="small")
    return ax


def _amperes(ax: Axes) -> None:
    from matplotlib.ticker import EngFormatter

    ax.yaxis.set_major_formatter(EngFormatter("A"))


def _draw(lines: Any, label: str | None) -> Any:
    """Give the curves of all cells one colour: the first bold and labelled, the others faint."""
    colour = lines[0].get_color()
    for line in lines[1:]:
        line.set(color=colour, alpha=max(0.15, len(lines) ** -0.5), linewidth=0.8, zorder=1.5)
    lines[0].set_label(label or "_nolegend_")
    return colour


def _name(window: Window) -> str:
    values = ", ".join(f"{k}={v:.3g}" for k, v in window.to_dict().items() if k != "type")
    return f"{type(window).__name__}({values})"


def _flat(voltage: Tensor, current: Tensor) -> tuple[Array, Array]:
    volts = torch.as_tensor(voltage).detach().cpu().double()
    amperes = torch.as_tensor(current).detach().cpu().double()
    if volts.ndim != 1 or not amperes.ndim or amperes.shape[0] != volts.shape[0]:
        raise ValueError(
            "voltage must have shape [time] and current [time, …] of the same length, "
            f"got {list(volts.shape)} and {list(amperes.shape)}"
        )
    return volts.numpy(), amperes.reshape(len(volts), -1).numpy().copy()


def _direction(ax: Axes, volts: Array, amperes: Array, colour: Any) -> None:
    # One arrow on the way up and one on the way down, in each half of the first loop.
    for sign in (1.0, -1.0):
        height = volts * sign
        crossings = np.flatnonzero(np.diff((height > 0.6 * height.max()).astype(int)))
        for k in crossings[:2] if height.max() > 0.0 else ():
            tail, tip = max(k - 1, 0), min(k + 2, len(volts) - 1)
            ax.annotate(
                "",
                xy=(volts[tip], amperes[tip]),
                xytext=(volts[tail], amperes[tail]),
                arrowprops={"arrowstyle": "-|>", "color": colour, "mutation_scale": 14},
            )
