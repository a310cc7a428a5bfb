"""Series elements, compliance currents and cells back to back, against scipy and ngspice."""

from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from mho.circuit import Selector
from mho.devices import (
    VTEAM,
    Kvatinsky,
    LinearIonDrift,
    Pickett,
    Resistor,
    StanfordPKU,
    Transistor,
    Yakopcic,
    series,
    simulate_antiserial,
)
from mho.devices.windows import Joglekar

F64 = torch.float64
STILL = StanfordPKU(delta_gap=0.0, f_min=0.0)
FORMED = VTEAM(
    r_on=1e3, r_off=1e5, v_on=-1.0, v_off=0.5, k_on=-1e-4, k_off=1e-4, window_function=Kvatinsky()
)
NMOS = Transistor(1.1, v_threshold=0.4, k=4e-4)


def triangle(peak, samples, down=None):
    n = samples // 4
    down = -peak if down is None else down
    return np.r_[np.linspace(0, peak, n), np.linspace(peak, down, 2 * n), np.linspace(down, 0, n)]


def passes(element, v, gate=None):
    """The current of a series element at a voltage, from its own formula."""
    if isinstance(element, Resistor):
        return v / element.ohms
    if isinstance(element, Transistor):
        over = max((element.v_gate if gate is None else gate) - element.v_threshold, 0.0)
        size = min(abs(v), over)
        return math.copysign(element.k * (over * size - size * size / 2), v)
    if element is None:
        return math.copysign(math.inf, v)
    return float(element.current(torch.tensor(v, dtype=F64)))


def divided(device, p, element, limits, x, v, gate=None):
    """The voltage over the cell, by brentq."""
    if v == 0.0:
        return 0.0
    limit = limits[0 if v > 0.0 else 1]
    low, high = sorted((0.0, v))

    def miss(u):
        rest = passes(element, v - u, gate) if element is not None or v != u else 0.0
        rest = math.copysign(min(abs(rest), limit), v)
        return device.current_at(x, u, p) - rest

    if element is None and abs(device.current_at(x, v, p)) <= limit:
        return v
    return brentq(miss, low, high, xtol=1e-15, rtol=1e-13)


def by_radau(device, element, limits, volts, dt, x0, gate=None):
    p, held = device.parameters(), np.r_[volts, volts[-1]]
    grid = np.arange(len(held)) * dt
    gates = None if gate is None else np.r_[gate, gate[-1]]

    def share(t, x):
        g = None if gates is None else float(np.interp(t, grid, gates))
        return divided(device, p, element, limits, x, float(np.interp(t, grid, held)), g)

    def slope(t, y):
        x = min(max(float(y[0]), 0.0), 1.0)
        rate = device.rate(x, device.drive(share(t, x), p), p)
        return [0.0 if (x >= 1.0 and rate > 0.0) or (x <= 0.0 and rate < 0.0) else rate]

    solved = solve_ivp(slope, (0, grid[-1]), [x0], "Radau", grid, rtol=1e-7, atol=1e-9, max_step=dt)
    assert solved.success
    x = np.clip(solved.y[0], 0.0, 1.0)
    u = [share(t, float(s)) for t, s in zip(grid[:-1], x[:-1], strict=True)]
    current = [device.current_at(float(s), w, p) for s, w in zip(x[:-1], u, strict=True)]
    return np.array(current), x


INF = (math.inf, math.inf)
CASES = {
    "transistor": (STILL, NMOS, None, INF, 1.5),
    "resistor": (STILL, Resistor(2e3), None, INF, 1.5),
    "selector": (STILL, Selector(v_on=0.6, i_on=1e-4), None, INF, 1.8),
    "compliance": (STILL, None, 1e-4, (1e-4, 1e-4), 1.4),
    "two limits": (STILL, None, (2e-4, 3e-3), (2e-4, 3e-3), 1.4),
    "both": (STILL, NMOS, 3e-5, (3e-5, 3e-5), 1.5),
    "vteam": (FORMED, NMOS, None, INF, 1.8),
    "vteam, limits": (FORMED, None, (1e-4, 1e-3), (1e-3, 1e-4), 1.8),
    "yakopcic": (Yakopcic(), Resistor(20.0), None, INF, 0.45),
    "not separable": (Pickett(), Resistor(1e3), None, INF, 0.75),
}


