"""Numbers that no hardware has are refused by name; slow devices are no slower than they need."""

import time

import pytest
import torch

import mho
from mho.core.spec import Spec
from mho.devices import (
    JARTVCM,
    MTJ,
    VTEAM,
    DataDriven2018,
    ExponentialDevice,
    LinearDevice,
    LinearIonDrift,
    Pickett,
    PiecewiseStep,
    PowStep,
    Spread,
    open_loop,
)
from mho.effects import ReadNoise, StuckAt, TelegraphNoise, WriteNoise
from mho.periphery import Architecture, DriverErrors
from mho.programming import ProductDescent, WriteVerify
from mho.train.on_cells.voltage import VoltagePulses


@pytest.mark.parametrize("value", [1e300, 1e-300, 5e-324, -1e300, 10**40, 2**900])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: LinearDevice(1e-6, v), "g_max"),
        (lambda v: VTEAM(r_on=v), "r_on"),
        (lambda v: ReadNoise(v), "sigma"),
        (lambda v: StuckAt(low=v), "low"),
        (lambda v: TelegraphNoise(0.1, hrs_growth=v), "hrs_growth"),
        (lambda v: Architecture(gain=v), "gain"),
        (lambda v: DriverErrors(offset=v), "offset"),
        (lambda v: WriteVerify(tolerance=v), "tolerance"),
        (lambda v: mho.ADC(bits=8, range=v), "range"),
        (lambda v: MTJ(tmr=v), "tmr"),
        (lambda v: MTJ(v_half=v), "v_half"),
        (lambda v: JARTVCM(n_min=v), "n_min"),
        (lambda v: JARTVCM(r_line=v), "r_line"),
        (lambda v: Pickett(kappa=v), "kappa"),
        (lambda v: Pickett(r_series=v), "r_series"),
        (lambda v: Pickett(u_limit=v), "u_limit"),
        (lambda v: mho.Array(rows=4, cols=4, wires=mho.circuit.Wires(word=v)), "word"),
        (lambda v: Spread("Normal", (("loc", v), ("scale", 1.0))), "Normal loc"),
    ],
)
def test_numbers_that_no_hardware_has_are_refused(make, name, value):
    with pytest.raises(ValueError, match=rf"{name} must be"):
        make(value)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: LinearDevice(1e-6, 1e10), "g_max"),
        (lambda: ExponentialDevice(1e-6, 1e-4, 1.0, -1.0, d2d=1e3), "d2d"),
        (lambda: PowStep(d2d=5e-324), "d2d"),
        (lambda: PiecewiseStep(c2c=1e3), "c2c"),
        (lambda: WriteNoise(1e7), "sigma"),
        (lambda: MTJ(tmr=1e-15), "tmr"),
        (lambda: MTJ(v_half=1e15), "v_half"),
        (lambda: JARTVCM(n_max=1e-15), "n_max"),
        (lambda: JARTVCM(radius=1.0), "radius"),
        (lambda: JARTVCM(reset_heating=1e15), "reset_heating"),
        (lambda: Pickett(r_series=1e15), "r_series"),
        (lambda: Pickett(area=Spread("Normal", (("loc", 1e-25), ("scale", 1e-26)))), "area"),
        (lambda: mho.ADC(bits=8, range=1e-45), "range"),
        (lambda: mho.ADC(bits=1, range=1e30), "range"),
        (lambda: WriteVerify(tolerance=1e-30), "tolerance"),
        (lambda: WriteVerify(read_noise=1e7), "read_noise"),
        (lambda: WriteVerify(train=2**64), "train"),
        (lambda: ProductDescent(batch=2**40), "batch"),
        (lambda: VoltagePulses(VTEAM(), 1e4, 1e-6, 1.0, 1e-6), "set_voltage"),
        (lambda: VoltagePulses(VTEAM(), 1.0, 1e-6, 1.0, 1e9), "reset_width"),
    ],
)
def test_parts_and_pulses_have_limits(make, name):
    with pytest.raises(ValueError, match=rf"{name} must be"):
        make()


@pytest.mark.parametrize(
    "device", [LinearIonDrift(r_on=1e-30), LinearIonDrift(r_off=1e30), DataDriven2018(r_on=1e-30)]
)
def test_a_model_without_conductances_says_of_what(device):
    for use in (lambda: device.window, lambda: device.fabricate((2,))):
        with pytest.raises(ValueError, match=rf"conductance.* {type(device).__name__}\("):
            use()


