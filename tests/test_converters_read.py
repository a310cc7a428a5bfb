"""Crossbars behind converters and drivers with errors: whose they are, and that all reads agree."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho import ADC, DAC, Array, Hardware, effects
from mho.chip import Chip
from mho.circuit import Wires
from mho.devices import ExponentialDevice, LinearDevice, Spread
from mho.encoding import BitSliced, Differential
from mho.periphery import SAR, Architecture, DriverErrors, Flash, Oscillator, Pipeline, Ramp
from mho.train import NoiseInjection

DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)
MISMATCH = Architecture(gain=Spread(Normal(1.0, 0.1)), offset=Spread(Normal(0.0, 0.1)))
STEP = 2e-5 / 31  # of ADC(6, range=2e-5)
DRIVERS = DriverErrors(gain=Spread(Normal(1.0, 0.1)), offset=Spread(Normal(0.0, 0.05)))


def crossbar(rows=7, cols=5, seed=0, **parts):
    """A programmed crossbar, inputs of 1 being 0.2 V."""
    hardware = Hardware(**{"device": DEVICE, "dac": DAC(range=1.0), **parts})
    found = mho.Crossbar(rows, cols, hardware, seed=seed, dtype=torch.float64)
    found.program(torch.linspace(-1, 1, rows * cols, dtype=torch.float64).view(rows, cols))
    return found


def inputs(batch=9, rows=7):
    return torch.randn(batch, rows, generator=torch.Generator().manual_seed(1)).double() / 3


def errors(found):
    return found.reader.view.untrimmed


def adc(built=MISMATCH, **parts):
    return ADC(6, range=2e-5, architecture=built, **parts)


def by_hand(found, x, gain, offset):
    """Outputs of a differential crossbar, tile by tile, by numpy; errors ``[tiles, lines]``."""
    g = (found.G[0] - found.G[1]).numpy()
    rows, total = found.hardware.array.rows, 0.0
    for tile, top in enumerate(range(0, len(g), rows)):
        current = 0.2 * x.numpy()[:, top : top + rows] @ g[top : top + rows]
        seen = gain[tile] * current / STEP + offset[tile]
        total = total + np.clip(np.round(seen), -31, 31) * STEP
    return total * float(found.scale) / 0.2


# ── whose errors they are ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("array", [Array(16, 6), Array(3, 6)], ids=["one tile", "three tiles"])
def test_every_tile_is_converted_with_its_own_errors(array):
    found = crossbar(array=array, adc=adc())
    own = errors(found)
    shape = (1, -(-7 // array.rows), 5)
    assert own.gain.shape == own.offset.shape == shape
    assert own.gain.unique().numel() == np.prod(shape)
    expected = by_hand(found, inputs(), own.gain[0].numpy(), own.offset[0].numpy())
    np.testing.assert_allclose(found(inputs()), expected, rtol=1e-9, atol=1e-12)


def test_mismatch_has_its_spread():
    wide = mho.Crossbar(200, 200, Hardware(array=Array(10, 16), adc=adc()), seed=3)
    own = errors(wide)
    count = own.gain.numel() ** 0.5
    for value, mean, sigma in ((own.gain, 1.0, 0.1), (own.offset / 32, 0.0, 0.1)):
        assert abs(float(value.mean()) - mean) < 4 * sigma / count
        assert abs(float(value.std()) / sigma - 1) < 4 / count
    both = torch.stack((own.gain.flatten(), own.offset.flatten()))
    assert abs(float(torch.corrcoef(both)[0, 1])) < 4 / count


@pytest.mark.parametrize(
    ("encoding", "interleaved", "groups"),
    [
        (Differential(), False, [[0, 0, 0, 1, 2, 2, 2, 3, 4]]),
        (Differential(), True, [[0, 0, 1, 1, 2, 2, 3, 3, 4]]),
        (
            Differential(subtract="digital"),
            False,
            [[0, 0, 0, 1, 2, 2, 2, 3, 4], [5, 5, 5, 6, 7, 7, 7, 8, 9]],
        ),
        (
            Differential(subtract="digital"),
            True,
            [[0, 0, 2, 2, 4, 4, 6, 6, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8]],
        ),
    ],
)
def test_neighbouring_columns_share_a_converter(encoding, interleaved, groups):
    # Four lines a tile of bare columns, two pairs of neighbouring ones; three lines a converter.
    array = Array(4, 4, interleaved=interleaved)
    found = crossbar(cols=9, array=array, encoding=encoding, adc=adc(columns_per_adc=3))
    gain = errors(found).gain[0]
    wanted = torch.tensor(groups).flatten()
    for tile in gain:
        same = tile[:, None] == tile[None, :]
        if encoding.converters == 2 and interleaved:
            # On a tile: + − of one output, + of the next | − of that.
            position = torch.tensor([0, 2] * 4 + [0])
            which = torch.cat((position // 3, (position + 1) // 3))
            tiles = torch.arange(9) // 2
            wanted = torch.cat((tiles, tiles)) * 2 + which
        assert torch.equal(same, wanted[:, None] == wanted[None, :])
    assert not torch.equal(gain[0], gain[1])


def test_errors_are_the_chips_own_and_come_back():
    parts = {"array": Array(3, 4), "adc": adc(SAR(capacitor_sigma=0.2, comparator_sigma=0.1))}
    one, same, other = (crossbar(seed=s, **parts) for s in (1, 1, 2))
    x = inputs()
    before = one(x)
    assert torch.equal(before, same(x))
    assert not torch.equal(before, other(x))
    table, offset = errors(one).table.value.clone(), errors(one).offset.clone()
    one.program(torch.ones(7, 5, dtype=torch.float64))
    mho.age(one, 100.0)
    assert torch.equal(errors(one).table.value, table)
    other.load_state_dict(same.state_dict())
    assert torch.equal(other(x), before)
    assert torch.equal(copy.deepcopy(same)(x), before)
    single = copy.deepcopy(same).float()
    assert torch.equal(errors(single).offset, offset.float())
    assert torch.equal(errors(single).table.value, table.float())
    mho.fabricate(same, 5)
    assert not torch.equal(errors(same).offset, offset)


def test_errors_of_a_chip_are_the_chips():
    parts = {"device": DEVICE, "array": Array(3, 4), "adc": adc()}
    hardware = Hardware(**parts, dac=DAC(8, errors=DRIVERS))

    def placed(chip_seed, model_seed):
        chip = Chip(40, 40, hardware, seed=chip_seed)
        found = mho.Crossbar(7, 5, hardware, seed=model_seed)
        found.program(torch.ones(7, 5))
        chip.place(found)
        return found

    one, same, other = placed(7, 1), placed(7, 2), placed(8, 1)
    assert torch.equal(errors(one).gain, errors(same).gain)
    assert not (errors(one).gain == errors(other).gain).any()
    x = inputs().float()
    assert torch.equal(one(x), same(x))
    one.train()
    assert one.injection.own_cells
    assert torch.equal(one.reader.view.errors(training=True).gain, errors(one).gain)


def test_training_draws_afresh_and_gradients_pass_where_nothing_clips():
    found = crossbar(adc=adc(), dac=DAC(range=1.0, errors=DRIVERS))
    weight = found.weight.clone().requires_grad_()
    torch.manual_seed(0)
    one, two = (found.read_through(inputs(), weight) for _ in range(2))
    assert not torch.equal(one, two)
    torch.manual_seed(0)
    assert torch.equal(found.read_through(inputs(), weight), one)
    (grad,) = torch.autograd.grad(one.square().sum(), weight)
    assert bool(torch.isfinite(grad).all() & (grad != 0).any())
    found.inject_noise(NoiseInjection(own_cells=True))
    one, two = (found.read_through(inputs(), weight) for _ in range(2))
    assert torch.equal(one, two)
    np.testing.assert_allclose(one.detach(), found(inputs()), rtol=1e-9)


@pytest.mark.parametrize("built", [MISMATCH, SAR(capacitor_sigma=0.1), Pipeline(amplifier_db=40.0)])
def test_the_gradient_is_the_slope_of_the_curve(built):
    found = crossbar(rows=4, array=Array(4, 8), adc=adc(built))
    x = (inputs(40, 4) * 1.5).requires_grad_()
    y = found(x)
    gain = errors(found).gain.expand(1, 1, 5)[0, 0].numpy()
    current = 0.2 * x.detach().numpy() @ (found.G[0] - found.G[1]).numpy()
    seen = gain * current / STEP + errors(found).offset.expand(1, 1, 5)[0, 0].numpy()
    passes = np.abs(seen) < 31.5
    assert 0.1 < passes.mean() < 0.99
    (grad,) = torch.autograd.grad(y.sum(), x)
    weight = ((found.G[0] - found.G[1]) * found.scale).numpy()
    np.testing.assert_allclose(grad, (passes * gain) @ weight.T, rtol=1e-9)


# ── trim ─────────────────────────────────────────────────────────────────────────────────────


def trimmed(built=MISMATCH, **parts):
    layer = nn.Linear(30, 8)
    hardware = Hardware(array=Array(10, 4), dac=DAC(8), adc=ADC(8, architecture=built), **parts)
    model = mho.convert(layer, hardware, seed=0).eval()
    x = torch.randn(200, 30, generator=torch.Generator().manual_seed(3))
    return layer, model, x


def test_trimmed_converters_have_no_gain_and_no_offset():
    layer, model, x = trimmed()
    mho.calibrate(model, x, correct=False)
    before = float((model(x) - layer(x)).std())
    mho.calibrate(model, x, correct=False, trim=True)
    found = next(iter(mho.crossbars(model).values()))
    left = found.reader.view.errors(training=False)
    assert float((left.gain - 1).abs().max()) < 1e-3
    assert float(left.offset.abs().max()) < 0.02
    ideal = mho.convert(layer, model.hardware.replace(adc=ADC(8)), seed=0).eval()
    mho.calibrate(ideal, x, correct=False)
    after, best = (float((m(x) - layer(x)).std()) for m in (model, ideal))
    assert after < 1.1 * best < 0.3 * before
    once = found.trim.clone()
    mho.calibrate(model, x, trim=True)
    assert torch.equal(found.trim, once)


@pytest.mark.parametrize("built", [SAR(comparator_sigma=0.1, noise=0.01), Flash(gain=0.8)])
def test_a_trim_finds_what_comparators_and_noise_leave(built):
    _, model, x = trimmed(built)
    mho.calibrate(model, x, trim=True)
    found = next(iter(mho.crossbars(model).values())).reader.view.errors(training=False)
    assert float((found.gain - 1).abs().max()) < 5e-3
    assert float(found.offset.abs().max()) < 0.1


def test_a_trim_is_saved_and_belongs_to_one_chips_converters():
    _, model, x = trimmed()
    _, fresh, _ = trimmed()
    mho.calibrate(model, x, trim=True)
    plain = fresh.state_dict()
    assert not any("trim" in key for key in plain)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    fresh.load_state_dict(plain)
    found = next(iter(mho.crossbars(model).values()))
    assert next(iter(mho.crossbars(fresh).values())).trim is None
    mho.program(model)
    mho.calibrate(model, x)
    assert found.trim is not None
    state = found.snapshot()
    mho.fabricate(model, 9)
    assert found.trim is None
    found.restore(state)
    assert found.trim is not None


def test_training_sees_newly_made_converters_as_trimmed():
    _, model, x = trimmed()
    mho.calibrate(model, x, trim=True)
    found = next(iter(mho.crossbars(model).values())).reader.view.errors(training=True)
    assert found.even
    assert float(found.offset) == 0.0


def test_a_trim_that_cannot_be_is_refused():
    _, model, x = trimmed()
    found = next(iter(mho.crossbars(model).values()))
    with pytest.raises(TypeError, match="trim must have shape"):
        found.commit(correction=found.correction.replace(trim=torch.ones(2, 1, 1, 1)))
    ideal = mho.convert(nn.Linear(30, 8), Hardware(adc=ADC(8)), seed=0).eval()
    with pytest.raises(ValueError, match="trim=True needs converters with errors"):
        mho.calibrate(ideal, x, trim=True)
    other = next(iter(mho.crossbars(ideal).values()))
    with pytest.raises(ValueError, match="for converters with errors"):
        other.commit(correction=other.correction.replace(trim=torch.ones(2, 1, 1, 8)))


# ── all ways of reading ──────────────────────────────────────────────────────────────────────

WAYS = {
    "amplitudes": {"dac": DAC(8, errors=DRIVERS)},
    "pulses": {
        "dac": DAC(5, mode="bit_serial", errors=DriverErrors(gain=Spread(Normal(1.0, 0.1)))),
        "encoding": BitSliced(bits=4, bits_per_cell=2),
    },
    "measured": {"dac": DAC(8, errors=DRIVERS, range="per_vector")},
    "pairs": {"dac": DAC(8, errors=DRIVERS), "encoding": Differential(subtract="digital")},
    "no converters": {"dac": DAC(8, errors=DRIVERS), "adc": None},
}


def model_of(way, layer, x, **parts):
    ranged = "per_vector" if way == "measured" else "calibrated"
    built = SAR(
        capacitor_sigma=0.05, offset=Spread(Normal(0.0, 0.05)), gain=Spread(Normal(1.0, 0.1))
    )
    hardware = Hardware(
        **{
            "device": DEVICE,
            "array": Array(8, 6),
            "adc": ADC(7, range=ranged, architecture=built, columns_per_adc=2),
            **WAYS[way],
            **parts,
        }
    )
    model = mho.convert(layer, hardware, seed=1).eval()
    mho.calibrate(model, x, correct=False)
    return model


def few_apart(one, two, share=0.02):
    """Rounding may move a few values across a converter's threshold."""
    size = float(one.detach().abs().max())
    far = (one - two).detach().abs() > 1e-4 * size
    assert float(far.double().mean()) <= share


