"""What would not end is refused with its limit, before anything has changed."""

import copy
import itertools

import pytest
import torch

import mho
from mho.devices import ExponentialDevice, waveforms
from mho.programming import ProductDescent, WriteVerify

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
HARDWARE = mho.Hardware(device=ExponentialDevice(c2c=0.1))


def model():
    torch.manual_seed(0)
    return mho.convert(torch.nn.Linear(6, 3), HARDWARE).eval()


def state(module):
    found = {k: v for k, v in module.state_dict().items() if torch.is_tensor(v)}
    return {k: v.nan_to_num(nan=-7.5).clone() for k, v in found.items()}


def alike(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def wide():
    return [k * 1e-6 for k in range(1, 2001)]


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        return itertools.repeat((X[0], torch.tensor(1)))


CALLS = {
    "service": (
        lambda m: mho.maintain(m, 1e12, every=1e-3),
        r"every must be >= 1e\+06 s: 1e\+12 s are more than 1000000 compensations, got 0.001 s",
    ),
    "a service of infinitely many steps": (
        lambda m: mho.maintain(m, 1e300, every=1e-300), "every must be >= 1e.294 s",
    ),
    "calibrate": (lambda m: mho.calibrate(m, itertools.repeat(X)), "inputs do not end"),
    "fresh batches": (
        lambda m: mho.calibrate(m, (X.clone() for _ in itertools.count())), "inputs do not end",
    ),
    "layers": (lambda m: mho.analysis.layers(m, itertools.repeat(X)), "inputs do not end"),
    "calibrate with a Dataset": (lambda m: mho.calibrate(m, Endless()), "inputs do not end"),
    "fit": (
        lambda m: mho.train.fit(
            m, torch.optim.SGD(m.parameters(), 0.1), Endless(),
            torch.nn.functional.cross_entropy, epochs=1,
        ),
        "data do not end",
    ),
    "waveform": (
        lambda m: waveforms.pulse_train(1.0, width=0.5, period=1.0, dt=0.25, count=10**12),
        "dt must be >= 1e.03 s: a waveform has 1e.09 samples at most",
    ),
    "sine": (lambda m: waveforms.sine(1.0, 1.0, dt=1e-12), "a waveform has 1e.09 samples"),
    "write–verify": (
        lambda m: WriteVerify(max_pulses=10**12), r"max_pulses must be >= 1 and <= 1e\+07",
    ),
    "product descent": (
        lambda m: ProductDescent(max_rounds=10**12), r"max_rounds must be >= 1 and <= 1e\+07",
    ),
    "chips": (
        lambda m: mho.study.over_chips(m, lambda chip: 1.0, range(10**12)),
        "seeds must be of 1000000 chips at the most",
    ),
    "chips of a sweep": (
        lambda m: mho.study.sweep({"dac": [None]}, len, hardware=HARDWARE, chips=10**12),
        "chips must be >= 1 and <= 1e.07",
    ),
    "a grid": (
        lambda m: mho.study.sweep(
            {"device.c2c": wide(), "device.d2d": wide(), "device.levels": list(range(2, 2002))},
            len, hardware=HARDWARE, chips=1,
        ),
        "a grid must have <= 10,000,000 configurations, got 8,000,000,000",
    ),
    "whole numbers": (
        lambda m: mho.study.sweep(
            {"device.levels": mho.study.Integers(2, 10**6)}, len, hardware=HARDWARE
        ),
        "a grid takes 10000 values of 'device.levels' at the most",
    ),
    "an axis": (
        lambda m: mho.study.sweep(
            {"adc.bits": range(1, 10**12)}, len, hardware=HARDWARE.replace(adc=mho.ADC(6))
        ),
        "values of 'adc.bits' must be 10000 at the most, got 999999999999",
    ),
}  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    """A million batches are gone through in seconds: let fewer be too many."""
    monkeypatch.setattr(mho.model.inputs, "_MOST", 1000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_it_is_refused_and_nothing_has_changed(name, small):
    call, said = CALLS[name]
    found = model()
    before = state(found)
    with pytest.raises(ValueError, match=said):
        call(found)
    assert alike(before, state(found))


def test_memory_ends_a_loader_before_it_ends_the_machine(monkeypatch):
    monkeypatch.setattr(mho.core.memory, "available", lambda device: 10 * X.nbytes)
    with pytest.raises(ValueError, match=r"5 batches of .* are held"):
        mho.calibrate(model(), (X.clone() for _ in range(100)))
    one = copy.deepcopy(model())
    mho.calibrate(one, [X] * 100)  # one batch, many times
    mho.calibrate(one, [X.clone() for _ in range(12)])  # a list is in memory already, and ends
    with mho.core.memory.unchecked():
        mho.calibrate(one, (X.clone() for _ in range(12)))
    monkeypatch.setattr(mho.core.memory, "available", lambda device: 0)
    with pytest.raises(ValueError, match="or are more than memory keeps: 0 batches"):
        mho.calibrate(one, (X.clone() for _ in range(12)))


KINDS = (torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn)
REFUSED = {
    "crossbar": lambda kind: mho.Crossbar(3, 2, HARDWARE, dtype=kind),
    "fabricate": lambda kind: HARDWARE.device.fabricate((3, 2), dtype=kind),
    "chip": lambda kind: mho.chip.Chip(24, 24, HARDWARE, dtype=kind),
    "layer": lambda kind: mho.nn.Linear(3, 2, hardware=HARDWARE, dtype=kind),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", REFUSED)
def test_cells_are_of_real_numbers(name, kind):
    said = "dtype" if name != "layer" else None  # torch's own word for a weight
    with pytest.raises((TypeError, RuntimeError), match=said):
        REFUSED[name](kind)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_cells_stay_real_numbers(kind):
    found = model()
    crossbar, cells = found.crossbar, HARDWARE.device.fabricate((3, 2), seed=1)
    for module in (found, crossbar, cells):
        before = state(module)
        with pytest.raises(TypeError, match=f"(go to |desired dtype=){kind}"):
            module.to(kind)
        assert alike(before, state(module))
        wrong = {
            key: value.to(kind) if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in module.state_dict().items()
        }
        if module is not found:
            with pytest.raises(RuntimeError, match=rf"expected torch.float32, found {kind}"):
                module.load_state_dict(wrong)
            assert alike(before, state(module))


@pytest.mark.parametrize("kind", [torch.complex64, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("name", ["program", "store"])
def test_weights_and_conductances_are_real_numbers(name, kind):
    crossbar = model().crossbar
    before = state(crossbar)
    given = torch.ones(6, 3) if name == "program" else crossbar.G
    with pytest.raises(TypeError, match=f"must hold real numbers of 16 bits or more, got {kind}"):
        getattr(crossbar, name)(given.to(kind))
    assert alike(before, state(crossbar))
