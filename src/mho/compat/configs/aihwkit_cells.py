"""AIHWKit's noise models and conductance converters, as devices and encodings.

Its noise models go by the share of the largest conductance, ``g / g_max``, and their σ in µS refer
to a conductance at which they were fitted. Weights therefore come out alike whatever ``g_max`` is;
what is in siemens here stands at the fitted one, at which a device here is measured.

Source: the models' papers are those of `mho.devices`; M. Le Gallo et al., "Using the IBM analog
in-memory hardware acceleration kit for neural network training and inference", APL Machine
Learning 2023, doi 10.1063/5.0168089.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mho.cells.device import Device
from mho.compat.configs.translation import Account
from mho.core import checks
from mho.devices.linear import LinearDevice
from mho.devices.pcm import PCM, PCMHermes
from mho.devices.reram import ReRAMCMO, ReRAMWan
from mho.devices.statistical import MICRO, GenericStatistical
from mho.encoding.base import Encoding, Scaling
from mho.encoding.differential import Differential
from mho.encoding.single_column import SingleColumn
from mho.encoding.weighted_pairs import WeightedPairs

_M = "noise_model."
_JOSHI = (0.26348, 1.9650, -1.1731)
_HERMES = {
    1: (0.15781817, 2.32443916, -2.16310839, 0.68841818),
    2: (0.16603222, 4.71806468, -8.48101252, 4.68961419),
}
_WAN = {
    1.0: [0.348, 16.03, -43.853, 45.393, -16.815],
    86400.0: [0.701, 22.086, -50.773, 47.095, -16.458],
    172800.0: [0.782, 20.274, -43.507, 37.062, -11.934],
}
_CMO = {0.2: [0.00081107, 0.00106879], 2: [0.0112185391, 0.01129027418]}
_CMO_DECAY = {"mean": [-0.08900206], "std": [0.04201137, 0.41183342]}
_READS_DIFFER = "drawn at every read; there once, when drift is applied"
_MOST_POINTS = 4


def cells(account: Account, scaling: Scaling) -> tuple[Device, Encoding]:
    """Return the device and the encoding, and account for the noise model's settings.

    Args:
        account: of all settings.
        scaling: of the weights.
    """
    kind = account.value("noise_model", "PCMLikeNoiseModel")
    make = _DEVICES.get(str(kind))
    encoding = _encoding(account, scaling)
    if make is None:
        account.miss("noise_model", f"of the noise models {', '.join(_DEVICES)} are known")
        account.miss(
            [name for name in account.settings if name.startswith(_M)], "of an unknown noise model"
        )
        return LinearDevice(g_min=0.0, g_max=25e-6), encoding
    account.idle(
        [_M + name for name in ("g_max", "g_min", "g_converter.scale_ratio")],
        "follows from g_converter",
    )
    device = make(account)
    account.match("noise_model", f"Hardware(device={type(device).__name__}(…))")
    return device, encoding


def _encoding(account: Account, scaling: Scaling) -> Encoding:
    name = _M + "g_converter"
    kind = account.value(name, "SinglePairConductanceConverter")
    if kind == "SinglePairConductanceConverter":
        account.match(name, "Differential()")
        return Differential(scaling=scaling)
    if kind == "SingleDeviceConductanceConverter":
        note = "the weight 0 stands against an offset column of cells"
        account.match(name, "SingleColumn()", note)
        return SingleColumn(scaling=scaling)
    if kind in ("DualPairConductanceConverter", "NPairConductanceConverter"):
        factors = account.value(f"{name}.f_lst")
        if factors is None:
            raise ValueError(
                f"{kind} does not print its f_lst, so the text of the configuration lacks it: give "
                "the configuration itself, or write f_lst=[…] into the text"
            )
        note = "every pair carries its share; there the pairs of small significance come first"
        ours = f"WeightedPairs(significances={tuple(factors)}, add='analog')"
        account.match([name, f"{name}.f_lst"], ours, note)
        return WeightedPairs(scaling=scaling, significances=tuple(factors), add="analog")
    account.miss(name, "weights here lie on pairs in proportion: Differential() in its place")
    account.miss([f"{name}.f_lst", f"{name}.g_lst"], "of the converter above")
    return Differential(scaling=scaling)


def _window(account: Account, fitted: float) -> tuple[float, float]:
    """Return the window (S) at the fitted largest conductance (S), and account for it."""
    name = _M + "g_converter."
    high = account.number(name + "g_max", account.number(_M + "g_max", fitted / MICRO))
    low = account.number(name + "g_min", account.number(_M + "g_min", 0.0))
    checks.number(f"{account.tool}: {name}g_max", high, above=0.0)
    same = math.isclose(high * MICRO, fitted, rel_tol=1e-6)
    note = "" if same else f"models go by g/g_max: {high:g} µS there are {fitted / MICRO:g} µS here"
    least = fitted * low / high
    account.match(name + "g_max", f"g_max={fitted:g}", note)
    account.match(name + "g_min", f"g_min={least:g}")
    return least, fitted


def _scales(account: Account) -> dict[str, float]:
    """Return the factors on a device's errors."""
    names = ("prog_noise_scale", "drift_scale", "read_noise_scale")
    ours = ("write_scale", "drift_scale", "read_scale")
    found = {}
    for theirs, here in zip(names, ours, strict=True):
        found[here] = account.number(_M + theirs, 1.0)
        note = _READS_DIFFER if here == "read_scale" else ""
        account.match(_M + theirs, f"{here}={found[here]:g}", note)
    return found


