"""JART VCM v1b against its published equations, solved anew by bracketing and by scipy."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq
from torch.distributions import Normal

from mho.devices import JARTVCM, Spread, presets, waveforms
from mho.programming import WriteVerify
from mho.testing import DeviceContract, expect
from tolerance import near

F64 = torch.float64
E, K, H, M, EPS0 = 1.602176634e-19, 1.380649e-23, 6.62607015e-34, 9.1093837e-31, 8.8541878128e-12
AREA = math.pi * 45e-9**2
SPAN = math.log(20 / 0.008)
DEVICE = JARTVCM()
P = DEVICE.parameters()


# ---- the equations once more, in the paper's units (N in 1e26/m³) --------------------------------


def ohms(n: float) -> tuple[float, float]:
    disc = 0.4e-9 / (2 * E * n * 1e26 * 4e-6 * AREA)
    return disc, 2.6e-9 / (2 * E * 20e26 * 4e-6 * AREA)


def barrier_current(n: float, vs: float, t: float) -> float:
    psi = 0.18 - 0.1 - vs
    phi = 0.18
    if psi > 0:
        phi -= (E**3 * 2 * n * 1e26 * psi / (8 * math.pi**2 * (5.5 * EPS0) ** 3)) ** 0.25
    phi = max(0.0, phi)
    if vs >= 0:
        return (
            AREA
            * 6.01e5
            * t
            * t
            * math.exp(-E * phi / K / t)
            * math.expm1(min(E * vs / K / t, 700))
        )
    w00 = E * H / (4 * math.pi) * math.sqrt(2 * n * 1e26 / (M * 17 * EPS0))
    x = w00 / K / t
    field = math.sqrt(math.pi * w00 * E * (-vs + phi / math.cosh(x) ** 2))
    steep = math.expm1(min(-E * vs * (x - math.tanh(x)) / w00, 700))
    return -AREA * 6.01e5 * t / K * field * math.exp(-E * phi * math.tanh(x) / w00) * steep


def line_current(n: float, v: float) -> float:
    """Solve the cubic of the self-heated lines by Newton's method, from its right."""
    r, cube = sum(ohms(n)) + 650 + 719.2437, 719.2437**2 * 3.92e-3 * 90471.47
    i = v / r
    for _ in range(60):
        i -= (r * i + cube * i**3 - v) / (r + 3 * cube * i * i)
    return i


def inside(n: float, v: float, vs: float) -> tuple[float, float]:
    i = line_current(n, v - vs)
    part = 0.27 if v > 0 else 1.0
    return i, 293 + i * (vs + i * sum(ohms(n))) * 15.72e6 * part


@cache
def solved(n: float, v: float) -> tuple[float, float, float]:
    """Return current, temperature and barrier voltage: the root nearest to 0 V."""

    def gap(vs: float) -> float:
        i, t = inside(n, v, vs)
        return (i - barrier_current(n, vs, t)) * math.copysign(1, v)

    parts = np.concatenate([np.geomspace(1e-8, 0.01, 60), np.linspace(0.0101, 0.9999999, 200)])
    values = [gap(v * part) for part in parts]
    first = next(k for k, value in enumerate(values) if value < 0)
    vs = brentq(gap, v * parts[first - 1], v * parts[first], xtol=1e-17, rtol=1e-15)
    return *inside(n, v, vs), vs


def drift(n: float, v: float) -> float:
    """Return dN/dt (1e26/(m³ s))."""
    i, t, vs = solved(n, v)
    disc, plug = ohms(n)
    field = (vs + i * (disc + plug)) / 3e-9 if v > 0 else i * disc / 0.4e-9
    gamma = 2 * 0.25e-9 * field / (math.pi * 1.35)
    even = math.sqrt(1 - gamma**2) + gamma * math.asin(gamma)
    hops = [math.exp(-1.35 * E / K / t * (even + s * gamma * math.pi / 2)) for s in (-1, 1)]
    room = 1 - (0.008 / n) ** 10 if v > 0 else 1 - (n / 20) ** 10
    return -(20 + n) / 2 * 0.25e-9 * 2e13 / 0.4e-9 * room * (hops[0] - hops[1])


