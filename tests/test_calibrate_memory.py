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


def test_samples_of_many_calls_are_bounded_and_evenly_spaced(monkeypatch):
    monkeypatch.setattr(calibrate, "_MAX_SAMPLES", 1000)
    kept = calibrate._Kept(100)
    spike = 17
    for call in range(200):
        value = torch.arange(100.0).repeat(1, 1) + 100 * call
        value[0, 50] = -1e9 if call == spike else value[0, 50]
        kept.add(calibrate.Samples(value, torch.ones(1)))
        assert kept.count <= 2100
    found = calibrate._joined(kept.parts).value[0]
    assert float(found.min()) == -1e9  # the largest magnitude is never let go
    halves = (found > 1e4).double().mean()
    assert 0.4 < float(halves) < 0.6  # early calls count as late ones


def test_all_crossbars_together_keep_what_one_read_may_take():
    crossbars = list(mho.crossbars(mho.convert(network(), CONVERTERS)).values())
    assert calibrate._samples_of_each(crossbars, 1) == calibrate._MAX_SAMPLES
    for crossbar in crossbars:
        crossbar.limit_memory(12 * 20_000)
    assert calibrate._samples_of_each(crossbars, 2) == 10_000
