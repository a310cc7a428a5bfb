"""Spreads inside of bounds, and errors of programming that add up, against SciPy and by hand."""

import math

import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Gamma, Normal

import mho
from mho.cells.life import Drawn, settle
from mho.chip import Chip
from mho.devices import LinearDevice, Spread
from mho.effects import TelegraphNoise, WriteNoise

F64 = torch.float64


@pytest.mark.parametrize(("low", "high"), [(None, None), (0.8, None), (None, 1.4), (0.8, 1.4)])
def test_quantiles_are_those_of_the_distribution_cut_at_its_bounds(low, high):
    spread = Spread(Normal(1.0, 0.5), low=low, high=high, shared="a cause")
    score = torch.linspace(-3.0, 3.0, 31, dtype=F64)
    a, b = (
        end if bound is None else (bound - 1.0) / 0.5
        for bound, end in ((low, -float("inf")), (high, float("inf")))
    )
    wanted = scipy.stats.truncnorm.ppf(scipy.stats.norm.cdf(score), a, b, loc=1.0, scale=0.5)
    assert spread.quantile(score).tolist() == pytest.approx(wanted.tolist(), rel=1e-9)


def test_bounds_that_leave_nothing_are_refused():
    spread = Spread(Normal(1.0, 0.5), low=9.0, high=9.1, shared="a cause")
    with pytest.raises(ValueError, match="no draw"):
        spread.quantile(torch.zeros(1))


def test_a_shared_cause_needs_a_quantile_function():
    Spread(Normal(1.0, 0.5), shared="a cause")
    with pytest.raises(ValueError, match="cdf and icdf"):
        Spread(Gamma(2.0, 1.0), shared="a cause")


@pytest.mark.parametrize("noise", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("white", [0.0, 4e-7])
@pytest.mark.parametrize("sigmas", [(), (0.003,), (0.003, 0.004)])
def test_errors_of_programming_add_up_as_variances(sigmas, white, noise):
    device, n = LinearDevice(1e-6, 1.01e-4), 40_000
    effects = tuple(WriteNoise(sigma) for sigma in sigmas)
    g = torch.full((n,), 5e-5, dtype=F64)
    drawn = Drawn((device, *effects), g, None, states=({},) * (1 + len(effects)))
    found = settle(g, drawn, own=False, white=white, noise=noise) - g
    wanted = noise * math.hypot(white, *(sigma * 1e-4 for sigma in sigmas))
    assert float(found.std()) == pytest.approx(wanted, rel=4 / math.sqrt(2 * n), abs=1e-15)
    assert float(found.mean()) == pytest.approx(0.0, abs=4 * wanted / math.sqrt(n) + 1e-15)


def test_traps_of_cells_that_are_lent_go_back_to_their_chip():
    hardware = mho.Hardware(effects=(TelegraphNoise(0.1, tau=1.0),))
    chip = Chip(12, 12, hardware, seed=1)
    model = mho.convert(nn.Linear(4, 3, bias=False), hardware)
    chip.place(model, name="a")
    mho.program(model)
    (resident,) = chip.residents
    name = "state_1_filled"
    before = chip.cells._buffers[name].clone()
    chip.age(5.0)
    now = chip.cells._buffers[name].reshape(-1)
    lent = resident.crossbar.cells._buffers[name]
    place = resident.place.reshape(-1)
    assert torch.equal(now[place], lent.reshape(-1))
    assert not torch.equal(now[place], before.reshape(-1)[place])
    apart = torch.ones(144, dtype=torch.bool)
    apart[place] = False
    assert torch.equal(now[apart], before.reshape(-1)[apart])


def test_what_fabrication_draws_anew_is_not_kept_beside_after_loading():
    device = LinearDevice(g_min=1e-6, g_max=Spread(Normal(1e-4, 1e-5), low=5e-5))
    one, same, other = (device.fabricate((50,), seed=seed, dtype=F64) for seed in (1, 1, 2))
    state = one.state_dict()
    for cells in (same, other):
        cells.load_state_dict(state)
        assert torch.equal(cells.parameter("g_max"), one.parameter("g_max"))
    kept = [[name for name in cells._buffers if name.startswith("state_")] for cells in (one, same)]
    assert kept == [[], []]


def test_a_cell_is_written_no_further_than_its_own_window():
    device = LinearDevice(g_min=1e-6, g_max=Spread(Normal(1e-4, 1e-5), low=5e-5))
    cells = device.fabricate((200,), seed=1, dtype=F64)
    cells.program(torch.tensor(1e-4, dtype=F64))
    own = cells.parameter("g_max")
    assert bool((own < 1e-4).any())
    torch.testing.assert_close(cells.g, own.clamp(max=1e-4), rtol=1e-12, atol=0.0)
