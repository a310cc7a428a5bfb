"""Reflected diffusion: moments of the heat kernel, stationary layers, order in the step."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from mho.devices import StanfordPKU, diffusion
from mho.devices.diffusion import fold, reflected

F64 = torch.float64
N = 20_000


def run(rate, intensity, x0, seconds, *, parts=1, n=N, seed=0):
    x = torch.full((n,), x0, dtype=F64)
    part = torch.full((n,), seconds / parts, dtype=F64)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(parts):
        x = reflected(rate, intensity, x, part, generator)
    assert bool(((x >= 0.0) & (x <= 1.0)).all())
    return x


def constant(value):
    return lambda x: value + 0.0 * x


def heat_moments(x0, tau):
    """Mean and variance of reflected Brownian motion from x0 after ``σ² t = tau``.

    From the cosine series ``p = 1 + 2 Σ cos(kπx0) cos(kπx) e^(-(kπ)²τ/2)``.
    """
    k = np.arange(1, 200)
    weight = np.cos(k * np.pi * x0) * np.exp(-((k * np.pi) ** 2) * tau / 2)
    sign = (-1.0) ** k
    mean = 0.5 + 2 * (weight * (sign - 1) / (k * np.pi) ** 2).sum()
    square = 1 / 3 + 4 * (weight * sign / (k * np.pi) ** 2).sum()
    return mean, square - mean**2


def agrees(x, mean, variance):
    x = x.numpy()
    assert abs(x.mean() - mean) < 4 * math.sqrt(variance / len(x))
    fourth = ((x - x.mean()) ** 4).mean()
    assert abs(x.var() - variance) < 4 * math.sqrt((fourth - x.var() ** 2) / len(x))


def test_folding_reflects_at_both_walls():
    free = torch.tensor([-0.25, 0.0, 0.5, 1.0, 1.25, 2.5, -1.75, 3.0], dtype=F64)
    found = torch.tensor([0.25, 0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 1.0], dtype=F64)
    assert torch.equal(fold(free), found)


@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize(("x0", "tau"), [(0.8, 1e-3), (0.8, 0.05), (0.1, 0.3), (0.5, 50.0)])
def test_at_rest_moments_are_those_of_the_heat_kernel(x0, tau, parts):
    x = run(constant(0.0), constant(1.7), x0, tau / 1.7**2, parts=parts, seed=parts)
    agrees(x, *heat_moments(x0, tau))
    assert not bool(((x == 0.0) | (x == 1.0)).any())


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize(("drift", "seconds"), [(-2.0, 3.0), (-20.0, 0.3), (-400.0, 0.1)])
def test_driven_cells_rest_in_an_exponential_layer(drift, seconds, parts):
    # Stationary density ∝ e^(2 drift x / intensity²), whatever the thickness.
    n = 4000
    x = run(constant(drift), constant(1.0), 0.4, seconds, parts=parts, n=n, seed=parts)
    k = -2 * drift
    layer = lambda z: -np.expm1(-k * z) / -math.expm1(-k)  # noqa: E731
    assert kstest(x.numpy(), layer).pvalue > 1e-3
    up = run(constant(-drift), constant(1.0), 0.6, seconds, parts=parts, n=n, seed=parts)
    assert kstest(1.0 - up.numpy(), layer).pvalue > 1e-3


def test_far_from_walls_it_is_drift_and_gaussian():
    x = run(constant(3.0), constant(0.1), 0.3, 0.1)
    agrees(x, 0.6, 0.001)


def pull(x):
    return 4.0 * (0.7 - x) * (1.0 + x)


def rough(x):
    return 0.5 * (1.0 + x)


def test_error_falls_with_the_step(monkeypatch):
    # Weak order 1 in the length of a step, which is its diffusion length squared.
    def steep(x):
        return 0.6 * (0.9 - x) * (3.0 * x).exp()

    monkeypatch.setattr(diffusion, "_DRIFT", 10.0)
    stds = []
    for length in (0.2, 0.1, 0.025):
        monkeypatch.setattr(diffusion, "_DIFFUSION", length)
        stds.append(float(run(steep, lambda x: 0.3 * (1.0 + x), 0.3, 0.5, n=100_000).std()))
    coarse, fine = (abs(std - stds[-1]) for std in stds[:2])
    error = 4 * 0.22 * math.sqrt(1 / 100_000)
    assert coarse > 2 * error  # there is something to see
    assert fine < 0.4 * coarse + error


@pytest.mark.parametrize("parts", [1, 4])
def test_state_dependent_terms_agree_with_a_fine_scheme(parts):
    x = run(pull, rough, 0.2, 0.3, parts=parts, seed=parts).numpy()
    # Plain Euler–Maruyama, folded, of 3000 steps.
    generator = torch.Generator().manual_seed(9)
    y = torch.full((N,), 0.2, dtype=F64)
    h = 1e-4
    for _ in range(3000):
        kick = torch.empty_like(y).normal_(generator=generator)
        y = fold(y + pull(y) * h + rough(y) * math.sqrt(h) * kick)
    y = y.numpy()
    assert abs(x.mean() - y.mean()) < 4 * math.sqrt(2 * y.var() / N) + 2e-3
    assert abs(x.std() / y.std() - 1) < 4 / math.sqrt(N) + 5e-3


def test_cells_of_their_own_times_and_noise():
    n = 3000
    x = torch.full((3 * n,), 0.5, dtype=F64)
    seconds = torch.tensor([0.0, 1e-3, 3.0], dtype=F64).repeat_interleave(n)
    sigma = torch.tensor([1.0, 2.0, 1.0], dtype=F64).repeat_interleave(n)
    drift = torch.tensor([1.0, 0.0, 2.0], dtype=F64).repeat_interleave(n)
    out = reflected(
        lambda x: drift + 0.0 * x, lambda x: sigma, x, seconds, torch.Generator().manual_seed(0)
    ).view(3, n)
    assert bool((out[0] == 0.5).all())
    agrees(out[1], 0.5, 4e-3)
    assert kstest(1.0 - out[2].numpy(), lambda z: np.expm1(-4 * z) / math.expm1(-4)).pvalue > 1e-3


# ── Stanford–PKU ─────────────────────────────────────────────────────────────────────────────


def pulsed(v, seconds, parts, x0, n=4000, **changes):
    cells = StanfordPKU(**changes).fabricate((n,), seed=parts, dtype=F64)
    cells.x = torch.full((n,), x0, dtype=F64)
    for _ in range(parts):
        cells.apply_pulse(v, seconds / parts)
    return cells.x


@pytest.mark.parametrize("parts", [1, 10])
def test_a_second_at_rest_forgets_the_state(parts):
    x = pulsed(0.0, 1.0, parts, 0.8)
    agrees(x, 0.5, 1 / 12)
    assert not bool(((x == 0.0) | (x == 1.0)).any())


def test_spread_at_rest_is_as_documented():
    for seconds, picometres in ((1e-6, 8.5), (1e-4, 85.0)):
        x = pulsed(0.0, seconds, 1, 0.8)
        assert float(x.std()) * 1500 == pytest.approx(picometres, rel=0.05)


@pytest.mark.parametrize(
    ("v", "seconds", "x0"),
    [(1.3, 1e-3, 0.3), (-1.4, 1e-4, 0.95), (0.8, 2e-3, 0.5), (-1.25, 1e-6, 0.9)],
)
def test_a_pulse_cut_in_ten_is_the_pulse(v, seconds, x0):
    one, ten = (pulsed(v, seconds, parts, x0).numpy() for parts in (1, 10))
    error = math.sqrt((one.var() + ten.var()) / len(one))
    assert abs(one.mean() - ten.mean()) < 4 * error
    assert one.std() / ten.std() == pytest.approx(1.0, abs=0.15)


def test_weak_noise_leaves_the_deterministic_pulse():
    still = pulsed(1.3, 1e-8, 1, 0.3, n=1, delta_gap=0.0)
    noisy = pulsed(1.3, 1e-8, 1, 0.3, n=200, delta_gap=1e-9)
    assert 0.3 < float(still) < 1.0
    assert float((noisy - still).abs().max()) < 2e-3