@pytest.mark.parametrize("way", WAYS)
def test_reads_agree_however_they_are_done(way):
    torch.manual_seed(0)
    layer, x = nn.Linear(29, 11), torch.randn(64, 29)
    model = model_of(way, layer, x)
    y = model(x)
    few_apart(y, torch.cat([model(x[k : k + 1]) for k in range(64)]))
    few_apart(y, model(x.clone().requires_grad_()))
    with torch.no_grad():
        few_apart(y, model(x))
    mho.limit_memory(model, 30_000)
    few_apart(y, model(x))
    given = x.clone().requires_grad_()
    streamed = model(given)
    few_apart(y, streamed)
    (grad,) = torch.autograd.grad(streamed.sum(), given)
    mho.limit_memory(model, 256_000_000)
    (whole,) = torch.autograd.grad(model(given).sum(), given)
    few_apart(whole, grad)
    assert model(x[:0]).shape == (0, 11)


@pytest.mark.parametrize("way", ["amplitudes", "pulses", "measured"])
def test_a_convolution_is_a_linear_layer_on_patches(way):
    torch.manual_seed(0)
    layer, image = nn.Conv2d(3, 5, 3, bias=False), torch.randn(4, 3, 6, 6)
    patches = nn.functional.unfold(image, 3).transpose(1, 2)
    flat = nn.Linear(27, 5, bias=False)
    flat.weight.data = layer.weight.data.flatten(1)
    conv = model_of(way, layer, image)
    linear = mho.convert(flat, conv.hardware, seed=0).eval()
    theirs, own = (next(iter(mho.crossbars(m).values())) for m in (conv, linear))
    linear.load_state_dict(
        {
            k: v.view_as(linear.state_dict()[k]) if isinstance(v, torch.Tensor) else v
            for k, v in conv.state_dict().items()
        }
    )
    assert torch.equal(errors(theirs).offset, errors(own).offset)
    few_apart(conv(image).flatten(2), linear(patches).transpose(1, 2))


