"""Ranges of least error, the unbiased correction, and calibrations that fail."""

import copy
import math

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.crossbar.reader import Reader
from mho.demo.data import digits
from mho.demo.models import build
from mho.demo.train import train
from mho.effects import ReadNoise, TelegraphNoise, WriteNoise
from mho.encoding import BitSliced, Differential
from mho.model import calibrate, observe, ranges
from mho.model.ranges import Moments, Samples, least_error, lines, percentile

F64 = torch.float64


def samples(value, weight=None):
    value = torch.atleast_2d(torch.as_tensor(value, dtype=F64))
    return Samples(value, torch.ones(value.shape[1], dtype=F64) if weight is None else weight)


def grid_error(x, bits, limit):
    """Squared error of the symmetric uniform grid, written out anew."""
    top = max(2 ** (bits - 1) - 1, 1)
    return float((((x / limit * top).round().clamp(-top, top) * limit / top - x) ** 2).sum())


# ── the search ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("tail", [0.5, 2.0, 5.0])
def test_the_range_is_the_best_of_a_fine_sweep(bits, tail):
    source = torch.Generator().manual_seed(bits)
    x = torch.randn(3000, dtype=F64, generator=source)
    x = x.abs() ** tail * x.sign()
    found = float(least_error(samples(x), ADC(bits).convert))
    largest = float(x.abs().max())
    best = min(grid_error(x, bits, largest * k / 4000) for k in range(20, 4001))
    assert grid_error(x, bits, found) <= 1.003 * best


def test_a_normal_s_ranges_are_those_of_the_literature():
    """J. Max, "Quantizing for minimum distortion", 1960, table II: uniform steps by levels.

    Odd numbers of levels n: the largest level of the best uniform grid is (n - 1)/2 steps.
    """
    steps = {3: 1.224, 7: 0.6508, 15: 0.3534, 31: 0.1950}
    p = (torch.arange(400_000, dtype=F64) + 0.5) / 400_000
    normal = math.sqrt(2.0) * torch.erfinv(2 * p - 1)
    for levels, step in steps.items():
        bits = int(math.log2(levels + 1))
        found = float(least_error(samples(normal), ADC(bits).convert))
        assert found / ((levels - 1) / 2) == pytest.approx(step, rel=0.02)


def test_one_bit_s_range_is_the_mean_magnitude():
    x = torch.randn(5000, dtype=F64)
    found = float(least_error(samples(x), ADC(1).convert))
    assert found == pytest.approx(float(x.abs().mean()), rel=1e-3)


def test_what_a_grid_can_say_is_not_clipped():
    x = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])
    for bits in (2, 4, 8):
        assert float(least_error(samples(x), DAC(bits).quantise)) == 1.0
    assert float(least_error(samples(torch.zeros(4)), DAC(4).quantise)) == 1.0


@pytest.mark.parametrize("method", ["uniform", "linear", "log", "tanh"])
@pytest.mark.parametrize("bits", [1, 3, 6])
def test_no_method_is_worse_than_any_percentile(method, bits):
    adc = ADC(bits, method=method)
    x = torch.randn(2, 4000, dtype=F64, generator=torch.Generator().manual_seed(0)) ** 3
    x[1] *= 1e-6

    def error(limit):
        return (adc.convert(x.clone(), limit.unsqueeze(1)) - x).square().sum(1)

    found = error(least_error(samples(x), adc.convert))
    for share in (100.0, 99.9, 99.0, 97.0, 95.0, 90.0, 80.0):
        assert (found <= error(percentile(samples(x), share)) * 1.01).all()


def test_samples_count_by_their_weight():
    x = torch.cat((torch.rand(1000, dtype=F64), torch.tensor([10.0], dtype=F64)))
    weight = torch.ones(1001, dtype=F64)
    light, heavy = weight.clone(), weight.clone()
    light[-1], heavy[-1] = 0.0, 1e6
    assert float(least_error(samples(x, light), ADC(4).convert)) < 1.1
    assert float(least_error(samples(x, heavy), ADC(4).convert)) == pytest.approx(10.0, rel=0.01)


