"""Cells that are not ohmic behind wires: the error that is reported, and the exact read."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.circuit import Wires, effective_conductance
from mho.devices import MTJ, LinearDevice, Pickett
from mho.effects import ReadNoise
from mho.encoding import BitSliced, Differential, SingleColumn

F64 = torch.float64
V_MAX = 0.3
WIRES = Wires(20.0, 30.0, 25.0, 10.0)
ENCODINGS = [Differential(), SingleColumn(), BitSliced(bits=4, bits_per_cell=2)]
DEVICES = {"expanded": Pickett(), "MTJ": MTJ(v_half=0.3)}


def made(device, rows=4, cols=2, *, tile=(4, 8), groups=1, wires=WIRES, exact=True, **parts):
    interleaved = parts.pop("interleaved", False)
    array = Array(*tile, wires=wires, interleaved=interleaved, exact_reads=exact)
    hardware = Hardware(device=device, array=array, dac=DAC(v_max=V_MAX, range=1.0), **parts)
    crossbar = Crossbar(rows, cols, hardware, groups=groups, dtype=F64)
    generator = torch.Generator().manual_seed(0)
    crossbar.program(torch.randn(groups * rows, cols, generator=generator, dtype=F64))
    return crossbar, 2 * torch.rand(3, groups * rows, generator=generator, dtype=F64) - 1


def by_scipy(device, g, wires, volts):
    """Currents of one tile: Kirchhoff's law at every node, solved by scipy's fsolve."""
    m, n = g.shape
    g = g.double()

    def cells(v):
        return device.current_of(torch.from_numpy(v), g).numpy()

    def leaks(nodes):
        word, bit = nodes.reshape(2, m, n)
        current = cells(word - bit)
        left = np.concatenate(
            [
                (volts[:, None] - word[:, :1]) / wires.source,
                (word[:, :-1] - word[:, 1:]) / wires.word,
            ],
            1,
        )
        right = np.concatenate([left[:, 1:], np.zeros((m, 1))], 1)
        down = np.concatenate([(bit[:-1] - bit[1:]) / wires.bit, bit[-1:] / wires.sense])
        up = np.concatenate([np.zeros((1, n)), down[:-1]])
        return np.stack([left - right - current, up + current - down]).ravel() * 1e4

    start = np.stack([np.repeat(volts[:, None], n, 1), np.zeros((m, n))]).ravel()
    found, _, good, why = scipy.optimize.fsolve(leaks, start, xtol=1e-13, full_output=True)
    assert good == 1, why
    return found.reshape(2, m, n)[1, -1] / wires.sense


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_exact_reads_are_what_scipy_finds(device):
    crossbar, x = made(device)
    for sample, y in zip(x, crossbar(x), strict=True):
        volts = V_MAX * sample.numpy()
        positive, negative = (by_scipy(device, g, WIRES, volts) for g in crossbar.G)
        expected = torch.from_numpy(positive - negative) * crossbar.scale / V_MAX
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("interleaved", [False, True])
def test_ohmic_cells_by_newton_are_those_of_the_product(encoding, interleaved):
    """Every tile in its place: a bend that is none, read by both ways."""

    class Straight(LinearDevice):
        def transfer(self, v):
            return v * 1.0

    parts = {"groups": 2, "encoding": encoding, "interleaved": interleaved, "tile": (4, 9)}
    exact, x = made(Straight(), 10, 5, **parts)
    linear, _ = made(Straight(), 10, 5, exact=False, **parts)
    assert exact.reader.stored.cells is not None
    torch.testing.assert_close(exact(x), linear(x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_the_reported_error_is_that_of_the_read(device):
    """At full drive, all lines: against the exact read of the same cells."""
    parts = {"rows": 16, "tile": (16, 8), "encoding": SingleColumn(), "cols": 4}
    linear, _ = made(device, exact=False, **parts)
    exact, _ = made(device, **parts)
    full = torch.ones(1, 16, dtype=F64)
    # Currents, without the digital sum over inputs that single columns subtract.
    seen = [cb.reader.observe(full) for cb in watched(linear, exact)]
    (wrong,), (right,) = seen
    error = float((wrong - right).abs().max() / right.abs().max())
    assert linear.expansion_error == pytest.approx(error, rel=0.2)
    assert error > 0.01
    assert f"current error {linear.expansion_error:.0e}" in repr(linear)
    assert exact.expansion_error == 0.0


def watched(*crossbars):
    for crossbar in crossbars:
        crossbar.commit(observed=True)
    return crossbars


def test_the_error_follows_the_cells_and_the_wires():
    device = MTJ(v_half=0.3)
    crossbar, _ = made(device, exact=False, rows=16, tile=(16, 8))
    before = crossbar.expansion_error
    crossbar.store(torch.full_like(crossbar.G, device.window[0]))
    assert abs(crossbar.expansion_error - before) > 0.1 * before
    better, _ = made(device, exact=False, rows=16, tile=(16, 8), wires=Wires(word=1e-3))
    assert better.expansion_error < 1e-3


def test_converters_and_noise_still_act():
    device = MTJ(v_half=0.3)
    noise = (ReadNoise(0.03, "value"),)
    plain, x = made(device, adc=ADC(bits=4, range=2e-3))
    fine, _ = made(device)
    step = plain.hardware.adc.step(2e-3) * plain.scale / V_MAX
    assert float((plain(x) - fine(x)).abs().max()) <= 0.5001 * float(step)
    assert not torch.equal(plain(x), fine(x))
    noisy, _ = made(device, effects=noise)
    linear, _ = made(device, effects=noise, exact=False)
    # A read of many equal inputs is dear: those of the linearised array show the same spread.
    seen, wanted = (cb(x[:1].expand(2000, -1)).std(0) for cb in (noisy, linear))
    torch.testing.assert_close(seen, wanted, rtol=5 / (2 * 2000) ** 0.5, atol=0.0)


def test_gradients_of_inputs():
    crossbar, x = made(MTJ(v_half=0.3))
    assert torch.autograd.gradcheck(crossbar, (x[:1].requires_grad_(),), eps=1e-5, atol=1e-4)


@pytest.mark.parametrize("rows", [4, 64])
def test_convolutions_read_as_their_crossbar_does(rows):
    array = Array(rows, 8, wires=WIRES, exact_reads=True)
    hardware = Hardware(device=MTJ(v_half=0.3), array=array, dac=DAC(v_max=V_MAX, range=1.0))
    analog = mho.convert(nn.Conv2d(2, 3, 3, bias=False).double(), hardware).eval()
    (crossbar,) = analog.crossbars.values()
    x = torch.rand(2, 2, 3, 3, dtype=F64)
    torch.testing.assert_close(analog(x).flatten(1), crossbar(x.flatten(1)))


def test_training_stays_linearised_and_ohmic_reads_are_products():
    crossbar, x = made(MTJ(v_half=0.3))
    assert crossbar.reader.training_readout(crossbar.weight).cells is None
    ohmic, x = made(LinearDevice())
    assert ohmic.reader.stored.cells is None
    weight = ohmic.decode(effective_conductance(ohmic.G, WIRES))
    torch.testing.assert_close(ohmic(x), x @ weight)


def test_the_summary_says_so():
    hardware = Hardware(device=MTJ(v_half=0.3), array=Array(16, 8, wires=WIRES))
    analog = mho.convert(nn.Linear(16, 4), hardware)
    found = mho.summary(analog)
    assert found.layers[0].error > 0.01
    assert f"error of read currents: at most {found.layers[0].error:.1e}" in str(found)
    ohmic = mho.convert(nn.Linear(16, 4), hardware.replace(device=LinearDevice()))
    assert "error of read currents" not in str(mho.summary(ohmic))