def _programming(account: Account, known: Sequence[float], reference: float) -> float:
    """Return the factor on a device's programming error that comes nearest to a polynomial."""
    given = account.numbers(_M + "prog_coeff", known)
    over = account.number(_M + "prog_coeff_g_max_reference", reference)
    checks.number(f"{account.tool}: {_M}prog_coeff_g_max_reference", over, above=0.0)
    x = np.linspace(0.0, 1.0, 1001)
    theirs = np.polyval(given[::-1], x) / over
    ours = np.polyval(list(known)[::-1], x) / reference
    factor = float((theirs * ours).sum() / (ours * ours).sum())
    largest = float(np.abs(theirs).max())
    off = float(np.abs(theirs - factor * ours).max()) / largest if largest else 0.0
    note = "" if off < 1e-6 else f"σ of another form: off by up to {off:.0%} of its largest"
    names = [_M + "prog_coeff", _M + "prog_coeff_g_max_reference"]
    account.match(names, f"write_scale × {factor:.4g}", note)
    return 1.0 if math.isclose(factor, 1.0, rel_tol=1e-9) else factor


def _clock(account: Account, t0: float) -> None:
    ours = f"t0={t0:g}: a time of inference T there is mho.age(model, T + {t0:g})"
    account.match(_M + "t_0", ours)


def _pcm(account: Account) -> Device:
    low, high = _window(account, 25e-6)
    scales = _scales(account)
    scales["write_scale"] *= _programming(account, _JOSHI, 25.0)
    t0, t_read = account.number(_M + "t_0", 20.0), account.number(_M + "t_read", 250e-9)
    _clock(account, t0)
    account.match(_M + "t_read", f"t_read={t_read:g}")
    return PCM(g_min=low, g_max=high, t0=t0, t_read=t_read, **scales)


def _hermes(account: Account) -> Device:
    note = "ν goes by the conductance that was programmed; there by the target"
    account.match(
        _M + "drift_scale", f"drift_scale={account.number(_M + 'drift_scale', 1.0):g}", note
    )
    devices = account.whole(_M + "num_devices", 2)
    checks.one_of(f"{account.tool}: {_M}num_devices", devices, tuple(_HERMES))
    fitted = 20.7 if devices == 2 else 10.35
    low, high = _window(account, fitted * MICRO)
    scales = _scales(account)
    scales["write_scale"] *= _programming(account, _HERMES[devices], fitted)
    note = "" if devices == 2 else "ν spread and read noise are √2 times two devices'"
    account.match(_M + "num_devices", f"PCMHermes(devices={devices})", note)
    t_read = account.number(_M + "t_read", 512e-9)
    account.match(_M + "t_read", f"t_read={t_read:g}")
    device = PCMHermes(devices=devices, g_min=low, g_max=high, t_read=t_read, **scales)
    if account.number(_M + "t_0", device.t0) != device.t0:
        account.match(_M + "t_0", f"t0={device.t0:g}", "the measured one, not to be changed here")
    _clock(account, device.t0)
    return device