@pytest.mark.parametrize(
    ("name", "cells"), [(name, 1) for name in CASES] + [("transistor", 20), ("two limits", 20)]
)
def test_loops_in_series_agree_with_radau(name, cells):
    device, element, compliance, limits, peak = CASES[name]
    volts, dt, x0 = triangle(peak, 200), 4e-5, 0.2
    expected, x = by_radau(device, element, limits, volts, dt, x0)
    population = device.fabricate((cells,), dtype=F64)
    population.x = torch.full((cells,), x0, dtype=F64)
    current = population.simulate(
        torch.from_numpy(volts), dt=dt, series=element, compliance=compliance
    )
    assert float(population.x[-1]) == pytest.approx(x[-1], abs=1e-3)
    error = np.abs(current[:, -1].numpy() - expected).max()
    assert error < 1e-3 * np.abs(expected).max()


def test_a_gate_waveform_acts():
    volts, dt = triangle(1.5, 120, -1.7), 4e-5
    gate = np.linspace(0.6, 1.6, 120)
    expected, x = by_radau(STILL, NMOS, INF, volts, dt, 0.2, gate)
    for shape in ((1,), (3,)):
        cells = STILL.fabricate(shape, dtype=F64)
        cells.x = torch.full(shape, 0.2, dtype=F64)
        waveform = torch.from_numpy(gate)
        if shape == (3,):
            waveform = waveform[:, None] * torch.ones(3, dtype=F64)
        current = cells.simulate(torch.from_numpy(volts), dt=dt, series=NMOS, gate=waveform)
        assert float(cells.x[-1]) == pytest.approx(x[-1], abs=1e-3)
        assert np.abs(current[:, -1].numpy() - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_set_halts_where_the_limit_leaves_too_little_voltage():
    # R_LRS ≈ V_c / I_cc: ten times the current, a tenth of the resistance, one voltage.
    halted = []
    for limit in (1e-5, 1e-4, 1e-3):
        cells = STILL.fabricate((), dtype=F64)
        current = cells.simulate(
            torch.from_numpy(triangle(1.5, 400, 0.0)), dt=2e-5, compliance=limit
        )
        assert float(current.max()) == pytest.approx(limit, rel=1e-9)
        halted.append(limit / float(cells.conductance()))
    assert max(halted) / min(halted) < 1.5
    assert 0.2 < halted[1] < 1.0
    # As does the saturation current of a transistor: ½ k V_ov².
    cells = STILL.fabricate((), dtype=F64)
    cells.simulate(torch.from_numpy(triangle(1.5, 400, 0.0)), dt=2e-5, series=NMOS)
    saturated = 0.5 * 4e-4 * 0.7**2
    assert saturated / float(cells.conductance()) == pytest.approx(halted[1], rel=0.2)


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_pulses_are_constant_waveforms(noise):
    device = STILL.replace(delta_gap=noise)
    ends = []
    for pulsed in (True, False):
        cells = device.fabricate((4,), seed=0, dtype=F64)
        if pulsed:
            cells.apply_pulse(1.0, 1e-4, series=NMOS, compliance=4e-5)
        else:
            volts = torch.full((20,), 1.0, dtype=F64)
            cells.simulate(volts, dt=5e-6, series=NMOS, compliance=4e-5)
        ends.append(cells.x)
    assert 0.1 < float(ends[0][0]) < 0.9
    torch.testing.assert_close(*ends, rtol=0, atol=2e-4)


def test_a_noisy_cell_is_limited_too():
    cells = StanfordPKU().fabricate((30,), seed=1, dtype=F64)
    current = cells.simulate(torch.from_numpy(triangle(1.5, 100)), dt=4e-6, compliance=1e-4)
    assert float(current.abs().max()) <= 1e-4 * (1 + 1e-9)
    assert float(cells.x.std()) > 1e-3


def test_selectors_are_those_of_circuits():
    selector = Selector(v_on=0.4, i_on=2e-5, decade=0.06)
    v = torch.linspace(1e-9, 3.0, 50, dtype=F64)
    torch.testing.assert_close(series.current(selector, v), selector.current(v), rtol=1e-9, atol=0)
    assert series.current(selector, 0.7) == pytest.approx(
        float(selector.current(torch.tensor(0.7, dtype=F64))), rel=1e-9
    )


def test_a_closed_transistor_passes_nothing():
    cells = STILL.fabricate((2,), dtype=F64)
    before = cells.x.clone()
    volts = torch.from_numpy(triangle(1.5, 40))
    current = cells.simulate(volts, dt=1e-4, series=Transistor(0.2, v_threshold=0.4))
    assert float(current.abs().max()) < 1e-15
    torch.testing.assert_close(cells.x, before, rtol=0, atol=1e-12)


def test_what_does_not_fit_is_refused():
    cells = STILL.fabricate((2,))
    volts = torch.ones(4)
    for bad, message in (
        ({"compliance": 0.0}, "compliance must be > 0"),
        ({"compliance": (1e-3, -1.0)}, r"compliance\[1\] must be > 0"),
        ({"compliance": (1e-3, 1e-3, 1e-3)}, "one current or"),
        ({"series": Resistor(1e3), "method": "heun"}, "method must be 'auto'"),
        ({"gate": torch.ones(4)}, "gate needs series=Transistor"),
        ({"gate": torch.ones(4), "series": Resistor(1.0)}, "gate needs series=Transistor"),
        ({"gate": torch.ones(3), "series": NMOS}, "as many samples as voltage, 4, got 3"),
        ({"gate": torch.full((4,), math.nan), "series": NMOS}, "gate must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            cells.simulate(volts, dt=1e-6, **bad)
    with pytest.raises(TypeError, match="series must be"):
        cells.simulate(volts, dt=1e-6, series=1e3)
    with pytest.raises(TypeError, match="series must be"):
        cells.apply_pulse(1.0, 1e-4, series="transistor")
    for bad in (lambda: Resistor(0.0), lambda: Transistor(1.0, k=-1.0)):
        with pytest.raises(ValueError, match="must be > 0"):
            bad()


# ── ngspice ──────────────────────────────────────────────────────────────────────────────────

DECK = """* linear ion drift, Joglekar's window, in series with {name}
.param k=1e4 ron=100 roff=16k
Vin in 0 pwl(0 0 0.5 {peak} 1 0)
Bmem in d I={{V(in,d)/(ron*V(x) + roff*(1 - V(x)))}}
Bx 0 x I={{k*V(in,d)/(ron*V(x) + roff*(1 - V(x)))*(1 - ((2*V(x) - 1)*(2*V(x) - 1))^10)}}
Cx x 0 1 ic={x0}
Rx x 0 1e12
{element}
.options reltol=1e-6 abstol=1e-15 vntol=1e-9
.control
tran 0.2m 1 0 0.1m uic
set wr_singlescale
wrdata {out} v(in) i(vin) v(x)
.endc
.end
"""
ELEMENTS = {
    "a resistor": (Resistor(2e3), "Rs d 0 2k"),
    "a transistor": (
        Transistor(0.9, v_threshold=0.4, k=1.2e-3),
        "Vg g 0 0.9\nM1 d g 0 0 nm W=1u L=1u\n.model nm nmos level=1 vto=0.4 kp=1.2m",
    ),
}


@pytest.mark.skipif(
    shutil.which("ngspice") is None,
    reason="ngspice is not installed (Debian: apt-get install ngspice): no SPICE reference",
)
@pytest.mark.parametrize("name", ELEMENTS)
def test_series_elements_agree_with_ngspice(name, tmp_path):
    element, lines = ELEMENTS[name]
    x0, peak = 0.3, 1.6
    out, deck = tmp_path / "loop.data", tmp_path / "loop.cir"
    deck.write_text(DECK.format(name=name, peak=peak, x0=x0, element=lines, out=out))
    run = subprocess.run(
        ["ngspice", "-b", str(deck)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert out.exists(), run.stdout + run.stderr
    time, _, current, state = np.loadtxt(out).T
    grid = np.arange(1000) * 1e-3
    volts = peak * (1 - np.abs(grid - 0.5) / 0.5)
    cells = LinearIonDrift(window_function=Joglekar(p=10)).fabricate((), dtype=F64)
    cells.x = torch.tensor(x0, dtype=F64)
    found = cells.simulate(torch.from_numpy(volts), dt=1e-3, series=element).numpy()
    expected = np.interp(grid, time, -current)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert float(cells.x) == pytest.approx(state[-1], abs=1e-3)
    assert state[-1] > x0 + 0.05


# ── back to back ─────────────────────────────────────────────────────────────────────────────


def pair_by_radau(device, volts, dt, x0):
    p, held = device.parameters(), np.r_[volts, volts[-1]]
    grid = np.arange(len(held)) * dt

    def share(x, y, v):
        if v == 0.0:
            return 0.0
        low, high = sorted((0.0, v))
        miss = lambda u: device.current_at(x, u, p) + device.current_at(y, u - v, p)  # noqa: E731
        return brentq(miss, low, high, xtol=1e-15, rtol=1e-13)

    def slope(t, z):
        x, y = (min(max(float(s), 0.0), 1.0) for s in z)
        v = float(np.interp(t, grid, held))
        u = share(x, y, v)
        rates = (
            device.rate(x, device.drive(u, p), p),
            device.rate(y, device.drive(u - v, p), p),
        )
        return [
            0.0 if (s >= 1.0 and r > 0.0) or (s <= 0.0 and r < 0.0) else r
            for s, r in zip((x, y), rates, strict=True)
        ]

    solved = solve_ivp(slope, (0, grid[-1]), x0, "Radau", grid, rtol=1e-7, atol=1e-9, max_step=dt)
    assert solved.success
    states = np.clip(solved.y, 0.0, 1.0)
    current = [
        device.current_at(float(x), share(float(x), float(y), float(v)), p)
        for x, y, v in zip(*states[:, :-1], volts, strict=True)
    ]
    return np.array(current), states[:, -1]


SWITCH = VTEAM(
    r_on=1e3,
    r_off=1e5,
    v_on=-1.0,
    v_off=0.5,
    k_on=-1e-4,
    k_off=1e-4,
    alpha_off=3.0,
)


@pytest.mark.parametrize("pairs", [1, 17])
def test_a_pair_agrees_with_radau(pairs):
    cycles = 2 if pairs == 1 else 1
    volts, dt = np.tile(triangle(3.0, 200), cycles), 1.5e-6
    expected, ends = pair_by_radau(SWITCH, volts, dt, [0.0, 1.0])
    upper, lower = (SWITCH.fabricate((pairs,), dtype=F64) for _ in range(2))
    lower.x = torch.ones(pairs, dtype=F64)
    current = simulate_antiserial(upper, lower, torch.from_numpy(volts), dt=dt)
    assert np.abs(current[:, -1].numpy() - expected).max() < 1e-3 * np.abs(expected).max()
    assert float(upper.x[-1]) == pytest.approx(ends[0], abs=1e-3)
    assert float(lower.x[-1]) == pytest.approx(ends[1], abs=1e-3)


def test_a_complementary_switch_has_four_thresholds():
    volts = np.tile(triangle(4.0, 400), 2)
    device = SWITCH.replace(k_on=-10.0, k_off=10.0, v_off=1.0)
    upper, lower = (device.fabricate((), dtype=F64) for _ in range(2))
    lower.x = torch.ones((), dtype=F64)
    current = simulate_antiserial(upper, lower, torch.from_numpy(volts), dt=1e-6)
    size = np.abs(current[400:].numpy())
    resistance = np.abs(volts[400:]) / np.maximum(size, 1e-12)
    low = resistance < 1e4  # both cells are on
    for sign in (1, -1):
        branch = (np.sign(volts[400:]) == sign) & (np.r_[np.diff(np.abs(volts[400:])), -1] > 0)
        on = np.flatnonzero(low & branch)
        # Off at low voltages, on between two thresholds, off beyond the second.
        first, last = np.abs(volts[400:])[on[[0, -1]]]
        assert 0.9 < first < 1.3
        assert 1.9 < last < 2.6
        assert np.abs(volts[400:])[branch].max() > 3.9
    # Either state hides one on-cell behind an off-cell: small voltages see little current.
    assert resistance[(np.abs(volts[400:]) < 0.5) & (volts[400:] != 0.0)].min() > 5e4


def test_pairs_are_checked():
    device = SWITCH
    cells, other = device.fabricate((2,)), device.fabricate((3,))
    with pytest.raises(ValueError, match="one shape"):
        simulate_antiserial(cells, other, torch.ones(3), dt=1e-6)
    with pytest.raises(ValueError, match="the same twice"):
        simulate_antiserial(cells, cells, torch.ones(3), dt=1e-6)
    noisy = StanfordPKU().fabricate((2,))
    with pytest.raises(ValueError, match="lower must have no random term"):
        simulate_antiserial(cells, noisy, torch.ones(3), dt=1e-6)
    with pytest.raises(ValueError, match="voltage must have shape"):
        simulate_antiserial(cells, device.fabricate((2,)), torch.ones(3, 5), dt=1e-6)
    twin = device.fabricate((2,))
    assert simulate_antiserial(cells, twin, torch.zeros(5), dt=1e-6, every=2).shape == (3, 2)
    assert simulate_antiserial(cells, twin, torch.zeros(5), dt=1e-6, every=None).shape == (0, 2)


def test_nothing_in_series_with_no_cells_is_nothing():
    cells = STILL.fabricate((0, 3))
    assert cells.simulate(torch.ones(5), dt=1e-6, series=NMOS, every=2).shape == (3, 0, 3)
    cells.apply_pulse(1.0, 1e-6, compliance=1e-4)
    assert simulate_antiserial(cells, STILL.fabricate((0, 3)), torch.ones(5), dt=1e-6).shape == (
        5,
        0,
        3,
    )
