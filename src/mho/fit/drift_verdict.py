"""What to think of a fit of retention, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mho.devices.statistical import log_noise

if TYPE_CHECKING:
    from mho.fit.drift import RetentionFit

_DECADES = 2.0  # of time, below which a law to ten years is a guess
_MANY = 10
_SURE = 3.0  # standard errors by which a coverage must be off to be called wrong


def verdict(fit: RetentionFit, *, steep: bool, still: bool, levels: int, rho: float) -> str:
    """Return the verdict.

    Args:
        fit: the fit.
        steep: whether the bound on the slope of ν holds it.
        still: whether no drift is visible.
        levels: places the conductances gather at.
        rho: correlation of successive residuals, 0 where it is not seen.
    """
    told = [_what(fit), _drift(fit, still)]
    told += _between(fit)
    if steep:
        told.append(
            "ν would rise with the conductance more steeply than a device may have it (higher "
            "cells would fall below lower ones in ten years): its slope is held at that bound"
        )
    told.append(_noise(fit))
    if rho:
        told.append(
            f"successive residuals are correlated ({rho:.2f}): noise lasts from reading to "
            "reading (1/f, telegraph), errors allow for it, and the device's noise does not last "
            "(see mho.effects.TelegraphNoise)"
        )
    told += _left_out(fit)
    if levels == 1 and len(fit.labels) > 1:
        told.append("all cells were at one level: nothing is known of others")
    if fit.calibration is None and not any(fit.device.read_sigma):  # type: ignore[arg-type]
        told.append("nothing varies that could be predicted")
    elif fit.calibration is None:
        told.append("too little was read to hold something out")
    else:
        what = "cells' exponents" if len(fit.labels) >= _MANY else "readings"
        pairs = zip(fit.calibration.levels, fit.calibration.coverage, strict=True)
        inside = ", ".join(f"{found:.0%} of {level:.0%}" for level, found in pairs)
        worst = max(map(abs, fit.calibration.deviations))
        good = "as they should" if worst < _SURE else "not as they should"
        told.append(f"held-out {what} fall inside their intervals {good} ({inside})")
    told.append(_assumed(fit))
    return "; ".join(told) + "."


def _assumed(fit: RetentionFit) -> str:
    low, high = (g * 1e6 for g in fit.device.window)
    met = (fit.cells.g0.min() * 1e6, fit.cells.g0.max() * 1e6)
    beyond = ""
    if low < 0.99 * met[0] or high > 1.01 * met[1]:
        beyond = (
            f" (conductances of {met[0]:.4g} … {met[1]:.4g} µS were met: beyond, the laws go on)"
        )
    return (
        f"the device has the window {low:.4g} … {high:.4g} µS{beyond} and is written exactly: "
        "retention tells neither (g_min and g_max say the one, a fit of programming the other)"
    )


def _what(fit: RetentionFit) -> str:
    cells = "1 cell" if len(fit.labels) == 1 else f"{len(fit.labels)} cells"
    passed = float(np.log10(fit.time.max() / fit.t0))
    short = ": short for a law to years" if passed < _DECADES else ""
    return (
        f"{cells}, {len(fit.g)} readings over {passed:.2g} decades after t0 = {fit.t0:.3g} s{short}"
    )


def _drift(fit: RetentionFit, still: bool) -> str:
    nu = fit.estimates["nu_0"]
    if still:
        mean = " on average" if any(fit.device.nu_std) else ""  # type: ignore[arg-type]
        return f"no drift is visible{mean}: ν = 0 within its error ({nu}), and is 0 in the device"
    if len(fit.device.nu) == 1:  # type: ignore[arg-type]
        way = " (conductances rise)" if nu.value < 0.0 else ""
        return f"ν = {nu}{way}"
    low, high = fit.device.window
    x = np.array([low / high, 1.0])
    ends = np.polynomial.polynomial.polyval(x, fit.device.nu)
    return (
        f"ν from {ends[0]:.3g} at {low * 1e6:.4g} µS to {ends[1]:.3g} at {high * 1e6:.4g} µS "
        f"(degree {len(fit.device.nu) - 1})"  # type: ignore[arg-type]
    )


def _between(fit: RetentionFit) -> list[str]:
    if len(fit.labels) == 1:
        return ["one cell does not tell how cells differ"]
    spread = np.polynomial.polynomial.polyval(
        np.clip(fit.cells.g0 / fit.device.window[1], 0.0, 1.0), fit.device.nu_std
    )
    few = f" ({len(fit.labels)} cells tell little of it)" if len(fit.labels) < _MANY else ""
    if not spread.any():
        return [f"cells do not differ beyond the errors of their exponents{few}"]
    return [f"from cell to cell ν varies by {float(np.median(spread)):.2g}{few}"]


def _noise(fit: RetentionFit) -> str:
    sigma = np.polynomial.polynomial.polyval(
        np.clip(fit.cells.g0 / fit.device.window[1], 0.0, 1.0), fit.device.read_sigma
    )
    if not sigma.any():
        return "readings lie on their laws: no read noise"
    ends = f"{sigma.min() * 1e6:.3g}" + (
        f" to {sigma.max() * 1e6:.3g}" if np.ptp(sigma) > 0.01 * sigma.max() else ""
    )
    if fit.device.t_read is None:
        return f"white read noise of {ends} µS ({fit.noise:.2%} of a reading)"
    t_read, middle = fit.device.t_read, float(np.sqrt(fit.t0 * fit.time.max()))
    typical = float(np.median(sigma)) * log_noise(middle, t_read)
    return (
        f"read noise that grows as 1/f noise, {typical * 1e6:.3g} µS at {middle:.2g} s: that is "
        f"known, q(t) · read_sigma; read_sigma alone ({ends} µS) and its errors hold with "
        f"t_read = {t_read:.1g} s, which is hardly seen"
    )


def _left_out(fit: RetentionFit) -> list[str]:
    told = []
    far, odd = int((~fit.used).sum()), int(fit.cells.suspicious.sum())
    if far:
        told.append(f"{far} readings are far from their cell's law and left out")
    if odd:
        shown = ", ".join(str(name) for name in fit.labels[fit.cells.suspicious][:5])
        more = ", …" if odd > 5 else ""
        told.append(f"{odd} cells drift unlike the others and are left out: {shown}{more}")
    return told
