"""Calibration and summary against independent computations."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mho
import naive
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, SingleColumn

ERRORS = (StuckAt(0.05, 0.05), WriteNoise(0.05), PowerLawDrift(0.1, 0.02))


def layer(hardware, rows=10, cols=4, bias=True):
    digital = nn.Linear(rows, cols, bias=bias).double()
    return digital, mho.convert(digital, hardware, seed=1).eval()


def tile_currents(crossbar, volts, array_rows):
    """Currents (A) of every tile, sample and line of one converter with analog (+, -) slices."""
    G = (crossbar.G[0] - crossbar.G[1]).numpy()
    rows = G.shape[0]
    cuts = [slice(a, min(a + array_rows, rows)) for a in range(0, rows, array_rows)]
    return np.stack([volts.numpy()[:, cut] @ G[cut] for cut in cuts])


@pytest.mark.parametrize("percentile", [100.0, 90.0])
def test_ranges_are_those_of_the_data(percentile):
    hardware = Hardware(
        array=Array(4, 4),
        dac=DAC(8, percentile=percentile),
        adc=ADC(8, percentile=percentile),
        effects=ERRORS,
    )
    _, analog = layer(hardware)
    x = torch.randn(200, 10, dtype=torch.float64)
    mho.calibrate(analog, x)
    crossbar = analog.crossbar

    def rank(values):
        ordered = np.sort(np.abs(np.asarray(values)).ravel())
        return ordered[min(max(round(percentile / 100 * len(ordered)), 1), len(ordered)) - 1]

    limit = rank(x)
    assert float(crossbar.input_range) == pytest.approx(limit, rel=1e-12)
    volts = (x / limit * 127).round().clamp(-127, 127) / 127 * 0.2
    currents = tile_currents(crossbar, volts, 4)
    assert float(crossbar.adc_range) == pytest.approx(rank(currents), rel=1e-9)


def test_every_converter_has_its_own_range():
    adc = ADC(8, percentile=100.0)
    hardware = Hardware(encoding=Differential(subtract="digital"), adc=adc, array=Array(4, 4))
    _, analog = layer(hardware)
    x = torch.randn(50, 10, dtype=torch.float64)
    mho.calibrate(analog, x)
    volts = (x / x.abs().max() * 0.2).numpy()
    for k in range(2):
        G = analog.crossbar.G[k].numpy()
        parts = [volts[:, a : a + 4] @ G[a : a + 4] for a in (0, 4, 8)]
        wanted = max(np.abs(part).max() for part in parts)
        assert float(analog.crossbar.adc_range[k]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize("converters", [{}, {"dac": DAC(6), "adc": ADC(6)}])
def test_correction_is_the_least_squares_fit(bias, converters):
    digital, analog = layer(Hardware(array=Array(4, 4), effects=ERRORS, bias=bias, **converters))
    mho.age(analog, 1e4)
    x = torch.randn(300, 10, dtype=torch.float64)
    raw = copy.deepcopy(analog)
    mho.calibrate(raw, x, correct=False)
    with torch.no_grad():
        y = raw(x) - (0 if bias == "array" else digital.bias)
        target = digital(x) - (0 if bias == "array" else digital.bias)
    mho.calibrate(analog, x)
    for j in range(4):
        basis = np.stack((y[:, j].numpy(), np.ones(300)), axis=1)
        (gain, offset), *_ = np.linalg.lstsq(basis, target[:, j].numpy(), rcond=None)
        assert float(analog.crossbar.gain[j]) == pytest.approx(gain, rel=1e-6)
        assert float(analog.crossbar.offset[j]) == pytest.approx(offset, rel=1e-6, abs=1e-9)
    before, after = ((model(x) - digital(x)).square().mean() for model in (raw, analog))
    assert after < before


def test_correction_of_groups():
    digital = nn.Conv2d(4, 6, 3, groups=2).double()
    analog = mho.convert(digital, Hardware(effects=(PowerLawDrift(0.1),))).eval()
    mho.age(analog, 1e4)
    x = torch.randn(5, 4, 6, 6, dtype=torch.float64)
    mho.calibrate(analog, x)
    gain = torch.full((6,), 1e4**0.1, dtype=torch.float64)
    assert torch.allclose(analog.crossbar.gain, gain)
    assert torch.allclose(analog(x), digital(x))


@pytest.mark.parametrize("encoding", [Differential(), SingleColumn(), BitSliced(bits=6)])
@pytest.mark.parametrize("mode", ["amplitude", "bit_serial"])
def test_calibrated_reads_are_naive_reads_at_those_ranges(encoding, mode):
    hardware = Hardware(
        array=Array(4, 4),
        encoding=encoding,
        dac=DAC(5, mode=mode, percentile=95.0),
        adc=ADC(6, percentile=99.0),
        effects=(WriteNoise(0.05),),
    )
    _, analog = layer(hardware, bias=False)
    if encoding.converters > 1:  # one range each: the reference knows one for all
        analog.crossbar.adc_range.fill_(2e-5)
        analog.crossbar.input_range.fill_(2.0)
        analog.crossbar.refresh()
    else:
        mho.calibrate(analog, torch.randn(60, 10, dtype=torch.float64), correct=False)
    crossbar, x = analog.crossbar, torch.randn(6, 10, dtype=torch.float64)
    ranges = {"limit": float(crossbar.input_range), "full_scale": float(crossbar.adc_range[0])}
    wanted = torch.from_numpy(naive.read(x, crossbar.G, crossbar.scale, hardware, **ranges))
    assert torch.allclose(analog(x), wanted, rtol=1e-9, atol=1e-10)


def test_programming_takes_the_correction_back_but_keeps_the_ranges():
    _, analog = layer(Hardware(dac=DAC(8), adc=ADC(8), effects=ERRORS))
    x = torch.randn(30, 10, dtype=torch.float64)
    mho.calibrate(analog, x)
    ranges = analog.crossbar.input_range.clone(), analog.crossbar.adc_range.clone()
    mho.program(analog)
    assert (analog.crossbar.gain == 1).all()
    assert (analog.crossbar.offset == 0).all()
    assert (analog.crossbar.input_range, analog.crossbar.adc_range) == ranges


def test_batches_are_one_sample():
    hardware = Hardware(dac=DAC(8), adc=ADC(8), effects=ERRORS, array=Array(4, 4))
    x = torch.randn(64, 10, dtype=torch.float64)
    labels = torch.randint(3, (64,))
    ways = [
        x,
        [x],
        [x[:10], x[10:]],
        list(x.split(7)),
        (part for part in x.split(16)),
        DataLoader(TensorDataset(x, labels), batch_size=16),
        DataLoader(TensorDataset(x), batch_size=9),
        [{"input": part} for part in x.split(20)],
    ]
    digital = nn.Linear(10, 4).double()
    results = []
    for way in ways:
        analog = mho.convert(digital, hardware, seed=1).eval()
        mho.calibrate(_Named(analog), way)
        crossbar = analog.crossbar
        results.append((crossbar.input_range, crossbar.adc_range, crossbar.gain, crossbar.offset))
    for result in results[1:]:
        for found, wanted in zip(result, results[0], strict=True):
            assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)


class _Named(nn.Module):
    """Takes its input by position or by name."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input):
        return self.inner(input)


