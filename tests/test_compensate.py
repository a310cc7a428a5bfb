"""Drift compensation by a reference read."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho import Crossbar, Hardware
from mho.devices.pcm import PCM
from mho.devices.statistical import GenericStatistical
from mho.effects import PowerLawDrift, ReadNoise
from mho.model.compensate import compensate

DRIFT = Hardware(effects=(PowerLawDrift(nu=0.06),))
PHASE_CHANGE = Hardware(device=PCM())


def programmed(hardware, rows=64, cols=48, seed=0, **more):
    crossbar = Crossbar(rows, cols, hardware, seed=seed, **more)
    source = torch.Generator().manual_seed(seed)
    shape = (crossbar.groups * rows, cols)
    crossbar.program(2 * torch.rand(shape, generator=source) - 1)
    return crossbar


@pytest.mark.parametrize("mode", ["global", "column"])
def test_equal_drift_is_undone_exactly(mode):
    crossbar = programmed(DRIFT)
    x = torch.randn(10, 64)
    before = x @ crossbar
    crossbar.age(1e5)
    assert not torch.allclose(x @ crossbar, before, rtol=0.1)
    factors = compensate(crossbar, mode)
    assert torch.allclose(factors[""], torch.full((48,), 1e5**0.06))
    assert torch.allclose(x @ crossbar, before, rtol=1e-4, atol=1e-4)


def test_columns_are_compensated_one_by_one():
    crossbar = programmed(Hardware())
    x = torch.randn(10, 64)
    before = x @ crossbar
    shrink = torch.linspace(0.3, 1.0, 48)
    shrunk = crossbar.cells.fork()
    shrunk.hold(crossbar.G * shrink)
    crossbar.commit(cells=shrunk)
    alone = copy.deepcopy(crossbar)
    assert torch.allclose(compensate(crossbar, "column")[""], 1 / shrink)
    assert torch.allclose(x @ crossbar, before, rtol=1e-4, atol=1e-4)
    factor = compensate(alone, "global")[""]
    assert factor.unique().numel() == 1
    assert (x @ alone - before).norm() > 0.1 * before.norm()


@pytest.mark.parametrize("mode", ["global", "column"])
def test_factors_of_several_calls_multiply(mode):
    once, often = programmed(DRIFT), programmed(DRIFT)
    total = torch.ones(48)
    for _ in range(4):
        often.age(2500.0)
        total *= compensate(often, mode)[""]
    once.age(1e4)
    assert torch.allclose(compensate(once, mode)[""], total, rtol=1e-5)
    assert torch.allclose(often.gain, once.gain, rtol=1e-5)
    assert torch.allclose(compensate(once, mode)[""], torch.ones(48))


def test_many_small_compensations_are_one_large_one():
    hardware = Hardware(effects=(PowerLawDrift(nu=0.06), ReadNoise(0.02)))
    crossbar = programmed(hardware)
    for _ in range(100):
        crossbar.age(100.0)
        compensate(crossbar, "column")
    assert torch.allclose(crossbar.gain, torch.full((48,), 1e4**0.06), rtol=1e-4)


def test_read_noise_is_not_taken_for_drift():
    # The magnitude of a noisy weight is too large on average; a chip just programmed needs no gain.
    for sigma in (0.0, 0.05, 0.2):
        crossbar = programmed(Hardware(effects=(ReadNoise(sigma),)))
        assert torch.allclose(compensate(crossbar, "column")[""], torch.ones(48))


def test_calibrated_gain_is_kept_and_programming_ends_it():
    crossbar = programmed(DRIFT)
    crossbar.gain = torch.full((48,), 1.5)
    crossbar.offset = torch.full((48,), 0.25)
    crossbar.refresh()
    x = torch.randn(7, 64)
    before = x @ crossbar
    crossbar.age(1e5)
    compensate(crossbar)
    assert torch.allclose(x @ crossbar, before, rtol=1e-4, atol=1e-4)
    crossbar.program(torch.ones(64, 48))
    assert (crossbar.gain == 1).all()


def test_the_state_is_saved():
    crossbar, other = programmed(DRIFT), programmed(DRIFT, seed=1)
    crossbar.age(1e4)
    compensate(crossbar)
    other.load_state_dict(crossbar.state_dict())
    x = torch.randn(3, 64)
    assert torch.equal(x @ other, x @ crossbar)
    assert torch.allclose(compensate(other)[""], torch.ones(48))


def test_a_whole_model_with_convolutions_and_groups():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    ).eval()
    analog = mho.convert(model, DRIFT).eval()
    x = torch.randn(2, 4, 8, 8)
    mho.age(analog, 1e5)
    assert not torch.allclose(analog(x), model(x), rtol=0.1)
    factors = compensate(analog, "column")
    assert set(factors) == {"0", "3"}
    assert torch.allclose(analog(x), model(x), rtol=1e-3, atol=1e-4)
    assert torch.allclose(mho.collapse(analog)(x), model(x), rtol=1e-3, atol=1e-4)


def test_compensation_of_phase_change_memory_helps():
    crossbar = programmed(PHASE_CHANGE, rows=128, cols=64)
    weight = crossbar.weight
    crossbar.age(86400.0)
    x = torch.randn(100, 128)
    ideal = x @ weight
    before = (x @ crossbar - ideal).norm() / ideal.norm()
    compensate(crossbar)
    after = (x @ crossbar - ideal).norm() / ideal.norm()
    assert after < 0.4 * before


def test_columns_that_conduct_nothing_keep_their_correction():
    crossbar = Crossbar(8, 3, Hardware(device=GenericStatistical(nu=0.05)))
    weight = torch.randn(8, 3)
    weight[:, 1] = 0.0
    crossbar.program(weight)
    crossbar.age(1e4)
    factors = compensate(crossbar, "column")[""]
    assert factors[1] == 1
    assert torch.allclose(factors[[0, 2]], torch.tensor(1e4**0.05))
    crossbar.program(torch.zeros(8, 3))  # programmed, if with nothing
    assert (compensate(crossbar)[""] == 1).all()


def test_clear_refusals():
    with pytest.raises(ValueError, match="mode must be one of 'global', 'column'; got 'row'"):
        compensate(programmed(DRIFT), "row")
    with pytest.raises(ValueError, match=r"no crossbar layers; mho\.convert makes them"):
        compensate(nn.Linear(3, 2))
    with pytest.raises(TypeError, match="model must be Module, got 3"):
        compensate(3)
    both = nn.ModuleDict({"new": Crossbar(4, 4, DRIFT), "old": programmed(DRIFT, 4, 4)})
    both["old"].age(100.0)
    with pytest.raises(ValueError, match="crossbar 'new' has never been programmed"):
        compensate(both)
    assert (both["old"].gain == 1).all()
