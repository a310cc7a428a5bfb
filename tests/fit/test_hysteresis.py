"""Loops are told from curves of one state."""

import numpy as np
import pytest
import torch

from mho import fit
from mho.devices import VTEAM, Yakopcic
from mho.fit.branches import switching_voltages
from mho.fit.sweeps import excursions, sweeps


def triangle(samples):
    u = np.linspace(0.0, 1.0, samples)
    return np.concatenate([u, u[::-1], -u, -u[::-1]])


def noisy(v, kind, size, rng):
    current = 1e-6 * np.sinh(3.0 * v)
    draw = rng.standard_normal(len(v))
    if kind == "white":
        return current + size * np.abs(current).max() * draw
    if kind == "proportional":
        return current * (1.0 + size * draw)
    for k in range(1, len(v)):  # neighbours correlate by 0.6
        draw[k] = 0.6 * draw[k - 1] + 0.8 * draw[k]
    return current + size * np.abs(current).max() * draw


@pytest.mark.parametrize("kind", ["white", "proportional", "correlated"])
@pytest.mark.parametrize("samples", [15, 100])
@pytest.mark.parametrize("size", [0.0, 0.01, 0.3])
def test_noise_makes_no_loop(kind, samples, size):
    rng = np.random.default_rng(samples)
    v = triangle(samples)
    alarms = sum(fit.hysteresis(v, noisy(v, kind, size, rng)).is_loop for _ in range(100))
    # Stated: one in ten thousand; noise that hangs together is allowed for, not known.
    assert alarms <= (2 if kind == "correlated" else 0)


@pytest.mark.parametrize("kind", [3, 5, 9, 0.7, 0.9])
@pytest.mark.parametrize("proportional", [False, True])
def test_noise_that_hangs_together_makes_no_loop(kind, proportional):
    rng = np.random.default_rng(7)
    v = triangle(60)
    current = 1e-5 * np.sinh(2.0 * v)
    size = 0.1 * (current if proportional else np.abs(current).max())
    alarms = 0
    for _ in range(60):
        draw = rng.standard_normal(len(v) + 100)
        # Averages over so many samples, or an autoregression.
        taps = (
            np.ones(kind) / kind**0.5 if kind > 1 else (1 - kind**2) ** 0.5 * kind ** np.arange(80)
        )
        noise = np.convolve(draw, taps, "valid")[: len(v)]
        alarms += fit.hysteresis(v, current + size * noise).is_loop
    assert alarms <= 1


def loop_of(device, samples, amplitude, period):
    turn = torch.from_numpy(triangle(samples)) * amplitude
    cells = device.fabricate((), dtype=torch.float64)
    cells.x = torch.tensor(0.5, dtype=torch.float64)
    current = cells.simulate(turn, dt=period / len(turn), adaptive=True)
    return turn.numpy(), current.numpy()


SLOW = VTEAM(r_on=1e3, r_off=1e4, v_on=-0.5, v_off=0.4, k_on=-2e-8, k_off=1e-8)


@pytest.mark.parametrize(("samples", "noise"), [(8, 0.0), (15, 0.02), (30, 0.05), (100, 0.05)])
def test_loops_are_found_with_their_polarity(samples, noise):
    v, i = loop_of(SLOW, samples, 1.0, 1.0)
    rng = np.random.default_rng(1)
    found = [
        fit.hysteresis(v, i + noise * np.abs(i).max() * rng.standard_normal(len(i)))
        for _ in range(20)
    ]
    assert all(f.is_loop for f in found)
    assert {f.polarity for f in found} == {-1}
    clean = fit.hysteresis(v, i)
    assert clean.width == pytest.approx(np.median([f.width for f in found]), rel=0.1)
    turned = fit.hysteresis(-v, -i)
    assert turned.polarity == 1
    assert turned.set_voltages == pytest.approx(-clean.set_voltages)


def test_width_of_a_made_loop():
    # Branches ±10 % about the mean, outside of any noise: they differ by 20 % of the current.
    v = triangle(200)
    way = np.concatenate(
        [np.full(200, 0.9), np.full(200, 1.1), np.full(200, 1.1), np.full(200, 0.9)]
    )
    found = fit.hysteresis(v, 1e-5 * v * way)
    assert found.width == pytest.approx(0.2, rel=0.02)
    assert (found.is_loop, found.polarity) == (True, 1)
    narrow = fit.hysteresis(v, 1e-5 * v * (1.0 + (way - 1.0) / 10.0))
    assert not narrow.is_loop
    assert narrow.width == pytest.approx(0.02, rel=0.05)
    assert "2.0% of the current" in narrow.verdict


def test_switching_voltages_of_a_made_loop():
    # An abrupt set at -0.7 V and reset at 0.5 V.
    v = triangle(400)
    low = np.ones(len(v), bool)
    low[:400] = v[:400] < 0.5
    low[400:800] = False
    low[800:1200] = v[800:1200] < -0.7
    found = fit.hysteresis(v, np.where(low, 1e-4, 1e-6) * v)
    assert found.polarity == -1
    assert found.set_voltages[0] == pytest.approx(-0.7, abs=1 / 399)
    assert found.reset_voltages[0] == pytest.approx(0.5, abs=1 / 399)
    assert "sets at" in found.verdict


