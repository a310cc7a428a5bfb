"""What makes a torch layer's weights goes on making them on crossbars: norms, masks, any other."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import ReadNoise, WriteNoise
from weight_ways import (
    LAYERS,
    WAYS,
    Counted,
    Scaled,
    digital_part,
    first,
    prepared,
    same_state,
    steps,
)

IDEAL = Hardware()
PATHS = {
    "collapsed": IDEAL,
    "bias on the array": Hardware(bias="array"),
    "tiled": Hardware(array=Array(4, 3), effects=(ReadNoise(0.0),)),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated"),
    pytest.mark.filterwarnings("ignore:.*is deprecated in favor of"),
]
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


# ── a converted layer learns as the torch layer does ─────────────────────────────────────────


@ways
@pytest.mark.parametrize("layer", LAYERS)
def test_learns_as_torch(way, layer):
    digital, x = prepared(way, layer)
    # Torch's LSTM asks for a weight more than once a call: its power iteration is steps ahead.
    error = 1e-6 if layer == "lstm" and way is parametrizations.spectral_norm else 1e-9
    for hardware in PATHS.values():
        twin, analog = prepared(way, layer)[0], mho.convert(digital, hardware)
        same_state(digital_part(analog), digital.state_dict())  # conversion moved nothing
        for found, wanted in zip(steps(analog, x), steps(twin, x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=error, atol=error)
        ahead = ("_u", "_v") if error > 1e-9 else ()
        same_state(digital_part(analog), twin.state_dict(), error, ahead)
        before = copy.deepcopy(digital_part(analog))
        mho.program(analog)
        wanted = first(twin.eval()(x))
        torch.testing.assert_close(first(analog.eval()(x)), wanted, rtol=error, atol=error)
        same_state(digital_part(analog), before, 0.0)  # power iterations stood still
        plain = mho.collapse(analog)
        torch.testing.assert_close(first(plain(x)), wanted, rtol=error, atol=error)
        assert not any(
            word in name for name in plain.state_dict() for word in ("_orig", "mask", "parametr")
        )


@pytest.mark.parametrize("layer", LAYERS)
def test_weights_are_computed_once_a_call(layer):
    digital, x = prepared(lambda m, w: m, layer)
    names = [n for n, _ in digital.named_parameters()]
    for hardware in PATHS.values():
        analog = mho.convert(digital, hardware)
        counts = {n: Counted() for n in names}
        for name, count in counts.items():
            parametrize.register_parametrization(analog, name, count)
            count.calls = 0
        analog(x)
        assert {n: c.calls for n, c in counts.items()} == dict.fromkeys(names, 1)


def test_pruned_weights_stay_zero_and_frozen_ones_frozen():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    prune.global_unstructured(
        [(model[0], "weight"), (model[2], "weight")], prune.L1Unstructured, amount=0.6
    )
    model[2].weight_orig.requires_grad_(False)
    masks = [model[i].weight_mask.clone() for i in (0, 2)]
    before = model[2].weight_orig.clone()
    analog = mho.convert(model, Hardware(effects=(WriteNoise(0.05),), dac=DAC(8), adc=ADC(8)))
    steps(analog, torch.randn(16, 8))
    mho.program(analog)
    for i, mask in zip((0, 2), masks, strict=True):
        assert torch.equal(analog[i].weight_mask, mask)
        assert not analog[i].wanted()["crossbar"].T[mask == 0].any()
    assert torch.equal(analog[2].weight_orig, before)
    assert "weight_mask" in dict(analog[0].named_buffers())


def test_a_spectral_norm_may_be_read_twice_before_the_backward_pass():
    for norm in (parametrizations.spectral_norm, nn.utils.spectral_norm):
        digital = norm(nn.Linear(4, 4))
        analog = mho.convert(digital, IDEAL)
        x = torch.randn(3, 4)
        for model in (digital, analog):
            (model(x) - model(2 * x)).square().sum().backward()
        for (_, p), (_, q) in zip(
            digital.named_parameters(), analog.named_parameters(), strict=True
        ):
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-4, atol=1e-4)


# ── ties ─────────────────────────────────────────────────────────────────────────────────────


class TransposeOf(nn.Module):
    def __init__(self, other, part):
        super().__init__()
        self.other = other if part else [other]  # a part of this module, or known to it

    def forward(self, x):
        other = self.other if isinstance(self.other, nn.Module) else self.other[0]
        return other.weight.T + 0 * x


def test_tied_originals_stay_tied():
    model = nn.Sequential(*(parametrizations.weight_norm(nn.Linear(4, 4)) for _ in range(2)))
    model[1].parametrizations.weight.original1 = model[0].parametrizations.weight.original1
    analog = mho.convert(model, IDEAL)
    one, two = (layer.parametrizations.weight for layer in analog)
    assert one.original1 is two.original1
    assert one.original0 is not two.original0


def test_one_parametrization_of_several_layers():
    model, shared = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), Scaled()
    for layer in model:
        parametrize.register_parametrization(layer, "weight", shared)
    analog = mho.convert(model, IDEAL)
    assert analog[0].parametrizations.weight[0] is analog[1].parametrizations.weight[0]
    x = torch.randn(5, 4)
    for found, wanted in zip(steps(analog, x), steps(model, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", [True, False])
@pytest.mark.parametrize("source_first", [True, False])
def test_a_weight_made_of_another_layer_s(source_first, part):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    source, made = model if source_first else reversed(model)
    parametrizations.spectral_norm(source)
    parametrize.register_parametrization(made, "weight", TransposeOf(source, part))
    analog = mho.convert(model, IDEAL)
    source, made = analog if source_first else reversed(analog)
    other = made.parametrizations.weight[0].other
    assert (other if part else other[0]) is source
    x = torch.randn(5, 4)
    for found, wanted in zip(steps(analog, x), steps(model, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_layer_used_in_several_places():
    layer = prune.l1_unstructured(parametrizations.weight_norm(nn.Linear(4, 4)), "bias", 0.5)
    model = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer)})
    analog = mho.convert(model, IDEAL)
    assert analog["a"] is analog["b"][0]
