"""One device from fits of its parts."""

from __future__ import annotations

from typing import Any

from mho.cells.spread import check_window, nominal
from mho.core import checks, notice
from mho.devices.statistical import GenericStatistical
from mho.fit.drift import RetentionFit
from mho.fit.programming_error import ProgrammingFit

_WRITTEN = ("write_sigma", "write_bias")
_DRIFTING = ("nu", "nu_std", "read_sigma")
_OF_DRIFT = ("t0", "t_read", "drift_scale", "read_scale")


def statistical(
    *,
    programming: ProgrammingFit | GenericStatistical | None = None,
    retention: RetentionFit | GenericStatistical | None = None,
    **changes: Any,
) -> GenericStatistical:
    """Return one device from a fit of programming and a fit of retention.

    The window is that of programming, where it is given; ``g_min`` and ``g_max`` among the changes
    make it another. Polynomials, which are in ``g / g_max`` of their own fit, are written in that
    of the device: at every conductance of the window they are what was fitted.

    Args:
        programming: gives the window, ``write_sigma`` and ``write_bias``.
        retention: gives ``nu``, ``nu_std``, ``t0``, ``read_sigma`` and ``t_read``.
        changes: fields of the device that are to be others; polynomials among them are in
            ``g / g_max`` of the device.

    Raises:
        TypeError, ValueError: if neither is given, one is of another kind, or the device refuses
            what was fitted: where the window is far wider than that of a fit, a polynomial may be
            negative, or too steep, where nothing was measured. Fit with its ``g_max`` then.
    """
    parts = {"programming": programming, "retention": retention}
    kinds = {"programming": ProgrammingFit, "retention": RetentionFit}
    devices: dict[str, GenericStatistical] = {}
    for name, part in parts.items():
        if part is not None:
            checks.instance(name, part, (kinds[name], GenericStatistical))
            devices[name] = part if isinstance(part, GenericStatistical) else part.device
    if not devices:
        raise ValueError("statistical needs a fit: give programming, retention, or both")
    base = devices.get("programming", devices.get("retention"))
    assert base is not None
    high = _highest(base, changes)
    found = _written_in(base, (*_WRITTEN, *_DRIFTING), high)
    if "retention" in devices:
        drifting = devices["retention"]
        found |= _written_in(drifting, _DRIFTING, high)
        found |= {name: getattr(drifting, name) for name in _OF_DRIFT}
    for name, device in devices.items():
        _tell_beyond(name, device, _WRITTEN if name == "programming" else _DRIFTING, high)
    try:
        return base.replace(**{**found, **changes})
    except ValueError as error:
        raise ValueError(f"{error}; {_fitted_to(devices, high)}") from None


def _highest(base: GenericStatistical, changes: dict[str, Any]) -> float:
    g_max = changes.get("g_max", base.g_max)
    check_window(changes.get("g_min", base.g_min), g_max)
    return nominal(g_max)


def _written_in(device: GenericStatistical, names: tuple[str, ...], high: float) -> dict[str, Any]:
    """Return polynomials in ``g / g_max`` of a device as polynomials in ``g / high``."""
    part = high / device.window[1]
    return {name: tuple(c * part**k for k, c in enumerate(getattr(device, name))) for name in names}


def _tell_beyond(
    name: str, device: GenericStatistical, names: tuple[str, ...], high: float
) -> None:
    bent = [n for n in names if len(getattr(device, n)) > 1]
    if bent and high > 1.001 * device.window[1]:
        notice.warn(
            f"{', '.join(bent)} of {name} go up to {device.window[1]:.4g} S: to {high:.4g} S they "
            "go on as polynomials, where nothing was measured"
        )


def _fitted_to(devices: dict[str, GenericStatistical], high: float) -> str:
    ends = " and ".join(f"{name} up to {d.window[1]:.4g} S" for name, d in devices.items())
    others = [name for name, device in devices.items() if device.window[1] != high]
    again = ", ".join(f"fit.{name}(…, g_max={high:.4g})" for name in others)
    return f"fitted were {ends}, the window ends at {high:.4g} S" + (f": {again}" if again else "")
