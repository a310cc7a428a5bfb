"""Verify reads: averaged, or of several cells at once in a Hadamard code; noise and cost."""

import math

import pytest
import torch
from scipy.linalg import hadamard as sylvester

import mho
from mho.devices import VTEAM, ExponentialDevice
from mho.programming import WriteVerify, write_verify
from mho.programming.hadamard import constructible, hadamard
from mho.programming.reading import Verifier
from mho.programming.writers import VoltageWriter

DEVICE = VTEAM()
LOW, HIGH = DEVICE.window
SPAN = HIGH - LOW


def targets(shape, seed=0):
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return LOW + SPAN * drawn


def verifier(cells, seed=1, **fields):
    scheme = WriteVerify.for_device(DEVICE, **fields)
    generator = torch.Generator().manual_seed(seed)
    return Verifier(scheme, cells.conductance(), SPAN, generator)


def population(shape):
    cells = DEVICE.fabricate(shape, dtype=torch.float64)
    cells.write(targets(shape))
    return cells


def reads(cells, wanted=None, **fields):
    """Return what one verify read adds to the conductances, in parts of the window."""
    every = torch.ones(cells.shape, dtype=torch.bool)
    found = verifier(cells, **fields)
    shown = found.read(VoltageWriter(cells), every if wanted is None else wanted)
    return (shown - cells.conductance()) / SPAN, found


@pytest.mark.parametrize("order", [n for n in range(1, 129) if constructible(n)])
def test_matrices_are_hadamards(order):
    h = hadamard(order)
    assert torch.equal(h.mT @ h, order * torch.eye(order, dtype=torch.float64))
    assert torch.equal(h.abs(), torch.ones_like(h))
    assert torch.equal(h[:, 0], torch.ones(order, dtype=torch.float64))
    if order & (order - 1) == 0:
        assert torch.equal(h, torch.as_tensor(sylvester(order), dtype=torch.float64))


@pytest.mark.parametrize("order", [0, 3, 6, 92, 2048])
def test_orders_without_a_matrix_are_refused_with_the_nearest(order):
    with pytest.raises(ValueError, match="hadamard must be"):
        WriteVerify(hadamard=order)


def test_the_nearest_orders_are_told():
    with pytest.raises(ValueError, match=r"nearest to 92 are 88 and 96$"):
        WriteVerify(hadamard=92)
    with pytest.raises(ValueError, match=r"nearest to 2000 is 1024$"):
        WriteVerify(hadamard=2000)


@pytest.mark.parametrize(
    ("reads_", "order"), [(1, 1), (9, 1), (1, 2), (1, 12), (1, 16), (4, 16), (1, 64), (3, 20)]
)
@pytest.mark.parametrize("shape", [(64, 300), (3, 37, 150)])
def test_noise_falls_with_the_root_of_averages_and_of_the_order(reads_, order, shape):
    noise, found = reads(population(shape), read_noise=0.05, reads=reads_, hadamard=order)
    expected = 0.05 / math.sqrt(reads_ * order)
    # Five standard errors of a standard deviation, of a mean.
    n = noise.numel()
    assert float(noise.std()) == pytest.approx(expected, rel=5 / math.sqrt(2 * n))
    assert abs(float(noise.mean())) < 5 * expected / math.sqrt(n)
    assert found.noise == pytest.approx(expected * SPAN)
    # Cells that are read together share no noise: H is orthogonal.
    left, right = noise[..., 0:-1:2, :], noise[..., 1::2, :]
    together = float((left[..., : right.shape[-2], :] * right).mean()) / expected**2
    assert abs(together) < 5 / math.sqrt(n / 2)


@pytest.mark.parametrize("fields", [{}, {"reads": 7}, {"hadamard": 16}, {"hadamard": 12}])
def test_without_noise_every_code_writes_the_very_same_bits(fields):
    goal = targets((37, 11)).float()
    plain = write_verify(DEVICE.fabricate((37, 11), seed=3), goal)
    scheme = WriteVerify.for_device(DEVICE, **fields)
    coded = write_verify(DEVICE.fabricate((37, 11), seed=3), goal, scheme)
    assert torch.equal(plain.achieved, coded.achieved)
    assert torch.equal(plain.pulses, coded.pulses)
    assert coded.reads >= plain.reads