def test_a_lookup_is_a_one_hot_read():
    table = nn.Embedding(13, 6)
    hardware = Hardware(array=Array(5, 6), dac=DAC(range=1.0, errors=DRIVERS), adc=adc())
    model = mho.convert(table, hardware, seed=0, embeddings=True).eval()
    found = next(iter(mho.crossbars(model).values()))
    index = torch.tensor([0, 3, 12])
    torch.testing.assert_close(model(index), found(nn.functional.one_hot(index, 13).float()))


def test_noise_is_drawn_at_every_conversion_and_streams_agree():
    built = Architecture(noise=0.05)
    found = crossbar(array=Array(4, 8), adc=ADC(16, range=1e-4, architecture=built), seed=5)
    x = inputs(1).expand(20_000, -1)
    amperes = found(x) / (float(found.scale) / 0.2)
    sigma = np.sqrt(2) * 0.05 * 2**15 * 1e-4 / (2**15 - 1)  # of two tiles
    for spread in amperes.std(0).tolist():
        assert abs(spread / sigma - 1) < 4.5 / np.sqrt(40_000)
    quiet = crossbar(array=Array(4, 8), adc=ADC(16, range=1e-4), seed=5)(x[:1])[0]
    error = (found(x).mean(0) - quiet) / (float(found.scale) / 0.2) / sigma * np.sqrt(20_000)
    assert float(error.abs().max()) < 4.5
    model = nn.Sequential(found)
    assert torch.equal(mho.noise_free(model)(x[:3]), mho.noise_free(model)(x[:3]))