def test_many_samples_are_stood_for_by_few():
    x = torch.randn(2, 300_000, dtype=F64, generator=torch.Generator().manual_seed(0))
    value, weight = ranges.condensed(samples(x))
    assert value.shape[1] < 8000
    assert torch.allclose(weight.sum(1), torch.tensor(300_000.0, dtype=F64))
    second = (weight * value.square()).sum(1) / weight.sum(1)
    assert torch.allclose(second, x.square().mean(1), rtol=1e-4)
    assert torch.equal(value.amax(1), x.amax(1))
    assert torch.equal(value.amin(1), x.amin(1))


# ── in a model ───────────────────────────────────────────────────────────────────────────────

SHARES = (100.0, 99.99, 99.9, 99.5, 99.0, 98.0, 95.0, 90.0, 80.0)


def relu_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("kind", ["dac", "adc"])
@pytest.mark.parametrize("make", [lambda: nn.Linear(64, 32), relu_net], ids=["gauss", "relu"])
def test_outputs_are_at_least_as_good_as_with_the_best_percentile(make, kind, bits):
    torch.manual_seed(1)
    model, x, fresh = make(), torch.randn(1000, 64), torch.randn(1000, 64)

    def error(share):
        part = {kind: {"dac": DAC, "adc": ADC}[kind](bits, percentile=share)}
        analog = mho.convert(model, Hardware(array=Array(32, 32), **part)).eval()
        mho.calibrate(analog, x, correct=False)
        return float((analog(fresh) - model(fresh)).detach().square().mean())

    assert error(None) <= 1.02 * min(error(share) for share in SHARES)


def test_currents_of_bit_planes_count_by_their_place():
    """An error in the highest plane is multiplied by its power of two before it is added."""
    dac = DAC(4, mode="bit_serial", range=7.0)
    crossbar = Crossbar(1, 1, Hardware(dac=dac, adc=ADC(3)), dtype=F64)
    analog = _Bare(crossbar)
    crossbar.program(torch.ones(1, 1, dtype=F64))
    found = {}
    with observe.observed(analog, [crossbar]):
        x = torch.tensor([[1.0], [2.0], [4.0]], dtype=F64)
        found["samples"] = calibrate._currents(crossbar, x)
    value, weight = found["samples"]
    assert weight[value[0] != 0].tolist() == [1 / 16, 1 / 4, 1.0]


class _Bare(nn.Module):
    def __init__(self, crossbar):
        super().__init__()
        self.crossbar = crossbar


def test_samples_reach_every_crossbar_or_a_warning_says_so():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    analog = mho.convert(Half(), Hardware(dac=DAC(8), adc=ADC(8)))
    with pytest.warns(UserWarning, match="idle: left uncalibrated"):
        mho.calibrate(analog, torch.randn(20, 4))
    assert analog.idle.crossbar.input_range.isnan()
    assert not analog.used.crossbar.input_range.isnan()


# ── read noise ───────────────────────────────────────────────────────────────────────────────


def slope_of_the_mean(analog, target, x, repeats=100):
    mean = mean_of_reads(analog, x, repeats)
    return float((mean * target).sum() / (target * target).sum())


def mean_of_reads(analog, x, repeats):
    with torch.no_grad():
        return torch.stack([analog(x) for _ in range(repeats)]).mean(0)


@pytest.mark.parametrize("sigma", [0.2, 0.05])
@pytest.mark.parametrize("converters", [{}, {"dac": DAC(8), "adc": ADC(8)}], ids=["ideal", "bits"])
def test_noise_does_not_shrink_outputs(sigma, converters):
    """Four standard errors of the cross moment of 4,000 samples and eight columns are 1 %."""
    torch.manual_seed(0)
    digital = nn.Linear(64, 8, bias=False)
    hardware = Hardware(effects=(ReadNoise(sigma),), **converters)
    analog = mho.convert(digital, hardware, seed=0).eval()
    x = torch.randn(4000, 64)
    target = digital(x[:300]).detach()
    mho.calibrate(analog, x)
    assert slope_of_the_mean(analog, target, x[:300]) == pytest.approx(1.0, abs=0.01)


