"""What programming a model keeps in memory, and what its report says afterwards."""

import gc
import pickle

import pytest
import torch
from torch import nn

import mho

NOISY = mho.Hardware(effects=(mho.effects.WriteNoise(0.02), mho.effects.StuckAt(low=0.02)))


def kept(work):
    """Bytes of tensors that are there after some work and were not before."""

    def alive():
        gc.collect()
        found = {}
        for thing in gc.get_objects():
            if type(thing) not in (torch.Tensor, nn.Parameter) or thing.is_meta:
                continue  # those that others have traced with, or not yet made, hold nothing
            try:
                storage = thing.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
            except RuntimeError:
                continue
        return found

    before = alive()
    result = work()
    after = alive()
    return result, sum(size for place, size in after.items() if place not in before)


@pytest.mark.parametrize(("dtype", "own"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_a_report_keeps_one_matrix_beside_the_cells(dtype, own):
    torch.manual_seed(0)
    model = mho.convert(nn.Linear(256, 128, dtype=dtype), mho.Hardware(), program=False).train()
    weights = 256 * 128
    report, found = kept(lambda: mho.program(model))
    assert found / weights == pytest.approx(8 + own, rel=0.05)  # two cells of 4 bytes, the weight
    assert report["crossbar"].target.shape == (2, 256, 128)


def test_a_report_says_what_was_asked_and_stored_whatever_comes_after():
    torch.manual_seed(0)
    model = mho.convert(nn.Linear(16, 8), NOISY)
    report = mho.program(model)["crossbar"]
    target, achieved, text = report.target, report.achieved, str(report)
    encoded, _ = NOISY.encoding.encode(model.weight.detach().T, *NOISY.device.window)
    assert torch.equal(target, encoded)
    assert torch.equal(achieved, model.crossbar.G)
    with torch.no_grad():
        model.weight.add_(1.0)
    mho.program(model)
    mho.age(model, 1e3)
    report.achieved.zero_()
    assert torch.equal(report.target, target)
    assert torch.equal(report.achieved, achieved)
    assert str(report) == text
    twin = pickle.loads(pickle.dumps(report))
    assert torch.equal(twin.target, target)
    assert torch.equal(twin.achieved, achieved)


def test_pulses_in_place_do_not_rewrite_a_report():
    model = mho.convert(nn.Linear(6, 4), mho.Hardware())
    report = mho.program(model)["crossbar"]
    before = report.achieved
    crossbar = model.crossbar
    crossbar.store(crossbar.G * 0.5 + 0.5 * crossbar.G.min())
    assert not torch.equal(crossbar.G, before)
    assert torch.equal(report.achieved, before)


def test_a_report_of_cells_in_float16_says_what_they_hold():
    model = mho.convert(nn.Linear(16, 8), NOISY, cells_dtype=torch.float16)
    report = mho.program(model)["crossbar"]
    assert torch.equal(report.achieved, model.crossbar.G)


def test_float16_cells_drift_in_small_steps_as_in_one():
    drift = mho.Hardware(effects=(mho.effects.PowerLawDrift(nu=0.06, t0=1.0),))
    torch.manual_seed(0)
    model = nn.Linear(128, 128, bias=False)
    whole = mho.convert(model, drift).eval()
    steps = mho.convert(model, drift, cells_dtype=torch.float16).eval()
    mho.age(whole, 200 * 86400.0)
    for _ in range(200):
        mho.age(steps, 86400.0)
    low, high = drift.device.window
    error = (steps.crossbar.G - whole.crossbar.G) / (high - low)
    # Rounding to the nearest loses the last days; by chance each cell is off by some steps of
    # 2^-11 and the mean by far less: 128² · 2 cells.
    assert float(error.mean().abs()) < 2e-5
    assert float(error.abs().max()) < 0.02


def test_a_layer_of_complex_weights_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 3).to(torch.complex64))
    with pytest.raises(TypeError, match=r"layer '0'.*complex64"):
        mho.convert(model, mho.Hardware())