@pytest.mark.parametrize("built", [Architecture(noise=0.05), Oscillator(jitter=0.3)])
def test_gradients_of_a_block_meet_the_noise_it_had(built):
    torch.manual_seed(0)
    layer, x = nn.Linear(29, 11), torch.randn(64, 29)
    drive = DAC(4, mode="bit_serial")
    model = model_of("pulses", layer, x, adc=ADC(3, range=1e-5, architecture=built), dac=drive)
    mho.limit_memory(model, 20_000)
    given = x.clone().requires_grad_()
    y = model(given)
    assert not torch.equal(y, model(given))
    # What clips has no gradient: the sum of both tells that backward saw the same currents.
    again = torch.autograd.grad(y.sum(), given, retain_graph=True)
    assert torch.equal(again[0], torch.autograd.grad(y.sum(), given)[0])


@pytest.mark.parametrize(
    "built", [MISMATCH, SAR(capacitor_sigma=0.05), Ramp(capacitor_sigma=0.05, noise=0.01)]
)
def test_recurrent_attention_and_half_precision(built):
    hardware = Hardware(
        array=Array(8, 6), dac=DAC(8, errors=DRIVERS), adc=ADC(7, architecture=built)
    )
    for layer, x in (
        (nn.LSTM(6, 5), torch.randn(3, 2, 6)),
        (nn.Linear(9, 4).bfloat16(), torch.randn(3, 9).bfloat16()),
    ):
        model = mho.convert(layer, hardware, seed=0)
        out = model(x)
        y = out[0] if isinstance(out, tuple) else out
        assert y.dtype == x.dtype
        assert bool(torch.isfinite(y).all())
        y.float().square().sum().backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
        model.eval()
        model(x)