def test_noise_that_has_a_mean_is_fitted_by_its_mean():
    """Cells that are low half of the time: what noise leaves is a fixed error of the mean."""
    torch.manual_seed(0)
    digital = nn.Linear(64, 8, bias=False)
    telegraph = Hardware(effects=(TelegraphNoise(0.5, 0.3, 0.5),))
    analog = mho.convert(digital, telegraph, seed=0).eval()
    x = torch.randn(4000, 64)
    mean, target = mean_of_reads(analog, x, 300), digital(x).detach()
    gain = ((mean * target).mean(0) - mean.mean(0) * target.mean(0)) / mean.var(0)
    mho.calibrate(analog, x.split(20))  # telegraph noise is drawn once a batch
    assert torch.allclose(analog.crossbar.gain, gain, rtol=0.01)


def test_the_smallest_error_of_single_reads_shrinks_by_the_share_of_noise():
    torch.manual_seed(0)
    digital = nn.Linear(64, 8, bias=False)
    analog = mho.convert(digital, Hardware(effects=(ReadNoise(0.2),)), seed=0).eval()
    x = torch.randn(4000, 64)
    target = digital(x).detach()
    with torch.no_grad():
        noise = (analog(x) - target).square().mean(0)
    kept = target.var(0) / (target.var(0) + noise)
    single = {}
    for unbiased in (True, False):
        mho.calibrate(analog, x, unbiased=unbiased)
        single[unbiased] = float((analog(x) - target).detach().square().mean())
        if not unbiased:
            assert torch.allclose(analog.crossbar.gain, kept, rtol=0.06)
            assert slope_of_the_mean(analog, target[:300], x[:300]) < 0.9
    assert single[False] < single[True]


def test_moments_of_two_readings_by_hand():
    t = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=F64)
    noise = torch.tensor([[0.5], [-0.5], [-0.5], [0.5]], dtype=F64)
    other = torch.tensor([[0.5], [0.5], [-0.5], [-0.5]], dtype=F64)
    moments = Moments(1, torch.device("cpu"))
    for rows in (slice(0, 1), slice(1, 4)):
        y = 2 * t[rows] + 3
        moments.add(y + noise[rows], y + other[rows], t[rows])
    one, two = 2 * t + 3 + noise, 2 * t + 3 + other
    cross = ((one - one.mean()) * (two - two.mean())).mean()
    mean = (one + two) / 2
    with_target = ((mean - mean.mean()) * (t - t.mean())).mean()
    # Sums of products of two readings, less the square of the mean of both.
    cross = (one * two).mean() - mean.mean() ** 2
    line, _ = lines(moments.sums)
    assert float(line.gain) == pytest.approx(float(with_target / cross))
    assert float(line.offset) == pytest.approx(float(t.mean() - line.gain * mean.mean()))


def test_without_noise_nothing_is_read_twice(monkeypatch):
    analog = mho.convert(nn.Linear(4, 3), Hardware(adc=ADC(8), effects=(WriteNoise(0.1),)))
    reads = []
    original = Reader.read
    monkeypatch.setattr(Reader, "read", lambda *a, **k: reads.append(0) or original(*a, **k))
    mho.calibrate(analog, torch.randn(20, 4))
    assert len(reads) == 5  # two passes for each setting of the ranges, and one for the fit


# ── failures ─────────────────────────────────────────────────────────────────────────────────