def _wan(account: Account) -> Device:
    low, high = _window(account, 40e-6)
    over = account.number(_M + "coeff_g_max_reference", account.number(_M + "g_max", 25.0))
    scale = account.number(_M + "noise_scale", 1.0) * 40.0 / over
    names = [_M + name for name in ("noise_scale", "coeff_g_max_reference")]
    account.match(names, f"write_scale=drift_scale={scale:g}")
    account.idle(_M + "prog_coeff_g_max_reference", "not used by this model there")
    if _same(account.value(_M + "coeff_dic"), _WAN):
        account.match(_M + "coeff_dic", "ReRAMWan, interpolated between these times")
    else:
        account.miss(
            _M + "coeff_dic", "polynomials of one's own: see GenericStatistical, Relaxation"
        )
    return ReRAMWan(g_min=low, g_max=high, write_scale=scale, drift_scale=scale)


def _cmo(account: Account) -> Device:
    name = _M + "g_converter."
    high = account.number(name + "g_max", account.number(_M + "g_max", 88.199997))
    low = account.number(name + "g_min", account.number(_M + "g_min", 9.0))
    account.match(name + "g_max", f"g_max={high * MICRO:g}")
    account.match(name + "g_min", f"g_min={low * MICRO:g}")
    account.idle(_M + "coeff_g_max_reference", "σ is in µS of g itself")
    percent = account.number(_M + "acceptance_range", 0.2)
    checks.one_of(f"{account.tool}: {_M}acceptance_range", percent, tuple(_CMO))
    acceptance = percent / 100.0
    account.match(_M + "acceptance_range", f"acceptance={acceptance:g}")
    reading = account.value(_M + "read_dict", {"K": 0.0277316483, "t_read": 1e-6})
    t_read = float(reading.get("t_read", 1e-6))
    known: dict[str, Mapping[Any, Any]] = {"coeff_dict": _CMO, "decay_dict": _CMO_DECAY}
    for field, published in known.items():
        if _same(account.value(_M + field), published):
            account.match(_M + field, "ReRAMCMO, as published")
        else:
            account.miss(
                _M + field, "coefficients of one's own: see GenericStatistical, Relaxation"
            )
    scales = _scales(account)
    strength = float(reading.get("K", 0.0277316483)) / 0.0277316483
    scales["read_scale"] *= 1.0 if math.isclose(strength, 1.0, rel_tol=1e-9) else strength
    account.match(_M + "read_dict", f"t_read={t_read:g}, read_scale × {strength:g}")
    return ReRAMCMO(
        acceptance=acceptance, g_min=low * MICRO, g_max=high * MICRO, t_read=t_read, **scales
    )


def _state_independent(account: Account) -> Device:
    high = account.number(_M + "g_converter.g_max", account.number(_M + "g_max", 25.0)) * MICRO
    low, high = _window(account, high)
    scales = _scales(account)
    sigma = tuple(c * MICRO for c in account.numbers(_M + "prog_coeff", (0.2,)))
    nu = account.number(_M + "drift_nu_mean", 0.1)
    spread = account.number(_M + "drift_nu_std", 0.05)
    t0, t_read = account.number(_M + "t_0", 20.0), account.number(_M + "t_read", 250e-9)
    account.match(_M + "prog_coeff", f"write_sigma={sigma}")
    account.match(_M + "drift_nu_mean", f"nu={nu:g}", "ν may be negative; there |ν| is taken")
    account.match(_M + "drift_nu_std", f"nu_std={spread:g}")
    account.match(_M + "t_read", f"read_sigma=(0, 1e-6), t_read={t_read:g}")
    _clock(account, t0)
    return GenericStatistical(
        g_min=low, g_max=high, write_sigma=sigma, nu=nu, nu_std=spread, t0=t0,
        read_sigma=(0.0, MICRO), t_read=t_read, **scales,
    )  # fmt: skip


