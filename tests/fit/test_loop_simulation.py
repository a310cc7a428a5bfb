"""The simulation behind loop fits, against scipy's solvers on the same circuit."""

import types

import numpy as np
import pytest
import torch
from scipy import integrate, optimize

from mho.devices import VTEAM, DataDriven2018, Yakopcic
from mho.fit.access import Access, cell_voltage
from mho.fit.loop_simulation import simulate

TRANSISTOR = Access(r_positive=700.0, r_negative=1200.0, turn_on_negative=0.6, gain_negative=1e-3)
LIMITED = Access(r_positive=200.0, r_negative=200.0, compliance=2e-3)
ACCESSES = {"none": Access(), "transistor": TRANSISTOR, "limited": LIMITED}

DEVICES = {
    "vteam": VTEAM(r_on=400.0, r_off=2e4, v_on=-0.5, v_off=0.3, k_on=-5e-9, k_off=3e-9, alpha_on=2),
    "yakopcic": Yakopcic(
        a1=6e-4, a2=4e-4, b=1.5, v_p=0.4, v_n=0.5, amplitude_p=20, amplitude_n=20, eta=-1
    ),
    "data_driven": DataDriven2018(
        r_on=300.0, r_off=2e4, a_p=50.0, a_n=-1e4, r_p0=1.5e4, k_p=2e-4, k_n=3e-4, t_n=3.0,
        r_n0=4e3, r_n1=2e3,
    ),
}  # fmt: skip


