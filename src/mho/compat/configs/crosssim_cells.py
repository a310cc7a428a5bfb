"""CrossSim's devices: windows, programming errors, read noise."""

from __future__ import annotations

import math

from mho.cells.device import Device
from mho.compat.configs.translation import Account
from mho.devices.linear import LinearDevice
from mho.devices.statistical import MICRO, GenericStatistical
from mho.effects.base import Effect
from mho.effects.programming import WriteNoise
from mho.effects.reading import ReadNoise

_D = "xbar.device."
_JOSHI = (0.28638599, 0.07585724, -0.00178767)  # µS, 1, 1/µS: of the conductance in µS
_UNIFORM = 1.0 / math.sqrt(12.0)  # σ of a uniform error one wide


def states_beside_offset(bits: int) -> int:
    """Return how many states cells have whose offset column is to rest in the middle of the window.

    An offset column is of cells here, which hold states, too. Of an even number none is in the
    middle, and all weights would be off by half a step.

    Args:
        bits: of a cell in the source, which knows an exact offset.
    """
    return max(2**bits - 1, 2)


def device_of(account: Account) -> tuple[Device, tuple[Effect, ...]]:
    """Return the device, and what else it needs."""
    g_max = 1.0 / account.number(_D + "Rmin", 1000)
    infinite = bool(account.value(_D + "infinite_on_off_ratio", False))
    g_min = 0.0 if infinite else 1.0 / account.number(_D + "Rmax", 10000)
    account.match(_D + "Rmin", f"g_max={g_max:.4g}")
    if infinite:
        account.idle(_D + "Rmax", "infinite_on_off_ratio")
    account.match(_D + "Rmax", f"g_min={g_min:.4g}")
    account.match(_D + "infinite_on_off_ratio", f"g_min={g_min:.4g}")
    cut = bool(account.value(_D + "clip_conductance", False))
    account.match(
        _D + "clip_conductance",
        "conductances are never negative",
        "there they are cut to the window" if cut else "there they may be",
    )
    _drift(account)
    kind = _D + "programming_error."
    acting = account.value(kind + "enable", False) and not _drifts(account)
    if acting and account.value(kind + "model") == "PCMJoshi":
        peak = g_max / MICRO
        sigma = tuple(c * peak**k * MICRO for k, c in enumerate(_JOSHI))
        names = [kind + "enable", kind + "model"]
        account.match(names, "GenericStatistical(write_sigma=…), their fit to Joshi 2020, fig. 3b")
        account.idle(kind + "magnitude", "of the generic models alone")
        return GenericStatistical(g_min=g_min, g_max=g_max, write_sigma=sigma), ()
    return LinearDevice(g_min=g_min, g_max=g_max), ()


def errors_of(account: Account, device: Device) -> tuple[Effect, ...]:
    """Return programming error and read noise of the generic models."""
    low, high = device.window
    found: list[Effect] = []
    sigma, relative_to = _generic(account, "programming_error", high / (high - low))
    if sigma:
        found.append(WriteNoise(sigma, relative_to=relative_to))
    sigma, relative_to = _generic(account, "read_noise", high / (high - low))
    if sigma:
        found.append(ReadNoise(sigma, relative_to=relative_to))
        if account.value(_D + "read_noise.lumped"):
            account.match(_D + "read_noise.lumped", "drawn at the bit lines, exactly")
    account.idle(_D + "read_noise.lumped", "at a value of no effect, or how noise is drawn")
    return tuple(found)


def _generic(account: Account, kind: str, windows: float) -> tuple[float, str]:
    """Return σ, and what it is relative to; 0 where there is none of a known kind.

    Args:
        account: of all settings.
        kind: of error.
        windows: the largest conductance, in windows: errors there are in units of the former.
    """
    start = f"{_D}{kind}."
    names = [start + name for name in ("enable", "model", "magnitude")]
    model, size = str(account.value(start + "model")), account.number(start + "magnitude")
    if not account.value(start + "enable", False) or model == "IdealDevice":
        account.idle(names, "not enabled, or of the ideal device")
        return 0.0, "range"
    if kind == "programming_error" and _drifts(account):
        account.idle(names, "with time > 0 the drift model stands in its place")
        return 0.0, "range"
    uniform = model.startswith("Uniform")
    sigma = size * (_UNIFORM if uniform else 1.0)
    note = "uniform there; Gaussian of the same deviation here" if uniform else ""
    if model in ("NormalIndependentDevice", "UniformIndependentDevice"):
        sigma, of = sigma * windows, "range"
    elif model in ("NormalProportionalDevice", "UniformProportionalDevice"):
        of = "value"
    else:
        account.miss(names, "of no generic model here; see mho.devices.GenericStatistical")
        return 0.0, "range"
    name = "WriteNoise" if kind == "programming_error" else "ReadNoise"
    account.match(names, f"{name}({sigma:.4g}, relative_to={of!r})", note)
    return sigma, of


def _drifts(account: Account) -> bool:
    drift = _D + "drift_error."
    known = account.value(drift + "enable", False)
    return bool(known) and account.number(_D + "time") > 0


def _drift(account: Account) -> None:
    names = [f"{_D}drift_error.{name}" for name in ("enable", "model", "magnitude")]
    if _drifts(account) and account.value(names[1]) != "IdealDevice":
        why = "choose a device that drifts, or effects.PowerLawDrift, and let mho.age pass the time"
        account.miss([*names, _D + "time"], why)
    if account.number(_D + "time") > 0 and account.value(_D + "programming_error.enable"):
        why = "no drift is enabled: the programming error stays, which time > 0 takes away there"
        account.miss(_D + "time", why)
    account.idle(names, "not enabled, of the ideal device, or at the time 0")
    account.idle(_D + "time", "no drift is enabled: let mho.age pass the time")
