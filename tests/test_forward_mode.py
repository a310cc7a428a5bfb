"""Forward-mode derivatives are the transposes of the reverse ones: <u, Jv> = <Jᵀu, v>."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

import mho
from mho.crossbar.input_range import InputRangeRule
from mho.periphery import formats
from mho.train import recipes

SMALL = mho.Array(16, 16)
EIGHT = {"dac": mho.DAC(8), "adc": mho.ADC(8)}
HARDWARE = {
    "ideal": mho.Hardware(),
    "8 bits": mho.Hardware(array=SMALL, **EIGHT),
    "1 bit": mho.Hardware(dac=mho.DAC(1), adc=mho.ADC(8)),
    "per call": mho.Hardware(array=SMALL, dac=mho.DAC(6), adc=mho.ADC(6, range="per_call")),
    "serial": mho.Hardware(
        array=SMALL,
        dac=mho.DAC(8, mode="bit_serial"),
        adc=mho.ADC(8),
        encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
    ),
    "logarithmic": mho.Hardware(array=SMALL, dac=mho.DAC(8), adc=mho.ADC(8, method="log")),
    "noisy": mho.Hardware(
        array=SMALL, **EIGHT, effects=(mho.effects.WriteNoise(0.02), mho.effects.ReadNoise(0.01))
    ),
    "wires": mho.Hardware(array=mho.Array(16, 16, wires=mho.circuit.Wires(1.0)), **EIGHT),
    "levels": mho.Hardware(**EIGHT, effects=(mho.effects.FiniteStates(16),)),
    "ternary": mho.Hardware(**EIGHT, encoding=mho.encoding.Ternary()),
}
LAYERS = {
    "linear": (lambda: nn.Linear(24, 20), (5, 24)),
    "convolution": (lambda: nn.Conv2d(3, 8, 3), (2, 3, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 7)),
}


def both(function, primal, tangent):
    """``<u, Jv>`` by `torch.func.jvp` and by a dual level, and ``<Jᵀu, v>``; the outputs of all."""

    def seeded(x):
        torch.manual_seed(1)  # noise of training
        return function(x)

    y, forward = torch.func.jvp(seeded, (primal,), (tangent,))
    with forward_ad.dual_level():
        z, levelled = forward_ad.unpack_dual(seeded(forward_ad.make_dual(primal, tangent)))
    x = primal.clone().requires_grad_()
    outputs = seeded(x)
    torch.manual_seed(2)
    u = torch.randn_like(outputs)
    (backward,) = torch.autograd.grad(outputs, x, u)
    moved = [0.0 if t is None else float((u * t).sum()) for t in (forward, levelled)]
    return moved, float((backward * tangent).sum()), (y, z, outputs.detach())


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("hardware", HARDWARE.values(), ids=HARDWARE)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_inputs_of_layers(layer, hardware, training):
    build, shape = layer
    torch.manual_seed(0)
    noisy = bool(hardware.effects) and not training  # every stored read draws its own
    if noisy:
        hardware = hardware.replace(effects=hardware.effects[:1])
    model = mho.convert(build().double(), hardware).train(training)
    x = torch.randn(shape, dtype=torch.float64)
    moved, expected, outputs = both(model, x, torch.randn_like(x))
    assert expected != 0.0
    assert moved == pytest.approx([expected] * 2, rel=1e-6)
    for y in outputs[:2]:
        torch.testing.assert_close(y, outputs[2])


@pytest.mark.parametrize("hardware", HARDWARE.values(), ids=HARDWARE)
def test_weights_in_training(hardware):
    torch.manual_seed(0)
    model = mho.convert(nn.Linear(24, 20).double(), hardware).train()
    x = torch.randn(5, 24, dtype=torch.float64)

    def through(weight):
        return torch.func.functional_call(model, {"weight": weight}, (x,))

    weight = model.weight.detach().clone()
    moved, expected, _ = both(through, weight, torch.randn_like(weight))
    assert expected != 0.0
    assert moved == pytest.approx([expected] * 2, rel=1e-6)


def test_a_weight_of_zero_gives_each_half_of_a_pair_half():
    weight = torch.tensor([[1.0, 0.0, -2.0]], dtype=torch.float64)
    pairs = mho.encoding.differential.pair
    moved, expected, _ = both(lambda w: pairs(w, 0.1), weight, torch.ones_like(weight))
    assert moved == pytest.approx([expected] * 2)
    _, tangent = torch.func.jvp(lambda w: pairs(w, 0.1), (weight,), (torch.ones_like(weight),))
    assert tangent.flatten().tolist() == [1.0, 0.5, 0.0, 0.0, -0.5, -1.0]


@pytest.mark.parametrize(
    "number",
    [formats.FixedPoint(4, 2), formats.FloatFormat(4, 3), formats.FixedPoint(6, 2, clamp=False)],
    ids=str,
)
def test_number_formats(number):
    x = torch.linspace(-4.0, 4.0, 31, dtype=torch.float64)
    moved, expected, _ = both(lambda x: number(x), x, torch.randn_like(x))
    assert moved == pytest.approx([expected] * 2)


def test_learned_input_ranges_clip_and_refuse_to_be_moved_forward():
    torch.manual_seed(0)
    x = torch.randn(8, 24)
    recipe = recipes.ANALOG_FOUNDATION_MODEL.replace(ranges=InputRangeRule(batches=1, deviations=1))
    hardware = recipe.hardware(mho.Hardware(array=mho.Array(32, 32)))
    model = recipe.prepare(nn.Linear(24, 20), hardware)
    model(x)  # the first batch sets the range: one deviation, and much is clipped
    moved, expected, _ = both(model, x, torch.randn_like(x))
    assert moved == pytest.approx([expected] * 2, rel=1e-4)
    learned = {name: p.detach() for name, p in model.named_parameters()}

    def through(values):
        return torch.func.functional_call(model, values, (x,))

    with pytest.raises(NotImplementedError, match="learned input range"):
        torch.func.jvp(through, (learned,), ({k: torch.ones_like(v) for k, v in learned.items()},))


def test_without_gradients_tangents_still_flow():
    torch.manual_seed(0)
    model = mho.convert(nn.Linear(24, 20), HARDWARE["8 bits"]).eval()
    x, v = torch.randn(5, 24), torch.randn(5, 24)
    _, expected = torch.func.jvp(model, (x,), (v,))
    with torch.no_grad(), forward_ad.dual_level():
        _, found = forward_ad.unpack_dual(model(forward_ad.make_dual(x, v)))
        torch.testing.assert_close(found, expected)
    jacobian = torch.func.jacfwd(model)(x[0])
    torch.testing.assert_close(jacobian, torch.func.jacrev(model)(x[0]))