def state_of(model):
    return {k: v.clone() for k, v in model.state_dict().items() if torch.is_tensor(v)}


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ([], "at least one"),
        (torch.zeros(0, 10), "at least one"),
        (iter(()), "at least one"),
        ([torch.zeros(0, 10)], "at least one"),
        (torch.full((3, 10), torch.nan), "finite"),
        ([torch.zeros(3, 10), torch.full((3, 10), torch.inf)], "finite"),
        (torch.zeros(3, 9), "10"),
    ],
)
def test_bad_samples_are_refused_and_change_nothing(inputs, word):
    model = nn.Sequential(nn.Linear(10, 6), nn.Dropout(), nn.Linear(6, 3))
    analog = mho.convert(model, Hardware(dac=DAC(8), adc=ADC(8), effects=(ReadNoise(0.01),)))
    mho.calibrate(analog, torch.randn(20, 10))
    before, x = state_of(analog), torch.randn(4, 10)
    twin = copy.deepcopy(analog).eval()
    with pytest.raises(ValueError, match=word):
        mho.calibrate(analog, inputs)
    after = state_of(analog)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(module.training for module in analog.modules())
    assert torch.equal(analog.eval()(x), twin(x))


def test_a_failure_on_the_way_changes_nothing():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("no more")

    analog = mho.convert(nn.Sequential(nn.Linear(4, 4), Fails()), Hardware(adc=ADC(8)))
    before = state_of(analog)
    with pytest.raises(RuntimeError, match="no more"):
        mho.calibrate(analog, torch.randn(3, 4))
    after = state_of(analog)
    assert all(torch.equal(after[n].nan_to_num(), before[n].nan_to_num()) for n in before)
    assert not analog[0].crossbar.observed


def test_plain_models_cannot_be_calibrated():
    with pytest.raises(ValueError, match="no crossbar"):
        mho.calibrate(nn.Linear(3, 3), torch.zeros(1, 3))


