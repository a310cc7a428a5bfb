"""Programming error from pairs of a target and what was achieved."""

import matplotlib as mpl

mpl.use("Agg")

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from scipy import optimize, stats

from mho import Crossbar, Hardware, fit
from mho.devices import Device, GenericStatistical
from mho.fit.held_out import distinct
from mho.plot import statistical as plot

MEASURED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lea" / "figure_3"
needs_measurements = pytest.mark.skipif(
    not MEASURED.is_dir(), reason=f"the ReRAM measurements are not here: {MEASURED}"
)
TRUTH = GenericStatistical(
    g_min=0.0, g_max=25e-6, write_sigma=(0.2e-6, 1e-6, -0.5e-6), write_bias=(0.3e-6, -0.5e-6)
)


def made(number, seed=0, device=TRUTH, stuck=0.0, levels=None):
    """Pairs as the device itself programs them."""
    rng = np.random.default_rng(seed)
    low, high = device.window
    x = rng.uniform(size=number) if levels is None else rng.integers(levels, size=number)
    target = low + (high - low) * (x if levels is None else x / (levels - 1))
    cells = device.fabricate((number,), seed=seed, dtype=torch.float64)
    cells.program(torch.tensor(target))
    achieved = cells.g.numpy().copy()
    broken = rng.random(number) < stuck
    achieved[broken] = np.where(rng.random(number)[broken] < 0.5, 0.0, 3 * high)
    return target, achieved, broken


# ── the device's bias ────────────────────────────────────────────────────────────────────────


def test_bias_acts_when_cells_are_programmed_and_in_training():
    device = GenericStatistical(g_max=20e-6, write_bias=(1e-6, 2e-6))
    cells = device.fabricate((3,), dtype=torch.float64)
    goal = torch.tensor([0.0, 1e-5, 2e-5], dtype=torch.float64)
    cells.program(goal)
    assert torch.allclose(cells.g, goal + 1e-6 + 2e-6 * goal / 20e-6, rtol=1e-12, atol=0.0)
    crossbar = Crossbar(3, 2, Hardware(device=device), dtype=torch.float64)
    weight = torch.eye(3, dtype=torch.float64)[:, :2].clone().requires_grad_()
    crossbar.program(weight.detach())
    eye = torch.eye(3, dtype=torch.float64)
    trained = crossbar.read_through(eye, weight)
    assert torch.allclose(trained, eye @ crossbar, rtol=1e-9)
    # The differential pair takes 1 µS from both, and 2 µS · x from the one that conducts.
    assert torch.allclose(trained, weight * 22.0 / 20.0)
    (grad,) = torch.autograd.grad(trained.sum(), weight)
    assert torch.isfinite(grad).all()


def test_bias_is_a_part_of_the_programming_error():
    device = GenericStatistical(write_bias=1e-6)
    assert device.write_bias == (1e-6,)
    assert device.acts_on("program")
    assert not device.replace(write_scale=0.0).acts_on("program")
    assert not GenericStatistical().acts_on("program")
    half = device.replace(write_scale=0.5).fabricate((1,), dtype=torch.float64)
    half.program(torch.tensor(1e-5, dtype=torch.float64))
    assert float(half.g) == pytest.approx(1.05e-5, rel=1e-12)
    low = device.replace(write_bias=-1e-6).fabricate((1,))
    low.program(torch.tensor(0.0))
    assert float(low.g) == 0.0
    with pytest.raises(TypeError, match="write_bias"):
        GenericStatistical(write_bias="a")


# ── the fit ──────────────────────────────────────────────────────────────────────────────────


def test_the_device_that_made_the_pairs_is_found():
    target, achieved, broken = made(5000, seed=1, stuck=0.02)
    found = fit.programming(target, achieved, g_min=0.0, g_max=25e-6, seed=1)
    wanted = {
        **{f"write_sigma_{k}": v for k, v in enumerate(TRUTH.write_sigma)},
        **{f"write_bias_{k}": v for k, v in enumerate(TRUTH.write_bias)},
    }
    assert set(wanted) <= set(found.estimates)
    for name, value in wanted.items():
        estimate = found.estimates[name]
        assert abs(estimate.value - value) < 4 * estimate.error, name
        assert estimate.error < 0.2 * abs(value)
    assert (found.suspicious & ~broken).sum() <= 3
    # Stuck at 0 S or at 3 g_max: only where the target is close by is a stuck cell no stranger.
    far = broken & (np.abs(achieved - target) > 8 * found.sigma(target))
    assert found.suspicious[far].all()
    assert max(map(abs, found.calibration.deviations)) < 4
    assert "suspicious" in found.verdict
    assert Device.from_dict(found.device.to_dict()) == found.device


