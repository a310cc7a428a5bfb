"""Tiles that are filled in part have the lines of whole arrays, where that is asked for."""

import pytest
import torch

import mho
from mho.circuit import Wires, effective_conductance
from mho.crossbar.wires import wired, wired_noise
from mho.encoding import Differential
from mho.fit.twin_model import State
from mho.hardware import Array

ROWS, COLS = 12, 9
LINES = {"source": 30.0, "word": 2.0, "bit": 3.0, "sense": 20.0}
ENDS = [("left", "bottom"), ("right", "bottom"), ("left", "top"), ("right", "top")]


def in_whole_array(g, wires):
    """The same cells at the first lines of an array whose other cells do not conduct."""
    whole = g.new_zeros(*g.shape[:-2], ROWS, COLS)
    whole[..., : g.shape[-2], : g.shape[-1]] = g
    return effective_conductance(whole, wires)[..., : g.shape[-2], : g.shape[-1]]


@pytest.mark.parametrize(("drive", "read"), ENDS)
@pytest.mark.parametrize("size", [(5, 4), (12, 4), (5, 9), (1, 1)])
def test_it_is_the_whole_array_with_cells_that_do_not_conduct(drive, read, size):
    wires = Wires(**LINES, drive=drive, read=read)
    g = 1e-4 * torch.rand(2, *size, dtype=torch.float64)
    found = wired(g, Array(ROWS, COLS, wires, whole_lines=True))
    assert torch.allclose(found, in_whole_array(g, wires), rtol=1e-9, atol=0.0)
    alone = wired(g, Array(ROWS, COLS, wires))
    longer = (read == "bottom" and size[0] < ROWS) or (drive == "right" and size[1] < COLS)
    assert torch.equal(alone, found) != longer


def test_full_tiles_are_as_ever_and_the_last_ones_are_not():
    wires = Wires(**LINES)
    g = 1e-4 * torch.rand(2, ROWS + 5, COLS, dtype=torch.float64)
    short, whole = (wired(g, Array(ROWS, COLS, wires, whole_lines=w)) for w in (False, True))
    assert torch.equal(short[:, :ROWS], whole[:, :ROWS])
    assert bool((whole[:, ROWS:] < short[:, ROWS:]).all())


def test_read_noise_passes_the_same_lines():
    wires = Wires(**LINES, drive="right")
    g = 1e-4 * torch.rand(2, 5, 4, dtype=torch.float64) + 1e-5
    variance = 1e-12 * torch.rand_like(g)
    whole = [torch.zeros(2, ROWS, COLS, dtype=torch.float64) for _ in range(2)]
    for small, large in zip((g, variance), whole, strict=True):
        large[:, :5, :4] = small
    full = wired_noise(*whole, Differential(), Array(ROWS, COLS, wires))[0]
    part = wired_noise(g, variance, Differential(), Array(ROWS, COLS, wires, whole_lines=True))[0]
    # Forms are exact for one driven line; for others they go by probes, which are of other lines.
    for volts, within in ((torch.eye(5), 1e-9), (torch.rand(20, 5) - 0.5, 0.01)):
        driven = torch.zeros(len(volts), ROWS, dtype=torch.float64)
        driven[:, :5] = volts
        wanted = full.variance(driven)[..., :4]
        found = part.variance(driven[:, :5])
        assert torch.allclose(found, wanted, rtol=within, atol=0.0)
    beside = wired_noise(g, variance, Differential(), Array(ROWS, COLS, wires))[0]
    short = beside.variance(torch.eye(5, dtype=torch.float64))
    assert bool((short > 1.001 * part.variance(torch.eye(5, dtype=torch.float64))).all())


def test_a_layer_reads_through_them():
    hardware = mho.Hardware(array=Array(64, 64, Wires(bit=5.0)))
    layer = torch.torch.nn.Linear(16, 8, bias=False)
    x = torch.rand(5, 16)
    ideal = x @ layer.weight.T
    short = mho.convert(layer, hardware)(x)
    longer = mho.convert(layer, hardware.replace(array=hardware.array.replace(whole_lines=True)))(x)
    errors = [float((y - ideal).norm()) for y in (short, longer)]
    assert errors[1] > 2 * errors[0]


def test_exact_reads_of_cells_that_are_not_ohmic_see_them():
    wires, size = Wires(bit=50.0, sense=10.0), (6, 3)
    device = mho.devices.Yakopcic()
    assert not device.ohmic
    weight = torch.randn(size, dtype=torch.float64)
    v = torch.rand(2, 6, dtype=torch.float64)

    def read(array):
        crossbar = mho.Crossbar(*size, mho.Hardware(device=device, array=array)).double()
        crossbar.program(weight)
        return crossbar(v)

    part = Array(ROWS, COLS, wires, exact_reads=True)
    same = part.replace(wires=wires.replace(sense=10.0 + 6 * 50.0))
    assert torch.allclose(read(part.replace(whole_lines=True)), read(same))
    assert not torch.allclose(read(part), read(same))


def test_both_ends_are_refused():
    with pytest.raises(ValueError, match="whole_lines needs wires with drive 'left' or 'right'"):
        Array(8, 8, Wires(word=1.0, drive="both"), whole_lines=True)
    spec = Array(8, 8, whole_lines=True)
    assert Array.from_dict(spec.to_dict()) == spec


def test_a_twin_of_what_was_measured_in_part_is_refused():
    hardware = mho.Hardware(array=Array(8, 8, whole_lines=True))
    g = torch.full((1, 8, 8), 1e-5)
    assert State.of(hardware, g, 8, 1).wires == hardware.array.wires
    with pytest.raises(ValueError, match="whole_lines must be False where 8 × 6 cells"):
        State.of(hardware, g[..., :6], 6, 1)


def test_summary_tells_wires_and_how_long_lines_are():
    wires = mho.circuit.Wires(bit=2.0)
    array = mho.Array(16, 16, wires, interleaved=True, whole_lines=True)
    model = mho.convert(torch.nn.Linear(8, 4), mho.Hardware(array=array))
    said = str(mho.summary(model))
    assert "tiles of 16 × 16, slices interleaved, lines as long as the array" in said
    assert f"wires       {wires}" in said
    plain = str(mho.summary(mho.convert(torch.nn.Linear(8, 4), mho.Hardware())))
    assert "wires" not in plain
    assert "tiles of 128 × 128, LinearDevice" in plain
