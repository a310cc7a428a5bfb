"""Which fit each kind of measurement gets, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mho import fit
from mho.cli.pictures import Report
from mho.devices import Device, TabularDevice
from mho.fit import Calibration, Measurement

_MISSED = 0.25  # of the current: a law that misses by more is none of the data


@dataclass(frozen=True)
class Choices:
    """What the user chooses of a fit.

    Attributes:
        law: of pulses, or of a current–voltage curve; the best if not given.
        rows: of a jump table; 60 if not given.
        seed: of the choice of the data held out.
        g_min: lowest conductance (S), where the data do not say it.
        g_max: highest conductance (S), likewise.
        clock: how the times of a record count; see `mho.fit.retention`.
        rate: of a voltage sweep without times (V/s).
    """

    law: str | None = None
    rows: int | None = None
    seed: int = 0
    g_min: float | None = None
    g_max: float | None = None
    clock: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Fitted:
    """A device, and what there is to say and to draw of it.

    Attributes:
        device: None where the data make none.
        told: in words, line by line.
        reports: title, fit and its data (None where the fit keeps them), of every picture.
    """

    device: Device | None
    told: list[str]
    reports: list[Report]


def fitted(measured: Measurement, choices: Choices) -> Fitted:
    """Fit a measurement.

    Args:
        measured: as read.
        choices: of the fit.

    Raises:
        ValueError: if the data cannot be fitted, or a choice is none of this kind's.
    """
    for name, kinds in _CHOICES.items():
        if getattr(choices, name) is not None and measured.kind not in kinds:
            flag = name.replace("_", "-")
            raise ValueError(
                f"--{flag} is for {' and '.join(kinds)}; this is a measurement of {measured.kind}"
            )
    return _FITS[measured.kind](measured, choices)


_CHOICES = {
    "rows": ("jumps",),
    "law": ("pulses", "iv"),
    "g_min": ("retention", "programming", "map", "iv"),
    "g_max": ("retention", "programming", "iv"),
    "clock": ("retention",),
    "rate": ("iv",),
}


def _pulses(measured: Measurement, choices: Choices) -> Fitted:
    response = (measured.arrays["set"], measured.arrays["reset"])
    found = fit.pulses(response, law=choices.law or "best", seed=choices.seed)
    told = [f"law: {found.law}", *_said(found, "steps")]
    return Fitted(found.device, told, [("pulse response", found, None)])


def _jumps(measured: Measurement, choices: Choices) -> Fitted:
    arrays, fits = measured.arrays, {}
    for name in ("set", "reset"):
        if f"{name}_g" not in arrays:
            raise ValueError(
                f"no {name} jumps: a TabularDevice needs set and reset; give the other direction, "
                "too (in Python, mho.fit.jump_table makes a table of one)"
            )
        pair = (arrays[f"{name}_g"], arrays[f"{name}_dg"])
        fits[name] = fit.jump_table(*pair, rows=choices.rows or 60, columns=200, seed=choices.seed)
    told = [_calibrated(f"{name} jumps", found.calibration) for name, found in fits.items()]
    device = TabularDevice(set_table=fits["set"].table, reset_table=fits["reset"].table)
    told.append(f"window {device.window[0]:.4g} … {device.window[1]:.4g} S")
    return Fitted(device, told, [(f"{name} jumps", found, None) for name, found in fits.items()])


def _iv(measured: Measurement, choices: Choices) -> Fitted:
    arrays = measured.arrays
    pair = (arrays["voltage"], arrays["current"])
    state = arrays.get("state")
    if state is None:
        shape = fit.hysteresis(*pair, cycle=arrays.get("cycle"))
        if shape.is_loop:
            return _loop(measured, choices, shape.verdict)
    _refuse_choice(choices.rate, "rate", "a curve of one state has no speed")
    found = fit.iv(
        *pair,
        law=choices.law or "best",
        state=state,
        g_min=choices.g_min,
        g_max=choices.g_max,
    )
    if not found.relative_error < _MISSED:
        raise ValueError(
            f"no law describes this curve: the best, {found.law}, misses it by "
            f"{found.relative_error:.0%} of the current"
        )
    told = [f"law: {found.law}", *_said(found, "currents")]
    return Fitted(found.device, told, [("current–voltage law", found, pair)])


def _loop(measured: Measurement, choices: Choices, shape: str) -> Fitted:
    for value, name in ((choices.g_min, "g-min"), (choices.g_max, "g-max")):
        _refuse_choice(value, name, "the window of a switching loop is fitted")
    arrays = measured.arrays
    found = fit.loop(
        arrays["voltage"],
        arrays["current"],
        time=arrays.get("time"),
        rate=choices.rate,
        cycle=arrays.get("cycle"),
        model=choices.law or "best",
        seed=choices.seed,
    )
    told = [f"a switching loop: {shape}", f"model: {found.model}"]
    if found.orientation < 0:
        told.append("the model sets under the other polarity: turn the voltages round")
    told.append(f"measured through {found.access}, which the device is without")
    return Fitted(found.device, told + _said(found, "voltages"), [("switching loop", found, None)])


def _refuse_choice(value: float | None, name: str, why: str) -> None:
    if value is not None:
        raise ValueError(f"--{name}: {why}")


def _programming(measured: Measurement, choices: Choices) -> Fitted:
    arrays = measured.arrays
    cell = arrays.get("cell") if _repeated(arrays.get("cell")) else None
    found = fit.programming(
        arrays["target"],
        arrays["achieved"],
        cell=cell,
        g_min=choices.g_min,
        g_max=choices.g_max,
        seed=choices.seed,
    )
    return Fitted(found.device, _said(found, "pairs"), [("programming error", found, None)])


def _repeated(cell: Any) -> bool:
    return cell is not None and len(np.unique(cell)) > 1


def _retention(measured: Measurement, choices: Choices) -> Fitted:
    arrays = measured.arrays
    found = fit.retention(
        arrays["time"],
        arrays["g"],
        cell=arrays.get("cell"),
        clock=choices.clock,
        g_min=choices.g_min,
        g_max=choices.g_max,
        seed=choices.seed,
    )
    return Fitted(found.device, _said(found, "readings or cells"), [("retention", found, None)])


def _map(measured: Measurement, choices: Choices) -> Fitted:
    arrays = measured.arrays
    if "lrs" not in arrays:
        raise ValueError("a map of the HRS alone makes no device: give that of the LRS, too")
    found = fit.cell_map(
        arrays["lrs"],
        arrays.get("hrs"),
        x=arrays.get("x"),
        y=arrays.get("y"),
        g_min=choices.g_min,
        seed=choices.seed,
    )
    return Fitted(found.device, _said(found, "cells"), [("spread of cells", found, None)])


def _said(found: Any, what: str) -> list[str]:
    told = [f"  {name} = {estimate}" for name, estimate in found.estimates.items()]
    told = ["estimates:", *told] if told else []
    if found.calibration is not None:
        told.append(_calibrated(what, found.calibration))
    return [*told, found.verdict]


def _calibrated(what: str, calibration: Calibration) -> str:
    pairs = zip(calibration.levels, calibration.coverage, strict=True)
    inside = ", ".join(f"{level:.0%}: {found:.1%}" for level, found in pairs)
    return f"{calibration.count} held-out {what} inside their intervals – {inside}"


_FITS: dict[str, Callable[[Measurement, Choices], Fitted]] = {
    "pulses": _pulses,
    "jumps": _jumps,
    "iv": _iv,
    "programming": _programming,
    "retention": _retention,
    "map": _map,
}