def test_errors_are_those_of_repeated_measurements():
    names = ("write_bias_0", "write_bias_1", "write_sigma_0", "write_sigma_1")
    true = dict(zip(names, (0.1e-6, 0.3e-6, 0.3e-6, 0.6e-6), strict=True))
    device = GenericStatistical(
        g_min=2e-6, write_bias=(0.1e-6, 0.3e-6), write_sigma=(0.3e-6, 0.6e-6)
    )
    scores = []
    for seed in range(25):
        t, a, _ = made(300, seed, device)
        found = fit.programming(t, a, degree=1, bias_degree=1, g_max=25e-6)
        scores.append(
            [(found.estimates[n].value - true[n]) / found.estimates[n].error for n in names]
        )
    scores = np.array(scores)
    assert np.abs(scores.mean(0)).max() < 4 / 25**0.5 + 0.2
    assert np.abs(scores.std(0) - 1).max() < 4 / 50**0.5


def test_errors_hold_with_few_pairs_and_sound_ones_are_no_strangers():
    scores = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        t = rng.uniform(2e-6, 25e-6, 24)
        a = t + 1e-7 + 4e-7 * rng.standard_normal(24)
        found = fit.programming(t, a, g_max=25e-6, degree=0, bias_degree=0)
        assert not found.suspicious.any()
        pairs = zip(("write_bias_0", "write_sigma_0"), (1e-7, 4e-7), strict=True)
        scores.append([(found.estimates[n].value - v) / found.estimates[n].error for n, v in pairs])
    assert np.std(scores, axis=0).max() < 1.2
    assert np.abs(np.mean(scores, axis=0)).max() < 4 / 60**0.5


def test_a_search_that_fails_is_never_used(monkeypatch):
    rng = np.random.default_rng(0)
    t = rng.uniform(2e-6, 25e-6, 100)
    a = t + 4e-7 * rng.standard_normal(100)
    wanted = fit.programming(t, a, degree=1, bias_degree=1).device
    search, failed = optimize.minimize, []

    def half_way(fun, start, *, method, **rest):
        if method == "trust-constr":
            return search(fun, start, method=method, **rest)
        failed.append(method)
        wrong = np.asarray(start) * 0.5
        return optimize.OptimizeResult(x=wrong, fun=-1e9, success=False)

    monkeypatch.setattr(optimize, "minimize", half_way)
    found = fit.programming(t, a, degree=1, bias_degree=1).device
    assert failed
    assert found.write_sigma == pytest.approx(wanted.write_sigma, rel=0.02)
    monkeypatch.setattr(
        optimize,
        "minimize",
        lambda fun, start, **_: optimize.OptimizeResult(x=start, fun=0.0, success=False),
    )
    with pytest.raises(RuntimeError, match="no greatest likelihood was found of"):
        fit.programming(t, a, degree=1, bias_degree=1)


def test_likelihood_is_that_of_another_optimiser():
    t, a, _ = made(400, 3, TRUTH.replace(g_min=5e-6, write_bias=0.0))
    found = fit.programming(t, a, degree=1, bias_degree=-1)
    x = t / t.max()

    def misfit(p):
        return -stats.norm.logpdf((a - t) * 1e6, 0.0, np.abs(p[0] + p[1] * x)).sum()

    other = optimize.minimize(misfit, [0.3, 0.3], method="Nelder-Mead").x * 1e-6
    assert found.device.write_sigma == pytest.approx(np.abs(other), rel=0.02)
    assert "outliers" not in found.estimates
    assert "no bias" in found.verdict


def test_cells_stopped_at_zero_do_not_bend_the_fit():
    device = GenericStatistical(g_max=3e-6, write_sigma=1e-6)
    t, a, _ = made(4000, 4, device)
    assert 0.1 < (a == 0.0).mean() < 0.2
    found = fit.programming(t, a, g_max=3e-6, g_min=0.0)
    assert found.device.write_sigma == pytest.approx((1e-6,), rel=4 / 6000**0.5)
    assert found.device.write_bias == (0.0,)
    assert max(map(abs, found.calibration.deviations)) < 4


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_levels_limit_the_degree(levels):
    t, a, _ = made(2000, 2, TRUTH.replace(g_min=5e-6), levels=levels)
    found = fit.programming(t, a)
    assert found.levels == levels
    assert len(found.device.write_sigma) <= levels
    assert len(found.device.write_bias) <= levels
    for level in np.unique(t):
        at = a[t == level] - level
        n = len(at)
        assert abs(float(found.sigma(level)) / at.std() - 1) < 4 / n**0.5
        assert abs(float(found.bias(level)) - at.mean()) < 4 * at.std() / n**0.5
    with pytest.raises(ValueError, match=f"degree must be <= {levels - 1} with targets at"):
        fit.programming(t, a, degree=levels)


