"""Exponential devices, fitted to the response of cells to set and reset pulses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import optimize

from mho.devices.exponential import LARGEST_NONLINEARITY, ExponentialDevice, curvature, nonlinearity
from mho.fit.calibration import OUR_STREAM, Array, Calibration, normal_coverage

_LEAST_PULSES = 8


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
        order = np.random.default_rng([seed, OUR_STREAM]).permutation(cycles)
        test, train = order[: cycles // 5], order[cycles // 5 :]
        trial = _fit_device((response[0][train], response[1][train]))
        errors = _step_errors(trial, (response[0][test], response[1][test]))
        calibration = normal_coverage(errors, trial.c2c * float(trial.g_max - trial.g_min))  # type: ignore[operator]
    return ExponentialFit(device, response, curves, residuals, calibration)


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
