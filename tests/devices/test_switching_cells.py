"""Populations of voltage-driven cells: writing, reading, simulating, saving, and bad input."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, Uniform

from mho.cells.spread import Spread
from mho.core.spec import Spec
from mho.devices import waveforms
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.jart_vcm import JARTVCM
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.pickett import Pickett
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.switching import SwitchingDevice
from mho.devices.switching_cells import SwitchingCells
from mho.devices.team import TEAM
from mho.devices.vteam import VTEAM
from mho.devices.windows import Biolek, Kvatinsky
from mho.devices.yakopcic import Yakopcic

F64 = torch.float64
WIDE = Kvatinsky(w_c=0.05)
DEVICES: list[SwitchingDevice] = [
    LinearIonDrift(),
    LinearIonDrift(window_function=Biolek(p=2)),
    VTEAM(k_on=-1e-8, k_off=5e-7),
    VTEAM(k_on=-1e-8, k_off=5e-7, resistance="exponential", window_function=WIDE),
    TEAM(),
    Pickett(),
    JARTVCM(),
    StanfordPKU(delta_gap=0.0),
    StanfordPKU(),
    DataDriven2018(),
    DataDriven2021(),
    Yakopcic(),
]
SMOOTH = [device for device in DEVICES if not device.stochastic]
# A spread of 5 % of one parameter of each model that changes its conductance.
SPREAD = {
    LinearIonDrift: "r_on",
    VTEAM: "r_off",
    TEAM: "r_off",
    Pickett: "area",
    JARTVCM: "radius",
    StanfordPKU: "i0",
    DataDriven2018: "r_off",
    DataDriven2021: "a",
    Yakopcic: "a1",
}


def name_of(device: SwitchingDevice) -> str:
    window = getattr(device, "window_function", None)
    tail = "-noisy" if device.stochastic else ""
    return type(device).__name__ + (f"-{type(window).__name__}" if window else "") + tail


each = pytest.mark.parametrize("device", DEVICES, ids=name_of)
each_smooth = pytest.mark.parametrize("device", SMOOTH, ids=name_of)


def spread(device: SwitchingDevice) -> SwitchingDevice:
    name = SPREAD[type(device)]
    value = getattr(device, name)
    return device.replace(**{name: Spread(Normal(value, 0.05 * value), low=0.5 * value)})


@each
def test_new_cells_are_at_their_lowest_conductance(device: SwitchingDevice) -> None:
    cells = device.fabricate((2, 3), dtype=F64)
    assert isinstance(cells, SwitchingCells)
    g_min, g_max = device.window
    assert 0 <= g_min < g_max
    torch.testing.assert_close(
        cells.conductance(), torch.full((2, 3), g_min, dtype=F64), rtol=1e-6, atol=0.0
    )
    cells.write(torch.full((2, 3), g_max, dtype=F64))
    assert cells.x.flatten().tolist() == pytest.approx([1.0] * 6)
    cells.reset()
    assert int(cells.x.count_nonzero()) == 0


@each
@settings(max_examples=15, deadline=None)
@given(parts=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4), spreads=st.booleans())
def test_reading_back_a_write_gives_it(
    device: SwitchingDevice, parts: list[float], spreads: bool
) -> None:
    cells = (spread(device) if spreads else device).fabricate((len(parts),), dtype=F64)
    reach = cells.spec.reach
    drawn = cells.parameters_drawn()
    low = reach(torch.zeros(len(parts), dtype=F64), drawn)
    high = reach(torch.ones(len(parts), dtype=F64) * 1e9, drawn)
    asked = low + torch.tensor(parts, dtype=F64) * (high - low)
    cells.write(asked)
    torch.testing.assert_close(cells.conductance(), asked, rtol=1e-9, atol=1e-15)


@each
def test_writes_stop_at_each_cells_own_window(device: SwitchingDevice) -> None:
    cells = spread(device).fabricate((200,), seed=3, dtype=F64)
    assert len(cells.parameters_drawn()) == 1
    cells.write(1e9)
    assert cells.x.tolist() == pytest.approx([1.0] * 200)
    high = cells.conductance()
    cells.write(0.0)
    assert float(cells.x.abs().max()) < 1e-12
    low = cells.conductance()
    assert bool((low <= high).all())
    assert max(float(high.std() / high.mean()), float(low.std() / high.mean())) > 1e-3
    # The nominal window stays the spec's.
    assert cells.spec.window == pytest.approx(device.window)


@each
def test_low_voltage_current_is_the_conductance(device: SwitchingDevice) -> None:
    cells = spread(device).fabricate((7,), dtype=F64)
    cells.write(torch.linspace(*device.window, 7, dtype=F64))
    state = cells.x.clone()
    torch.testing.assert_close(cells.current(1e-5) / 1e-5, cells.conductance(), rtol=1e-4, atol=0)
    assert torch.equal(cells.x, state)


@each
def test_separable_currents_are_g_times_f(device: SwitchingDevice) -> None:
    v = torch.linspace(-1.0, 1.0, 9, dtype=F64)
    if not device.separable:
        with pytest.raises(NotImplementedError, match=type(device).__name__):
            device.transfer(v)
        assert not device.ohmic
        return
    cells = device.fabricate((4, 1), dtype=F64)
    cells.write(torch.linspace(*device.window, 4, dtype=F64)[:, None])
    torch.testing.assert_close(
        cells.current(v), cells.conductance() * device.transfer(v), rtol=1e-6, atol=0.0
    )
    slope = device.transfer(torch.tensor(1e-6, dtype=F64)) / 1e-6
    assert float(slope) == pytest.approx(1.0, rel=1e-6)
    assert device.ohmic == torch.equal(device.transfer(v), v)


def test_yakopcic_currents_of_both_signs_have_their_own_amplitude() -> None:
    cells = Yakopcic(a1=0.2, a2=0.1).fabricate((), dtype=F64)
    cells.write(0.2 * 0.05 * 0.5)
    assert float(cells.current(1.0)) == pytest.approx(0.2 * 0.5 * math.sinh(0.05))
    assert float(cells.current(-1.0)) == pytest.approx(-0.1 * 0.5 * math.sinh(0.05))


@each
def test_polarity_says_which_voltage_sets(device: SwitchingDevice) -> None:
    for sign in (1, -1):
        cells = device.fabricate((), dtype=F64)
        cells.write(sum(device.window) / 2)
        before = float(cells.conductance())
        cells.apply_pulse(1.5 * sign, 1e-4)
        raised = float(cells.conductance()) > before
        assert raised == (sign == device.set_polarity)


@each_smooth
@pytest.mark.parametrize("method", ["euler", "heun", "rk4"])
def test_few_cells_and_many_cells_move_alike(device: SwitchingDevice, method: str) -> None:
    device = spread(device)
    few = device.fabricate((2, 2), seed=1, dtype=F64)
    few.write(sum(device.window) / 2)
    v = 0.3 * torch.sin(torch.arange(12, dtype=F64)) * torch.tensor([1.0, -1.0], dtype=F64)[:, None]
    voltage = v.T[:, :, None].expand(12, 2, 2)
    many = device.fabricate((50, 2, 2), dtype=F64)
    for name, value in few.named_buffers():
        if name != "streams":
            getattr(many, name).copy_(value.expand(50, 2, 2))
    currents = few.simulate(voltage, dt=1e-9, method=method)
    repeated = many.simulate(voltage[:, None].expand(12, 50, 2, 2), dt=1e-9, method=method)
    assert currents.shape == (12, 2, 2)
    torch.testing.assert_close(repeated[:, 17], currents, rtol=1e-10, atol=1e-18)
    torch.testing.assert_close(many.x[3], few.x, rtol=1e-10, atol=1e-14)


@each_smooth
@pytest.mark.parametrize("method", ["euler", "heun", "rk4"])
def test_a_shared_waveform_is_one_waveform_per_cell(device: SwitchingDevice, method: str) -> None:
    v = 0.3 * torch.sin(torch.arange(12, dtype=F64))
    start = torch.linspace(*device.window, 40, dtype=F64)
    runs = []
    for voltage in (v, v[:, None].expand(12, 40)):
        cells = device.fabricate((40,), dtype=F64)
        cells.write(start)
        runs.append((cells.simulate(voltage, dt=1e-9, method=method), cells.x))
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-10, atol=1e-14)


@each_smooth
def test_a_constant_waveform_is_a_pulse(device: SwitchingDevice) -> None:
    # One that moves each cell by a few percent of its range.
    p = device.parameters()
    rate = abs(float(device.rate(0.5, device.drive(torch.tensor(1.2, dtype=F64), p), p)))
    seconds = 0.03 / rate
    start = float(device.conductance_at(0.5, p))
    simulated, pulsed = (device.fabricate((3,), dtype=F64) for _ in range(2))
    simulated.write(start)
    pulsed.write(start)
    simulated.simulate(torch.full((400,), 1.2, dtype=F64), dt=seconds / 400)
    pulsed.apply_pulse(1.2, seconds)
    torch.testing.assert_close(simulated.x, pulsed.x, rtol=0, atol=2e-6)


def test_simulation_can_skip_samples_or_all() -> None:
    device = LinearIonDrift()
    _, v = waveforms.sine(1.0, 10.0, dt=1e-3)
    runs = []
    for shape in ((3,), (40,)):
        for every in (1, 7, None):
            cells = device.fabricate(shape)
            cells.write(1e-4)
            runs.append((cells.simulate(v, dt=1e-3, every=every), cells.x.clone()))
        (full, x), (some, x_some), (none, x_none) = runs[-3:]
        assert torch.equal(full[::7], some)
        assert none.shape == (0, *shape)
        assert torch.equal(x, x_some)
        assert torch.equal(x, x_none)


def test_one_cell_has_shape_of_time_alone() -> None:
    cells = VTEAM(k_on=-1e-8, k_off=5e-7).fabricate(())
    current = cells.simulate(torch.zeros(5), dt=1e-6)
    assert current.shape == (5,)
    assert current.dtype == torch.float32
    assert cells.x.shape == ()
    assert cells.simulate(torch.zeros(0), dt=1e-6).shape == (0,)


def test_adaptive_follows_a_cell_that_switches_within_a_sample() -> None:
    device = VTEAM(window_function=Kvatinsky(a_off=0.4, a_on=0.6))
    v = torch.tensor([0.0, -1.0, -1.0, 0.0, 0.0], dtype=F64)
    cells = device.fabricate((2,), dtype=F64)
    cells.simulate(v, dt=1e-6, adaptive=True)
    fine = device.fabricate((2,), dtype=F64)
    fine.apply_pulse(-1.0, 1e-6)
    # The end state creeps on doubly exponentially slowly: both are near, never at, the bound.
    assert 0.3 < float(cells.x[0]) < 1.0
    assert float(cells.x[0]) == pytest.approx(float(fine.x[0]), abs=0.02)
    with pytest.raises(ValueError, match="method must be 'auto', got 'rk4'"):
        cells.simulate(v, dt=1e-6, adaptive=True, method="rk4")


@each
def test_state_dict_round_trip_and_copies(device: SwitchingDevice) -> None:
    cells = spread(device).fabricate((3, 4), seed=5)
    cells.write(sum(device.window) / 2)
    other = spread(device).fabricate((3, 4), seed=6)
    other.load_state_dict(cells.state_dict())
    assert torch.equal(other.conductance(), cells.conductance())
    assert torch.equal(copy.deepcopy(cells).conductance(), cells.conductance())
    double = cells.to(F64)
    assert double.conductance().dtype == F64
    assert double.simulate(torch.zeros(3), dt=1e-12).dtype == F64
    double.reset()
    assert double.x.dtype == F64


@each
def test_specs_round_trip_through_a_dict(device: SwitchingDevice) -> None:
    for spec in (device, spread(device)):
        assert Spec.from_dict(spec.to_dict()) == spec
        assert hash(spec) == hash(Spec.from_dict(spec.to_dict()))


def test_spreads_are_reproducible_and_never_cross() -> None:
    device = VTEAM(r_on=Spread(Uniform(50.0, 150.0)), r_off=Spread(Uniform(100.0, 1000.0)))
    one, two, three = (device.fabricate((400,), seed=s).parameters_drawn() for s in (1, 1, 2))
    assert torch.equal(one["r_on"], two["r_on"])
    assert not torch.equal(one["r_on"], three["r_on"])
    assert bool((one["r_on"] < one["r_off"]).all())


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (VTEAM, {"v_on": 0.2}, "v_on must be < 0"),
    (VTEAM, {"v_off": -0.1}, "v_off must be > 0"),
    (VTEAM, {"r_on": 2e3}, "r_on must be < r_off"),
    (VTEAM, {"k_on": 1.0}, "k_on must be < 0"),
    (VTEAM, {"r_on": Spread(Normal(2e3, 1.0))}, "r_on must be < r_off"),
    (VTEAM, {"resistance": "cubic"}, "resistance must be one of"),
    (VTEAM, {"w_on": 3e-9}, "w_on must be < w_off"),
    (TEAM, {"i_on": 1e-6}, "i_on must be < 0"),
    (TEAM, {"alpha_off": 0.0}, "alpha_off must be > 0"),
    (LinearIonDrift, {"r_off": 100.0}, "r_on must be < r_off"),
    (LinearIonDrift, {"mobility": -1e-14}, "mobility must be > 0"),
    (Pickett, {"w_on": 0.5e-9}, "leaves no tunnel barrier"),
    (Pickett, {"i_on": -1.0}, "i_on must be >= 8.9e-14"),
    (StanfordPKU, {"gap_min": 2e-9}, "gap_min must be < gap_max"),
    (StanfordPKU, {"delta_gap": -1.0}, "delta_gap must be >= 0"),
    (DataDriven2018, {"a_n": 1.0}, "a_n must be < 0"),
    (DataDriven2021, {"t_p": 0.02}, "t_p must be < 0"),
    (DataDriven2021, {"r_off": float("nan")}, "r_off must be > 0"),
    (Yakopcic, {"x_p": 1.0}, "x_p must be >= 0 and < 1"),
    (Yakopcic, {"eta": 0}, "eta must be one of 1, -1"),
]


@pytest.mark.parametrize(("kind", "values", "message"), BAD)
def test_bad_parameters_are_refused(kind: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**values)


def test_spreads_that_change_a_sign_are_refused() -> None:
    device = VTEAM(v_on=Spread(Normal(-0.2, 0.2)))
    with pytest.raises(ValueError, match=r"v_on must keep its sign in every cell, but \d+ of 900"):
        device.fabricate((900,))
    device.replace(v_on=Spread(Normal(-0.2, 0.2), high=-0.01)).fabricate((900,))
    VTEAM(w_on=Spread(Normal(0.0, 1e-11))).fabricate((900,))


def test_bad_windows_are_refused() -> None:
    with pytest.raises(TypeError, match="window_function must be Window"):
        VTEAM(window_function="joglekar")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (30,)])
def test_bad_simulations_are_refused(shape: tuple[int, ...]) -> None:
    cells = LinearIonDrift().fabricate(shape)
    cells.write(1e-4)
    state = cells.x.clone()
    v = torch.ones(4)
    for dt in (0.0, -1e-3, float("nan")):
        with pytest.raises(ValueError, match="dt must be > 0"):
            cells.simulate(v, dt=dt)
    with pytest.raises(ValueError, match="method must be one of"):
        cells.simulate(v, dt=1e-3, method="leapfrog")
    with pytest.raises(ValueError, match="every must be >= 1"):
        cells.simulate(v, dt=1e-3, every=0)
    with pytest.raises(ValueError, match="voltage must be finite"):
        cells.simulate(v * float("nan"), dt=1e-3)
    with pytest.raises(ValueError, match="voltage must have shape"):
        cells.simulate(torch.ones(4, 3), dt=1e-3)
    with pytest.raises(ValueError, match="duration must be >= 0"):
        cells.apply_pulse(1.0, -1.0)
    with pytest.raises(ValueError, match=r"v must be one number or have \(or broadcast to\) shape"):
        cells.apply_pulse(torch.ones(7, 3), 1.0)
    with pytest.raises(ValueError, match="g must be finite"):
        cells.write(float("inf"))
    assert torch.equal(cells.x, state)


@pytest.mark.parametrize("shape", [(), (30,)])
@each_smooth
def test_a_coarse_dt_is_refused_with_one_that_would_do(
    device: SwitchingDevice, shape: tuple[int, ...]
) -> None:
    cells = device.fabricate(shape, dtype=F64)
    p = device.parameters()
    cells.write(float(device.conductance_at(0.5, p)))
    state = cells.x.clone()
    v = torch.full((4,), 1.2, dtype=F64)
    with pytest.raises(ValueError, match=r"dt=1 s is too coarse .* would do") as caught:
        cells.simulate(v, dt=1.0, method="heun")
    assert torch.equal(cells.x, state)
    fine = float(str(caught.value).split("dt <= ")[1].split(" s")[0])
    cells.simulate(v, dt=fine, method="heun")
    assert not torch.equal(cells.x, state)


@each
def test_empty_populations_are_legal(device: SwitchingDevice) -> None:
    cells = device.fabricate((0, 3))
    assert cells.simulate(torch.zeros(5), dt=1e-9, every=2).shape == (3, 0, 3)
    cells.apply_pulse(1.0, 1e-9)
    assert cells.current(0.1).shape == (0, 3)


def test_a_noisy_model_names_a_step_that_would_do() -> None:
    cells = StanfordPKU(delta_gap=1e3).fabricate((500,), dtype=F64)
    cells.x.fill_(0.5)
    with pytest.raises(ValueError, match=r"too coarse for StanfordPKU.* method='auto'$") as caught:
        cells.simulate(torch.zeros(20), dt=1e-6, method="heun")
    fine = float(str(caught.value).split("dt <= ")[1].split(" s")[0])
    cells.simulate(torch.zeros(20), dt=fine, method="heun")
