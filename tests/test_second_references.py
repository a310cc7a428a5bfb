"""Second references: random bits, a recipe's step, singular values and half-precision cells.

Each is worked out here once more, with NumPy, SciPy or the source's own equations.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import mho
from mho.core import random
from mho.decomposition.svd import top_triplets
from mho.periphery import rounding

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_words_of_random_bits_are_even_and_apart():
    source = random.generator(1)
    first, second = (random.shorts(random.words(source), 1 << 20).numpy() for _ in range(2))
    counts = np.bincount(first.astype(np.int64) + 2**15, minlength=2**16)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 4.5 / 1024
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 4.5 / 1024


@pytest.mark.parametrize(("high", "share"), [(1.0, 0.05), (3e-5, 0.01), (1.0, 2.0**-18)])
def test_rare_draws_are_as_frequent_as_they_should_be(high, share):
    size = torch.full((1 << 20,), share * high)
    source = random.generator(2)
    found = [random.below(size, high, source) for _ in range(20)]
    draws = torch.cat([u for _, u in found]) / (share * high)
    expected = 20 * 2**20 * share
    assert abs(len(draws) - expected) < 4.5 * math.sqrt(expected)
    assert stats.kstest(draws[:50_000].numpy(), "uniform").pvalue > 1e-4


def test_rounding_in_bulk_is_unbiased():
    part = torch.tensor([0.0, 2.0**-18, 0.25, 0.7, 1 - 2.0**-12], dtype=DOUBLE)
    value = (part.repeat_interleave(1 << 17) - 3.0).float()
    source, rounds = random.generator(3), 10
    ups = sum(
        (rounding.integers(value.clone(), source) + 3.0).view(5, -1).sum(1) for _ in range(rounds)
    )
    count = rounds * 2**17
    deviation = (count * part * (1 - part)).sqrt()
    assert ups[0] == 0.0
    # One draw a call is common to all: that of what sixteen bits leave out.
    assert ((ups - count * part).abs() <= 4.5 * deviation + 2.0**-17 * count).all()


# ── recipes, decompositions, cells in half precision ─────────────────────────────────────────


def test_a_step_of_the_analog_foundation_model_recipe(monkeypatch):
    # Büchel 2025, arXiv:2505.09663: clamp, quantise, noise, bound, straight through, AdamW, clip.
    recipe = mho.train.recipes.named("analog_foundation_model")
    layer, x = nn.Linear(32, 10), torch.randn(50, 32) * 3
    x[0, 0], x[1, 1], x[2, 2] = 200.0, -170.0, 180.0  # clamped
    analog = recipe.prepare(layer, recipe.hardware(mho.Hardware()), seed=1)
    weight, bias, goal = layer.weight.detach().clone(), layer.bias.detach(), torch.randn(50, 10)
    goal[:3] = 5 * layer(x[:3]).detach()  # pulls at what is clamped from outside
    drawn, draw = [], random.normal_like

    def watched(like, rng):
        drawn.append(draw(like, rng).clone())
        return drawn[-1].clone()

    monkeypatch.setattr(random, "normal_like", watched)
    y = analog(x)
    (noise,) = drawn
    r = 18 * x.std()
    largest = weight.abs().amax(1)
    q = (x.clamp(-r, r) * 127 / r).round() * (r / 127)
    bound = 14 * r * largest
    seen = weight.T + 0.03 * largest * noise
    expected = (q @ seen * 127 / bound).round().clamp(-127, 127) * bound / 127 + bias
    torch.testing.assert_close(y, expected, rtol=0, atol=2e-4)

    (y - goal).square().sum().backward()
    pull = 2 * (y.detach() - goal)
    of_weight, of_x = pull.T @ q, pull @ seen.T
    grow = of_x[x >= r].clamp(max=0).sum() - of_x[x <= -r].clamp(min=0).sum()
    torch.testing.assert_close(analog.weight.grad, of_weight, rtol=1e-4, atol=1e-3)
    of_range = (r * grow + 0.01 * r).view(1)
    assert grow != 0.0
    torch.testing.assert_close(analog.crossbar.learned_range.grad, of_range, rtol=1e-4, atol=1e-3)

    recipe.optimizer(analog.parameters(), lr=0.01).step()
    recipe.after_step(analog)
    moved = weight * (1 - 0.01 * 0.01) - 0.01 * of_weight / (of_weight.abs() + 1e-6)
    limit = 2.5 * moved.std(1, keepdim=True)
    torch.testing.assert_close(analog.weight, moved.clamp(-limit, limit), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("rank", [1, 4])
def test_largest_singular_values_against_numpy(rank, size):
    falling = torch.logspace(0, -12, 120, dtype=DOUBLE)
    left = torch.linalg.qr(torch.randn(128, 120, dtype=DOUBLE))[0]
    right = torch.linalg.qr(torch.randn(256, 120, dtype=DOUBLE))[0]
    for matrix in (
        torch.randn(128, 256, dtype=DOUBLE),
        torch.randn(128, 2, dtype=DOUBLE) @ torch.randn(2, 256, dtype=DOUBLE),
        torch.zeros(128, 256, dtype=DOUBLE),
        torch.ones(128, 256, dtype=DOUBLE),
        left * falling @ right.T,
    ):
        single = (matrix * size).float()
        u, s, v = (t.double().numpy() for t in top_triplets(single, rank))
        exact = single.double().numpy()
        values = np.linalg.svd(exact, compute_uv=False)
        norm = np.linalg.norm(exact)
        best = np.linalg.norm(values[rank:])
        assert np.linalg.norm(exact - u * s @ v.T) <= best * 1.001 + 4e-6 * norm
        np.testing.assert_allclose(s, values[:rank], rtol=0, atol=3e-5 * values[0])
        for vectors in (u, v):
            np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-4)


def test_cells_in_half_precision_are_off_by_no_more_than_is_said():
    stuck = mho.effects.StuckCells(places=((0, 0, 0), (1, 2, 3)), conductances=(5e-3, 0.0))
    for hardware in (mho.Hardware(effects=(stuck,)), mho.Hardware(device=mho.devices.PCM())):
        layer = nn.Linear(200, 100)
        full, half = (
            mho.convert(layer, hardware, seed=1, cells_dtype=kind).crossbar.G.double()
            for kind in (None, torch.float16)
        )
        low, high = hardware.device.window
        place = (full - low) / (high - low)
        said = torch.where(place.abs() > 1, place.abs() * 2.0**-11, 2.0**-12) * (high - low)
        if hardware.effects:
            assert half[0, 0, 0] == full[0, 0, 0] == pytest.approx(5e-3)
            assert half[1, 2, 3] == full[1, 2, 3] == 0.0
            said[0, 0, 0] = 0.0
        assert ((full - half).abs() <= said * 1.001).all()
