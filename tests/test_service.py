"""Cells in service: relaxation after programming, and the disturb of reads."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import LogNormal, Normal

import mho
from mho import Crossbar, Hardware
from mho.chip import Chip
from mho.devices import PCM, LinearDevice, ReRAMCMO, Spread
from mho.effects import PowerLawDrift, ReadDisturb, Relaxation
from mho.train import NoiseInjection, Recipe

DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)
X = torch.linspace(-1.0, 1.0, 24).view(4, 6)
CMO = Relaxation(mean=-0.08900206e-6, spread=0.04201137e-6, start=0.41183342e-6)


def cells_with(*effects, shape=(50_000,), g=5e-5, device=DEVICE, seed=0):
    cells = device.cells_type((device, *effects), shape, seed=seed, dtype=torch.float64)
    cells.program(torch.tensor(g, dtype=torch.float64))
    return cells


# ── relaxation ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seconds", [1e-3, 1.0, 3600.0, 1e6])
def test_relaxation_has_the_published_moments_of_cmo_cells(seconds):
    cells = cells_with(CMO)
    cells.age(seconds)
    moved = (cells.g - 5e-5) * 1e6
    log, n = math.log(max(seconds, 1.0)), len(moved)
    sd = 0.04201137 * log + 0.41183342
    assert abs(float(moved.mean()) + 0.08900206 * log) < 4 * sd / n**0.5
    assert abs(float(moved.std()) / sd - 1) < 4 / (2 * n) ** 0.5
    twin = cells_with(device=ReRAMCMO(write_scale=0.0))
    twin.age(seconds)
    shift = (twin.g - 5e-5) * 1e6
    assert abs(float(moved.mean() - shift.mean())) < 4 * sd * (2 / n) ** 0.5
    assert abs(float(moved.std() / shift.std()) - 1) < 4 / n**0.5


def test_relaxation_goes_by_the_conductance_programmed():
    cells = cells_with(Relaxation(mean=(0.0, -1e-6), t0=10.0), shape=(3,))
    cells.program(torch.tensor([1e-5, 5e-5, 1e-4], dtype=torch.float64))
    before = cells.g.clone()
    cells.age(10.0 * math.e)
    cells.age(10.0 * (math.e**2 - math.e))
    assert torch.allclose(cells.g, before - 2e-6 * before / 1e-4, rtol=1e-12, atol=0.0)


def test_cells_written_anew_on_a_running_clock_go_on_from_there():
    cells = cells_with(CMO)
    cells.age(100.0)
    cells.hold(torch.full_like(cells.g, 5e-5))
    cells.age(900.0)
    moved = (cells.g - 5e-5) * 1e6
    log, n = math.log(10.0), len(moved)
    assert abs(float(moved.std()) / (0.04201137 * log) - 1) < 4 / (2 * n) ** 0.5


def test_relaxation_does_not_fall_below_zero_and_comes_in_one_score():
    cells = cells_with(Relaxation(spread=1e-5), g=2e-6)
    cells.age(100.0)
    early = cells.g.clone()
    cells.age(1e4)
    assert float(cells.g.min()) == 0.0
    risen = early > 2e-6
    assert (cells.g[risen] > early[risen]).all()
    assert (cells.g[~risen] <= early[~risen]).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Relaxation(spread=-1e-6), "spread must be >= 0"),
        (lambda: Relaxation(start=(1e-6, -2e-6)), "start must be >= 0"),
        (lambda: Relaxation(mean=()), "at least one coefficient"),
        (lambda: Relaxation(t0=0.0), "t0"),
    ],
)
def test_bad_relaxation_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# ── read disturb ─────────────────────────────────────────────────────────────────────────────


def test_reads_move_cells_by_the_law():
    disturb = ReadDisturb(8000, shape=0.6, voltage=0.3, reference=0.2, slope=0.05, net=0.5)
    cells = cells_with(disturb, shape=(2,))
    cells.age(0.0, reads=500)
    effective = 500 * 0.5 * math.exp(0.1 / 0.05)
    left = math.exp(-((effective / 8000) ** 0.6))
    assert cells.g.tolist() == pytest.approx([1e-4 - 5e-5 * left] * 2, rel=1e-12)
    assert cells.reads == 500.0
    assert cells.seconds == 0.0
    low = cells_with(disturb.replace(toward="low"), shape=(2,))
    low.age(0.0, reads=500)
    assert low.g.tolist() == pytest.approx([1e-6 + 4.9e-5 * left] * 2, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.floats(0.3, 2.0),
    parts=st.lists(st.floats(0.0, 3000.0), min_size=1, max_size=5),
    drifting=st.booleans(),
)
def test_reads_in_parts_are_their_sum(shape, parts, drifting):
    effects = (PowerLawDrift(0.05, 0.01),) if drifting else ()
    effects += (ReadDisturb(Spread(LogNormal(8.0, 0.5)), shape=shape),)
    one, two = (cells_with(*effects, shape=(20,), seed=4) for _ in range(2))
    one.age(100.0 * len(parts), reads=sum(parts))
    for part in parts:
        two.age(100.0, reads=part)
    assert torch.allclose(one.g, two.g, rtol=1e-9, atol=0.0)
    assert one.reads == pytest.approx(two.reads)


def test_cells_beyond_the_bound_stay_and_writing_starts_anew():
    cells = cells_with(ReadDisturb(100.0), shape=(2,))
    cells.hold(torch.tensor([2e-4, 2e-5], dtype=torch.float64))
    cells.age(1.0, reads=1e6)
    assert cells.g.tolist() == pytest.approx([2e-4, 1e-4])
    cells.program(torch.tensor(3e-5, dtype=torch.float64))
    assert cells.reads == 0.0
    cells.age(1.0, reads=100.0)
    assert cells.g.tolist() == pytest.approx([1e-4 - 7e-5 * math.exp(-1.0)] * 2)


def test_reads_that_nothing_goes_by_are_refused():
    with pytest.raises(ValueError, match="would change nothing"):
        cells_with(PowerLawDrift(0.1)).age(1.0, reads=10)
    model = mho.convert(nn.Linear(6, 4), Hardware(device=PCM()))
    with pytest.raises(ValueError, match="no crossbar has an effect"):
        mho.age(model, 1.0, reads=10)
    with pytest.raises(ValueError, match="reads must be >= 0"):
        mho.age(model, 1.0, reads=-1)
    mho.age(model, 1.0)


def test_a_model_is_worn_by_its_reads_and_keeps_count():
    torch.manual_seed(0)
    hardware = Hardware(device=DEVICE, effects=(ReadDisturb(8000.0, voltage=0.25),))
    chain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    model = mho.convert(chain, hardware, overrides={"2": Hardware(device=DEVICE)}, seed=1).eval()
    before = model(X)
    model(X)
    assert torch.equal(before, model(X))  # a forward pass is no wear
    untouched = model[2].crossbar.G.clone()
    mho.age(model, 60.0, reads=2000)
    state, worn = copy.deepcopy(model.state_dict()), model(X)
    assert not torch.equal(before, worn)
    assert torch.equal(untouched, model[2].crossbar.G)
    other = mho.convert(chain, hardware, overrides={"2": Hardware(device=DEVICE)}, seed=9).eval()
    other.load_state_dict(state)
    assert other[0].crossbar.cells.reads == 2000.0
    for each in (model, other):
        mho.age(each, 60.0, reads=500)
    assert torch.equal(model(X), other(X))


@pytest.mark.parametrize("reads", [1e3, Spread(LogNormal(7.0, 0.1))])
@pytest.mark.parametrize(
    "how", [{"voltage": 100.0}, {"shape": 300.0}, {"voltage": 1e30, "shape": 1e3, "slope": 1e-3}]
)
def test_reads_that_do_all_move_cells_all_the_way(how, reads):
    cells = cells_with(ReadDisturb(reads, **how), shape=(100,))
    cells.age(0.0, reads=1e4)
    assert torch.allclose(cells.g, torch.full_like(cells.g, 1e-4), atol=0.0)
    cells.age(0.0, reads=1e6)
    assert torch.allclose(cells.g, torch.full_like(cells.g, 1e-4), atol=0.0)


def test_an_empty_chip_refuses_the_same_reads():
    with pytest.raises(ValueError, match="reads must be >= 0"):
        Chip(8, 8, Hardware(device=DEVICE, effects=(ReadDisturb(1e3),))).age(1.0, reads=-5)
    with pytest.raises(ValueError, match="would change nothing"):
        Chip(8, 8, Hardware(device=DEVICE)).age(1.0, reads=5)


def test_training_goes_by_the_reads_that_practice_says():
    hardware, effect = Hardware(device=DEVICE), ReadDisturb(1e4)
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = X.double()
    for parts, added in ((hardware, (effect,)), (hardware.replace(effects=(effect,)), ())):
        crossbar = Crossbar(6, 4, parts, dtype=torch.float64)
        crossbar.inject_noise(NoiseInjection(effects=added, reads=(1e4, 1e4), compensated=False))
        seen = crossbar.read_through(x, weight)
        assert torch.allclose(seen, x @ weight * math.exp(-1.0))
        crossbar.inject_noise(NoiseInjection(effects=added, reads=(1e4, 1e4)))
        assert torch.allclose(crossbar.read_through(x, weight), x @ weight)
    with pytest.raises(ValueError, match=r"reads=.* would change nothing"):
        Crossbar(6, 4, hardware).inject_noise(NoiseInjection(reads=(1.0, 10.0)))


def test_a_recipe_wears_the_layers_that_go_by_reads():
    chain = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    recipe = Recipe(NoiseInjection(reads=(1.0, 1e4)))
    worn, plain = Hardware(device=DEVICE, effects=(ReadDisturb(1e4),)), Hardware(device=DEVICE)
    model = recipe.prepare(chain, worn, overrides={"1": plain})
    assert model[0].crossbar.injection.reads == (1.0, 1e4)
    assert model[1].crossbar.injection.reads == (0.0, 0.0)
    with pytest.raises(ValueError, match="would change nothing"):
        recipe.prepare(chain, plain)


def test_a_differential_pair_fades_as_both_its_cells_fill():
    hardware = Hardware(device=DEVICE, effects=(ReadDisturb(1e4),))
    crossbar = Crossbar(30, 20, hardware, dtype=torch.float64)
    weight = torch.randn(30, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    crossbar.program(weight)
    crossbar.age(0.0, reads=1e4)
    assert torch.allclose(crossbar.weight, weight * math.exp(-1.0))


def test_reads_happen_on_a_chip_too():
    torch.manual_seed(0)
    hardware = Hardware(device=DEVICE, effects=(ReadDisturb(1e3, shape=0.5),))
    chip = Chip(14, 10, hardware, seed=3)
    model = mho.convert(nn.Linear(6, 4), hardware, seed=1).eval()
    chip.place(model, name="a")
    twin = copy.deepcopy(model)
    chip.age(1.0, reads=400)
    chip.age(1.0, reads=600)
    twin.crossbar.age(2.0, reads=1000)
    assert torch.allclose(model.crossbar.G, twin.crossbar.G, atol=0.0)
    assert torch.equal(
        chip.residents[0].chip.g.reshape(-1)[chip.residents[0].place], model.crossbar.G
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ReadDisturb(0.0), "reads must be > 0"),
        (lambda: ReadDisturb(Spread(Normal(1e3, 1.0), low=-1.0)), "reads must be > 0"),
        (lambda: ReadDisturb(1e3, toward="up"), "toward must be one of"),
        (lambda: ReadDisturb(1e3, shape=0.0), "shape"),
        (lambda: ReadDisturb(1e3, slope=0.0), "slope"),
        (lambda: ReadDisturb(1e3, net=1.5), "net"),
        (lambda: ReadDisturb(1e3, voltage=-0.1), "voltage"),
    ],
)
def test_bad_disturb_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
