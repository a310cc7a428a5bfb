"""Amplifiers between bit lines and converters."""

import copy

import numpy as np
import pytest
import torch
from torch.distributions import Normal

import mho
from mho import ADC, DAC, Amplifier, Array, Hardware, effects
from mho.chip import Chip
from mho.devices import LinearDevice, Spread
from mho.encoding import Differential, SingleColumn

DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)
GAIN = tuple(0.8 + 0.05 * j for j in range(6))
OFFSET = tuple(1e-7 * (j - 2) for j in range(6))


def crossbar(rows=7, cols=5, seed=0, **parts):
    """A programmed crossbar, inputs of 1 being 0.2 V."""
    hardware = Hardware(**{"device": DEVICE, "dac": DAC(range=1.0), **parts})
    found = mho.Crossbar(rows, cols, hardware, seed=seed, dtype=torch.float64)
    found.program(torch.linspace(-1, 1, rows * cols, dtype=torch.float64).view(rows, cols))
    return found


def inputs(batch=9, rows=7):
    return torch.randn(batch, rows, generator=torch.Generator().manual_seed(1)).double() / 3


def by_hand(found, x, gain, offset, compression):
    """The outputs of a differential crossbar, tile by tile, by numpy."""
    g = (found.G[0] - found.G[1]).numpy()
    rows = found.hardware.array.rows
    total = 0.0
    for top in range(0, len(g), rows):
        current = 0.2 * x.numpy()[:, top : top + rows] @ g[top : top + rows]
        z = gain * current + offset
        total = total + z / (1 + compression * np.abs(z))
    return total * float(found.scale) / 0.2


@pytest.mark.parametrize("array", [Array(16, 6), Array(3, 6)], ids=["one tile", "three tiles"])
def test_every_tile_is_amplified_by_the_formula(array):
    found = crossbar(cols=6, array=array, amplifier=Amplifier(GAIN, OFFSET, 3e3))
    x = inputs()
    expected = by_hand(found, x, np.array(GAIN), np.array(OFFSET), 3e3)
    np.testing.assert_allclose(found(x), expected, rtol=1e-10)
    assert not found.collapsed


def test_what_was_measured_is_of_every_tile_beside_others():
    found = crossbar(cols=11, array=Array(16, 6), amplifier=Amplifier(GAIN, OFFSET))
    gain, offset = (np.array([*v, *v[:5]]) for v in (GAIN, OFFSET))
    np.testing.assert_allclose(found(inputs()), by_hand(found, inputs(), gain, offset, 0.0))


def test_converters_get_what_amplifiers_hand_on():
    amplifier = Amplifier(GAIN, OFFSET, 3e3)
    fine = crossbar(cols=6, array=Array(3, 6), adc=ADC(20, range=1e-4), amplifier=amplifier)
    exact = crossbar(cols=6, array=Array(3, 6), amplifier=amplifier)
    np.testing.assert_allclose(fine(inputs()), exact(inputs()), atol=3e-5)
    coarse = crossbar(cols=6, array=Array(16, 6), adc=ADC(6, range=2e-5), amplifier=amplifier)
    step = 2e-5 / 31 * float(coarse.scale) / 0.2
    levels = coarse(inputs()) / step
    np.testing.assert_allclose(levels, levels.round(), atol=1e-9)
    clean = crossbar(cols=6, array=Array(16, 6), amplifier=amplifier)(inputs())
    inside = clean.abs() < 30 * step
    assert float((coarse(inputs()) - clean).abs()[inside].max()) <= 0.5000001 * step


def test_digital_subtraction_has_an_amplifier_for_each_array():
    gain = (*GAIN, *(2.0,) * 6)
    found = crossbar(
        cols=6,
        array=Array(16, 6),
        encoding=Differential(subtract="digital"),
        amplifier=Amplifier(gain),
    )
    g, x = found.G.numpy(), inputs().numpy()
    expected = (x @ g[0] * np.array(GAIN) - 2.0 * (x @ g[1])) * float(found.scale)
    np.testing.assert_allclose(found(inputs()), expected, rtol=1e-10)


def test_drawn_lines_are_the_chips_own_and_come_back():
    amplifier = Amplifier(Spread(Normal(1.0, 0.1)), Spread(Normal(0.0, 1e-6)))
    parts = {"array": Array(3, 4), "amplifier": amplifier}
    one, same, other = (crossbar(seed=s, **parts) for s in (1, 1, 2))
    x = inputs()
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))
    lines = one.reader.view._lines
    assert lines.gain.shape == (1, 3, 5)
    assert lines.gain.unique().numel() == 15
    before = one(x)
    one.program(torch.ones(7, 5, dtype=torch.float64))
    assert torch.equal(one.reader.view._lines.gain, lines.gain)
    other.load_state_dict(same.state_dict())
    assert torch.equal(other(x), before)
    assert torch.equal(copy.deepcopy(same)(x), before)