def state(n: float) -> float:
    return math.log(n / 0.008) / SPAN


DENSITIES = (0.0081, 0.03, 0.2, 0.5, 2.0, 7.0, 19.0)
VOLTS = (-1.5, -0.5, -0.2, -0.01, 1e-4, 0.05, 0.2, 0.5, 1.0, 1.8)


@pytest.mark.parametrize(
    ("n", "v", "microamperes"), [(2.0, 0.2, 108.8), (0.5, -0.5, -178.9), (0.5, 0.5, 195.4)]
)
def test_published_points(n: float, v: float, microamperes: float) -> None:
    found = float(DEVICE.current_at(state(n), v, P))
    assert found == pytest.approx(1e-6 * microamperes, rel=5e-4)
    assert found == pytest.approx(solved(n, v)[0], rel=1e-9)


def test_a_set_cell_is_hot_and_fast() -> None:
    assert solved(0.5, -0.5)[1] == pytest.approx(1007, abs=1)
    rate = DEVICE.rate(state(0.5), (-0.5,), P) * 0.5 * SPAN
    assert rate == pytest.approx(7.19e7, rel=1e-3)


@pytest.mark.parametrize("kind", [float, torch.float64, torch.float32])
def test_currents_and_rates_are_those_of_bracketing(kind: object) -> None:
    rtol = 2e-5 if kind is torch.float32 else 1e-8
    expected_current = [[solved(n, v)[0] for v in VOLTS] for n in DENSITIES]
    expected_rate = [[drift(n, v) / n / SPAN for v in VOLTS] for n in DENSITIES]
    if kind is float:
        current = [[DEVICE.current_at(state(n), v, P) for v in VOLTS] for n in DENSITIES]
        rate = [[DEVICE.rate(state(n), (v,), P) for v in VOLTS] for n in DENSITIES]
    else:
        x = torch.tensor([state(n) for n in DENSITIES], dtype=kind)[:, None]  # type: ignore[arg-type]
        v = torch.tensor(VOLTS, dtype=kind)  # type: ignore[arg-type]
        current, rate = DEVICE.current_at(x, v, P).tolist(), DEVICE.rate(x, (v,), P).tolist()
    np.testing.assert_allclose(current, expected_current, rtol=rtol)
    # Exponents of up to 50 carry the rounding of the temperature.
    np.testing.assert_allclose(rate, expected_rate, rtol=50 * rtol)


@pytest.mark.parametrize("seed", range(12))
def test_the_search_finds_the_least_root_whatever_the_parameters(seed: int) -> None:
    draw = np.random.default_rng(seed)
    device = DEVICE.replace(
        barrier=draw.uniform(0.12, 0.35),
        permittivity=draw.uniform(5, 30),
        permittivity_barrier=draw.uniform(3, 20),
        richardson=6.01e5 * 10 ** draw.uniform(-1, 1),
        t_ambient=draw.uniform(150, 400),
        alpha_line=float(draw.choice([0.0, 3.92e-3])),
        r_th=draw.uniform(0, 30e6),
    )
    p = device.parameters()
    for v in draw.choice([-1.0, 1.0], 8) * 10 ** draw.uniform(-3, 0.3, 8):
        x = draw.uniform(0, 1)

        def gap(part: float, x: float = x, v: float = float(v)) -> float:
            return abs(v) * part - device.settled(x, v, abs(v) * part, p)[0]

        parts = np.concatenate([np.geomspace(1e-12, 0.01, 80), np.linspace(0.0101, 1.0, 400)])
        first = next(k for k, part in enumerate(parts) if gap(float(part)) > 0)
        root = brentq(gap, parts[first - 1], parts[first], xtol=1e-18, rtol=1e-15)
        expected = device.settled(x, float(v), abs(float(v)) * root, p)[1]
        found = float(device.current_at(torch.tensor([x], dtype=F64), float(v), p))
        assert found == near(expected)


