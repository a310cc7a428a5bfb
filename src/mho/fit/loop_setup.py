"""From measured loops and a user's wishes to the problem that is searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mho.core import checks
from mho.devices.switching import SwitchingDevice
from mho.fit.access import Access
from mho.fit.branches import Hysteresis
from mho.fit.calibration import Array
from mho.fit.loop_models import Free, LoopModel, Scale
from mho.fit.loop_search import ACCESS, Problem
from mho.fit.sweeps import Excursion, Sweeps, excursions

_INSIDE = 0.15  # of the largest voltage: below, noise and offsets blur conductances
_OHMIC = (
    0.2  # a branch that reaches 5 % of its current only beyond this part of its voltage turns on
)
_FLAT = 0.01  # of the largest current: a top as flat as that over a tenth of the voltage is a limit
_ACCESSES = ("auto", "none")

Bounds = Mapping[str, tuple[float, float]]


def scale_of(data: Sweeps, found: Hysteresis) -> Scale:
    """Return the sizes of loops."""
    v, i = data.voltage[data.measured], data.current[data.measured]
    volts = float(np.abs(v).max())
    inside = np.abs(v) > _INSIDE * volts
    g = np.abs(i[inside] / v[inside])
    seconds = [
        float(data.seconds[part.out.start : part.back.stop, k].sum())
        for k in range(data.cycles)
        for part in excursions(data.cycle(k)[0])
    ]
    high = float(np.quantile(g, 0.98))
    low = float(np.quantile(g, 0.05))
    return Scale(volts, high, max(low, 1e-4 * high), float(np.median(seconds)), found.polarity)


def compliance_of(data: Sweeps) -> float | None:
    """Return the current (A) at which the source limits, None where no loop has a flat top."""
    limits = []
    for k in range(data.cycles):
        v, i = data.cycle(k)
        for sign in (1, -1):
            size = np.where(sign * v > 0.0, sign * i, 0.0)
            top = np.flatnonzero(size >= (1.0 - _FLAT) * size.max())
            wide = np.ptp(v[top]) >= 0.1 * np.abs(v).max()
            if size.max() > 0.0 and len(top) >= 5 and wide and (np.diff(top) == 1).all():
                limits.append(float(np.median(size[top])))
    return max(limits) if limits else None


def turns_on(data: Sweeps, polarity: int) -> tuple[bool, bool]:
    """Return whether low resistance conducts only from a voltage on, positive and negative."""
    found = []
    for sign in (1, -1):
        parts = [
            _onset(*data.cycle(k), part, sets=sign == polarity)
            for k in range(data.cycles)
            for part in excursions(data.cycle(k)[0])
            if part.sign == sign
        ]
        found.append(bool(parts) and float(np.median(parts)) > _OHMIC)
    return found[0], found[1]


def _onset(v: Array, i: Array, part: Excursion, *, sets: bool) -> float:
    # Low resistance is on the way back from a set, on the way out to a reset.
    branch = part.back if sets else part.out
    volts, amps = np.abs(v[branch]), part.sign * i[branch]
    most = int(amps.argmax())
    below = (volts <= volts[most]) & (amps < 0.05 * amps[most])
    return float(volts[below].max() / volts[most]) if below.any() else 0.0


def problem_of(
    model: LoopModel,
    data: Sweeps,
    found: Hysteresis,
    *,
    access: Access | str,
    bounds: Bounds | None,
    fixed: Mapping[str, float] | None,
) -> Problem:
    """Return the search that a model means for loops.

    Raises:
        ValueError: if a name among the bounds or fixed values is not the model's, or they are
            refused by it.
        TypeError: if ``access`` is neither a text nor an `Access`.
    """
    scale = scale_of(data, found)
    device = model.device(scale)
    free = [*model.free(scale), *_free_access(data, scale, access)]
    first = excursions(data.cycle(0)[0])[0]
    free.append(Free("start", 0.0, 1.0, likely=0.05 if first.sign == scale.polarity else 0.95))
    held, compliance = _held(data, access)
    bounds, fixed = _mappings(bounds, fixed)
    free, device, held = _asked(free, device, held, bounds, fixed)
    _plausible(free, held)
    if not free:
        raise ValueError(f"fixed must leave a parameter to search, got all: {', '.join(fixed)}")
    sign = scale.polarity * device.set_polarity
    return Problem(device, sign, tuple(free), held, compliance, scale.polarity, data)


def _held(data: Sweeps, access: Access | str) -> tuple[dict[str, float], float | None]:
    if isinstance(access, Access):
        given = {name: float(getattr(access, name)) for name in ACCESS}
        return given, access.compliance
    if not isinstance(access, str):
        raise TypeError(f"access must be 'auto', 'none' or an Access, got {access!r}")
    checks.one_of("access", access, _ACCESSES)
    return {}, compliance_of(data)


def _free_access(data: Sweeps, scale: Scale, access: Access | str) -> list[Free]:
    if access != "auto":
        return []
    ohms = 1.0 / scale.high

    def resistance(name: str) -> Free:
        return Free(name, 0.01 * ohms, 3.0 * ohms, logarithmic=True, likely=0.3 * ohms)

    sides = turns_on(data, scale.polarity)
    if not any(sides):
        return [resistance("series")]
    found = [resistance("r_positive"), resistance("r_negative")]
    for side, on in zip(("positive", "negative"), sides, strict=True):
        if on:
            found += [
                Free(f"turn_on_{side}", 0.0, 0.6 * scale.volts, likely=0.25 * scale.volts),
                Free(
                    f"gain_{side}",
                    0.1 * scale.high / scale.volts,
                    300.0 * scale.high / scale.volts,
                    logarithmic=True,
                    likely=5.0 * scale.high / scale.volts,
                ),
            ]
    return found


def _mappings(bounds: Any, fixed: Any) -> tuple[Bounds, Mapping[str, float]]:
    for name, given, form in (
        ("bounds", bounds, "{name: (low, high)}"),
        ("fixed", fixed, "{name: value}"),
    ):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{name} must be a mapping {form}, got {given!r}")
    return bounds or {}, fixed or {}


def _pair(name: str, pair: Any) -> tuple[float, float]:
    told = f"bounds[{name!r}] must be (low, high), two finite numbers, got {pair!r}"
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise ValueError(told)
    try:
        low, high = (float(value) for value in pair)
    except (TypeError, ValueError):
        raise ValueError(told) from None
    if not np.isfinite([low, high]).all():
        raise ValueError(told)
    return low, high


def _plausible(free: list[Free], held: Mapping[str, float]) -> None:
    # What is not the device's own, which it checks itself.
    ends = [(f"bounds[{f.name!r}]", f.name, value) for f in free for value in (f.low, f.high)]
    for what, name, value in [*ends, *((f"fixed[{n!r}]", n, v) for n, v in held.items())]:
        if name == "start":
            checks.probability(what, value)
        elif name == "series" or (name in ACCESS and not name.startswith("turn_on")):
            checks.number(what, value, least=0.0)


def _asked(
    free: list[Free],
    device: SwitchingDevice,
    held: dict[str, float],
    bounds: Bounds,
    fixed: Mapping[str, float],
) -> tuple[list[Free], SwitchingDevice, dict[str, float]]:
    """Return what is free, the device and what is held, as a user's bounds and values say."""
    known = {f.name: f for f in free}
    fields = {n: v for n, v in device.to_dict().items() if isinstance(v, float)}
    for name, pair in bounds.items():
        if name in fixed or (name not in known and name not in fields):
            raise ValueError(
                f"bounds has {name!r}, which is not searched; searched are {', '.join(known)}"
            )
        low, high = _pair(name, pair)
        # A field of the device that is not searched by itself is, if bounds ask for it.
        old = known.get(name, Free(name, low, high, low * high > 0.0, fields.get(name)))
        # Bounds given may cross 0, where there is no logarithm.
        spans = old.logarithmic and low * high > 0.0
        known[name] = Free(name, low, high, spans, old.likely)
    for name, value in fixed.items():
        checks.number(f"fixed[{name!r}]", value)
        if name in known or name in ACCESS:
            held = {**held, name: float(value)}
        elif name not in fields:
            raise ValueError(
                f"fixed has {name!r}, which is no parameter of {type(device).__name__} or of the "
                f"access; these are {', '.join([*fields, *ACCESS])}, start"
            )
        known.pop(name, None)
    device = device.replace(**{name: float(v) for name, v in fixed.items() if name in fields})
    return list(known.values()), device, {n: v for n, v in held.items() if n not in fields}
