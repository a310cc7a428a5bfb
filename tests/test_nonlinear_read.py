"""Crossbars of cells whose current does not separate, against loops over single cells."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.circuit import Wires, effective_conductance
from mho.crossbar import expansion as nonlinear
from mho.crossbar.readout import collapses
from mho.devices import MTJ, VTEAM, LinearDevice, Pickett
from mho.encoding import Differential, SingleColumn

F64 = torch.float64
DEVICES = [Pickett(), MTJ(v_half=0.3)]
V_MAX = 0.3
ROWS, COLS, TILE = 11, 3, 4


def made(device, rows=ROWS, cols=COLS, groups=1, **options):
    options = {"dac": DAC(v_max=V_MAX, range=1.0), "array": Array(TILE, TILE), **options}
    hardware = Hardware(device=device, **options)
    crossbar = Crossbar(rows, cols, hardware, seed=1, groups=groups, dtype=F64)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(groups * rows, cols, generator=generator, dtype=F64)
    crossbar.program(weight)
    # Cells that hold what they can hold, so that single cells can be set to the very same.
    cells = device.fabricate(crossbar.G.shape, dtype=F64)
    cells.write(crossbar.G)
    crossbar.store(cells.conductance())
    x = 2.0 * torch.rand(5, groups * rows, generator=generator, dtype=F64) - 1.0
    return crossbar, cells, x


def tile_currents(cells, x, first, last):
    """The current (A) of every column from rows first…last, one cell population a sample."""
    found = []
    for sample in x:
        total = torch.zeros(cells.shape[0], cells.shape[2], dtype=F64)
        current = cells.current(V_MAX * sample[:, None])
        for row in range(first, last):
            total = total + current[:, row]
        found.append(total)
    return torch.stack(found, dim=1)  # [slices, batch, cols]


def bound(crossbar):
    """What the stated error of single cells adds up to, in units of the outputs."""
    return crossbar.expansion_error * crossbar.G.sum((0, 1)) * crossbar.scale + 1e-12


@pytest.mark.parametrize("device", DEVICES)
def test_currents_are_those_of_single_cells(device):
    crossbar, cells, x = made(device)
    plus, minus = tile_currents(cells, x, 0, ROWS)
    expected = (plus - minus) * crossbar.scale / V_MAX
    y = crossbar(x)
    assert bool(((y - expected).abs() <= 1.1 * bound(crossbar)).all())
    # and it is not the linear answer
    assert float((x @ crossbar.weight - expected).abs().max()) > 100 * float(
        (y - expected).abs().max()
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bits", [None, 6])
def test_every_tile_is_converted_alone(device, bits):
    adc = ADC(bits=7, range="full_scale")
    crossbar, cells, x = made(device, adc=adc, dac=DAC(bits=bits, v_max=V_MAX, range=1.0))
    driven = crossbar.reader.ranges.driven(x)
    high, low = device.g_max, device.g_min
    v, g = torch.tensor(V_MAX, dtype=F64), torch.linspace(low, high, 4001, dtype=F64)
    largest = float((device.current_of(v, g) / g).max()) * (high - low) * TILE
    step = float(crossbar.reader.ranges.full_scale()) / 63
    assert step * 63 == pytest.approx(largest, rel=1e-3)
    total = torch.zeros(5, COLS, dtype=F64)
    near = torch.zeros(5, COLS, dtype=torch.bool)  # within the stated error of the next code
    for first in range(0, ROWS, TILE):
        plus, minus = tile_currents(cells, driven, first, min(first + TILE, ROWS))
        code = (plus - minus) / step
        total += code.round() * step
        near |= ((code - code.floor()) - 0.5).abs() < 2e-2
    expected = total * crossbar.scale / V_MAX
    y = crossbar(x)
    assert float(near.float().mean()) < 0.5
    torch.testing.assert_close(y[~near], expected[~near])
    code = step * crossbar.scale / V_MAX
    assert bool(((y - expected).abs() <= 3.01 * code).all())


@pytest.mark.parametrize("device", DEVICES)
def test_per_call_ranges_groups_and_bit_serial(device):
    crossbar, cells, x = made(
        device,
        groups=2,
        adc=ADC(bits=16, range="per_call"),
        encoding=Differential(subtract="digital"),
        dac=DAC(bits=5, mode="bit_serial", v_max=V_MAX, range=1.0),
    )
    codes = (x * 15).round()
    expected = torch.zeros(5, 2 * COLS, dtype=F64)
    for bit in range(4):
        plane = ((codes.abs().long() >> bit) & 1) * codes.sign()
        for group in range(2):
            rows = slice(group * ROWS, (group + 1) * ROWS)
            plus, minus = tile_currents(cells, plane, rows.start, rows.stop)
            columns = slice(group * COLS, (group + 1) * COLS)
            expected[:, columns] += 2**bit / 15 * (plus - minus) / V_MAX * crossbar.scale
    torch.testing.assert_close(crossbar(x), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("encoding", [Differential(), SingleColumn()])
@pytest.mark.parametrize("adc", [None, ADC(bits=16, range="per_call")])
def test_transposed(encoding, adc):
    crossbar, cells, _ = made(Pickett(), encoding=encoding, adc=adc)
    x = torch.tensor([[1.0, -0.5, -0.3], [0.2, -1.0, 0.7]], dtype=F64)  # sums within ±max
    volts = V_MAX * encoding.drive_columns(x)
    rows = []
    for v in volts:
        currents = cells.current(v[None, None, :]).sum(-1)  # [slices, rows]
        rows.append(currents[0] - currents[1] if len(currents) == 2 else currents[0])
    expected = torch.stack(rows) * crossbar.scale / V_MAX
    torch.testing.assert_close(x @ crossbar.T, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_the_error_is_stated_and_small(device):
    crossbar, _, _ = made(device)
    assert 0.0 < crossbar.expansion_error < 1e-4
    assert f"current error {crossbar.expansion_error:.0e}" in repr(crossbar)
    assert nonlinear.terms(crossbar.hardware) <= 5
    assert not collapses(crossbar.hardware)
    v = torch.linspace(-V_MAX, V_MAX, 100, dtype=F64)[:, None]
    g = torch.logspace(*torch.tensor(device.window).log10().tolist(), 301, dtype=F64)
    g = g.clamp(*device.window)
    matrix = nonlinear.stacked(g[None, None], g[None, None], crossbar.hardware)[0]
    found = nonlinear.driven((v / V_MAX)[None], crossbar.hardware)[0] * V_MAX @ matrix
    relative = (found - device.current_of(v, g)).abs() / (g * V_MAX)
    assert float(relative.max()) <= 1.1 * crossbar.expansion_error


@pytest.mark.parametrize("device", DEVICES)
def test_cells_and_voltages_out_of_range_go_on_along_their_chord(device):
    crossbar, _, _ = made(device, rows=1, cols=1)
    low, high = device.window
    x = torch.tensor([[0.8]], dtype=F64)

    def read(plus, minus, x=x):
        crossbar.store(torch.tensor([plus, minus], dtype=F64).view(2, 1, 1))
        return float(crossbar(x) / crossbar.scale)

    assert read(0.0, 0.0) == 0.0
    assert read(0.5 * low, 0.0) == pytest.approx(0.5 * read(low, 0.0), rel=1e-12)
    assert read(3.0 * high, 0.0) == pytest.approx(3.0 * read(high, 0.0), rel=1e-12)
    assert read(high, low, x=0 * x) == pytest.approx(0.0, abs=1e-15 * high)
    assert read(high, low, x=x / 0.4) == pytest.approx(2 * read(high, low, x=x / 0.8), rel=1e-12)


@pytest.mark.parametrize("adc", [None, ADC(bits=8)])
def test_training_is_differentiable(adc):
    crossbar, _, x = made(Pickett(), adc=adc)
    weight = torch.randn(ROWS, COLS, dtype=F64, generator=torch.Generator().manual_seed(3))
    weight[0, 0] = 4.0  # the range itself does not move
    weight.requires_grad_()
    x.requires_grad_()
    y = crossbar.read_through(x, weight)
    torch.testing.assert_close(y, crossbar.read_through(x, weight))
    y.sum().backward()
    assert bool(weight.grad.isfinite().all())
    assert bool(x.grad.isfinite().all())
    if adc is None:
        free = weight.detach()[1:].clone().requires_grad_()

        def read(x, free):
            return crossbar.read_through(x, torch.cat((weight.detach()[:1], free)))

        assert torch.autograd.gradcheck(read, (x, free), atol=1e-4, eps=1e-7)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("adc", [None, ADC(bits=14, range="per_call")])
@pytest.mark.parametrize("rows", [128, 12, 4])  # one tile, a few, many
def test_convolutions_read_as_their_crossbar_does(device, adc, rows):
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2).double()
    dac = DAC(v_max=V_MAX, range=3.0)
    hardware = Hardware(device=device, dac=dac, adc=adc, array=Array(rows, 8))
    layer = mho.convert(conv, hardware).eval()
    x = torch.randn(2, 4, 5, 5, dtype=F64, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)
    patches = layer._rows(layer._padded(x))
    expected = (layer.crossbar(patches) + conv.bias).movedim(-1, 1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-3, atol=1e-3)
    assert float((expected - conv(x)).detach().abs().max()) > 5e-3
    layer.train()
    layer(x).square().sum().backward()
    assert float(layer.weight.grad.abs().max()) > 0.0


def test_read_noise_is_that_of_the_voltage():
    noise = mho.effects.ReadNoise(0.02)
    device = MTJ(v_half=0.3)
    crossbar, _, x = made(device, effects=(noise,), array=Array(TILE, TILE), adc=ADC(bits=24))
    many = x[:1].expand(20_000, -1)
    spread = crossbar(many).std(0)
    quiet, _, _ = made(LinearDevice(*device.window), effects=(noise,))
    quiet.store(crossbar.G)
    torch.testing.assert_close(
        spread / crossbar.scale, quiet(many).std(0) / quiet.scale, rtol=0.03, atol=0.0
    )


def test_wires_are_the_linearised_mode():
    wires = Wires(word=5.0, bit=5.0)
    crossbar, _, x = made(Pickett(), rows=TILE, array=Array(TILE, TILE, wires=wires))
    T = effective_conductance(crossbar.G, wires)
    v = V_MAX * x[:, None, :, None]
    g = crossbar.G
    current = (T / g * Pickett().current_of(v, g)).sum(2)
    expected = (current[:, 0] - current[:, 1]) * crossbar.scale / V_MAX
    torch.testing.assert_close(crossbar(x), expected, rtol=1e-3, atol=1e-4)
    crossbar.read_through(
        x, torch.randn(TILE, COLS, dtype=F64, requires_grad=True)
    ).sum().backward()


def test_float32_copies_and_inference_mode():
    crossbar, _, x = made(Pickett(r_series=300.0))
    expected = crossbar(x)
    single = copy.deepcopy(crossbar).float()
    torch.testing.assert_close(single(x.float()), expected.float(), rtol=1e-4, atol=1e-4)
    hardware = Hardware(device=Pickett(r_series=301.0))
    with torch.inference_mode():
        Crossbar(2, 2, hardware)(torch.ones(1, 2))
    weight = torch.ones(2, 2, requires_grad=True)
    Crossbar(2, 2, hardware).read_through(torch.ones(1, 2), weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("device", [LinearDevice(), VTEAM(), MTJ(v_half=None)])
def test_separable_devices_have_no_terms(device):
    crossbar, _, x = made(device)
    hardware = crossbar.hardware
    assert crossbar.expansion_error == 0.0
    assert nonlinear.terms(hardware) == 1
    assert nonlinear.stacked(crossbar.G, crossbar.G, hardware) is crossbar.G
    assert "terms" not in repr(crossbar)
    if device.ohmic:
        assert nonlinear.driven(x, hardware) is x
