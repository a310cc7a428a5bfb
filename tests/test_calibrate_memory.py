"""Calibration looks at as much at once as a read may take, and finds the same."""

import pytest
import torch
from torch import nn

import mho
from mho.crossbar import Crossbar, watching
from mho.model import calibrate

CONVERTERS = mho.Hardware(dac=mho.DAC(6), adc=mho.ADC(6))
USUAL = mho.Hardware(
    dac=mho.DAC(bits=4, mode="bit_serial"),
    adc=mho.ADC(bits=6),
    array=mho.Array(rows=16, cols=16),
    encoding=mho.encoding.BitSliced(bits=4, bits_per_cell=2),
)
ON_ARRAY = CONVERTERS.replace(bias="array")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, groups=2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 5),
    )


X = torch.randn(9, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def settings(memory, hardware=CONVERTERS, x=X):
    analog = mho.convert(network(), hardware)
    mho.limit_memory(analog, memory)
    mho.calibrate(analog, x)
    found = {name: crossbar.correction for name, crossbar in mho.crossbars(analog).items()}
    return analog, found


@pytest.mark.parametrize("hardware", [CONVERTERS, USUAL, ON_ARRAY], ids=["8", "usual", "on array"])
@pytest.mark.parametrize("memory", [1, 20_000, 300_000])
def test_in_parts_it_finds_the_same(memory, hardware):
    wanted, found = settings(256e6, hardware)[1], settings(memory, hardware)[1]
    for name, one in wanted.items():
        for field in ("input_range", "adc_range", "gain", "offset"):
            a, b = getattr(one, field), getattr(found[name], field)
            assert torch.allclose(a, b, rtol=2e-3, atol=1e-6), (name, field)


def test_no_more_vectors_are_given_than_there_is_room_for(monkeypatch):
    calls = []
    original = Crossbar.forward

    def forward(crossbar, x, bias=None):
        vectors = x.reshape(-1, x.shape[-1]).shape[0]
        calls.append((vectors, watching.vectors_at_once(crossbar), crossbar.rows))
        return original(crossbar, x, bias)

    monkeypatch.setattr(Crossbar, "forward", forward)
    settings(60_000)
    assert len(calls) > 5 * 3
    for vectors, room, rows in calls:
        assert vectors <= room or rows == 64  # a linear layer's inputs are there already


def test_ranges_that_follow_the_call_see_all_of_it():
    by_call = mho.Hardware(dac=mho.DAC(6, range="per_call"), adc=mho.ADC(6, range="per_call"))
    wanted, found = settings(256e6, by_call)[1], settings(10_000, by_call)[1]
    for name in wanted:
        assert torch.equal(wanted[name].gain, found[name].gain)


def test_an_empty_batch_among_others_is_passed_over():
    wanted = settings(256e6)[1]
    found = settings(256e6, x=[X, X[:0]])[1]
    for name in wanted:
        assert torch.equal(wanted[name].gain, found[name].gain)


def kept(values, most, lines, calls):
    found = calibrate._Kept(most, lines)
    for some in values.split(calls):
        found.add(calibrate.Samples(some.unsqueeze(0), torch.ones(1)))
        assert found.count <= most
    return found.samples.value[0]


@pytest.mark.parametrize("calls", [1, 7, 64, 1000, 20_000])
def test_samples_of_many_calls_are_bounded_and_evenly_spaced(calls):
    values = torch.arange(20_000.0)
    values[1700] = -1e9
    found = kept(values, 1000, 64, calls)
    assert float(found[-1]) == -1e9  # the largest magnitude is never let go
    assert torch.equal(found[:-1], values[::27])  # however they are cut into calls
    assert len(kept(values, 1000, 30, calls)) == 1 + -(-20_000 // 49)


def test_every_line_is_sampled():
    for lines in (64, 27, 30):
        of = torch.arange(lines * 500.0) % lines
        count = torch.bincount(kept(of, 2000, lines, lines)[:-1].long(), minlength=lines)
        assert int(count.min()) >= 1
        assert int(count.max() - count.min()) <= 1


def test_lines_of_other_magnitude_do_not_move_percentiles():
    torch.manual_seed(0)
    x = torch.randn(2048, 64)
    x[:, 0] *= 100.0
    wanted = x.abs().flatten().kthvalue(round(0.97 * x.numel())).values
    hardware = mho.Hardware(dac=mho.DAC(8, percentile=97.0))
    for memory in (2**17, 2**19):
        for batches in (x, x.split(1000), x.split(16)):
            analog = mho.convert(nn.Linear(64, 4), hardware)
            mho.limit_memory(analog, memory)
            mho.calibrate(analog, list(batches) if isinstance(batches, tuple) else batches)
            torch.testing.assert_close(analog.crossbar.input_range, wanted, rtol=0.05, atol=0.0)


def test_all_crossbars_together_keep_what_one_read_may_take():
    crossbars = list(mho.crossbars(mho.convert(network(), CONVERTERS)).values())
    assert calibrate._samples_of_each(crossbars) == calibrate._MAX_SAMPLES
    for crossbar in crossbars:
        crossbar.limit_memory(4 * 6 * 20_000)  # of three crossbars, and weights of samples
    assert calibrate._samples_of_each(crossbars) == 20_000


@pytest.mark.parametrize("hardware", [CONVERTERS, USUAL], ids=["8", "usual"])
def test_under_autocast_it_finds_what_it_finds_without(hardware):
    wanted = settings(256e6, hardware)[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = settings(256e6, hardware)[1]
    for name, one in wanted.items():
        for field in ("input_range", "adc_range"):
            a, b = getattr(one, field), getattr(found[name], field)
            assert b.dtype == found[name].gain.dtype == torch.float32
            assert torch.allclose(a, b, rtol=0.1), (name, field)


def test_what_only_rounding_asks_for_is_no_correction():
    analog, found = settings(256e6, mho.Hardware())
    for name, crossbar in mho.crossbars(analog).items():
        assert bool((found[name].gain == 1.0).all() and (found[name].offset == 0.0).all())
        assert not crossbar.reader.corrected