@pytest.mark.parametrize("samples", [15, 60, 200])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_abrupt_cells_switch_where_they_jump(samples, noise):
    v = triangle(samples)
    on = np.concatenate([v[:samples] >= 0.6, np.ones(samples, bool), v[2 * samples :] > -0.5])
    on[3 * samples :] = False
    current = np.where(on, 1e-4, 1e-6) * v
    current += noise * 1e-4 * np.random.default_rng(0).standard_normal(len(v))
    data = sweeps(v, current)
    (on_at,), (off_at,) = switching_voltages(data, 1)
    spacing = 1 / (samples - 1)
    assert on_at == pytest.approx(0.6, abs=spacing)
    assert off_at == pytest.approx(-0.5, abs=spacing)


def test_gradual_cells_switch_where_their_ways_begin_to_close():
    # The distance of the ways rises to 0.5 V and falls linearly to 0 at 1 V: 80 % at 0.6 V.
    v = triangle(201)
    gap = np.minimum(np.abs(v), 1.0 - np.abs(v)) * np.repeat([0.0, 1.0, 0.0, 1.0], 201)
    found, _ = switching_voltages(sweeps(v, 1e-5 * (v + gap)), 1)
    assert found[0] == pytest.approx(0.6, abs=0.005)


def test_one_way_shows_nothing():
    v = np.linspace(-1.0, 1.0, 50)
    found = fit.hysteresis(v, 1e-6 * v)
    assert not found.is_loop
    assert np.isnan(found.width)
    assert "on the way back" in found.verdict


def test_unipolar_switching_is_said():
    v = triangle(100)
    i = 1e-5 * np.abs(v) * np.concatenate([np.full(100, 1.0), np.full(100, 3.0)] * 2) * np.sign(v)
    found = fit.hysteresis(v, i)
    assert (found.is_loop, found.polarity) == (True, 0)
    with pytest.raises(ValueError, match="set under one polarity"):
        fit.loop(v, i)


def test_a_model_of_another_kind():
    cell = Yakopcic(eta=1)
    v, i = loop_of(cell, 100, 0.5, 0.05)
    found = fit.hysteresis(v, i)
    assert found.is_loop
    assert found.polarity == cell.set_polarity


@pytest.mark.parametrize("form", ["one after the other", "labels", "arrays", "rows"])
def test_cycles_in_any_form(form):
    v, i = loop_of(SLOW, 60, 1.0, 1.0)
    three = np.tile(v, 3), np.tile(i, 3)
    found = {
        "one after the other": lambda: fit.hysteresis(*three),
        "labels": lambda: fit.hysteresis(*three, cycle=np.repeat(["a", "b", "c"], len(v))),
        "arrays": lambda: fit.hysteresis([v, v, v], [i, i, i]),
        "rows": lambda: fit.hysteresis(np.stack([v] * 3), torch.from_numpy(np.stack([i] * 3))),
    }[form]()
    assert found.set_voltages == pytest.approx(np.repeat(fit.hysteresis(v, i).set_voltages, 3))


def test_sweeps_that_begin_at_an_end():
    v, i = loop_of(SLOW, 80, 1.0, 1.0)
    turned = np.roll(v, 80), np.roll(i, 80)  # from the top down, and back up
    found, usual = fit.hysteresis(*turned, cycle=np.zeros(len(v))), fit.hysteresis(v, i)
    assert found.polarity == usual.polarity
    assert found.set_voltages == pytest.approx(usual.set_voltages)


def test_times_rates_and_turns():
    v = triangle(10)
    data = sweeps(v, v, rate=2.0)
    assert data.seconds[:-1].max() == pytest.approx(1 / 9 / 2)
    assert data.seconds[9, 0] > 0.0  # a sample repeated at a turn took its time
    assert not data.timed
    timed = sweeps(v, v, time=np.arange(40) * 1e-3)
    assert timed.seconds[:-1].ravel() == pytest.approx(1e-3)
    thin = timed.only([0], 3)
    assert thin.seconds.sum() == pytest.approx(timed.seconds.sum())
    assert [part.sign for part in excursions(v)] == [1, -1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"current": np.zeros(39)}, "current and voltage must be as many, got 39 and 40"),
        ({"time": np.zeros(40)}, "time must increase"),
        ({"time": np.arange(40), "rate": 1.0}, "rate must not be given with time"),
        ({"rate": 0.0}, "rate must be > 0"),
        ({"cycle": np.zeros(3)}, "cycle and voltage must be as many"),
        ({"cycle": [0, 1] * 20}, "must not come back"),
        ({"voltage": np.full(40, 0.3)}, "voltage must be swept"),
        ({"current": np.full(40, np.nan)}, "current must be finite"),
        ({"voltage": triangle(10)[:4], "current": np.zeros(4)}, "at least 8 samples"),
    ],
)
def test_bad_sweeps_are_refused(given, message):
    v = triangle(10)
    with pytest.raises(ValueError, match=message):
        sweeps(**{"voltage": v, "current": v, **given})
