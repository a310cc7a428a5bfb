"""Hysteresis loops of every switching model against scipy's stiff solvers.

The reference equations are written here once more, from the papers, in terms of each paper's own
state variable (width, gap, resistance) rather than the package's ``x``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.pickett import Pickett
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.switching import SwitchingDevice
from mho.devices.team import TEAM
from mho.devices.vteam import VTEAM
from mho.devices.windows import Biolek, Joglekar, Kvatinsky, Prodromakis
from mho.devices.yakopcic import Yakopcic

Q, K = 1.602176634e-19, 1.380649e-23


@dataclass
class Loop:
    """One experiment: a device, a sine, and the paper's equations in its own variable y."""

    device: SwitchingDevice
    amplitude: float
    frequency: float
    samples: int
    start: float
    rate: Callable[[float, float], float]
    current: Callable[[float, float], float]
    low: float
    high: float
    method: str = "LSODA"


def loop_linear(window: str) -> Loop:
    r_on, r_off, d, mu = 100.0, 16e3, 10e-9, 1e-14
    windows: dict[str, tuple[Any, Callable[[float, float], float]]] = {
        "none": (None, lambda x, i: 1.0),
        "joglekar": (Joglekar(p=10), lambda x, i: 1 - (2 * x - 1) ** 20),
        "biolek": (Biolek(p=2), lambda x, i: 1 - (x - (1 if i < 0 else 0)) ** 4),
        "prodromakis": (
            Prodromakis(p=3, j=1.5),
            lambda x, i: 1.5 * (1 - ((x - 0.5) ** 2 + 0.75) ** 3),
        ),
    }
    spec, f = windows[window]
    device = LinearIonDrift(r_on=r_on, r_off=r_off, d=d, mobility=mu)
    if spec is not None:
        device = device.replace(window_function=spec)

    def current(x: float, v: float) -> float:
        return v / (r_on * x + r_off * (1 - x))

    def rate(x: float, v: float) -> float:
        i = current(x, v)
        return mu * r_on / d**2 * i * f(x, i)

    # Without a window 1.2 V would just run into the bound at the end of its half cycle.
    volts = 1.1 if window == "none" else 1.2
    return Loop(device, volts, 1.0, 4000, (16e3 - 11e3) / (16e3 - 100), rate, current, 0.0, 1.0)


def loop_vteam(exponential: bool) -> Loop:
    k_on, k_off, width = -2e-7, 3e-9, 3e-9
    kind = "exponential" if exponential else "linear"
    device = VTEAM(
        k_on=k_on, k_off=k_off, resistance=kind, window_function=Kvatinsky(0.5, 0.3, 0.05)
    )

    def resistance(w: float) -> float:
        z = w / width
        return 50 * (1000 / 50) ** z if exponential else 50 + 950 * z

    def rate(w: float, v: float) -> float:
        z = w / width
        if v > 0.02:
            return k_off * (v / 0.02 - 1) * math.exp(-math.exp((z - 0.5) / 0.05))
        if v < -0.2:
            return k_on * (v / -0.2 - 1) ** 3 * math.exp(-math.exp((0.3 - z) / 0.05))
        return 0.0

    return Loop(
        device, 0.6, 10.0, 8000, 0.4 * width, rate, lambda w, v: v / resistance(w), 0.0, width
    )


def loop_team() -> Loop:
    width = 3e-9

    def current(w: float, v: float) -> float:
        return v / (50 + 950 * w / width)

    # Equal thresholds, so that the two half cycles move the state alike.
    device = TEAM(i_on=-115e-6)

    def rate(w: float, v: float) -> float:
        i = current(w, v)
        return math.copysign(8e-13 * max(abs(i) / 115e-6 - 1, 0) ** 3, i)

    return Loop(device, 0.6, 0.2, 8000, 0.7 * width, rate, current, 0.0, width)