def test_lines_of_a_chip_are_the_chips():
    parts = {"device": DEVICE, "array": Array(3, 4)}
    hardware = Hardware(amplifier=Amplifier(Spread(Normal(1.0, 0.1))), **parts)

    def placed(chip_seed, *model_seeds):
        chip = Chip(40, 40, hardware, seed=chip_seed)
        found = [mho.Crossbar(7, 5, hardware, seed=seed) for seed in model_seeds]
        for each in found:
            each.program(torch.ones(7, 5))
            chip.place(each)
        return chip, found, [each.reader.view._lines.gain for each in found]

    chip, models, (one, two) = placed(7, 1, 1)
    assert not (one == two).any()  # other places, other lines
    _, _, again = placed(7, 2, 3)
    assert torch.equal(torch.stack((one, two)), torch.stack(again))  # whatever the model
    assert not (one == placed(8, 1)[2][0]).any()
    models[0].train()
    assert torch.equal(models[0].reader.view.amplifiers(training=True).gain, one)
    chip.remove(models[0])
    assert torch.equal(models[0].reader.view._lines.gain, one)  # a copy of its cells, and lines
    mho.fabricate(models[1], 5)
    assert models[1].cells.lines_seed == models[1].cells.born


@pytest.mark.parametrize("low", [None, 0.0])
def test_no_drawn_gain_is_negative(low):
    amplifier = Amplifier(Spread(Normal(1.0, 1.0), low=low))
    wide = mho.Crossbar(64, 64, Hardware(array=Array(8, 64), amplifier=amplifier), seed=0)
    assert float(wide.reader.view._lines.gain.min()) >= 0.0
    assert amplifier.gain == Spread(Normal(1.0, 1.0), low=0.0)


def test_drawn_lines_have_their_spread():
    amplifier = Amplifier(Spread(Normal(1.1, 0.1)), Spread(Normal(2e-7, 1e-6)))
    wide = mho.Crossbar(200, 200, Hardware(array=Array(10, 16), amplifier=amplifier), seed=3)
    lines = wide.reader.view._lines
    gain, offset = lines.gain, lines.offset
    count = gain.numel() ** 0.5
    assert abs(float(gain.mean()) - 1.1) < 4 * 0.1 / count
    assert abs(float(gain.std()) / 0.1 - 1) < 4 / count
    assert abs(float(offset.mean()) - 2e-7) < 4 * 1e-6 / count
    assert abs(float(offset.std()) / 1e-6 - 1) < 4 / count
    assert abs(float(torch.corrcoef(torch.stack((gain.flatten(), offset.flatten())))[0, 1])) < 0.1


def test_compression_and_noise_spread_over_lines():
    compression, noise = Spread(Normal(3e3, 5e2)), Spread(Normal(3e-7, 5e-8))
    bent = crossbar(array=Array(3, 6), amplifier=Amplifier(compression=compression))
    x, total = inputs(), 0.0
    own = bent.reader.view._lines.compression[0].numpy()
    assert own.shape == (3, 5)
    assert len(np.unique(own)) == 15
    g = (bent.G[0] - bent.G[1]).numpy()
    for tile, top in enumerate((0, 3, 6)):
        current = 0.2 * x.numpy()[:, top : top + 3] @ g[top : top + 3]
        total = total + current / (1 + own[tile] * np.abs(current))
    np.testing.assert_allclose(bent(x), total * float(bent.scale) / 0.2, rtol=1e-10)
    loud = crossbar(array=Array(16, 6), amplifier=Amplifier(noise=noise))
    spread = (loud(x[:1].expand(20_000, -1)) / (float(loud.scale) / 0.2)).std(0).numpy()
    own = loud.reader.view._lines.noise[0, 0].numpy()
    assert np.abs(spread / own - 1).max() < 4.5 / np.sqrt(40_000)
    assert Amplifier(noise=noise).noise.low == 0.0
    wide = mho.Crossbar(64, 64, Hardware(array=Array(8, 64), amplifier=bent.hardware.amplifier))
    found = wide.reader.view._lines.compression
    assert abs(float(found.mean()) - 3e3) < 4 * 5e2 / found.numel() ** 0.5
    assert abs(float(found.std()) / 5e2 - 1) < 4 / (2 * found.numel()) ** 0.5