@pytest.mark.parametrize("given", [
    {"tmr": 1e-4}, {"tmr": 1e4}, {"v_half": 0.01}, {"v_half": 1e4}, {"tmr": 1e4, "v_half": 0.01},
])  # fmt: skip
def test_a_junction_of_any_allowed_value_is_read(given):
    array = mho.Crossbar(2, 2, mho.Hardware(device=MTJ(**given)), seed=1)
    array.program(torch.tensor([[0.5, -0.2], [0.3, 0.1]]))
    assert array(torch.ones(1, 2)).isfinite().all()


@pytest.mark.parametrize("name", ["i_off", "i_on", "b"])
@pytest.mark.parametrize("factor", [0.99e8, 1.01e-8])
def test_a_barrier_of_any_allowed_scale_of_currents_moves(name, factor):
    published = getattr(Pickett, name)
    cells = Pickett(**{name: published * factor}).fabricate((3,))
    cells.x = torch.tensor([0.2, 0.5, 0.8])
    for voltage in (-2.0, 1e-9, 2.0):
        cells.apply_pulse(voltage, 1e-9)
        assert cells.g.isfinite().all()
    with pytest.raises(ValueError, match=f"{name} must be"):
        Pickett(**{name: published * factor**1.1})


@pytest.mark.parametrize("full_scale", [1e-24, 1e6])
@pytest.mark.parametrize("bits", [1, 8, 24])
def test_a_converter_of_any_allowed_range_converts(full_scale, bits):
    hardware = mho.Hardware(adc=mho.ADC(bits, range=full_scale))
    array = mho.Crossbar(4, 3, hardware, seed=1)
    array.program(torch.linspace(-1, 1, 12).view(4, 3))
    assert array(torch.rand(2, 4)).isfinite().all()


def test_a_current_that_no_few_terms_make_up_says_of_which_device():
    hardware = mho.Hardware(device=Pickett(u_limit=9e-5))
    array = mho.Crossbar(2, 2, hardware, seed=1)
    array.program(torch.tensor([[0.5, -0.2], [0.3, 0.1]]))
    with pytest.raises(ValueError, match=r"cannot read Pickett\(.*u_limit=9e-05.* at ±"):
        array(torch.ones(1, 2))


def test_long_whole_numbers_are_floats_and_sizes_that_are_usual_are_kept():
    assert type(VTEAM(k_off=10**20).k_off) is float
    assert VTEAM(k_off=10**20).k_off == 1e20
    assert type(LinearDevice(0, 1).g_max) is int
    assert mho.Array(rows=10**12).rows == 10**12
    assert mho.study.Range(-1e300, 1e300).high == 1e300
    assert Spec.from_dict(VTEAM(k_off=10**20).to_dict()) == VTEAM(k_off=10**20)


PULSES = torch.randint(0, 60, (64,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "device",
    [
        PiecewiseStep(step=2e-6, d2d=0.3, factors_set=(1.0, 0.3, 0.7)),
        PowStep(exponent_set=0.7, step=2e-6, d2d=0.2),
    ],
)
def test_laws_side_by_side_are_those_of_one_device_after_the_other(device):
    plain, values = open_loop._plain(device), (1e-6, 2e-6, 3e-6)
    together = open_loop._laws(plain, torch.device("cpu"), "step", values, 40)
    for table, step in zip(together, values, strict=True):
        cells = plain.replace(step=step).fabricate((1,), seed=0, dtype=torch.float64)
        held = [cells.g.clone()]
        for _ in range(40):
            cells.pulse(1)
            held.append(cells.g.clone())
        assert torch.equal(table, torch.stack(held))


def test_a_curve_goes_on_where_it_was(monkeypatch):
    pulses = []
    kept = PowStep.response
    monkeypatch.setattr(PowStep, "response", lambda *a: (pulses.append(1), kept(*a))[1])
    nodes = open_loop.curve(PowStep(exponent_set=1.01))
    assert len(nodes) < len(pulses) <= 2**14  # and not once more for every length that is tried


def test_an_extreme_number_takes_no_time():
    began = time.process_time()
    with pytest.raises(ValueError):
        mho.Hardware(device=VTEAM(), programming=WriteVerify(tolerance=1e-300))
    assert time.process_time() - began < 1.0