def simmons_current(w: float, v: float) -> float:
    """Solve v = u + 215 I(u) by bracketing; w in nm."""
    lam = Q * math.log(2) / (8 * math.pi * 5 * 8.8541878128e-12 * w * 1e-9)
    w1 = 1.2 * lam * w / 0.95

    def barrier(u: float) -> float:
        w2 = w1 + w * (1 - 9.2 * lam / (2.85 + 4 * lam - 2 * u))
        dw = w2 - w1
        phi = (
            0.95
            - u * (w1 + w2) / (2 * w)
            - 1.15 * lam * w / dw * math.log(w2 * (w - w1) / (w1 * (w - w2)))
        )
        b = 4 * math.pi * dw * 1e-9 * math.sqrt(2 * 9.1093837e-31 * Q) / 6.62607015e-34
        j0 = Q / (2 * math.pi * 6.62607015e-34) * Q * 1e-14 / (dw * 1e-9) ** 2
        return j0 * (
            phi * math.exp(-b * math.sqrt(phi)) - (phi + u) * math.exp(-b * math.sqrt(phi + u))
        )

    u = brentq(lambda u: u + 215 * barrier(u) - abs(v), 0, 0.9, xtol=1e-14) if v else 0.0
    return math.copysign(barrier(u), v)


def loop_pickett() -> Loop:
    def rate(w: float, v: float) -> float:
        i = simmons_current(w, v)
        size = abs(i)
        if i > 0:
            stop = math.exp((w - 1.2) / 0.107 - size / 500e-6)
            return 3.5e3 * math.sinh(size / 115e-6) * math.exp(-stop - w / 0.107)
        stop = math.exp((1.8 - w) / 0.107 - size / 500e-6)
        return -40e3 * math.sinh(size / 8.9e-6) * math.exp(-stop - w / 0.107)

    return Loop(Pickett(), 0.75, 0.02, 2000, 1.3, rate, simmons_current, 1.1, 1.9)


def loop_stanford() -> Loop:
    def current(gap: float, v: float) -> float:
        return 1e-3 * math.exp(-gap / 0.25) * math.sinh(v / 0.25)

    def rate(gap: float, v: float) -> float:
        kt = K * (298 + abs(v * current(gap, v)) * 2.1e3)
        # Without the threshold on the field (f_min = 0): a rate that jumps stops stiff solvers.
        gamma = max(16 - 0.8 * gap**3, 0)
        hop = math.sinh(gamma * 0.25e-9 * Q * v / (12e-9 * kt))
        return -10e9 * math.exp(-Q * 0.6 / kt) * hop

    return Loop(
        StanfordPKU(delta_gap=0.0, f_min=0.0),
        0.9,
        1e4,
        4000,
        1.0,
        rate,
        current,
        0.2,
        1.7,
        "Radau",
    )


def loop_2018() -> Loop:
    def rate(r: float, v: float) -> float:
        if v > 0 and r < 16719:
            s = 743.47 * (math.exp(6.51 * v) - 1)
            return s * (math.exp(5.11e-4 * (16719 - r)) - 1)
        r_n = 29304.82557 + 23692.77225 * v
        if v < 0 and r > r_n:
            s = -68012.28374 * (math.exp(0.31645 * -v) - 1)
            return s * (math.exp(1.17e-3 * (r - r_n)) - 1)
        return 0.0

    return Loop(
        DataDriven2018(),
        0.9,
        100.0,
        10000,
        8000.0,
        rate,
        lambda r, v: 0.24 / r * math.sinh(3 * v),
        1280.0,
        17e3,
    )


def loop_2021() -> Loop:
    def rate(r: float, v: float) -> float:
        r_p, r_n = 2699.2336 - 672.930205 * v, 649.413746 - 1474.32358 * v
        if v > 0 and r > r_p:
            return 600.10075 * (math.exp(v / -0.0212028) - 1) * (r_p - r) ** 2
        if v < 0 and r < r_n:
            return -34.5988399 * (math.exp(-v / -0.05343997) - 1) * (r - r_n) ** 2
        return 0.0

    return Loop(
        DataDriven2021(),
        1.5,
        2e3,
        10000,
        2300.0,
        rate,
        lambda r, v: 0.32046 / r * math.sinh(2.7169 * v),
        1600.0,
        3000.0,
    )