@pytest.mark.parametrize("adc", [None, ADC(14, range=1e-4)], ids=["exact", "converted"])
def test_what_is_too_large_saturates(adc):
    plain = crossbar(cols=6, array=Array(3, 6), amplifier=Amplifier(compression=1e3))
    cut = crossbar(
        cols=6, array=Array(3, 6), adc=adc, amplifier=Amplifier(compression=1e3, saturation=4e-6)
    )
    x, total = inputs(), 0.0
    g = (plain.G[0] - plain.G[1]).numpy()
    for top in (0, 3, 6):
        z = 0.2 * x.numpy()[:, top : top + 3] @ g[top : top + 3]
        total = total + np.clip(z / (1 + 1e3 * np.abs(z)), -4e-6, 4e-6)
    expected = total * float(cut.scale) / 0.2
    np.testing.assert_allclose(cut(x), expected, atol=1e-10 if adc is None else 2e-3)
    assert not np.allclose(cut(x), plain(x))


def test_training_draws_lines_afresh_and_follows_gradients():
    amplifier = Amplifier(Spread(Normal(1.0, 0.1)), compression=1e4)
    found = crossbar(amplifier=amplifier)
    weight = found.weight.clone().requires_grad_()
    torch.manual_seed(0)
    one, two = (found.read_through(inputs(), weight) for _ in range(2))
    assert not torch.equal(one, two)
    (grad,) = torch.autograd.grad(one.square().sum(), weight)
    assert bool(torch.isfinite(grad).all() & (grad != 0).any())
    found.inject_noise(mho.train.NoiseInjection(own_cells=True))
    one, two = (found.read_through(inputs(), weight) for _ in range(2))
    assert torch.equal(one, two)
    np.testing.assert_allclose(one.detach(), found(inputs()), rtol=1e-9)


@pytest.mark.parametrize("adc", [None, ADC(22, range=1e-4)], ids=["exact", "converted"])
def test_noise_has_its_sizes(adc):
    amplifier = Amplifier(0.5, noise=3e-7, shared_noise=4e-7, gain_noise=0.02)
    found = crossbar(array=Array(4, 3), amplifier=amplifier, adc=adc, seed=5)
    x = inputs(1).expand(40_000, -1)
    # In amperes.
    y = found(x) / (float(found.scale) / 0.2)
    g = (found.G[0] - found.G[1]).numpy()
    volts = 0.2 * x[0].numpy()
    squares = sum((0.5 * 0.02 * (volts[t] @ g[t])) ** 2 for t in (slice(0, 4), slice(4, 7)))
    expected = np.diag(squares + 2 * 3e-7**2)
    tile = np.array([0, 0, 0, 1, 1])
    expected += 2 * 4e-7**2 * (tile[:, None] == tile)
    among = np.cov(y.numpy().T)
    sizes = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((among - expected) / sizes).max() < 5 * 2**0.5 / 40_000**0.5
    noise_free = by_hand(found, inputs(1), 0.5, 0.0, 0.0) / (float(found.scale) / 0.2)
    error = (y.mean(0).numpy() - noise_free[0]) / np.sqrt(np.diag(expected) / 40_000)
    assert np.abs(error).max() < 4.5


def test_calibration_measures_after_the_amplifiers_and_corrects_them():
    layer = torch.nn.Linear(12, 6).double()
    x = torch.randn(400, 12, generator=torch.Generator().manual_seed(3)).double()
    gain = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    hardware = Hardware(
        device=DEVICE, array=Array(16, 6), adc=ADC(10), amplifier=Amplifier(gain, OFFSET)
    )
    model = mho.convert(layer, hardware, seed=0).eval()
    loud = mho.convert(layer, hardware.replace(amplifier=Amplifier(10.0)), seed=0).eval()
    for each in (model, loud):
        mho.calibrate(each, x)
    ranges = [next(iter(mho.crossbars(each).values())).adc_range for each in (model, loud)]
    assert float(ranges[1] / ranges[0]) > 8.0
    error = model(x) - layer(x)
    assert float(error.std() / layer(x).std()) < 0.01
    np.testing.assert_allclose(1 / next(iter(mho.crossbars(model).values())).gain, gain, rtol=0.01)


def test_the_ideal_amplifier_is_none():
    x = inputs()
    assert torch.equal(crossbar(amplifier=Amplifier())(x), crossbar()(x))
    assert crossbar(amplifier=Amplifier()).collapsed