@pytest.mark.parametrize("n", DENSITIES)
def test_the_current_goes_on_from_zero(n: float) -> None:
    v = torch.linspace(0.0, 2.0, 801, dtype=F64)
    i = DEVICE.current_at(torch.tensor(state(n), dtype=F64), v, P)
    step = i.diff()
    assert bool((step > 0).all())
    assert float(step.max() / step.min()) < 2.0


@pytest.mark.parametrize("n", [0.2, 0.5, 1.0, 2.0, 5.0])
def test_currents_are_near_the_published_closed_form(n: float) -> None:
    for v in (0.2, 0.35, 0.5, 0.7):
        lines = 1 + (5.548 + 6.8648 * v + 51.586 * math.exp(-0.36 * v)) * (n / 0.008) ** -1.054
        closed = 0.00484 * -math.expm1(-0.1353 * v) / lines ** (1 / 1.0526)
        assert DEVICE.current_at(state(n), v, P) == pytest.approx(closed, rel=0.045)


def test_gradients() -> None:
    x = torch.tensor([0.05, 0.3, 0.6, 0.95], dtype=F64, requires_grad=True)
    v = torch.tensor([0.2, -0.3, 0.7, -0.8], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, v: 1e4 * DEVICE.current_at(x, v, P), (x, v), eps=1e-6, atol=1e-6, rtol=1e-5
    )
    zero = torch.zeros(4, dtype=F64, requires_grad=True)
    current = DEVICE.current_at(x, zero, P)
    (slope,) = torch.autograd.grad(current.sum(), zero)
    assert not current.any()
    torch.testing.assert_close(slope, DEVICE.conductance_at(x, P), rtol=1e-9, atol=0)
    assert DEVICE.rate(0.5, (0.0,), P) == 0.0


@pytest.mark.parametrize(("amplitude", "frequency"), [(1.0, 1e3), (1.5, 1.0)])
def test_loops_agree_with_radau(amplitude: float, frequency: float) -> None:
    samples = 400
    dt = 1 / frequency / samples
    time, volts = waveforms.triangle(-amplitude, frequency, dt=dt)
    time, volts = time.double(), volts.double()
    volts = torch.where(volts > 0, 1.4 / amplitude * volts, volts)

    def slope(t: float, x: np.ndarray) -> list[float]:
        v = float(np.interp(t, time, volts))
        within = min(max(float(x[0]), 0.0), 1.0)
        value = DEVICE.rate(within, (v,), P)
        leaving = (x[0] <= 0 and value < 0) or (x[0] >= 1 and value > 0)
        return [0.0 if leaving else value]

    solution = solve_ivp(
        slope, (0, float(time[-1])), [0.0], "Radau", time.numpy(), rtol=1e-9, atol=1e-11,
        max_step=float(time[-1]) / 200,
    )  # fmt: skip
    expected = DEVICE.current_at(torch.from_numpy(solution.y[0].clip(0, 1)), volts, P).numpy()
    cells = DEVICE.fabricate((), dtype=F64)
    found = cells.simulate(volts, dt=dt).numpy()
    off = np.abs(found - expected) / np.abs(expected).max()
    # One sample falls into an abrupt reset, of nanoseconds within a millisecond.
    assert np.sort(off)[-2] < 1e-3
    assert off.max() < 0.02
    # It sets abruptly, at full conductance for a while, and resets.
    assert solution.y[0].max() > 0.99
    assert solution.y[0][-1] < 0.1


def test_a_set_pulse_takes_the_time_of_the_quadrature() -> None:
    def slowness(x: float) -> float:
        return 1 / DEVICE.rate(x, (-0.85,), P)

    time = quad(slowness, 0.01, 0.9, epsrel=1e-9, limit=300)[0]
    cells = DEVICE.fabricate((2,), dtype=F64)
    cells.x = torch.full((2,), 0.01, dtype=F64)
    cells.apply_pulse(-0.85, torch.tensor([0.999, 1.001], dtype=F64) * time)
    assert float(cells.x[0]) < 0.9 < float(cells.x[1])