def test_one_bit_is_a_comparator_with_an_offset():
    found = crossbar(
        rows=4,
        array=Array(4, 8),
        adc=ADC(1, range=2e-5, architecture=Flash(comparator_sigma=0.5)),
    )
    x = inputs(200, 4)
    current = 0.2 * x.numpy() @ (found.G[0] - found.G[1]).numpy()
    seen = current + errors(found).offset[0, 0].numpy() * 2e-5
    expected = np.where(seen < 0, -1, 1) * 2e-5 * float(found.scale) / 0.2
    np.testing.assert_allclose(found(x), expected)
    assert float(errors(found).offset.std()) > 0.1


def test_a_number_that_is_none_comes_out():
    found = crossbar(adc=adc(SAR(capacitor_sigma=0.1)))
    x = inputs()
    x[2, 3], x[4, 1] = torch.nan, torch.inf
    y = found(x)
    assert bool(y[2].isnan().all())
    assert not bool(y[[0, 1, 3, 5]].isnan().any())


# ── drivers ──────────────────────────────────────────────────────────────────────────────────


def drivers_of(found):
    known = found.circuits["drivers"][1]
    rows = found.cells.shape[1]
    parts = (known.gain, known.offset)
    return [None if p is None else p.expand(rows).numpy() for p in parts]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("bits", [None, 6])
