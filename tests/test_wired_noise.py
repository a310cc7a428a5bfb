"""Read noise of crossbars with wires: what outputs show, against the gradient of exact circuits."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, Array, Crossbar, Hardware
from mho.circuit import Wires, effective_conductance
from mho.devices import LinearDevice
from mho.effects import ReadNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn

DTYPE = torch.float64
DEVICE = LinearDevice(g_min=1e-5, g_max=1e-4)
SIGMA = 0.05
READS = 20_000
ENCODINGS = {
    "differential": Differential(),
    "digital": Differential(Scaling(per_column=True), subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=4, bits_per_cell=2),
}


def crossbar(rows, cols, array, *, groups=1, **parts):
    hardware = Hardware(device=DEVICE, array=array, effects=(ReadNoise(SIGMA, "value"),), **parts)
    made = Crossbar(rows, cols, hardware, groups=groups, dtype=DTYPE)
    generator = torch.Generator().manual_seed(0)
    made.program(torch.randn(groups * rows, cols, dtype=DTYPE, generator=generator))
    return made


def inputs(size, signed=True):
    x = torch.rand(size, dtype=DTYPE, generator=torch.Generator().manual_seed(1))
    return 2 * x - 1 if signed else x


def expected(cb, x, transposed=False):
    """Standard deviation of every output: Σ_cells (dy/dg)² σ², tile by tile in plain loops."""
    array, (slices, rows, cols) = cb.hardware.array, cb.G.shape
    g = cb.G.detach().clone().requires_grad_()
    solved = torch.zeros_like(g)
    each = array.cols // slices if array.interleaved else array.cols
    for s in [slice(None)] if array.interleaved else range(slices):
        for group in range(0, rows, cb.rows):
            for top in range(0, cb.rows, array.rows):
                for left in range(0, cols, each):
                    down = slice(group + top, group + min(top + array.rows, cb.rows))
                    right = slice(left, left + each)
                    part = g[s, down, right]
                    tile = part.permute(1, 2, 0).flatten(1) if array.interleaved else part
                    T = effective_conductance(tile, array.wires)
                    if array.interleaved:
                        T = T.unflatten(1, (-1, slices)).permute(2, 0, 1)
                    solved = solved.clone()
                    solved[s, down, right] = T
    weight = cb.decode(solved).unflatten(0, (cb.groups, -1))
    x = x.view(cb.groups, 1, -1)
    y = (x @ (weight.mT if transposed else weight)).flatten()
    slopes = [torch.autograd.grad(out, g, retain_graph=True)[0] for out in y]
    return torch.stack([(s * SIGMA * g.detach()).square().sum().sqrt() for s in slopes])


def agree(seen, wanted, tolerance=0.02):
    """Within a tolerance as rms over columns, and the mean well within."""
    ratio = seen / wanted
    error = 1 / (2 * READS) ** 0.5
    assert float((ratio - 1).square().mean()) < tolerance**2 + 2 * error**2
    assert abs(float(ratio.mean()) - 1) < tolerance + 4 * error / len(ratio) ** 0.5


@pytest.mark.parametrize("signed", [True, False], ids=["random", "positive"])
def test_full_tile_at_half_attenuation(signed):
    cb = crossbar(64, 16, Array(64, 64, wires=Wires(30.0, 30.0, 30.0, 30.0)))
    attenuation = effective_conductance(cb.G, cb.hardware.array.wires).sum() / cb.G.sum()
    assert 0.45 < float(attenuation) < 0.55
    x = inputs(64, signed)
    agree((x.expand(READS, -1) @ cb).std(0), expected(cb, x), 0.01)


@pytest.mark.parametrize("interleaved", [False, True], ids=["separate", "interleaved"])
@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("adc", [None, ADC(bits=14)], ids=["exact", "ADC"])
def test_tiles_groups_and_encodings(encoding, interleaved, adc):
    array = Array(6, 8, wires=Wires(300.0, 100.0, 100.0, 300.0), interleaved=interleaved)
    cb = crossbar(15, 5, array, groups=2, encoding=encoding, adc=adc)
    x = inputs(30, signed=False)
    wanted = expected(cb, x)
    bare = crossbar(15, 5, Array(6, 8, interleaved=interleaved), groups=2, encoding=encoding)
    assert float((x.expand(READS, -1) @ bare).std(0).mean() / wanted.mean()) > 1.1
    agree((x.expand(READS, -1) @ cb).std(0), wanted, 0.025)


@pytest.mark.parametrize("interleaved", [False, True], ids=["separate", "interleaved"])
@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_transposed(encoding, interleaved):
    array = Array(6, 8, wires=Wires(300.0, 100.0, 100.0, 300.0), interleaved=interleaved)
    cb = crossbar(10, 11, array, encoding=encoding, adc=ADC(bits=14))
    x = inputs(11)
    seen = (x.expand(READS, -1) @ cb.T).std(0)
    agree(seen, expected(cb, x, transposed=True), 0.03)


def test_training_reads_have_the_noise_of_the_wired_array():
    array = Array(16, 8, wires=Wires(200.0, 50.0, 50.0, 200.0), solve_every=1000)
    cb = crossbar(16, 4, array, adc=ADC(bits=14, range="per_call"))
    weight = cb.weight.detach().clone().requires_grad_()
    x = inputs(16, signed=False)
    y = cb.read_through(x.expand(READS, -1), weight)
    agree(y.detach().std(0), expected(cb, x), 0.02)
    y.sum().backward()
    assert bool(weight.grad.isfinite().all())


@pytest.mark.parametrize("rows", [4, 64], ids=["many tiles", "one tile"])
def test_convolutions(rows):
    array = Array(rows, 8, wires=Wires(300.0, 100.0, 100.0, 300.0))
    hardware = Hardware(device=DEVICE, array=array, effects=(ReadNoise(SIGMA, "value"),))
    conv = nn.Conv2d(2, 3, 3, bias=False).double()
    analog = mho.convert(conv, hardware.replace(adc=ADC(bits=14))).eval()
    (cb,) = analog.crossbars.values()
    x = inputs(18, signed=False)
    with torch.no_grad():
        seen = analog(x.view(1, 2, 3, 3).expand(READS, -1, -1, -1)).flatten(1).std(0)
    agree(seen, expected(cb, x), 0.02)


def test_ideal_wires_keep_their_bits():
    """Zero resistances are no wires: nothing is solved, the same noise is drawn."""
    x = inputs(20).expand(50, -1)
    plain, zero = (
        crossbar(20, 5, Array(8, 8, **wires), adc=ADC(bits=8))
        for wires in ({}, {"wires": Wires(0.0, 0.0, 0.0, 0.0)})
    )
    assert isinstance(zero.reader.stored.noise, torch.Tensor)
    assert torch.equal(x @ plain, x @ zero)
