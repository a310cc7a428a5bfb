"""Models in half precision: cells in float32, activations in the model's dtype."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise

HALVES = (torch.bfloat16, torch.float16)
CONVERTERS = {"dac": mho.DAC(8), "adc": mho.ADC(8), "array": mho.Array(8, 8)}
HARDWARE = {
    "collapsed": mho.Hardware(),
    "drivers": mho.Hardware(dac=mho.DAC(8)),
    "converters": mho.Hardware(**CONVERTERS),
    "bit-serial": mho.Hardware(**{**CONVERTERS, "dac": mho.DAC(8, mode="bit_serial")}),
    "bias on the array": mho.Hardware(bias="array", **CONVERTERS),
    "bit-sliced": mho.Hardware(encoding=mho.encoding.BitSliced(), adc=mho.ADC(8)),
    "wires": mho.Hardware(array=mho.Array(8, 8, wires=mho.circuit.Wires(2.0))),
}
LAYERS = {
    "Linear": (lambda: nn.Linear(12, 7), (5, 12)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    "Conv2d, groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "GRU": (lambda: nn.GRU(6, 5), (4, 3, 6)),
    "LSTMCell": (lambda: nn.LSTMCell(6, 5), (3, 6)),
}


def first(y):
    return y[0] if isinstance(y, tuple) else y


def in_both(name, hardware, dtype):
    """A model in half precision, the float32 model of the very same weights, and inputs."""
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    half = make().to(dtype)
    x = torch.randn(shape).to(dtype)
    full = mho.convert(copy.deepcopy(half).float(), hardware, seed=1)
    return mho.convert(half, hardware, seed=1), full, x


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("name", LAYERS)
def test_reads_are_the_float32_model_s_but_for_rounding(name, hardware, dtype):
    half, full, x = in_both(name, HARDWARE[hardware], dtype)
    for one, other in zip(mho.crossbars(half).values(), mho.crossbars(full).values(), strict=True):
        assert torch.equal(one.G, other.G)  # the same cells, in float32
    wanted, found = first(full.eval()(x.float())), first(half.eval()(x))
    assert found.dtype == dtype
    # Recurrent layers quantise a hidden state that is rounded: it may meet the next level.
    rounding = 16 * torch.finfo(dtype).eps if "converters" not in hardware else 0.03
    error = (found.float() - wanted).abs().max() / wanted.abs().max()
    assert error < rounding if "GRU" not in name else error < 0.05


@pytest.mark.parametrize("dtype", HALVES)
def test_converters_keep_their_levels(dtype):
    """Tiled reads are computed in float32 and rounded once, at the end."""
    torch.manual_seed(0)
    hardware = mho.Hardware(dac=mho.DAC(10), adc=mho.ADC(12), array=mho.Array(16, 16))
    layer = nn.Linear(64, 32, bias=False).to(dtype)
    half = mho.convert(layer, hardware).eval()
    full = mho.convert(copy.deepcopy(layer).float(), hardware).eval()
    x = torch.randn(20, 64).to(dtype)
    for calibrated in (False, True):
        if calibrated:
            mho.calibrate(half, x)
            mho.calibrate(full, x.float())
        wanted = full(x.float())
        if not calibrated:
            assert torch.equal(half(x), wanted.to(dtype))
        # Ranges and corrections are fitted to rounded samples.
        assert (half(x).float() - wanted).abs().max() < 0.004 * wanted.abs().max()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("hardware", ["collapsed", "converters"])
def test_gradients_are_torch_s(name, hardware):
    half, full, x = in_both(name, HARDWARE[hardware].replace(dac=None, adc=None), torch.bfloat16)
    for model, inputs in ((half, x), (full, x.float())):
        first(model.train()(inputs)).float().square().sum().backward()
    for one, other in zip(half.parameters(), full.parameters(), strict=True):
        assert one.grad.dtype == torch.bfloat16
        size = other.grad.norm()
        assert (one.grad.float() - other.grad).norm() < 0.03 * size + 1e-6


def test_noise_of_training_has_the_deviation_of_float32():
    torch.manual_seed(0)
    hardware = mho.Hardware(effects=(WriteNoise(0.02),))
    layer = nn.Linear(256, 256, bias=False)
    eye = torch.eye(256)
    spread = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = mho.convert(copy.deepcopy(layer).to(dtype), hardware).train()
        plain = model.weight.detach().T.float()
        spread[dtype] = float((model(eye.to(dtype)).float() - plain).std())
    # Rounding to bfloat16 adds little to it; a standard error of the ratio is 0.4 %.
    assert spread[torch.bfloat16] == pytest.approx(spread[torch.float32], rel=0.03)


def test_a_whole_life_in_bfloat16():
    torch.manual_seed(0)
    effects = (StuckAt(low=0.02), WriteNoise(0.02), PowerLawDrift(0.05), ReadNoise(0.01))
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).bfloat16()
    chip = mho.convert(model, mho.Hardware(effects=effects, **CONVERTERS))
    x = torch.randn(16, 12).bfloat16()
    mho.calibrate(chip, x)
    for crossbar in mho.crossbars(chip).values():
        crossbar.learn_ranges()
    optimizer = torch.optim.Adam(chip.parameters(), 1e-2)
    before = [p.detach().clone() for p in chip.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        chip.train()(x).float().square().mean().backward()
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, chip.parameters(), strict=True))
    report = mho.program(chip)
    assert all(0 < r.relative_error < 0.5 for r in report.values())
    mho.age(chip, 1e4)
    mho.compensate(chip)
    assert chip.eval()(x).dtype == torch.bfloat16
    plain = mho.collapse(chip)
    assert {p.dtype for p in plain.parameters()} == {torch.bfloat16}
    assert plain(x).isfinite().all()


def test_to_half_and_back_leaves_the_cells_alone():
    torch.manual_seed(0)
    chip = mho.convert(nn.Linear(9, 5), mho.Hardware(effects=(WriteNoise(0.02),))).eval()
    x = torch.randn(4, 9)
    cells, wanted = chip.crossbar.G.clone(), chip(x)
    chip.to(torch.bfloat16).half().bfloat16()
    assert chip.weight.dtype == torch.bfloat16
    assert chip.crossbar.G.dtype == torch.float32
    assert (chip(x.bfloat16()).float() - wanted).abs().max() < 0.02 * wanted.abs().max()
    chip.float()
    assert torch.equal(chip.crossbar.G, cells)
    chip.double()
    assert chip.crossbar.G.dtype == torch.float64


def test_what_inference_mode_has_kept_serves_gradients():
    chip = mho.convert(nn.Linear(6, 4).bfloat16(), mho.Hardware()).eval()
    x = torch.randn(3, 6).bfloat16()
    with torch.inference_mode():
        chip(x)
    x.requires_grad_()
    chip(x).sum().backward()
    assert x.grad.isfinite().all()


def test_layers_of_several_dtypes_convert_one_by_one():
    model = nn.Sequential(
        nn.Linear(4, 4),
        nn.Linear(4, 4).bfloat16(),
        nn.Linear(4, 4).half(),
        nn.Linear(4, 4).double(),
    )
    chip = mho.convert(model, mho.Hardware())
    assert [p.dtype for p in chip.parameters()] == [p.dtype for p in model.parameters()]
    kinds = [crossbar.G.dtype for crossbar in mho.crossbars(chip).values()]
    assert kinds == [torch.float32] * 3 + [torch.float64]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("hardware", ["collapsed", "converters"])
@pytest.mark.parametrize("name", LAYERS)
def test_inputs_of_another_dtype_are_refused_as_torch_does(name, hardware, training):
    half, _, x = in_both(name, HARDWARE[hardware], torch.bfloat16)
    half.train(training)
    for other in (x.float(), x.half(), x.double()):
        with pytest.raises(TypeError, match=r"input must be torch\.bfloat16"):
            half(other)


def test_a_bare_crossbar_takes_any_floating_dtype():
    torch.manual_seed(0)
    for hardware in (mho.Hardware(), mho.Hardware(adc=mho.ADC(8))):
        crossbar = mho.Crossbar(8, 4, hardware)
        crossbar.program(torch.randn(8, 4).bfloat16())
        for dtype in (*HALVES, torch.float32, torch.float64):
            assert (torch.randn(2, 8, dtype=dtype) @ crossbar).dtype == dtype
            assert (torch.randn(2, 4, dtype=dtype) @ crossbar.T).dtype == dtype


@pytest.mark.parametrize("hardware", ["collapsed", "converters"])
@pytest.mark.parametrize("name", ["Linear", "Conv1d", "GRU"])
@pytest.mark.parametrize("training", [True, False])
def test_autocast_gives_out_what_torch_s_layer_does(name, hardware, training):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    chip = mho.convert(layer, HARDWARE[hardware]).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        wanted, found = first(layer(x)), first(chip(x))
    if name != "GRU" or hardware == "collapsed":
        assert found.dtype == wanted.dtype
    assert (found - wanted).abs().max() < 0.1


def test_autocast_does_not_round_converters():
    torch.manual_seed(0)
    hardware = mho.Hardware(dac=mho.DAC(10), adc=mho.ADC(12), array=mho.Array(16, 16))
    chip = mho.convert(nn.Linear(64, 32, bias=False), hardware).eval()
    x = torch.randn(20, 64)
    wanted = chip(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = chip(x)
    assert torch.equal(found, wanted.bfloat16())


def test_programming_under_a_half_default_dtype_gives_the_same_bits():
    torch.manual_seed(0)
    hardware = mho.Hardware(effects=(StuckAt(low=0.1), WriteNoise(0.02)), **CONVERTERS)
    layer = nn.Linear(12, 7)
    wanted = mho.convert(layer, hardware, seed=3).crossbar.G
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = mho.convert(layer, hardware, seed=3).crossbar.G
        bare = mho.Crossbar(4, 3, hardware)
        chip = mho.convert(nn.Linear(6, 4), hardware).eval()
        assert chip(torch.randn(2, 6)).dtype == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, wanted)
    assert bare.G.dtype == torch.float32


def test_a_chip_keeps_float32_too():
    chip = mho.chip.Chip(16, 16, dtype=torch.bfloat16)
    chip.half()
    assert chip.G.dtype == torch.float32


def test_integers_are_read_as_numbers():
    torch.manual_seed(0)
    chip = mho.convert(nn.Linear(8, 4), mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))).eval()
    x = torch.randint(-5, 5, (3, 8))
    assert torch.equal(chip(x), chip(x.float()))