def test_drivers_have_gains_and_offsets(bits, exact):
    dac = DAC(bits, range=1.0, errors=DRIVERS)
    found = crossbar(array=Array(3, 6), dac=dac, adc=None if exact else ADC(14, range=1e-4))
    x = inputs().clamp(-1, 1)
    y = found(x)
    gain, offset = drivers_of(found)
    assert len(set(gain)) == len(set(offset)) == 7
    u = x.numpy() if bits is None else np.round(x.numpy() * 31) / 31
    volts = gain * u * 0.2 + offset / (1 if bits is None else 31) * 0.2
    expected = volts @ (found.G[0] - found.G[1]).numpy() * float(found.scale) / 0.2
    np.testing.assert_allclose(y, expected, atol=1e-9 if exact else 0.01)
    assert found.collapsed is False


def test_drivers_gains_alone_leave_a_read_one_product():
    dac = DAC(6, range=1.0, errors=DriverErrors(gain=Spread(Normal(1.0, 0.1))))
    found = crossbar(array=Array(3, 6), dac=dac)
    assert found.collapsed
    y = found(inputs().clamp(-1, 1))
    gain, _ = drivers_of(found)
    u = np.round(inputs().clamp(-1, 1).numpy() * 31) / 31
    weight = ((found.G[0] - found.G[1]) * found.scale).numpy()
    np.testing.assert_allclose(y, (gain * u) @ weight, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "curve"),
    [
        ({"inl": (0.1, -0.05)}, lambda u: u + 0.1 * u**2 - 0.05 * u**3),
        ({"levels": tuple((k / 7) ** 3 for k in range(-7, 8))}, lambda u: u**3),
    ],
)
def test_drivers_have_a_curve(given, curve):
    found = crossbar(dac=DAC(4, range=1.0, errors=DriverErrors(**given)))
    x = inputs().clamp(-1, 1).requires_grad_()
    weight = ((found.G[0] - found.G[1]) * found.scale).numpy()
    y = found(x)
    u = np.round(x.detach().numpy() * 7) / 7
    np.testing.assert_allclose(y.detach(), curve(u) @ weight, rtol=1e-9, atol=1e-12)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert bool(torch.isfinite(grad).all() & (grad.abs() > 0.1).any(0)[[0, 1, 2, 4, 5, 6]].all())


@pytest.mark.parametrize("wires", [Wires(), Wires(word=1.0, bit=1.0)], ids=["ideal", "wires"])
@pytest.mark.parametrize("relative", ["range", "value"])
def test_noise_of_cells_goes_by_the_voltages_given(wires, relative):
    spec = DriverErrors(gain=Spread(Normal(1.0, 0.3)))
    parts = {"array": Array(8, 6, wires=wires), "effects": (effects.ReadNoise(0.05, relative),)}
    found = crossbar(dac=DAC(range=1.0, errors=spec), **parts)
    x = inputs(1)
    spread = found(x.expand(20_000, -1)).std(0)
    gain, _ = drivers_of(found)
    same = crossbar(dac=DAC(range=1.0), **parts)
    expected = same((x * torch.as_tensor(gain)).expand(20_000, -1)).std(0)
    assert float((spread / expected - 1).abs().max()) < 6 / np.sqrt(20_000)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DriverErrors(gain=-1.0), ValueError, "gain must be > 0"),
        (lambda: DriverErrors(offset="a"), TypeError, "offset must be"),
        (lambda: DriverErrors(inl=(2.0,)), ValueError, "rises over"),
        (lambda: DriverErrors(inl=(0.1,), levels=(0.0,)), ValueError, "give one"),
        (lambda: DAC(errors=DriverErrors(inl=(0.1,))), ValueError, "need bits >= 2"),
        (lambda: DAC(3, errors=DriverErrors(levels=(0.0,))), ValueError, "each of the 7 levels"),
        (lambda: DAC(3, errors=0.1), TypeError, "errors must be"),
        (
            lambda: DAC(3, mode="bit_serial", errors=DriverErrors(offset=0.1)),
            ValueError,
            "their gain alone",
        ),
        (
            lambda: (
                Hardware(device=ExponentialDevice(1e-6, 1e-4, 1.0, -1.0), dac=DAC(errors=DRIVERS))
                if not ExponentialDevice(1e-6, 1e-4, 1.0, -1.0).ohmic
                else Hardware(device=mho.devices.Yakopcic(), dac=DAC(errors=DRIVERS))
            ),
            ValueError,
            "g · v",
        ),
        (
            lambda: Hardware(array=Array(4, 4), adc=adc(columns_per_adc=5)),
            ValueError,
            "<= Array cols 4",
        ),
        (
            lambda: Hardware(
                adc=adc(Architecture(gain=Spread(Normal(1.0, 0.1), shared="a", correlation=0.5)))
            ),
            ValueError,
            "must not share a cause",
        ),
    ],
)
def test_what_would_not_act_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("parts", [{"adc": adc()}, {"dac": DAC(errors=DRIVERS)}])
def test_reads_the_other_way_are_refused(parts):
    found = crossbar(**parts)
    with pytest.raises(ValueError, match="with errors stand at"):
        torch.ones(2, 5, dtype=torch.float64) @ found.T


