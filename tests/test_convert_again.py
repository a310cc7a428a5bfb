"""A converted model moves to other hardware: digital weights, and all that goes with them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.nn.base import AnalogLayer
from mho.train import WAGE, NoiseInjection, Recipe, quantise

IDEAL = Hardware()
FIRST = Hardware(dac=DAC(8), adc=ADC(8), effects=(WriteNoise(0.03), StuckAt(0.02)))
OTHER = Hardware(
    array=Array(8, 8),
    dac=DAC(6),
    adc=ADC(6),
    bias="array",
    encoding=mho.encoding.SingleColumn(),
    effects=(WriteNoise(0.05), PowerLawDrift(0.05, 0.01), ReadNoise(0.01)),
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 6), nn.ReLU(), nn.Linear(6, 3)
    )


def trained(analog, x, steps=5):
    optimizer = torch.optim.SGD(analog.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        analog(x).square().mean().backward()
        optimizer.step()
    return analog


def arrays(model):
    return {n: m.state_dict() for n, m in model.named_modules() if isinstance(m, mho.Crossbar)}


def equal(one, two):
    assert list(one) == list(two)
    for key, value in one.items():
        same = value.nan_to_num() if torch.is_tensor(value) else value
        other = two[key].nan_to_num() if torch.is_tensor(two[key]) else two[key]
        assert torch.equal(same, other) if torch.is_tensor(same) else same == other, key


def with_the_weights_of(analog):
    """A digital model with an analog model's digital weights, made without mho."""
    digital = network()
    digital.load_state_dict({k: v for k, v in analog.state_dict().items() if "crossbar" not in k})
    return digital


@pytest.mark.parametrize("hardware", [IDEAL, OTHER], ids=["ideal", "other"])
def test_moved_is_converted_from_its_weights(hardware):
    x = torch.randn(8, 2, 8)
    analog = trained(mho.convert(network(), FIRST), x)
    mho.program(analog)
    mho.age(analog, 100.0)
    mho.calibrate(analog.eval(), x)
    analog.train()
    before = copy.deepcopy(analog.state_dict())
    moved = mho.convert(analog, hardware, seed=4)
    wanted = mho.convert(with_the_weights_of(analog), hardware, seed=4)
    equal(moved.state_dict(), wanted.state_dict())  # same weights, same new cells
    equal(analog.state_dict(), before)
    assert moved.training
    x = torch.randn(4, 2, 8)
    assert torch.equal(moved.eval()(x), wanted.eval()(x))
    if hardware is IDEAL:
        reference = with_the_weights_of(analog)(x)
        torch.testing.assert_close(moved(x), reference, rtol=1e-4, atol=1e-5)
    trained(moved.train(), x)
    equal(analog.state_dict(), before)  # nothing is shared


def test_what_makes_weights_moves_along():
    model = network()
    prune.l1_unstructured(model[3], "weight", 0.5)
    parametrizations.weight_norm(model[5])
    model[0].weight.requires_grad_(False)
    log = []
    model[5].register_forward_hook(lambda *_: log.append(1))
    model[1].eval()
    x = torch.randn(8, 2, 8)
    moved = mho.convert(trained(mho.convert(model, FIRST), x), OTHER)
    assert list(dict(moved.named_parameters())) == list(dict(model.named_parameters()))
    assert torch.equal(moved[3].weight_mask, model[3].weight_mask)
    assert not moved[0].weight.requires_grad
    assert moved[5].training
    assert not moved[1].training
    log.clear()
    trained(moved, x, steps=2)
    assert len(log) == 2
    mho.program(moved)
    assert not moved[3].wanted()["crossbar"][:-1].T[moved[3].weight_mask == 0].any()


def test_tied_and_shared_layers_stay_so():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model.append(model[2])
    moved = mho.convert(mho.convert(model, FIRST), OTHER)
    assert moved[1].weight is moved[0].weight
    assert moved[3] is moved[2]
    assert moved[1].crossbar is not moved[0].crossbar


def kinds(model):
    return {n: m.hardware for n, m in model.named_modules() if isinstance(m, AnalogLayer)}


