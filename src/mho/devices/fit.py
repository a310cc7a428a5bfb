"""Fits: from measured data to a device, with how well it predicts data it has not seen.

Every fit returns a small result: what was fitted, its residuals, and its calibration: how often
measured values left out of the fit fall inside the intervals it predicts for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import optimize, special

from mho import checks
from mho.devices.calibration import LEVELS, Array, Calibration, normal_coverage, vector
from mho.devices.conduction import IVFit, iv
from mho.devices.exponential import LARGEST_NONLINEARITY, ExponentialDevice, curvature, nonlinearity
from mho.devices.kriging import profiles
from mho.devices.tabular import JumpTable

__all__ = [
    "Calibration",
    "ExponentialFit",
    "IVFit",
    "JumpTableFit",
    "RetentionFit",
    "exponential",
    "iv",
    "jump_table",
    "pairs",
    "retention",
]

_OUR_STREAM = 20220408
_LEAST_PAIRS, _LEAST_PULSES, _LEAST_TIMES = 40, 8, 5


@dataclass(frozen=True)
class JumpTableFit:
    """A jump table of one direction, fitted to pairs.

    Attributes:
        table: for `TabularDevice`.
        g: conductances of the pairs (S).
        dg: jumps of the pairs (S).
        mean: mean jump (S) at the table's rows.
        sigma: standard deviation (S) of the jump at the table's rows.
        residuals: of the pairs, in units of sigma there.
        calibration: of held-out pairs under a table fitted without them.
    """

    table: JumpTable
    g: Array
    dg: Array
    mean: Array
    sigma: Array
    residuals: Array
    calibration: Calibration


@dataclass(frozen=True)
class ExponentialFit:
    """An exponential device fitted to a pulse response.

    Attributes:
        device: the device.
        response: the measured set and reset curves (S), each ``[cycles, pulses + 1]``.
        curves: the fitted curves (S), set and reset, each ``[pulses + 1]``.
        residuals: measured mean over the cycles minus fitted (S), set and reset.
        calibration: of single steps of held-out cycles; None for fewer than 5 cycles.
    """

    device: ExponentialDevice
    response: tuple[Array, Array]
    curves: tuple[Array, Array]
    residuals: tuple[Array, Array]
    calibration: Calibration | None


@dataclass(frozen=True)
class RetentionFit:
    """A power law fitted to a retention record.

    Attributes:
        nu: drift exponent; positive where the conductance falls.
        nu_error: standard error of it.
        g0: conductance (S) at ``t0``.
        t0: first time of the record (s).
        noise: standard deviation of a reading, relative to the law.
        residuals: relative, of every reading.
    """

    nu: float
    nu_error: float
    g0: float
    t0: float
    noise: float
    residuals: Array


def pairs(response: npt.ArrayLike) -> tuple[Array, Array]:
    """Return all (G, ΔG) of consecutive conductances, for `jump_table`.

    Args:
        response: conductances (S) before and after pulses of one direction, ``[…, pulses + 1]``.
    """
    g = np.asarray(response, np.float64)
    return g[..., :-1].ravel(), np.diff(g, axis=-1).ravel()


def jump_table(
    g: npt.ArrayLike,
    dg: npt.ArrayLike,
    *,
    rows: int = 100,
    columns: int | None = None,
    shape: str = "normal",
    held_out: float = 0.2,
    seed: int = 0,
) -> JumpTableFit:
    """Fit the jump table of one direction to measured pairs.

    Mean and noise of the jump over G come from two Gaussian processes (Kriging), see
    `mho.devices.kriging.profiles`; the table's rows are the jumps' shape, so placed and scaled.

    Source: I. Hossen et al., Scientific Reports 2022, doi 10.1038/s41598-022-09556-4.

    Args:
        g: conductances before the pulse (S).
        dg: changes by the pulse (S), as many.
        rows: G rows of the table.
        columns: ΔG columns; if not given, enough to resolve the narrowest row (200…1000).
        shape: of the jumps about their mean: ``"normal"``, or ``"empirical"``: that of all
            standardised residuals.
        held_out: fraction of the pairs left out to test the calibration, 0.05…0.5.
        seed: of the choice of the pairs left out.

    Raises:
        ValueError: if there are fewer than 40 pairs or all at one conductance.
        ImportError: if scikit-learn is missing.
    """
    g, dg = vector("g", g), vector("dg", dg)
    if len(g) != len(dg):
        raise ValueError(f"g and dg must be as many, got {len(g)} and {len(dg)}")
    checks.integer("rows", rows, least=2)
    if columns is not None:
        checks.integer("columns", columns, least=10)
    checks.one_of("shape", shape, ("normal", "empirical"))
    checks.number("held_out", held_out, least=0.05, most=0.5)
    # Not default_rng(seed) itself: data made with that same seed would choose who is left out.
    kept = np.random.default_rng([seed, _OUR_STREAM]).random(len(g)) >= held_out
    if kept.sum() < _LEAST_PAIRS or kept.all():
        least = round(_LEAST_PAIRS / (1 - held_out)) + 10
        raise ValueError(f"too few pairs for a jump table: got {len(g)}, about {least} are needed")
    if g.min() < 0 or g.min() == g.max():
        raise ValueError(
            f"g must be >= 0 and not all alike, got {g.min():g} … {g.max():g}: a table needs "
            "jumps from more than one conductance"
        )
    axis = np.linspace(g.min(), g.max(), rows)
    trial, *_ = _fit_table(g[kept], dg[kept], axis, columns, shape)
    table, mean, sigma, residuals = _fit_table(g, dg, axis, columns, shape)
    calibration = _covered_by_table(trial, g[~kept], dg[~kept])
    return JumpTableFit(table, g, dg, mean, sigma, residuals, calibration)


def exponential(pulse_response: Any, *, seed: int = 0) -> ExponentialFit:
    """Fit an `ExponentialDevice` to a pulse response.

    Each half must span the whole window: set from its lowest to its highest conductance, reset
    back. The curves are fitted to the mean over all cycles, ``c2c`` to the single steps about
    them (it includes the noise of the measurement).

    Args:
        pulse_response: the conductances (S) after 0, 1, … set pulses and after 0, 1, … reset
            pulses, each ``[…, pulses + 1]``, where the leading axes are repetitions: a pair, or
            one array ``[2, …, pulses + 1]`` (as `PulsedCells.respond` gives).
        seed: of the choice of the cycles left out.

    Raises:
        ValueError: if a half has fewer than 8 pulses, or the conductance does not rise and fall.
    """
    if len(pulse_response) != 2:
        raise ValueError(f"pulse_response must have 2 halves, got {len(pulse_response)}")
    up, down = (np.asarray(half, np.float64) for half in pulse_response)
    response = (up.reshape(-1, up.shape[-1]), down.reshape(-1, down.shape[-1]))
    for name, half in zip(("set", "reset"), response, strict=True):
        if half.shape[1] < _LEAST_PULSES + 1:
            raise ValueError(
                f"too few pulses to fit: the {name} half has {half.shape[1] - 1}, "
                f"at least {_LEAST_PULSES} are needed"
            )
        if not np.isfinite(half).all():
            raise ValueError(f"pulse_response must be finite, the {name} half is not")
    if response[0][:, -1].mean() <= response[0][:, 0].mean():
        raise ValueError("the set half of pulse_response must rise from its first to its last")
    device = _fit_device(response)
    curves = (_curve(device, response[0].shape[1], 1), _curve(device, response[1].shape[1], -1))
    residuals = (response[0].mean(axis=0) - curves[0], response[1].mean(axis=0) - curves[1])
    calibration = None
    cycles = min(len(response[0]), len(response[1]))
    if cycles >= 5:
        order = np.random.default_rng([seed, _OUR_STREAM]).permutation(cycles)
        test, train = order[: cycles // 5], order[cycles // 5 :]
        trial = _fit_device((response[0][train], response[1][train]))
        errors = _step_errors(trial, (response[0][test], response[1][test]))
        calibration = normal_coverage(errors, trial.c2c * float(trial.g_max - trial.g_min))  # type: ignore[operator]
    return ExponentialFit(device, response, curves, residuals, calibration)


def retention(time: npt.ArrayLike, g: npt.ArrayLike) -> RetentionFit:
    """Fit ``G(t) = g0·(t/t0)^(−ν)`` to a retention record, with t0 its first time.

    Args:
        time: since programming (s), > 0, increasing.
        g: conductances (S), > 0, as many.

    Raises:
        ValueError: if there are fewer than 5 readings or a value is refused.
    """
    t, g = vector("time", time), vector("g", g)
    if len(t) != len(g):
        raise ValueError(f"time and g must be as many, got {len(t)} and {len(g)}")
    if len(t) < _LEAST_TIMES:
        raise ValueError(f"too few readings to fit: got {len(t)}, at least {_LEAST_TIMES} needed")
    if t[0] <= 0 or (np.diff(t) <= 0).any() or g.min() <= 0:
        raise ValueError("time must be > 0 and increase, and g must be > 0")
    x, y = np.log(t / t[0]), np.log(g)
    slope, level = np.polyfit(x, y, 1)
    residuals = y - level - slope * x
    noise = float(np.sqrt((residuals**2).sum() / (len(t) - 2)))
    error = noise / float(np.sqrt(((x - x.mean()) ** 2).sum()))
    return RetentionFit(-float(slope), error, float(np.exp(level)), float(t[0]), noise, residuals)


def _fit_table(
    g: Array, dg: Array, axis: Array, columns: int | None, shape: str
) -> tuple[JumpTable, Array, Array, Array]:
    # The table, mean and sigma on the axis, and the standardised residuals of the pairs.
    both = np.concatenate([axis, g])
    mean, sigma = profiles(g, dg, both)
    residuals = (dg - mean[len(axis) :]) / sigma[len(axis) :]
    mean, sigma = mean[: len(axis)], sigma[: len(axis)]
    if shape == "normal":
        cumulative, score = special.ndtr, np.linspace(-5.0, 5.0, 101)
    else:
        cumulative, score = _empirical(residuals)
    nodes = np.sort((mean[:, None] + sigma[:, None] * score).ravel())
    if columns is None:
        # Four columns a standard deviation, where all rows are as narrow as the narrowest.
        columns = int(np.clip(4 * (nodes[-1] - nodes[0]) / sigma.min(), 200, 1000))
    # Columns are denser where more rows have their jumps.
    dg_axis = np.unique(np.quantile(nodes, np.linspace(0.0, 1.0, columns)))
    cdf = cumulative((dg_axis - mean[:, None]) / sigma[:, None])
    table = JumpTable(_plain(axis), _plain(dg_axis), tuple(map(_plain, cdf)))
    return table, mean, sigma, residuals


def _empirical(residuals: Array) -> tuple[Callable[[Array], Array], Array]:
    known = np.sort(residuals)
    probability = (np.arange(len(known)) + 0.5) / len(known)
    # Half a datum lies beyond each end: as far out as the last gap.
    ends = np.array([2 * known[0] - known[1], 2 * known[-1] - known[-2]])
    score = np.concatenate([ends[:1], known, ends[1:]])
    heights = np.concatenate([[0.0], probability, [1.0]])
    return lambda z: np.interp(z, score, heights), np.quantile(score, np.linspace(0.0, 1.0, 101))


def _covered_by_table(table: JumpTable, g: Array, dg: Array) -> Calibration:
    tails = [(1 - level) / 2 for level in LEVELS]
    bounds = table.quantiles([*tails, *(1 - tail for tail in tails)])
    at = [np.interp(g, table.g, column) for column in bounds.T]
    inside = [float(((dg >= at[k]) & (dg <= at[k + len(tails)])).mean()) for k in range(len(tails))]
    return Calibration(LEVELS, tuple(inside), len(g))


def _fit_device(response: tuple[Array, Array]) -> ExponentialDevice:
    up, down = response[0].mean(axis=0), response[1].mean(axis=0)
    low, high = min(up.min(), down.min()), max(up.max(), down.max())
    steps = (np.linspace(0.0, 1.0, len(up)), np.linspace(1.0, 0.0, len(down)))
    steepest = float(curvature(torch.tensor(LARGEST_NONLINEARITY, dtype=torch.float64)))

    def misfit(p: Array) -> Array:
        model = [p[0] + (p[1] - p[0]) * _bent(x, k) for x, k in zip(steps, p[2:], strict=True)]
        return np.concatenate(model) - (np.concatenate([up, down]) - low) / (high - low)

    bounds = ([-1.0, 0.1, -steepest, -steepest], [0.9, 3.0, steepest, steepest])
    starts = [(0.0, 1.0, a, b) for a in (-2.0, 2.0) for b in (-2.0, 2.0)]
    fits = [optimize.least_squares(misfit, start, bounds=bounds) for start in starts]
    p = min(fits, key=lambda fit: fit.cost).x
    labels = nonlinearity(torch.tensor(p[2:], dtype=torch.float64)).tolist()
    device = ExponentialDevice(
        g_min=max(float(low + (high - low) * p[0]), 0.0),
        g_max=float(low + (high - low) * p[1]),
        nonlinearity_set=labels[0],
        nonlinearity_reset=labels[1],
        levels=len(up) - 1,
        levels_reset=len(down) - 1,
    )
    noise = float(np.sqrt((_step_errors(device, response) ** 2).mean()) / (high - low))
    return device.replace(c2c=noise)


def _bent(x: Array, k: float) -> Array:
    # The normalised exponential curve from (0, 0) to (1, 1).
    return x if abs(k) < 1e-9 else np.expm1(-k * x) / np.expm1(-k)


def _curve(device: ExponentialDevice, length: int, sign: int) -> Array:
    cell = device.constants()
    start = cell["g_min"] if sign > 0 else cell["g_max"]
    counts = sign * torch.arange(length, dtype=torch.float64)
    return device.burst(torch.full_like(counts, start), counts, cell).numpy()


def _step_errors(device: ExponentialDevice, response: tuple[Array, Array]) -> Array:
    # Of every single pulse: the conductance measured after it minus that predicted from before.
    errors = []
    for half, sign in zip(response, (1.0, -1.0), strict=True):
        before = torch.tensor(half[:, :-1])
        after = device.burst(before, torch.full_like(before, sign), device.constants())
        errors.append((half[:, 1:] - after.numpy()).ravel())
    return np.concatenate(errors)


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(values.tolist())