def test_what_stays_with_the_cell_is_said():
    rng = np.random.default_rng(0)
    cell = np.repeat(np.arange(100), 8)
    t = rng.uniform(5e-6, 25e-6, 800)
    own = 0.6e-6 * rng.standard_normal(100)
    a = t + own[cell] + 0.3e-6 * rng.standard_normal(800)
    found = fit.programming(t, a, cell=cell)
    assert found.kept == pytest.approx(own.var() / (own.var() + 0.09e-12), abs=0.04)
    assert "stays with the cell" in found.verdict
    # A mean of 100 cells, not of 800 pairs.
    fixed = fit.programming(t, a, cell=cell, degree=0, bias_degree=0)
    alone = fit.programming(t, a, degree=0, bias_degree=0)
    mean_of_cells = (own.var() / 100 + 0.09e-12 / 800) ** 0.5
    assert fixed.estimates["write_bias_0"].error == pytest.approx(mean_of_cells, rel=0.15)
    assert alone.estimates["write_bias_0"].error < 0.5 * fixed.estimates["write_bias_0"].error
    assert np.isnan(alone.kept)


def test_exact_programming_is_no_error():
    t = np.linspace(1e-6, 2e-5, 40)
    found = fit.programming(t, t)
    assert found.device.write_sigma == (0.0,)
    assert not found.device.acts_on("program")
    assert "exactly" in found.verdict


def test_a_band_of_acceptance_is_not_a_normal_error_and_the_verdict_says_so():
    rng = np.random.default_rng(0)
    t = rng.uniform(10e-6, 20e-6, 3000)
    found = fit.programming(t, t + 1e-6 * rng.uniform(-1, 1, 3000))
    assert found.device.write_sigma[0] == pytest.approx(1e-6 / 3**0.5, rel=0.05)
    assert not found.suspicious.any()
    assert "band of acceptance" in found.verdict


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit.programming([1e-6] * 9, [1e-6] * 9), "too few pairs.*got 9"),
        (lambda: fit.programming(np.ones(30), np.ones(29)), "as many, got 30 and 29"),
        (lambda: fit.programming(np.full(30, 1e-6), np.ones(30)), "one target alone"),
        (lambda: fit.programming(-np.ones(30), np.ones(30)), "target must be >= 0"),
        (lambda: fit.programming(np.arange(30), np.full(30, np.nan)), "achieved must be finite"),
        (lambda: fit.programming(np.arange(30), np.arange(30), g_max=5.0), "g_max must be >= all"),
        (lambda: fit.programming(np.arange(30), np.arange(30), cell=[1]), "cell must be as many"),
        (lambda: fit.programming(np.arange(30), np.arange(30), cell=[1] * 30), "at least 10 cells"),
        (lambda: fit.programming(np.arange(30), np.arange(30), degree=-1), "degree must be >= 0"),
    ],
)
def test_too_little_or_bad_data_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_levels_are_counted():
    rng = np.random.default_rng(0)
    assert distinct(np.repeat([0.0, 1.0, 2.0, 3.0], 50)) == 4
    assert distinct(np.repeat([0.0, 1.0, 2.0], 50) + 0.01 * rng.standard_normal(150)) == 3
    assert distinct(rng.uniform(size=1000)) >= 10
    assert distinct(np.ones(5)) == 1


def test_the_picture_shows_pairs_bands_and_strangers():
    target, achieved, _ = made(600, seed=1, stuck=0.03)
    left, right = plot.programming_fit(fit.programming(target, achieved))
    names = left.get_legend_handles_labels()[1]
    assert {"bias", "±1 σ", "±2 σ"} < set(names)
    assert any(name.startswith("suspicious") for name in names)
    assert left.get_ylim()[1] < 10.0  # the stuck cells are marked at the edge, not drawn to scale
    assert "σ" in right.get_legend_handles_labels()[1]
    plt.close("all")


# ── what was measured ────────────────────────────────────────────────────────────────────────


@needs_measurements
def test_measured_levels_of_reram():
    # Four bands of 33.3 µS, from 116.7 to 250 µS; the target is taken to be the middle of each.
    middles = (116.6667 + 33.3333 * (np.arange(4) + 0.5)) * 1e-6
    files = [
        np.loadtxt(MEASURED / "e" / f"conductance_hist_multibit_k17_state{k}.txt") * 1e-6
        for k in range(4)
    ]
    target = np.concatenate([np.full(len(g), m) for g, m in zip(files, middles, strict=True)])
    achieved = np.concatenate(files)
    assert len(achieved) == 625
    found = fit.programming(target, achieved)
    assert found.levels == 4
    zero = achieved == 0.0
    assert zero.sum() == 32
    assert found.suspicious[zero].all()
    assert found.suspicious.sum() <= 34
    for middle, g in zip(middles, files, strict=True):
        healthy = g[g > 0.0] - middle
        assert float(found.sigma(middle)) == pytest.approx(healthy.std(), rel=0.2)
        assert float(found.bias(middle)) == pytest.approx(healthy.mean(), abs=2e-6)
    assert 6e-6 < found.sigma(middles).min() < found.sigma(middles).max() < 12e-6


def test_a_seed_is_an_integer():
    target = np.linspace(1e-6, 2e-5, 40)
    with pytest.raises(TypeError, match="seed must be an integer"):
        fit.programming(target, target, seed=1.5)
    with pytest.raises(ValueError, match="seed must be >= 0"):
        fit.jump_table(target, 0.01 * target, seed=-1)
