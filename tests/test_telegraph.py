"""Telegraph noise that lasts: dwell times, correlation and spectrum against theory; its life."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import LogNormal, Uniform

import mho
from mho import Crossbar, Hardware
from mho.cells.behaviour import Context
from mho.chip import Chip
from mho.core import random
from mho.devices import LinearDevice, Spread
from mho.effects import StuckAt, TelegraphNoise
from mho.train import NoiseInjection

DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)
LASTING = TelegraphNoise.of_times(0.2, tau_capture=3.0, tau_emission=1.0)
OCCUPANCY, TAU = 0.25, 0.75


def cells_with(effect, shape, seed=0):
    cells = DEVICE.cells_type((DEVICE, effect), shape, seed=seed, dtype=torch.float64)
    cells.program(torch.tensor(5e-5, dtype=torch.float64))
    return cells


def filled(cells):
    """Which traps are filled, told from a read alone."""
    return cells.read() < 0.99 * cells.g


def test_times_and_shares_say_the_same():
    assert LASTING.occupancy == pytest.approx(OCCUPANCY)
    assert LASTING.tau == pytest.approx(TAU)
    assert LASTING.tau_capture == pytest.approx(3.0)
    assert LASTING.tau_emission == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no times"):
        _ = TelegraphNoise(0.1).tau_capture


def test_flips_are_as_probable_as_the_chain_says():
    n, dt = 200_000, 0.4
    cells = cells_with(LASTING, (n,))
    before = filled(cells)
    assert abs(float(before.double().mean()) - OCCUPANCY) < 4 * (OCCUPANCY * 0.75 / n) ** 0.5
    assert torch.equal(before, filled(cells))  # no time has passed
    cells.age(dt)
    after = filled(cells)
    share = 1.0 - math.exp(-dt * (1 / 3.0 + 1 / 1.0))
    for start, flips in ((False, share * 1.0 / 4.0), (True, share * 3.0 / 4.0)):
        of = before == start
        found = float((after != before)[of].double().mean())
        assert abs(found - flips) < 4 * (flips * (1 - flips) / int(of.sum())) ** 0.5


@pytest.mark.parametrize("parts", [(0.6,), (0.2, 0.4), (0.1,) * 6])
def test_correlation_decays_with_the_time_between_however_it_is_cut(parts):
    n = 100_000
    cells = cells_with(LASTING, (n,), seed=len(parts))
    before = filled(cells).double()
    for part in parts:
        cells.age(part)
    after = filled(cells).double()
    both = torch.corrcoef(torch.stack((before, after)))[0, 1]
    assert abs(float(both) - math.exp(-0.6 / TAU)) < 4 / n**0.5
    assert abs(float(after.mean()) - OCCUPANCY) < 4 * (OCCUPANCY * 0.75 / n) ** 0.5


@pytest.fixture(scope="module")
def record():
    cells, dt = cells_with(LASTING, (3000,), seed=5), TAU / 15
    found = []
    for _ in range(1024):
        found.append(filled(cells))
        cells.age(dt)
    return torch.stack(found).numpy(), dt


def test_dwell_times_are_exponential(record):
    states, dt = record
    for state, tau in ((True, 1.0), (False, 3.0)):
        lengths = []
        for cell in states.T:
            edges = np.flatnonzero(np.diff(cell)) + 1
            ends = edges[1:], edges[:-1]  # whole dwells alone
            kept = cell[ends[1]] == state
            started = ends[1] * dt < 10.0  # early enough to be seen to their ends
            lengths.append((ends[0] - ends[1])[kept & started])
        lengths = np.concatenate(lengths)
        flip = (1 - math.exp(-dt / TAU)) * TAU / tau
        # A look every dt sees geometric dwells: of that mean, and as likely to go on at any age.
        assert abs(lengths.mean() * flip - 1) < 4 / len(lengths) ** 0.5
        edges = np.r_[0, np.unique(stats.geom.ppf(np.linspace(0.1, 0.9, 9), flip)), np.inf]
        counts = np.array(
            [((lengths > a) & (lengths <= b)).sum() for a, b in itertools.pairwise(edges)]
        )
        wanted = np.diff(stats.geom.cdf(edges, flip)) * len(lengths)
        assert stats.chisquare(counts, wanted * counts.sum() / wanted.sum()).pvalue > 1e-3


def test_the_spectrum_is_a_lorentzian(record):
    states, dt = record
    centred = states - OCCUPANCY
    power = np.abs(np.fft.rfft(centred, axis=0)) ** 2 / len(states)
    rho = math.exp(-dt / TAU)
    omega = 2 * np.pi * np.fft.rfftfreq(len(states))
    wanted = OCCUPANCY * 0.75 * (1 - rho**2) / (1 - 2 * rho * np.cos(omega) + rho**2)
    ratio = power.mean(axis=1)[1:-1] / wanted[1:-1]
    # Of 3000 periodograms each; the ends of a record leak a little (relative τ/T).
    errors = (ratio - 1) * 3000**0.5
    assert np.abs(errors[:-200]).max() < 5.0 + 3000**0.5 * 15 / 1024
    assert abs(ratio[:100].mean() - 1) < 0.02


def test_traps_of_a_cell_are_independent_and_of_its_own_steps():
    effect = TelegraphNoise(
        Spread(LogNormal(-3.0, 0.8)), fraction=0.5, occupancy=0.4, tau=2.0, traps=3
    )
    cells = cells_with(effect, (100_000,), seed=2)
    shown = cells.read() / cells.g
    still = float((shown == 1.0).double().mean())
    none_filled = (1 - 0.5 * 0.4) ** 3
    assert abs(still - none_filled) < 4 * (none_filled * (1 - none_filled) / 1e5) ** 0.5
    assert {f"state_1_filled{e}" for e in ("", "_1", "_2")} == set(cells.changing)
    assert float(shown.min()) >= 0.0


def test_steps_are_larger_in_high_resistance_states():
    effect = TelegraphNoise(0.05, occupancy=1.0, tau=1.0, hrs_growth=0.5)
    cells = cells_with(effect, (4,))
    g = torch.tensor([1e-4, 2.5e-5, 1e-6, 1e-4], dtype=torch.float64)
    cells.program(g)
    assert torch.allclose(1 - cells.read() / g, 0.05 * (1e-4 / g) ** 0.5)
    full = TelegraphNoise(0.5, occupancy=1.0, hrs_growth=1.0)
    context = Context(g, *DEVICE.window, random.stream(0))
    assert (full.read(g, context) >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("growth", [1e-3, 1.0, 5.0, 1e3])
def test_steps_are_finite_in_cells_that_conduct_nothing(growth, dtype):
    effect = TelegraphNoise(0.1, fraction=0.5, occupancy=1.0, hrs_growth=growth)
    g = torch.tensor([0.0, 1e-45, 1e-30, 1e-12, 1e-4], dtype=dtype).expand(40, 5)
    context = Context(g, 0.0, 1e-4, random.stream(0))
    context.state = effect.fabricate_state(context)
    for seen in (effect.read(g, context), effect.shown(g, context)):
        assert bool(torch.isfinite(seen).all() & (seen >= 0).all() & (seen <= g).all())
    without = context.state["step"] == 0
    assert torch.equal(seen[without], g[without])


def test_times_of_many_decades_add_up_to_noise_that_falls_slowly():
    # τ log-uniform over 1e-2…1e2 s: the correlation falls as the logarithm of the time.
    tau = Spread("LogNormal", (("loc", 0.0), ("scale", 2.0)))
    cells = cells_with(TelegraphNoise(0.2, tau=tau), (100_000,), seed=3)
    before, at = filled(cells).double() - 0.5, 0.0
    draws = np.exp(2.0 * np.random.default_rng(0).standard_normal(200_000))
    for time in (0.1, 1.0, 10.0):
        cells.age(time - at)
        at = time
        found = float((before * (filled(cells).double() - 0.5)).mean() * 4)
        assert abs(found - np.exp(-time / draws).mean()) < 4 * (1 / 1e5 + 1 / 2e5) ** 0.5


# ── in arrays ────────────────────────────────────────────────────────────────────────────────

X = torch.linspace(-1.0, 1.0, 24).view(4, 6)


def layer(effect=LASTING, seed=1, **parts):
    torch.manual_seed(0)
    hardware = Hardware(device=DEVICE, effects=(effect, StuckAt(0.05)), **parts)
    return mho.convert(nn.Linear(6, 4), hardware, seed=seed).eval()


def test_reads_of_one_moment_agree_and_later_ones_differ():
    model = layer()
    assert model.crossbar.collapsed
    one = model(X)
    assert torch.equal(one, model(X))
    assert torch.allclose(X @ model.crossbar.effective_weight + model.bias, one, atol=1e-6)
    mho.age(model, 1.0)
    assert not torch.equal(one, model(X))
    assert torch.equal(model.crossbar.G, model.crossbar.cells.g)


def test_a_failed_change_leaves_the_traps_as_they_were(monkeypatch):
    model = nn.Sequential(layer(seed=1), nn.Linear(4, 2))
    model[1] = mho.convert(nn.Linear(4, 2), Hardware(device=DEVICE, effects=(LASTING,))).eval()
    before = model(X)

    def fails(seconds, reads=0.0):
        raise RuntimeError("no")

    monkeypatch.setattr(model[1].crossbar, "age", fails)
    with pytest.raises(RuntimeError):
        mho.age(model, 1e3)
    assert torch.equal(before, model(X))


@pytest.mark.parametrize("own", [False, True])
def test_training_draws_traps_as_they_are_on_average(own):
    effect = TelegraphNoise(0.5, occupancy=0.25, tau=1e9)
    hardware = Hardware(device=DEVICE, effects=(effect,))
    crossbar = Crossbar(50, 40, hardware, seed=0, dtype=torch.float64)
    weight = torch.ones(50, 40, dtype=torch.float64)
    crossbar.program(weight)
    crossbar.inject_noise(NoiseInjection(own_cells=own))
    held = {name: value.clone() for name, value in crossbar.cells.state(1).items()}
    torch.manual_seed(0)
    eye = torch.eye(50, dtype=torch.float64)
    reads = torch.stack([crossbar.read_through(eye, weight) for _ in range(40)])
    share = float((reads < 0.75).double().mean())
    count = reads.numel()
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / count) ** 0.5
    assert not torch.equal(reads[0], reads[1])
    assert all(torch.equal(value, held[name]) for name, value in crossbar.cells.state(1).items())


def test_a_chip_keeps_its_traps():
    torch.manual_seed(0)
    hardware = Hardware(device=DEVICE, effects=(LASTING,))
    model = mho.convert(nn.Linear(6, 4), hardware, seed=1).eval()
    chip = Chip(14, 10, hardware, seed=3)
    chip.place(model, name="a")
    chip.age(5.0)
    name, own = model.crossbar.cells.changing[0], model.crossbar.cells
    place = chip.residents[0].place
    assert torch.equal(chip.cells._buffers[name].reshape(-1)[place], own._buffers[name])
    read, saved = model(X), copy.deepcopy(model.state_dict())
    chip.age(50.0)
    assert not torch.equal(read, model(X))
    model.load_state_dict(saved)
    assert torch.equal(read, model(X))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: TelegraphNoise(0.1, tau=0.0), "tau must be > 0"),
        (lambda: TelegraphNoise(0.1, tau=Spread(Uniform(-3.0, 1.0))), "tau must be > 0"),
        (lambda: TelegraphNoise(0.1, traps=0), "traps"),
        (lambda: TelegraphNoise(0.1, hrs_growth=-1.0), "hrs_growth"),
        (lambda: TelegraphNoise.of_times(0.1, 0.0, 1.0), "tau_capture"),
        (lambda: TelegraphNoise.of_times(0.1, 1.0, math.nan), "tau_emission"),
    ],
)
def test_bad_values_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
