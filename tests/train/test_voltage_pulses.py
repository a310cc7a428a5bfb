"""Voltage-driven cells under equal pulses: models without a closed form, and with a random term."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import solve_ivp
from torch import nn

from mho.devices import StanfordPKU, Yakopcic
from mho.train.on_cells import InSitu
from mho.train.on_cells.voltage import VoltagePulses

F64 = torch.float64


def yakopcic_rate(x, volts):
    """The published equation with its published numbers (Yakopcic 2013), written anew."""
    a, v_p, v_n, x_p, x_n, alpha_p, alpha_n = 4000.0, 0.16, 0.15, 0.3, 0.5, 1.0, 5.0
    if volts > v_p:
        w = (x_p - x) / (1 - x_p) + 1
        f = math.exp(-alpha_p * (x - x_p)) * w if x >= x_p else 1.0
        return a * (math.exp(volts) - math.exp(v_p)) * f
    f = math.exp(alpha_n * (x + x_n - 1)) * x / (1 - x_n) if x <= 1 - x_n else 1.0
    return -a * (math.exp(-volts) - math.exp(v_n)) * f


def test_trains_without_a_closed_form_solve_the_models_equation():
    pulses = VoltagePulses(Yakopcic(), 1.2, 8e-6, 0.9, 1.5e-5)
    counts = torch.tensor([3, 1, -1, -4, 0, 2, -2])
    start = torch.tensor([0.1, 0.25, 0.9, 0.7, 0.4, 0.6, 0.3], dtype=F64)
    cells = pulses.fabricate((7,), dtype=F64)
    g_of = 0.17 * 0.05  # a1 b
    cells.write(start * g_of)
    cells.pulse(counts)
    for x, n, g in zip(start.tolist(), counts.tolist(), cells.g.tolist(), strict=True):
        volts, width = (1.2, 8e-6) if n > 0 else (-0.9, 1.5e-5)
        end = x
        if n:
            span = (0.0, abs(n) * width)
            solved = solve_ivp(lambda _, s, v=volts: [yakopcic_rate(s[0], v)], span, [x],
                               rtol=1e-9, atol=1e-12, max_step=span[1] / 50)  # fmt: skip
            end = solved.y[0, -1]
        assert g / g_of == pytest.approx(end, rel=1e-3)
    moved = (cells.g / g_of - start).abs()
    assert float(moved[counts != 0].min()) > 0.02
    assert cells.writes.tolist() == counts.abs().tolist()


# Below 1.05 V nothing drifts in this model, and at 10 mV nothing heats: its gap only diffuses.
WALK = StanfordPKU(delta_gap=0.02)
SIGMA = 0.02 * 1e-6 / (1 + math.exp((450 - 298) / 500))  # m/√s, of one draw in 1 ps


@pytest.mark.parametrize("number", [1, 4])
def test_the_random_term_spreads_as_the_square_root_of_time(number):
    cells = VoltagePulses(WALK, 0.01, 1e-6, 0.01, 2e-6).fabricate((4000,), seed=3, dtype=F64)
    start = float(WALK.conductance_at(0.5, WALK.parameters()))
    for direction, width in ((1, 1e-6), (-1, 2e-6)):
        cells.write(torch.full((4000,), start, dtype=F64))
        cells.pulse(direction * number)
        gap = -0.25e-9 * (cells.g * 0.25 / 1e-3).log()  # m; I = i0 exp(-gap/g0) sinh(v/v0)
        spread = SIGMA * math.sqrt(number * width)
        assert float(gap.std()) == pytest.approx(spread, rel=0.05)
        assert float(gap.mean()) == pytest.approx(0.95e-9, abs=4 * spread / math.sqrt(4000))


def test_a_model_with_a_random_term_drifts_as_its_equation_says():
    """In the mean of many cells: the drift of the published equation, step by step."""
    cells = VoltagePulses(WALK, 1.6, 2e-8, 1.4, 2e-8).fabricate((800,), seed=1, dtype=F64)
    p = WALK.parameters()
    cells.write(torch.full((800,), float(WALK.conductance_at(0.4, p)), dtype=F64))
    cells.pulse(2)
    gap = 1.7e-9 - 0.4 * 1.5e-9
    volts, k, steps = 1.6, 8.617333262e-5, 4000  # eV/K
    for _ in range(steps):
        heat = abs(volts * 1e-3 * math.exp(-gap / 0.25e-9) * math.sinh(volts / 0.25))
        kt = k * (298.0 + 2.1e3 * heat)
        gamma = 16.0 - 0.8 * (gap * 1e9) ** 3
        hops = math.exp(-0.6 / kt) * math.sinh(gamma * 0.25e-9 * volts / (12e-9 * kt))
        gap = max(gap - 10.0 * hops * 4e-8 / steps, 0.2e-9)
    found = (-0.25e-9 * (cells.g * 0.25 / 1e-3).log()).mean()
    assert gap < 1.05e-9  # it has moved
    assert float(found) == pytest.approx(gap, rel=0.02)


def test_pulses_with_a_random_term_repeat_by_their_seed():
    def run(seed):
        cells = VoltagePulses(WALK, 1.6, 2e-8, 1.4, 2e-8).fabricate((20,), seed=seed, dtype=F64)
        cells.pulse(1)
        return cells.g

    assert torch.equal(run(5), run(5))
    assert not torch.equal(run(5), run(6))
    assert len(np.unique(run(5).numpy())) > 10  # each cell its own draws


@pytest.mark.parametrize("threshold", [None, 1.0])
@pytest.mark.parametrize(
    "pulses",
    [VoltagePulses(Yakopcic(), 1.2, 8e-6, 0.9, 1.5e-5), VoltagePulses(WALK, 1.6, 4e-9, 1.4, 4e-9)],
    ids=["without a closed form", "with a random term"],
)
def test_a_step_in_place_moves_weights_against_their_gradients(pulses, threshold):
    torch.manual_seed(0)
    x, wanted = torch.randn(30, 8), torch.randn(30, 2)
    layer = nn.Linear(8, 2, bias=False)
    nn.init.zeros_(layer.weight)
    opt = InSitu(
        torch.optim.SGD(layer.parameters(), lr=0.5),
        pulses,
        threshold=threshold,
        granularity=0.03,
        max_pulses=2,
        seed=3,
    )
    before = layer.weight.detach().clone()
    F.mse_loss(layer(x), wanted).backward()
    opt.step()
    assert torch.equal(layer.weight.data, opt.weights(layer.weight).read())
    counts = opt.writes(layer.weight).squeeze(0)
    moved = (layer.weight.detach() - before)[counts > 0]
    proposed = -0.5 * layer.weight.grad[counts > 0]
    assert int((counts > 0).sum()) >= 8
    assert int(counts.max()) <= 2
    assert (moved.sign() == proposed.sign()).float().mean() > 0.9
    assert torch.equal(layer.weight.detach()[counts == 0], before[counts == 0])