def test_the_summary_says_what_converters_are_worth():
    hardware = Hardware(
        dac=DAC(8, errors=DRIVERS),
        adc=ADC(8, architecture=SAR(capacitor_sigma=0.1, clock=1e9), columns_per_adc=8),
    )
    said = str(mho.summary(mho.convert(nn.Linear(3, 2), hardware)))
    assert "effective bits" in said
    assert "72 ns a read" in said
    assert "DriverErrors" in said


@pytest.mark.parametrize(
    "parts",
    [
        {"adc": adc()},
        {"dac": DAC(errors=DRIVERS)},
        {"amplifier": mho.Amplifier(saturation=1e-5)},
        {"amplifier": mho.Amplifier(noise=Spread(Normal(1e-8, 1e-9)))},
    ],
)
def test_a_twin_has_no_errors_of_its_own(parts):
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(40, 3)) * 1e-6
    with pytest.raises(ValueError, match="hardware"):
        mho.fit.products(expected, expected, hardware=Hardware(**parts))


def test_tables_count_where_memory_is_estimated():
    layer = nn.Linear(128, 64)
    each = [
        mho.estimate(layer, Hardware(adc=ADC(8, architecture=built)), times=False).converted
        for built in (None, SAR(capacitor_sigma=0.05))
    ]
    assert each[1] > each[0] + 64 * 2**8 * 4


@pytest.mark.parametrize("training", [False, True])
def test_compiled_reads_are_those_of_eager_code(training):
    hardware = Hardware(
        array=Array(8, 6),
        dac=DAC(8, errors=DRIVERS),
        adc=ADC(7, architecture=SAR(capacitor_sigma=0.05, gain=Spread(Normal(1.0, 0.1)))),
    )
    model, x = mho.convert(nn.Linear(12, 5), hardware, seed=0), torch.randn(3, 12)
    mho.calibrate(model, x)
    model.train(training)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    if training:
        torch.manual_seed(0)
        compiled(x).sum().backward()
        assert bool(torch.isfinite(model.weight.grad).all())
    else:
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("built", [SAR(capacitor_sigma=0.05), Architecture(gain=0.9)])
@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_compiled_reads_of_images_are_those_of_eager_code(built, noise):
    # Currents of images are not in order of memory.
    hardware = Hardware(
        array=Array(8, 6),
        dac=DAC(8, errors=DRIVERS),
        adc=ADC(7, architecture=built.replace(offset=Spread(Normal(0.0, 0.05)))),
        amplifier=mho.Amplifier(saturation=2e-5, gain_noise=noise),
    )
    model, x = mho.convert(nn.Conv2d(2, 5, 3), hardware, seed=0).eval(), torch.randn(3, 2, 5, 5)
    mho.calibrate(model, x)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


def test_what_has_no_errors_reads_as_without():
    x = inputs()
    ideal = crossbar(dac=DAC(8, range=1.0), adc=ADC(6, range=2e-5))
    same = crossbar(
        dac=DAC(8, range=1.0, errors=DriverErrors()),
        adc=ADC(6, range=2e-5, architecture=SAR(clock=1e6)),
    )
    assert torch.equal(ideal(x), same(x))
    assert (x @ torch.eye(7, dtype=torch.float64)).shape == x.shape
    torch.ones(2, 5, dtype=torch.float64) @ same.T