def test_preset_draws_the_spread_of_the_netlister() -> None:
    cells = presets.get("hfox_jart").fabricate((20_000,), seed=2, dtype=F64)
    drawn = cells.parameters_drawn()
    widths = {"n_min": (8e23, 2e23), "n_max": (2e27, 1e26)}
    widths |= {"l_disc": (4e-10, 4e-11), "radius": (4.5e-8, 5e-9)}
    assert set(drawn) == set(widths)
    for name, (mean, sigma) in widths.items():
        # Cut off at three standard deviations a normal is 1.35 % narrower.
        assert abs(float(drawn[name].mean()) - mean) < 4 * sigma / 20_000**0.5
        assert float(drawn[name].std()) == pytest.approx(0.9866 * sigma, rel=0.02)


# ---- from cycle to cycle -------------------------------------------------------------------------


def cycling(**changes: object) -> JARTVCM:
    return DEVICE.replace(**{"c2c_radius": 0.1, "c2c_length": 0.2, **changes})


def test_shapes_move_from_the_old_to_the_new_with_the_density() -> None:
    cells = cycling().fabricate((2000,), seed=4, dtype=F64)
    assert bool((cells.present()["radius"] == 45e-9).all())
    cells._turn(torch.full((2000,), -1.0, dtype=F64))
    drawn = {k: v.clone() for k, v in cells.parameters_drawn().items()}
    # Nothing has moved yet: the old shape.
    radius = cells.present()["radius"]
    torch.testing.assert_close(radius, torch.full_like(radius, 45e-9), rtol=1e-12, atol=0.0)
    z = (drawn["radius_to"] / 45e-9 - 1) / 0.1
    assert abs(float(z.mean())) < 4 / 2000**0.5
    assert float(z.std()) == pytest.approx(0.9866, abs=4 * 0.7 / 2000**0.5)
    assert float(z.abs().max()) <= 3
    n = 5e26
    cells.x = torch.full((2000,), math.log(n / 8e23) / SPAN, dtype=F64)
    part = (n - 8e23) / (20e26 - 8e23)
    for name, born in (("radius", 45e-9), ("l_disc", 0.4e-9)):
        expected = born + (drawn[f"{name}_to"] - born) * part
        torch.testing.assert_close(cells.present()[name], expected, rtol=1e-8, atol=0)
    # A reset begins with the shape that the set has left.
    left = cells.present()["radius"]
    cells._turn(torch.full((2000,), 1.0, dtype=F64))
    torch.testing.assert_close(cells.present()["radius"], left, rtol=1e-9, atol=0)
    cells.x = torch.zeros(2000, dtype=F64)
    torch.testing.assert_close(
        cells.present()["radius"], cells.parameters_drawn()["radius_to"], rtol=1e-9, atol=0
    )


def test_loops_differ_from_cycle_to_cycle_and_are_repeated_by_the_seed() -> None:
    _, volts = waveforms.triangle(-1.3, 1e3, dt=2e-5, cycles=2)
    runs = []
    for seed in (1, 1, 2):
        cells = cycling().fabricate((2,), seed=seed, dtype=F64)
        runs.append(cells.simulate(volts, dt=2e-5))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    least = runs[0][:100].reshape(2, 50, 2).amin(1)  # the largest set current of every cycle
    assert bool((least[0] != least[1]).all())
    one = DEVICE.fabricate((), dtype=F64)
    same = cycling(c2c_radius=1e-12, c2c_length=0.0).fabricate((), dtype=F64)
    expected, found = (cells.simulate(volts, dt=2e-5) for cells in (one, same))
    # Only one sample of an abrupt switch may fall to the other side.
    off = (found - expected).abs() > 1e-3 * expected.abs().max()
    assert int(off.sum()) <= 2