def test_a_code_reaches_what_averages_reach_with_a_fraction_of_the_reads():
    goal = targets((64, 48)).float()
    found = {}
    for name, fields in {"one": {}, "mean": {"reads": 16}, "code": {"hadamard": 16}}.items():
        scheme = WriteVerify.for_device(
            DEVICE, read_noise=0.02, order="row", on_failure="report", **fields
        )
        found[name] = write_verify(DEVICE.fabricate((64, 48), seed=1), goal, scheme)
    sigma = {name: float((r.error / SPAN).std()) for name, r in found.items()}
    # Two standard deviations of 3,072 errors differ by chance by 2.6 % at most (2 σ).
    assert sigma["code"] == pytest.approx(sigma["mean"], rel=0.05)
    assert sigma["code"] < 0.5 * sigma["one"]
    assert found["code"].reads * 10 < found["mean"].reads
    assert found["code"].time * 5 < found["mean"].time
    # What training takes for the error: uniform within the tolerance, and the reads' noise.
    expected = WriteVerify(read_noise=0.02, hadamard=16).deviation(DEVICE.window) / SPAN
    assert expected == pytest.approx(math.hypot(0.01 / math.sqrt(3), 0.005))
    assert sigma["code"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("order", [8, 12, 20])
def test_an_offset_of_a_line_is_seen_by_the_first_cell_of_a_group_alone(order):
    cells = population((40, 200))
    one, _ = reads(cells, read_offset=0.03)
    assert torch.allclose(one, one[:1].expand(40, 200))  # one offset a bit line
    assert float(one[0].std()) == pytest.approx(0.03, rel=5 / math.sqrt(400))
    many, _ = reads(cells, read_offset=0.03, hadamard=order)
    assert torch.allclose(many[::order], one[::order])
    rest = torch.ones(40, dtype=torch.bool)
    rest[::order] = False
    assert float(many[rest].abs().max()) < 1e-12


def test_a_converters_steps_are_seen_and_a_code_spreads_them():
    cells = population((64, 400))
    one, _ = reads(cells, read_step=0.1)
    g = cells.conductance() / SPAN
    assert torch.allclose(one + g, ((g / 0.1).round() * 0.1))
    assert float(one.std()) == pytest.approx(0.1 / math.sqrt(12), rel=0.03)
    many, found = reads(cells, read_step=0.1, hadamard=16)
    assert float(many.std()) == pytest.approx(0.1 / math.sqrt(12 * 16), rel=0.03)
    assert found.noise == pytest.approx(0.1 * SPAN / math.sqrt(12 * 16))
    # Repeating a read tells nothing new where nothing else is random.
    again, _ = reads(cells, read_step=0.1, reads=5)
    assert torch.allclose(again, one)


def test_reads_time_and_energy_by_hand():
    # 6 rows, 3 columns, groups of 4 rows: of the second group 2 rows are missing.
    cells = population((6, 3))
    wanted = torch.zeros(6, 3, dtype=torch.bool)
    wanted[1, 0] = wanted[2, 0] = wanted[5, 2] = True
    power, g = 0.1**2, cells.conductance()
    cases = {  # read groups in one go, in serial order, row by row
        ("all", 1): (3, 1), ("row", 1): (3, 3), ("cell", 1): (3, 3),
        ("all", 4): (8, 4), ("row", 4): (8, 8), ("cell", 4): (8, 8),
    }  # fmt: skip
    for (order, size), (count, serial) in cases.items():
        for repeats in (1, 3):
            _, found = reads(
                cells, wanted, order=order, hadamard=size, reads=repeats, read_time=2e-8
            )
            assert found.reads == repeats * count
            assert found.time == pytest.approx(repeats * serial * 2e-8)
            driven = g[:4, 0].sum() + g[4:, 2].sum() if size == 4 else g[wanted].sum()
            joules = repeats * size * power * float(driven) * 2e-8
            assert found.energy == pytest.approx(joules, rel=1e-9)


def test_cells_that_conduct_more_one_way_pay_for_each_way_they_are_driven():
    class Lopsided:
        def conductance(self):
            return g

        def current(self, v):
            return v * g if v > 0.0 else 3.0 * v * g

    g = targets((12, 2))
    found = verifier(population((12, 2)), hadamard=12, read_time=1e-8)
    found.read(Lopsided(), torch.ones(12, 2, dtype=torch.bool))
    h = hadamard(12)
    times = torch.where(h > 0.0, 1.0, 3.0).double().sum(0)  # of each cell of the group
    assert found.energy == pytest.approx(1e-8 * 0.1**2 * float(times @ g.sum(1)), rel=1e-9)


def test_crossbars_of_any_size_are_verified_in_codes():
    hardware = mho.Hardware(
        device=ExponentialDevice(levels=400),
        array=mho.Array(10, 6),
        programming=WriteVerify(tolerance=0.02, hadamard=8, reads=2, read_noise=0.005),
    )
    assert mho.Hardware.from_dict(hardware.to_dict()) == hardware
    crossbar = mho.Crossbar(23, 9, hardware, seed=1)
    report = crossbar.program(torch.linspace(-1, 1, 207).view(23, 9))
    assert report.relative_error < 0.05
    assert report.written.report.reads % 16 == 0
    assert float(report.written.report.history[-1]) > 0.95


def test_vectors_and_empty_populations():
    for shape in ((5,), (0, 3), ()):
        cells = DEVICE.fabricate(shape)
        scheme = WriteVerify.for_device(DEVICE, hadamard=4, read_noise=0.001, read_offset=0.001)
        report = write_verify(cells, 0.5 * (LOW + HIGH), scheme)
        assert report.achieved.shape == shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reads": 0}, "reads must be >= 1"),
        ({"read_offset": -0.1}, "read_offset"),
        ({"read_step": math.nan}, "read_step"),
    ],
)
def test_bad_reads_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WriteVerify(**change)
