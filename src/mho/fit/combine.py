"""One device from fits of its parts."""

from __future__ import annotations

from typing import Any

from mho.core import checks
from mho.devices.statistical import GenericStatistical
from mho.fit.drift import RetentionFit
from mho.fit.programming_error import ProgrammingFit


def statistical(
    *,
    programming: ProgrammingFit | GenericStatistical | None = None,
    retention: RetentionFit | GenericStatistical | None = None,
    **changes: Any,
) -> GenericStatistical:
    """Return one device from a fit of programming and a fit of retention.

    The window is that of programming, where it is given. Polynomials of the drift, which are in
    ``g / g_max`` of their own fit, are written in that of the device: at every conductance they
    are what was fitted.

    Args:
        programming: gives the window, ``write_sigma`` and ``write_bias``.
        retention: gives ``nu``, ``nu_std``, ``t0``, ``read_sigma`` and ``t_read``.
        changes: fields of the device that are to be others.

    Raises:
        TypeError, ValueError: if neither is given, one is of another kind, or the device refuses
            what was fitted: where the window of programming is far wider than that of retention,
            a polynomial may be negative, or too steep, where nothing was measured. Fit retention
            with the ``g_max`` of programming then.
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
    if len(devices) == 1:
        return next(iter(devices.values())).replace(**changes)
    written, drifting = devices["programming"], devices["retention"]
    part_of = written.window[1] / drifting.window[1]
    found: dict[str, Any] = {"t0": drifting.t0, "t_read": drifting.t_read}
    for name in ("nu", "nu_std", "read_sigma"):
        found[name] = tuple(c * part_of**k for k, c in enumerate(getattr(drifting, name)))
    for name in ("drift_scale", "read_scale"):
        found[name] = getattr(drifting, name)
    try:
        return written.replace(**{**found, **changes})
    except ValueError as error:
        raise ValueError(
            f"{error}; the drift was fitted up to {drifting.window[1]:.4g} S, the window of "
            f"programming ends at {written.window[1]:.4g} S: fit.retention(…, "
            f"g_max={written.window[1]:.4g})"
        ) from None