def loop_yakopcic() -> Loop:
    def rate(x: float, v: float) -> float:
        if v > 0.16:
            f = math.exp(-(x - 0.3)) * ((0.3 - x) / 0.7 + 1) if x >= 0.3 else 1.0
            return 4000 * (math.exp(v) - math.exp(0.16)) * f
        if v < -0.15:
            f = math.exp(5 * (x + 0.5 - 1)) * x / 0.5 if x <= 0.5 else 1.0
            return -4000 * (math.exp(-v) - math.exp(0.15)) * f
        return 0.0

    return Loop(
        Yakopcic(),
        0.45,
        100.0,
        10000,
        0.11,
        rate,
        lambda x, v: 0.17 * x * math.sinh(0.05 * v),
        0.0,
        1.0,
    )


LOOPS = {
    "linear": lambda: loop_linear("none"),
    "linear-joglekar": lambda: loop_linear("joglekar"),
    "linear-biolek": lambda: loop_linear("biolek"),
    "linear-prodromakis": lambda: loop_linear("prodromakis"),
    "vteam-linear": lambda: loop_vteam(False),
    "vteam-exponential": lambda: loop_vteam(True),
    "team": loop_team,
    "pickett": loop_pickett,
    "stanford": loop_stanford,
    "2018": loop_2018,
    "2021": loop_2021,
    "yakopcic": loop_yakopcic,
}


def reference(loop: Loop, dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, voltages and currents of the paper's equations."""
    time = np.arange(loop.samples + 1) * dt
    scale = loop.high - loop.low
    sine = 2 * math.pi * loop.frequency

    def slope(t: float, y: np.ndarray) -> list[float]:
        state = min(max(float(y[0]) * scale, loop.low), loop.high)
        dy = loop.rate(state, loop.amplitude * math.sin(sine * t)) / scale
        leaving = (y[0] * scale >= loop.high and dy > 0) or (y[0] * scale <= loop.low and dy < 0)
        return [0.0 if leaving else dy]

    solved = solve_ivp(
        slope,
        (0.0, time[-1]),
        [loop.start / scale],
        method=loop.method,
        t_eval=time,
        rtol=1e-9,
        atol=1e-11,
        max_step=time[-1] / 200,
    )
    assert solved.success
    volts = loop.amplitude * np.sin(sine * time)
    states = np.clip(solved.y[0] * scale, loop.low, loop.high)
    currents = np.array([loop.current(s, v) for s, v in zip(states, volts, strict=True)])
    return time, volts, currents


@pytest.mark.parametrize("name", LOOPS)
def test_hysteresis_loop_agrees_with_scipy(name: str) -> None:
    loop = LOOPS[name]()
    dt = 1.0 / loop.frequency / loop.samples
    _, volts, expected = reference(loop, dt)
    cells = loop.device.fabricate((), dtype=torch.float64)
    start_current = loop.current(loop.start, 1e-6) / 1e-6
    cells.write(start_current)
    found = cells.simulate(torch.from_numpy(volts), dt=dt).numpy()
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-3 * scale
    # A loop that does not open would prove nothing.
    up, down = expected[: loop.samples // 4], expected[loop.samples // 4 : loop.samples // 2]
    assert np.abs(up - down[::-1]).max() > 0.02 * scale


@pytest.mark.parametrize("name", LOOPS)
def test_loop_is_pinched(name: str) -> None:
    device = LOOPS[name]().device
    cells = device.fabricate((5,), dtype=torch.float64)
    g_min, g_max = device.window
    cells.write(torch.linspace(g_min, g_max, 5, dtype=torch.float64))
    assert torch.equal(cells.current(0.0), torch.zeros(5, dtype=torch.float64))