def test_the_summary_says_it():
    model = mho.convert(torch.nn.Linear(3, 2), Hardware(amplifier=Amplifier(0.9, noise=1e-8)))
    assert "Amplifier(gain=0.9, noise=1e-08)" in str(mho.summary(model))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gain": 0.0}, ValueError, "gain must be > 0"),
        ({"gain": (1.0, -1.0)}, ValueError, r"gain\[1\] must be > 0"),
        ({"gain": ()}, ValueError, "must not be empty"),
        ({"gain": Spread(Normal(1.0, 1.0), low=-1.0)}, ValueError, "low=-1.0"),
        ({"gain": "high"}, TypeError, "gain must be a number"),
        ({"offset": float("nan")}, ValueError, "offset must be finite"),
        ({"offset": (0.0, "x")}, TypeError, r"offset\[1\]"),
        ({"compression": -1.0}, ValueError, "compression must be >= 0"),
        ({"noise": -1e-9}, ValueError, "noise must be >= 0"),
        ({"shared_noise": -1e-9}, ValueError, "shared_noise must be >= 0"),
        ({"gain_noise": -0.1}, ValueError, "gain_noise must be >= 0"),
        ({"saturation": 0.0}, ValueError, "saturation must be > 0"),
        ({"noise": Spread(Normal(1e-8, 1e-9), low=-1.0)}, ValueError, "low=-1.0"),
        ({"compression": Spread(Normal(-1.0, 1e-9))}, ValueError, "compression must be >= 0"),
    ],
)
def test_wrong_values_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        Amplifier(**changes)


def test_lines_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one value for each of the 6 lines"):
        Hardware(array=Array(4, 6), amplifier=Amplifier((1.0, 1.1)))
    with pytest.raises(ValueError, match="not interleaved"):
        Hardware(array=Array(4, 6, interleaved=True), amplifier=Amplifier(GAIN))
    with pytest.raises(TypeError, match="amplifier must be"):
        Hardware(amplifier=ADC(8))


def test_reads_the_other_way_are_refused():
    found = crossbar(amplifier=Amplifier(0.9))
    with pytest.raises(ValueError, match="stands at the bit lines"):
        torch.ones(2, 5, dtype=torch.float64) @ found.T


def test_stuck_cells_stand_at_their_places():
    stuck = effects.StuckCells(((0, 2, 1), (0, 6, 4)), (3e-4, 0.0))
    found = crossbar(effects=(stuck,), encoding=SingleColumn())
    assert float(found.G[0, 2, 1]) == 3e-4
    assert float(found.G[0, 6, 4]) == 0.0
    assert int(found.stuck.sum()) == 2
    found.program(torch.ones(7, 5, dtype=torch.float64))
    assert float(found.G[0, 2, 1]) == 3e-4
    with pytest.raises(ValueError, match="inside the cells"):
        crossbar(rows=2, effects=(stuck,), encoding=SingleColumn())


@pytest.mark.parametrize(
    ("places", "conductances", "message"),
    [
        (((0, 1),), (1e-5,), "slice, row, column"),
        (((0, 1, -1),), (1e-5,), "every index"),
        (((0, 1, 1),), (-1e-5,), "conductances must be >= 0"),
        (((0, 1, 1),), (), "as many conductances"),
        (((0, 1, 1), (0, 1, 1)), (1e-5, 1e-5), "named once"),
    ],
)
def test_stuck_cells_that_cannot_be_are_refused(places, conductances, message):
    with pytest.raises(ValueError, match=message):
        effects.StuckCells(places, conductances)


@pytest.mark.parametrize(
    ("places", "conductances", "message"),
    [
        ((1, 2, 3), (1e-6,), r"places must be \(slice, row, column\) each, got 1"),
        (7, (1e-6,), r"places must be \(slice, row, column\) each, got 7"),
        (((0, 1, 1),), 1e-6, "conductances must be one number"),
    ],
)
def test_stuck_cells_of_another_form_are_refused(places, conductances, message):
    with pytest.raises(TypeError, match=message):
        effects.StuckCells(places, conductances)


def test_access_resistances_are_in_series():
    g = crossbar().G
    seen = crossbar(effects=(effects.AccessResistance(2e3),))
    weight = seen.effective_weight
    expected = 1 / (1 / g + 2e3)
    np.testing.assert_allclose(weight, (expected[0] - expected[1]) * seen.scale, rtol=1e-9)
    np.testing.assert_allclose(seen(inputs()), inputs() @ weight, rtol=1e-9)
    assert torch.equal(seen.G, g)
