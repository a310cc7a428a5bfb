"""Two sides of a comparison go through the same stages."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.chip import Chip
from mho.circuit import Wires
from mho.devices import LinearDevice
from mho.effects import PowerLawDrift, StuckAt, TelegraphNoise, Temperature
from mho.encoding import LEA, Differential, Redundant, Scaling
from mho.train import NoiseInjection, Recipe

F64 = torch.float64
DEVICE = LinearDevice(1e-8, 100e-6)
DRIFT = PowerLawDrift(nu=0.1, nu_spread=0.0, t0=1.0)
HOT = Temperature(350.0, coefficient=3e-3, activation_energy=0.05)
WIRED = Array(64, 64, wires=Wires(5.0, 5.0, 5.0, 5.0))
SIDES = {
    "nothing": Hardware(device=DEVICE),
    "temperature": Hardware(device=DEVICE, effects=(HOT,)),
    "telegraph": Hardware(device=DEVICE, effects=(TelegraphNoise(0.2),)),
    "wires": Hardware(device=DEVICE, array=WIRED),
    "all": Hardware(
        device=DEVICE,
        array=WIRED,
        encoding=LEA(Differential(scaling=Scaling(per_column=True)), copies=2),
        effects=(StuckAt(0.05, 0.05), HOT, TelegraphNoise(0.2)),
    ),
}


def slope(found, wanted):
    """The factor by which outputs are too large."""
    return float((found * wanted).sum() / (wanted * wanted).sum())


def linear():
    torch.manual_seed(0)
    return nn.Linear(64, 8, bias=False, dtype=F64), torch.randn(500, 64, dtype=F64)


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("name", list(SIDES))
def test_compensation_at_once_is_no_compensation(name, calibrated):
    digital, x = linear()
    model = mho.convert(digital, SIDES[name]).eval()
    if calibrated:
        mho.calibrate(model, x)
    for factor in mho.compensate(model).values():
        torch.testing.assert_close(factor, torch.ones_like(factor), rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("name", ["temperature", "wires"])
def test_compensation_undoes_drift_and_nothing_else(name):
    """All cells drift alike: behind wires currents change less, and so must the factor."""
    hardware = SIDES[name]
    hardware = hardware.replace(effects=(*hardware.effects, DRIFT))
    digital, x = linear()
    model = mho.convert(digital, hardware).eval()
    with torch.no_grad():
        fresh = model(x)
        mho.age(model, 1e4)
        drifted = model(x)
        factor = next(iter(mho.compensate(model).values()))
        # Heat acts otherwise on cells of other conductance: not all columns shrink alike.
        assert abs(slope(model(x), fresh) - 1.0) < (0.03 if name == "temperature" else 0.01)
    bare = 1e4**0.1
    assert float(factor.mean()) == pytest.approx(1.0 / slope(drifted, fresh), rel=0.03)
    assert name != "wires" or float(factor.mean()) < 0.97 * bare


@pytest.mark.parametrize(
    "encoding",
    [
        Differential(),
        Differential(scaling=Scaling(per_column=True)),
        Redundant(Differential(), 3),
        LEA(Differential(), 3),
        LEA(Differential(), 3, best=1),
    ],
    ids=str,
)
@pytest.mark.parametrize("array", [Array(), WIRED], ids=["ideal", "wired"])
def test_training_practises_with_the_factor_that_compensate_applies(encoding, array):
    digital, x = linear()
    effects = (StuckAt(0.1, 0.1), PowerLawDrift(0.05, 0.03), HOT)
    hardware = Hardware(device=DEVICE, encoding=encoding, array=array, effects=effects)
    model = mho.convert(digital, hardware, seed=1)
    model.crossbar.inject_noise(NoiseInjection(own_cells=True, ages=(1e4, 1e4)))
    with torch.no_grad():
        trained = model.train()(x)
        fresh = model.eval()(x)
        mho.age(model, 1e4)
        aged = model(x)
        mho.compensate(model)
        torch.testing.assert_close(model(x), trained)
    assert slope(aged, fresh) < 0.9


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("name", ["nothing", "temperature", "wires"])
def test_a_collapsed_model_is_the_product_that_the_read_takes(name, calibrated):
    digital, x = linear()
    hardware = SIDES[name].replace(effects=(*SIDES[name].effects, StuckAt(0.05, 0.05), DRIFT))
    model = mho.convert(digital, hardware).eval()
    mho.age(model, 100.0)
    if calibrated:
        mho.calibrate(model, x)
    plain = mho.collapse(model)
    assert not any(isinstance(part, Crossbar) for part in plain.modules())
    torch.testing.assert_close(plain(x), model(x))


def test_storing_begins_a_new_life():
    """Cells that hold the same since the same time read, age and are compensated alike."""
    torch.manual_seed(0)
    weight, x = torch.randn(8, 4), torch.randn(5, 8)
    one, other = (Crossbar(8, 4, Hardware(effects=(DRIFT,)), seed=s) for s in (1, 2))
    one.program(weight)
    other.program(10 * weight)
    other.age(1e6)
    mho.compensate(other)
    other.store(one.G.clone(), scale=one.scale.clone())
    assert other.seconds == 0.0
    for _ in range(2):
        assert torch.equal(one(x), other(x))
        for bar in (one, other):
            bar.age(1e4)
    factors = [mho.compensate(bar)[""] for bar in (one, other)]
    torch.testing.assert_close(*factors)
    torch.testing.assert_close(factors[0], torch.full((4,), 2e4**0.1))


class Mixed(nn.Module):
    """A layer, a crossbar outside of layers, and a layer with two."""

    def __init__(self, hardware):
        super().__init__()
        self.first = mho.nn.Linear(6, 5, hardware=hardware)
        self.bar = Crossbar(5, 3, hardware)
        self.bar.program(torch.randn(5, 3))
        self.last = mho.convert(nn.LSTM(3, 2), hardware)

    def forward(self, x):
        return self.last(self.first(x) @ self.bar)[0]


def test_all_that_acts_on_a_model_goes_by_one_listing():
    hardware = Hardware(effects=(DRIFT,))
    model = Mixed(hardware).eval()
    names = ["first", "bar", "last.crossbar_ih_l0", "last.crossbar_hh_l0"]
    assert list(mho.crossbars(model)) == names
    mho.age(model, 1e4)
    assert [bar.seconds for bar in mho.crossbars(model).values()] == [1e4] * 4
    assert list(mho.compensate(model)) == names
    assert [line.name for line in mho.summary(model).layers] == names
    assert list(mho.program(model)) == names
    assert [bar.seconds for bar in mho.crossbars(model).values()] == [0.0] * 4
    assert list(Chip(60, 60, hardware).place(model)) == names
    assert list(mho.fabricate(model, seed=3)) == names


def test_learned_ranges_load_into_a_fresh_conversion():
    hardware = Hardware(dac=DAC(8), adc=ADC(8))
    torch.manual_seed(0)
    digital, x = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(64, 8)
    model = Recipe(ranges="learned").prepare(digital, hardware, x)
    for bar in mho.crossbars(model).values():
        bar.range_shift.data -= 0.5
    fresh = mho.convert(digital, hardware).eval()
    found = fresh.load_state_dict(model.state_dict())
    assert not found.missing_keys
    assert not found.unexpected_keys
    assert torch.equal(fresh(x), model.eval()(x))
    known = dict(fresh.named_parameters())
    assert known["0.crossbar.range_shift"] is fresh[0].crossbar.range_shift
    # And back: a checkpoint without them ends the learning.
    fresh.load_state_dict(mho.convert(digital, hardware).state_dict())
    assert fresh[0].crossbar.range_shift is None
