"""What a user does next: each of these once went wrong."""

import copy
import warnings

import pytest
import torch
from torch import nn

import mho
from mho.encoding import BitSliced, Differential, SingleColumn

X = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4)).eval()


@pytest.mark.parametrize(
    "encoding", [BitSliced(), Differential(subtract="digital"), SingleColumn()]
)
def test_programming_under_autocast_stores_full_precision(encoding):
    analog = mho.convert(model(), mho.Hardware(encoding=encoding))
    before = analog(X)
    with torch.autocast("cpu", torch.bfloat16):
        mho.program(analog)
        mho.calibrate(analog, X)
        mho.compensate(analog)
        mho.program(analog)
    assert torch.equal(analog(X), before)
    assert {b.dtype for b in analog.buffers() if b.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_never_reaches_the_cells_wherever_it_comes_from(kind):
    assert mho.Crossbar(3, 2, mho.Hardware(), dtype=kind).G.dtype == torch.float32
    for analog in (
        mho.convert(model().to(kind), mho.Hardware()),
        mho.convert(model(), mho.Hardware()).to(kind),
    ):
        assert {b.dtype for b in analog.buffers() if b.is_floating_point()} == {torch.float32}
        assert {p.dtype for p in analog.parameters()} == {kind}


def test_a_chip_made_and_aged_in_inference_mode_gives_gradients_afterwards():
    hardware = mho.Hardware(
        dac=mho.DAC(8), adc=mho.ADC(8), effects=(mho.effects.ReadNoise(sigma=0.01),)
    )
    with torch.inference_mode():
        analog = mho.convert(model(), hardware)
        mho.calibrate(analog, X)
        mho.age(analog, 10.0)
        mho.compensate(analog)
        mho.fabricate(analog, seed=3)
        mho.calibrate(analog, X)
        analog(X)
    x = X.clone().requires_grad_()
    analog(x).sum().backward()
    assert x.grad.abs().sum() > 0
    analog.train()(X).sum().backward()
    assert analog[0].weight.grad.abs().sum() > 0


def replace_parameter(analog):
    analog[0].weight = nn.Parameter(torch.zeros_like(analog[0].weight))
    return analog


def step_after_loading(analog):
    analog.load_state_dict(copy.deepcopy(analog.state_dict()))
    analog.train()
    with torch.no_grad():
        analog[0].weight.mul_(2)
    return analog.eval()


def step_on_a_copy(analog):
    analog = copy.deepcopy(analog)
    with torch.no_grad():
        analog[0].weight.mul_(2)
    return analog


@pytest.mark.parametrize("change", [replace_parameter, step_after_loading, step_on_a_copy])
def test_weights_that_moved_without_programming_are_told(change):
    analog = change(mho.convert(model(), mho.Hardware()))
    with pytest.warns(UserWarning, match="changed since it was programmed"):
        analog(X)


@pytest.mark.parametrize("same", [copy.deepcopy, lambda m: m.double().float(), nn.Module.eval])
def test_copies_and_moves_are_not_taken_for_changed_weights(same):
    analog = same(mho.convert(model(), mho.Hardware()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog(X)


def test_summary_counts_interleaved_tiles_as_they_are_solved():
    hardware = mho.Hardware(array=mho.Array(rows=32, cols=32, interleaved=True))
    one = mho.summary(mho.convert(nn.Linear(33, 7), hardware)).layers[0]
    assert one.tiles == 2  # 14 neighbouring columns, 32 + 1 rows
    assert one.utilisation == pytest.approx(2 * 33 * 7 / (2 * 32 * 32))