def _custom_drift(account: Account) -> Device:
    why = "read noise goes as g^0.35 there; GenericStatistical has polynomials: read_sigma=…"
    account.miss([_M + "t_read", _M + "read_noise_scale"], why)
    low, high = _window(account, 25e-6)
    scales = _scales(account)
    given = account.numbers(_M + "prog_coeff", _JOSHI)
    over = account.number(_M + "prog_coeff_g_max_reference", 25.0)
    checks.number(f"{account.tool}: {_M}prog_coeff_g_max_reference", over, above=0.0)
    sigma = tuple(c * 25.0 / over * MICRO for c in given)
    account.match([_M + "prog_coeff", _M + "prog_coeff_g_max_reference"], f"write_sigma={sigma}")
    t0 = account.number(_M + "t_0", 20.0)
    _clock(account, t0)
    plain: dict[str, Any] = {"g_min": low, "g_max": high, "write_sigma": sigma, "t0": t0, **scales}
    model = _drift_points(account)
    largest = account.number(_M + "g_converter.g_max", account.number(_M + "g_max", 25.0))
    x = np.asarray(model["g_lst"], dtype=float) / largest
    if len(x) <= _MOST_POINTS:
        laws: dict[str, Any] = {
            ours: tuple(float(c) for c in np.polyfit(x, model[theirs], len(x) - 1)[::-1])
            for ours, theirs in (("nu", "nu_mean_lst"), ("nu_std", "nu_std_lst"))
        }
        try:
            device = GenericStatistical(**plain, **laws)
        except ValueError as error:
            account.miss(_M + "custom_drift_model", f"refused here: {error}")
            return GenericStatistical(**plain)
        note = "" if len(x) == 2 else "a polynomial through the points; there straight between them"
        account.match(_M + "custom_drift_model", f"nu={laws['nu']}, nu_std={laws['nu_std']}", note)
        return device
    account.miss(
        _M + "custom_drift_model", f"of more than {_MOST_POINTS} points: fit nu=…, nu_std=…"
    )
    return GenericStatistical(**plain)


def _drift_points(account: Account) -> Mapping[str, Any]:
    """Return the points of a drift model of one's own.

    Raises:
        TypeError: if there are none.
    """
    name, columns = _M + "custom_drift_model", ("g_lst", "nu_mean_lst", "nu_std_lst")
    given = account.value(name)
    held: list[Any] = [given.get(c) for c in columns] if isinstance(given, Mapping) else []
    listed = bool(held) and all(isinstance(one, (list, tuple)) for one in held)
    if not listed or len({len(one) for one in held}) > 1:
        raise TypeError(
            f"{account.tool}: {name} must have {', '.join(columns)}, as many of each, got {given!r}"
        )
    return given


def _same(given: Any, known: Mapping[Any, Any]) -> bool:
    """Whether coefficients are the known ones; those that are not given are."""
    if not isinstance(given, Mapping):
        return given is None
    lists = {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in given.items()}
    return lists == known


_DEVICES: dict[str, Callable[[Account], Device]] = {
    "PCMLikeNoiseModel": _pcm,
    "CustomDriftPCMLikeNoiseModel": _custom_drift,
    "HermesNoiseModel": _hermes,
    "ReRamWan2022NoiseModel": _wan,
    "ReRamCMONoiseModel": _cmo,
    "StateIndependentNoiseModel": _state_independent,
}


def share_of_noise(encoding: Encoding) -> float:
    """Return σ of each cell, in windows, that is σ = 1 of a weight, in largest weights.

    A weight is ``Σ c G``; of independent cells its variance is ``σ² Σ c²``.

    Args:
        encoding: of the weights.
    """
    c = encoding.combination
    largest = sum(value for value in c if value > 0)
    if isinstance(encoding, SingleColumn):
        largest = 0.5
    return largest / math.sqrt(sum(value * value for value in c))


def whole_weight(encoding: Encoding, window: tuple[float, float]) -> float:
    """Return the conductance (S) that the largest weight is, as its converter sees it.

    Args:
        encoding: of the weights, in one converter.
        window: of a cell (S).
    """
    low, high = window
    if isinstance(encoding, SingleColumn):
        return 0.5 * (high - low)
    return sum(value for value in encoding.combination if value > 0) * (high - low)


def told(value: Any) -> str:
    """Return a value in short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