def reference_cell_voltage(current, v, access):
    """The voltage that leaves the cell and its access the same current, by bisection."""
    if v == 0.0:
        return 0.0
    sign, size = np.sign(v), abs(v)
    r = access.r_positive if v > 0 else access.r_negative
    gain = access.gain_positive if v > 0 else access.gain_negative
    turn_on = access.turn_on_positive if v > 0 else access.turn_on_negative

    def more(y):
        i = abs(current(sign * y))
        u = size - y - r * i
        if gain:
            through = gain / 2 * (0.067 * np.logaddexp(0.0, (u - turn_on) / 0.067)) ** 2
            miss = np.sqrt(through) - np.sqrt(i)
        else:
            miss = u
        return miss if access.compliance is None else min(miss, access.compliance - i)

    if more(size) >= 0.0:
        return v
    return sign * optimize.brentq(more, 0.0, size, xtol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
@pytest.mark.parametrize("g", [1e-6, 1e-4, 1e-2])
def test_the_voltage_divider(access, g):
    v = torch.tensor([-2.4, -1.0, -0.4, -1e-3, 0.0, 1e-3, 0.3, 1.2], dtype=torch.float64)
    b = 2.5

    def current(u):
        return g * torch.sinh(b * u) / b

    found = cell_voltage(current, v, access, torch.zeros_like(v), iterations=40)
    expected = [
        reference_cell_voltage(lambda u: g * np.sinh(b * u) / b, float(one), access) for one in v
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-7)
    if access.compliance is not None:
        assert float(current(found).abs().max()) <= access.compliance * (1 + 1e-9)


def sweep(samples):
    out = np.linspace(0.0, 1.0, samples)
    up, down = np.concatenate([out, out[::-1]]), np.concatenate([out, out[::-1]])
    return np.concatenate([1.1 * up, -2.2 * down])


def scipys(device, access, v, dt, start):
    """States at the samples by Radau, the voltage linear in between."""
    p = device.parameters()
    times = dt * np.arange(len(v))

    def rate(t, x):
        state = float(np.clip(x[0], 0.0, 1.0))
        volts = float(np.interp(t, times, v))
        over = reference_cell_voltage(
            lambda u: device.current_at(state, float(u), p), volts, access
        )
        slope = device.rate(state, device.drive(float(over), p), p)
        held = (state <= 0.0 and slope < 0.0) or (state >= 1.0 and slope > 0.0)
        return [0.0 if held else slope]

    found = integrate.solve_ivp(
        rate,
        (0.0, times[-1]),
        [start],
        "Radau",
        t_eval=times,
        rtol=1e-6,
        atol=1e-8,
        max_step=4 * dt,
    )
    states = found.y[0].clip(0.0, 1.0)
    volts = [
        reference_cell_voltage(lambda u, x=x: device.current_at(float(x), float(u), p), one, access)
        for x, one in zip(states, v, strict=True)
    ]
    current = [device.current_at(float(x), float(u), p) for x, u in zip(states, volts, strict=True)]
    return states, np.array(current)


def ours(device, access, v, dt, start, iterations=4):
    volts = torch.from_numpy(v)[:, None]
    seconds = torch.full_like(volts, dt)
    begin = torch.full((1, 1), start, dtype=torch.float64)
    found = simulate(
        device, device.parameters(), access, begin, volts, seconds, iterations=iterations
    )
    assert found.hurried == 0
    return found.state[:, 0, 0].numpy(), found.current[:, 0, 0].numpy()


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("access", ["none", "transistor", "limited"])
def test_loops_are_those_of_scipy(name, access):
    device, start, v = DEVICES[name], 0.9, sweep(60)
    dt = 4.0 / 240
    states, current = scipys(device, ACCESSES[access], v, dt, start)
    x, i = ours(device, ACCESSES[access], v, dt, start)
    assert np.ptp(states) > 0.2  # it switches
    # 60 samples a branch, each with one voltage: of second order, and far below what a fit misses.
    scale = np.sqrt((current**2).mean())
    assert np.sqrt(((i - current) ** 2).mean()) < 0.012 * scale
    assert np.abs(x - states).mean() < 0.01


def test_the_error_falls_with_the_step():
    device, errors = DEVICES["yakopcic"], []
    fine = ours(device, TRANSISTOR, sweep(481), 1.0 / 480, 0.9)[0]
    for samples in (16, 31, 61):
        x = ours(device, TRANSISTOR, sweep(samples), 1.0 / (samples - 1), 0.9)[0]
        places = np.concatenate(
            [k * 481 + np.arange(samples) * (480 // (samples - 1)) for k in range(4)]
        )
        # Turns are repeated samples: one step of their own each.
        errors.append(np.abs(x - fine[places]).max())
    assert errors[2] < errors[0] / 3
    assert errors[2] < 0.03


def test_candidates_and_sweeps_do_not_mix():
    device = DEVICES["vteam"]
    v = torch.stack([torch.from_numpy(sweep(20)), 0.8 * torch.from_numpy(sweep(20))], dim=1)
    seconds = torch.full_like(v, 0.02)
    ons = torch.tensor([[-0.4], [-0.5], [-0.7]], dtype=torch.float64)
    p = types.SimpleNamespace(**{**vars(device.parameters()), "v_on": ons})
    start = torch.full((3, 2), 0.9, dtype=torch.float64)
    together = simulate(device, p, TRANSISTOR, start, v, seconds).current
    for b, on in enumerate(ons.flatten().tolist()):
        for c in range(2):
            one = device.replace(v_on=on)
            alone = simulate(
                one, one.parameters(), TRANSISTOR, start[:1, :1], v[:, c : c + 1], seconds[:, :1]
            )
            torch.testing.assert_close(
                together[:, b, c], alone.current[:, 0, 0], rtol=1e-6, atol=0.0
            )


def test_a_cell_waits_where_no_time_passes():
    device = DEVICES["vteam"]
    v = torch.tensor([[1.1], [1.1], [-2.2], [-2.2]], dtype=torch.float64)
    start = torch.full((1, 1), 0.6, dtype=torch.float64)
    found = simulate(device, device.parameters(), Access(), start, v, torch.zeros_like(v))
    assert found.state.flatten().tolist() == [0.6] * 4


def test_bad_access_is_refused():
    for name in ("r_positive", "gain_negative"):
        with pytest.raises(ValueError, match=f"{name} must be >= 0"):
            Access(**{name: -1.0})
    with pytest.raises(ValueError, match="compliance must be > 0"):
        Access(compliance=0.0)