def test_cycles_are_saved_gathered_and_written_over() -> None:
    cells = cycling().fabricate((4,), seed=1, dtype=F64)
    cells.apply_pulse(-0.9, 1e-7)
    other = cycling().fabricate((4,), seed=9, dtype=F64)
    other.load_state_dict(cells.state_dict())
    assert torch.equal(other.present()["radius"], cells.present()["radius"])
    part = cells.gather(torch.tensor([2, 0]))
    assert torch.equal(part.present()["l_disc"], cells.present()["l_disc"][[2, 0]])
    cells.write(1e-4)
    assert bool((cells.present()["radius"] == 45e-9).all())
    torch.testing.assert_close(
        cells.conductance(), torch.full((4,), 1e-4, dtype=F64), rtol=1e-6, atol=0.0
    )


def test_cycles_of_lent_cells_come_back() -> None:
    cells = cycling().fabricate((2, 3), seed=1, dtype=F64)
    place = torch.tensor([[4, 1, -1]])
    part = cells.gather(place)
    part.apply_pulse(-0.9, 1e-7)
    cells.scatter(place, part)
    for name, held in (("radius", part.present()), ("l_disc", part.present())):
        found, given = cells.present()[name].flatten()[[4, 1]], held[name][0, :2]
        torch.testing.assert_close(found, given, rtol=1e-12, atol=0.0)
    assert not torch.equal(part.present()["radius"][0, 0], torch.tensor(45e-9, dtype=F64))
    assert float(cells.parameters_drawn()["heading"].abs().sum()) == 2


def test_cycles_go_on_where_write_verify_has_left_them() -> None:
    cells = cycling().fabricate((2, 3), seed=1, dtype=F64)
    cells.program(torch.full((2, 3), 1e-4, dtype=F64), WriteVerify(tolerance=0.1))
    assert bool((cells.parameters_drawn()["heading"] != 0.0).all())


def test_waveforms_of_two_signs_at_once_are_refused() -> None:
    cells = cycling().fabricate((2,), dtype=F64)
    with pytest.raises(ValueError, match="at sample 1 it has both"):
        cells.simulate(torch.tensor([[0.0, 0.0], [0.1, -0.1]]), dt=1e-9)
    assert cells.simulate(torch.zeros(0), dt=1e-9).shape == (0, 2)
    assert cells.simulate(torch.zeros(7), dt=1e-9, every=3).shape == (3, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_min": 3e27}, "n_min must be < n_max"),
        ({"fermi": 0.2}, "fermi must be < barrier"),
        ({"l_disc": 3e-9}, "l_disc must be < l_cell"),
        ({"radius": -1e-9}, "radius must be >= 4.5e-12"),
        ({"c2c_radius": 0.5}, "c2c_radius must be >= 0 and <= 0.3"),
        ({"l_disc": 2.5e-9, "c2c_length": 0.1}, "c2c_length=0.1 would make discs"),
    ],
)
def test_bad_parameters_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JARTVCM(**values)


class TestContract(DeviceContract):
    def device(self) -> JARTVCM:
        return cycling(radius=Spread(Normal(45e-9, 5e-9), low=30e-9, high=60e-9))

    def test_every_field_acts(self) -> None:
        expect.every_field_acts(self.device(), _observed, self.labels)


def _observed(device: JARTVCM) -> list[torch.Tensor]:
    cells = device.fabricate((3,), seed=7, dtype=F64)
    seen = [torch.tensor(device.window, dtype=F64), cells.conductance()]
    cells.x = torch.tensor([0.3, 0.5, 0.7], dtype=F64)
    for v, seconds in ((-0.6, 1e-10), (1.2, 1e-10)):
        cells.apply_pulse(v, seconds)
        cells.x = cells.x.clamp(0.25, 0.75)
        p = device.parameters(cells.parameters_drawn())
        seen.extend((cells.x.clone(), cells.current(v), device.rate(cells.x, (v,), p)))
    return seen