def test_calibration_leaves_modes_alone():
    analog = mho.convert(nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2)), Hardware())
    analog.train()
    analog[1].eval()
    mho.calibrate(analog, torch.randn(8, 4))
    assert analog.training
    assert not analog[1].training


def test_dead_columns_keep_a_gain_of_one():
    _, analog = layer(Hardware())
    crossbar = analog.crossbar
    g = crossbar.G.clone()
    g[:, :, 2] = 5e-5  # a pair of equal cells: this output never moves
    crossbar.store(g)
    mho.calibrate(analog, torch.randn(50, 10, dtype=torch.float64))
    assert float(crossbar.gain[2]) == 1.0
    assert torch.isfinite(crossbar.offset).all()


def test_constant_inputs_are_survived():
    _, analog = layer(Hardware(dac=DAC(8), adc=ADC(8)))
    mho.calibrate(analog, torch.zeros(5, 10, dtype=torch.float64))
    assert torch.isfinite(analog(torch.randn(3, 10, dtype=torch.float64))).all()


# ── summary ──────────────────────────────────────────────────────────────────────────────────


def test_summary_by_hand():
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, 10)
    )
    hardware = Hardware(array=Array(16, 4), adc=ADC(8), effects=(WriteNoise(0.1),))
    with pytest.warns(UserWarning, match="LayerNorm"):
        analog = mho.convert(model, hardware)
    mho.age(analog, 7200.0)
    found = mho.summary(analog)
    conv, linear = found.layers
    # Conv: 2 groups of 18 × 3: 2 × 1 tiles; 2 slices. Linear: 24 × 10: 2 × 3 tiles; 2 slices.
    assert (conv.name, conv.kind, conv.groups, conv.rows, conv.cols) == ("0", "Conv2d", 2, 18, 3)
    assert (conv.tiles, conv.cells) == (2 * 2 * 2, 2 * 2 * 18 * 3)
    assert conv.utilisation == pytest.approx(216 / (8 * 64))
    assert (linear.tiles, linear.cells) == (2 * 6, 2 * 240)
    assert linear.utilisation == pytest.approx(480 / (12 * 64))
    assert (found.tiles, found.cells) == (20, 696)
    assert conv.path == "tiled"
    assert conv.seconds == 7200.0
    assert [item.name for item in found.digital] == ["2"]
    text = str(found)
    for word in ("Conv2d", "2 × 18 × 3", "24 × 10", "696", "2 h", "WriteNoise", "LayerNorm"):
        assert word in text


@pytest.mark.parametrize(
    ("encoding", "slices", "lines"),
    [(SingleColumn(), 1, 11), (BitSliced(bits=8, bits_per_cell=2), 8, 10)],
)
def test_summary_counts_physical_columns_and_slices(encoding, slices, lines):
    analog = mho.convert(nn.Linear(24, 10), Hardware(array=Array(16, 4), encoding=encoding))
    (entry,) = mho.summary(analog).layers
    assert entry.tiles == slices * 2 * math.ceil(lines / 4)
    assert entry.cells == slices * 24 * lines


def test_summary_of_a_plain_model_is_all_digital():
    found = mho.summary(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    assert found.layers == ()
    assert [item.name for item in found.digital] == ["0"]
    assert "0" in str(found)


def test_stuck_fraction_is_counted():
    analog = mho.convert(nn.Linear(50, 40), Hardware(effects=(StuckAt(low=0.5),)))
    (entry,) = mho.summary(analog).layers
    assert entry.stuck == pytest.approx(float(analog.crossbar.stuck.double().mean()))
    assert abs(entry.stuck - 0.5) < 4 * 0.5 / math.sqrt(4000)


def test_ranges_alone_leave_the_output_correction_as_it_is():
    torch.manual_seed(0)
    x = torch.randn(300, 32)
    hardware = mho.Hardware(device=mho.devices.PCM(), adc=mho.ADC(10))
    analog = mho.convert(nn.Linear(32, 4), hardware).eval()
    mho.calibrate(analog, x)
    mho.age(analog, 1e7)
    mho.compensate(analog)
    crossbar = analog.crossbar
    gain, offset = crossbar.gain.clone(), crossbar.offset.clone()
    assert float(gain.mean()) > 1.5
    ranges = crossbar.adc_range.clone()
    mho.calibrate(analog, x, correct=False)
    assert torch.equal(crossbar.gain, gain)
    assert torch.equal(crossbar.offset, offset)
    assert float(crossbar.adc_range) < 0.8 * float(ranges)  # currents have shrunk
    (factor,) = mho.compensate(analog).values()  # nothing has drifted since
    torch.testing.assert_close(factor, torch.ones(4), rtol=1e-6, atol=0.0)