STEPS = [
    (Crossbar, "refresh"),
    (Crossbar, "commit"),
    (Crossbar, "reference_read"),
    (Reader, "read"),
    (Reader, "observe"),
    (Crossbar, "column_sums"),
    (nn.Module, "eval"),
    (calibrate, "_input_range"),
    (calibrate, "_adc_range"),
    (calibrate, "_currents"),
    (calibrate, "_product"),
    (calibrate, "least_error"),
    (calibrate, "_is_rounding"),
    (calibrate.Moments, "add"),
    (calibrate, "lines"),
    (calibrate, "watched"),
]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_a_calibration_that_stops_anywhere_changes_nothing(monkeypatch, owner, name, error):
    hardware = Hardware(
        dac=DAC(6),
        adc=ADC(6),
        encoding=Differential(subtract="digital"),
        effects=(ReadNoise(0.02), WriteNoise(0.02)),
    )
    torch.manual_seed(0)
    model = mho.convert(nn.Sequential(nn.Linear(6, 5), nn.Dropout(), nn.Linear(5, 3)), hardware)
    first = torch.randn(30, 6)
    mho.calibrate(model, first)
    for layer in (model[0], model[2]):
        layer.crossbar.learn_ranges()
        layer.crossbar.range_shift.data += 0.4
    model[1].eval()
    shift = model[0].crossbar.range_shift
    before = {k: v.clone() for k, v in model.state_dict().items() if torch.is_tensor(v)}
    modes = [module.training for module in model.modules()]
    twin, x = copy.deepcopy(model), torch.randn(4, 6)
    samples = 3 * torch.randn(30, 6)

    original, calls, stop = getattr(owner, name), [0], [0]

    def step(*args, **kind):
        calls[0] += 1
        if calls[0] == stop[0]:
            raise error("stopped")
        return original(*args, **kind)

    monkeypatch.setattr(owner, name, step)
    mho.calibrate(copy.deepcopy(model), samples)
    total = calls[0]
    assert total
    for number in range(1, total + 1):
        calls[0], stop[0] = 0, number
        with pytest.raises(error):
            mho.calibrate(model, samples)
        after = model.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before.items())
        assert [module.training for module in model.modules()] == modes
        assert model[0].crossbar.range_shift is shift
        assert not model[0].crossbar.observed
    stop[0] = 0
    assert torch.equal(model.eval()(x), twin.eval()(x))  # nothing kept ready is of another range


@pytest.mark.parametrize("encoding", [Differential(), BitSliced(bits=4, bits_per_cell=2)])
def test_a_range_of_power_of_two_steps_says_that_it_cannot_be_learned(encoding):
    adc = ADC(8, method="linear")
    for dac, learns in ((DAC(6), True), (DAC(6, range=2.0), False)):
        analog = mho.convert(nn.Linear(6, 4), Hardware(dac=dac, adc=adc, encoding=encoding))
        mho.calibrate(analog, torch.randn(30, 6))
        if learns:
            with pytest.warns(UserWarning, match="power of two.*stays as calibrated"):
                analog.crossbar.learn_ranges()
            assert analog.crossbar.range_shift is not None
        else:
            with pytest.raises(ValueError, match=r"method='linear'.*power of two"):
                analog.crossbar.learn_ranges()
            assert analog.crossbar.range_shift is None


@pytest.mark.parametrize("name", ["MLP", "CNN"])
def test_digits_are_read_as_well_as_with_the_best_percentile(name):
    """Chosen without the test data, against the best of all for just these data and bits."""
    data = digits(0)
    model = build(name, 0)
    train(model, data, epochs=4, seed=0)
    x, fresh = data.train_x[:150], data.test_x[:150]

    def error(bits, share):
        parts = {"dac": DAC(bits, percentile=share), "adc": ADC(bits, percentile=share)}
        analog = mho.convert(model.eval(), Hardware(**parts)).eval()
        mho.calibrate(analog, x)
        return float((analog(fresh) - model(fresh)).detach().square().mean().log())

    shares = (None, 100.0, 99.9, 99.5, 99.0, 97.0)
    found = {share: [error(bits, share) for bits in (4, 6, 8)] for share in shares}
    own = found.pop(None)
    best = [min(errors) for errors in zip(*found.values(), strict=True)]
    excess = [math.exp(a - b) for a, b in zip(own, best, strict=True)]
    assert max(excess) < 1.2
    assert all(sum(own) < sum(errors) + 0.05 for errors in found.values())