@pytest.mark.filterwarnings("ignore:left digital")
def test_mixed_models():
    half = mho.convert(network(), FIRST, skip="5")
    assert kinds(mho.convert(half, OTHER)) == {"0": OTHER, "3": OTHER}
    assert kinds(mho.convert(half, OTHER, only="5")) == {"0": FIRST, "3": FIRST, "5": OTHER}
    assert kinds(mho.convert(half, OTHER, only=["0", "5"])) == {"0": OTHER, "3": FIRST, "5": OTHER}
    assert kinds(mho.convert(half, OTHER, skip="0")) == {"0": FIRST, "3": OTHER}
    both = {"5": IDEAL, "3": None}
    assert kinds(mho.convert(half, OTHER, overrides=both)) == {"0": OTHER, "3": FIRST, "5": IDEAL}
    assert kinds(mho.convert(half, OTHER, only=mho.nn.Conv1d)) == {"0": OTHER, "3": FIRST}
    with pytest.raises(ValueError, match="no layer to convert"):
        mho.convert(half, OTHER, skip=["0", "3"])


@pytest.mark.filterwarnings("ignore:left digital")
def test_layers_that_are_not_selected_keep_their_cells():
    analog = mho.convert(network(), FIRST)
    mho.age(analog, 10.0)
    both = mho.convert(analog, OTHER, only="5")
    equal(arrays(both)["3.crossbar"], arrays(analog)["3.crossbar"])
    assert both[3].crossbar.seconds == 10.0
    assert both[3] is not analog[3]


def test_recurrent_single_and_quantised_layers_move():
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    moved = mho.convert(mho.convert(layer, FIRST), IDEAL).eval()
    torch.testing.assert_close(moved(x)[0], layer(x)[0], rtol=1e-4, atol=1e-5)
    ternary = quantise(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), WAGE(2, 4, 8, 8)).eval()
    chip = mho.convert(mho.convert(ternary, FIRST), IDEAL).eval()
    x = torch.rand(5, 4)
    torch.testing.assert_close(chip(x), ternary(x), rtol=1e-4, atol=1e-4)


def test_the_habits_of_training_stay_behind_and_input_ranges_go_with_the_weights():
    x = torch.randn(8, 2, 8)
    recipe = Recipe(injection=NoiseInjection(noise=2.0), ranges="learned")
    analog = trained(recipe.prepare(network(), FIRST, x), x)
    moved = mho.convert(analog, FIRST)
    assert not any("range_shift" in name for name, _ in moved.named_parameters())
    for module in moved.modules():
        if isinstance(module, mho.Crossbar):
            assert module.injection == NoiseInjection()
            assert bool(module.adc_range.isnan().all())
    learned = [c.correction for c in mho.crossbars(analog).values()]
    for before, after in zip(learned, mho.crossbars(moved).values(), strict=True):
        expected = before.input_range * before.shift[0].exp()  # goes with the weights
        torch.testing.assert_close(after.input_range, expected)
    other = mho.convert(analog, FIRST.replace(dac=mho.DAC(bits=5)))
    assert all(bool(c.input_range.isnan()) for c in mho.crossbars(other).values())
    again = recipe.prepare(analog, OTHER, x)  # a recipe sets them anew
    assert all(
        m.injection == recipe.injection for m in again.modules() if isinstance(m, mho.Crossbar)
    )


def test_a_failure_names_the_layer():
    analog = mho.convert(network(), FIRST)
    with torch.no_grad():
        analog[3].weight[0, 0] = torch.nan
    before = copy.deepcopy(analog.state_dict())
    with pytest.raises(ValueError, match=r"layer '3'.*finite"):
        mho.convert(analog, OTHER)
    equal({k: v for k, v in analog.state_dict().items() if k != "3.weight"},
          {k: v for k, v in before.items() if k != "3.weight"})  # fmt: skip


def test_layers_of_another_kind_are_refused():
    conv = mho.convert(nn.Conv1d(2, 4, 3), IDEAL)
    with pytest.raises(TypeError, match="layer"):
        mho.nn.Linear.from_digital(conv, IDEAL)
    linear = mho.nn.Linear.from_digital(mho.nn.Linear(3, 2, hardware=FIRST), OTHER)
    assert linear.hardware == OTHER
