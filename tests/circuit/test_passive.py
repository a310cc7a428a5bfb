"""Passive arrays: schemes and sneak paths by hand, disturb through the devices' own dynamics."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from scipy.optimize import brentq

mpl.use("Agg")

from mho.circuit import (
    InSeries,
    Selector,
    Wires,
    bias,
    disturb,
    half_select,
    sneak_read,
    solve,
    solve_bias,
    solve_nonlinear,
)
from mho.core.spec import Spec
from mho.devices.data_driven import DataDriven2021
from mho.devices.vteam import VTEAM
from mho.plot import passive

F64 = torch.float64
SLOW = VTEAM(v_on=-0.3, v_off=0.3, k_on=-1e-3, k_off=1e-3, r_on=1e4, r_off=1e5)


def cells(m, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 1 / (1e4 + 9e4 * torch.rand(m, n, generator=generator, dtype=F64))


def vteam(m, n):
    made = SLOW.fabricate((m, n), dtype=F64)
    made.write(torch.full((m, n), 3e-5, dtype=F64))
    return made


@pytest.mark.parametrize(
    ("scheme", "row", "col", "rest"),
    [("V/2", 0.5, 0.5, 0.0), ("V/3", 1 / 3, 1 / 3, -1 / 3), ("grounded", 1.0, 0.0, 0.0)],
)
def test_textbook_voltages(scheme, row, col, rest):
    over = bias(scheme, (3, 4), 1, 2, 1.2).ideal_voltages
    expected = torch.full((3, 4), rest, dtype=F64)
    expected[1], expected[:, 2] = row, col
    expected[1, 2] = 1.0
    assert torch.allclose(over, 1.2 * expected)


@pytest.mark.parametrize("scheme", ["grounded", "V/2", "V/3"])
def test_parts_of_a_pulse_by_place(scheme):
    over = bias(scheme, (4, 5), 1, 2, 1.5).ideal_voltages
    row, col, others = half_select.parts(scheme)
    expected = torch.full((4, 5), 1.5 * others, dtype=torch.float64)
    expected[1] = 1.5 * row
    expected[:, 2] = 1.5 * col
    expected[1, 2] = 1.5
    torch.testing.assert_close(over, expected)
    # Published: Chen 2013, table of schemes.
    published = {"grounded": (1, 0, 0), "V/2": (0.5, 0.5, 0), "V/3": (1 / 3, 1 / 3, -1 / 3)}
    assert (row, col, others) == pytest.approx(published[scheme])


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_tallies_count_what_each_pulse_does(scheme):
    chosen = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    naive = torch.zeros(2, 4, 5, dtype=torch.float64)
    for array, row, col in chosen.nonzero().tolist():
        naive[array] += bias(scheme, (4, 5), row, col, 1.0).ideal_voltages.abs()
    found = sum(abs(part) * count for part, count in half_select.tallies(chosen, scheme))
    torch.testing.assert_close(found.double(), naive, rtol=1e-6, atol=0.0)


def test_a_bias_through_wires_is_the_linear_solution():
    G, lines, wires = cells(6, 5), bias("V/2", (6, 5), 1, 2, 1.0), Wires(50, 20, 30, 10)
    exact = solve(G, wires, lines.word, sink=lines.bit)
    assert torch.allclose(
        solve_bias(lambda v: G * v, wires, lines).cell_voltages, exact.cell_voltages
    )
    assert float(exact.cell_voltages[1, 2]) < 1.0


def test_sneak_path_of_two_by_two():
    # three cells in series beside the one that is read
    R = torch.tensor([[7e3, 1e4], [2e4, 5e3]], dtype=F64)
    read = sneak_read(lambda v: v / R, (2, 2), 0, 0, 0.5)
    assert float(read.sneak[0]) == pytest.approx(0.5 / (1e4 + 5e3 + 2e4), rel=1e-9)
    assert float(read.sensed[0]) == pytest.approx(0.5 / 7e3 + 0.5 / 3.5e4, rel=1e-9)
    # grounding all other lines of an ideal array leaves no sneak current
    assert float(sneak_read(lambda v: v / R, (2, 2), 0, 0, 0.5, scheme="grounded").ratio) == 0


@pytest.mark.parametrize(("m", "n"), [(2, 2), (5, 8), (32, 32)])
def test_sneak_of_equal_cells(m, n):
    # by symmetry: n-1 cells, then (m-1)(n-1), then m-1, in parallel each
    expected = 1 / (1 / (n - 1) + 1 / ((m - 1) * (n - 1)) + 1 / (m - 1))
    assert float(sneak_read(lambda v: 1e-4 * v, (m, n), 0, 1, 1.0).ratio) == pytest.approx(expected)


def test_every_cell_at_once_and_a_row_at_once():
    G = cells(4, 3)
    row, col = (
        t.flatten() for t in torch.meshgrid(torch.arange(4), torch.arange(3), indexing="ij")
    )
    wires = Wires(5, 5, 5, 5)
    every = sneak_read(lambda v: G * v, (4, 3), row, col, 0.3, wires=wires)
    assert every.ratio.shape == (12,)
    one = sneak_read(lambda v: G * v, (4, 3), 2, 1, 0.3, wires=wires)
    assert float(every.ratio[7]) == pytest.approx(float(one.ratio), rel=1e-8)
    whole = sneak_read(lambda v: G * v, (4, 3), 2, None, 0.3)
    # all columns are held at 0 V: other rows float there too, and carry nothing
    assert torch.allclose(whole.sensed, 0.3 * G[2], rtol=1e-9, atol=0.0)


def test_selectors_cut_sneak_paths():
    G = cells(12, 12)
    bare = sneak_read(lambda v: G * v, (12, 12), 3, 4, 1.0)
    cut = sneak_read(InSeries(lambda v: G * v, Selector().current), (12, 12), 3, 4, 1.0)
    assert float(cut.ratio) < 0.05 * float(bare.ratio)


def test_selector_law():
    s = Selector(v_on=0.6, i_on=2e-6, decade=0.1)
    v = torch.tensor([0.6, 0.5, -0.6, 0.0, 1e-9, 20.0], dtype=F64)
    i = s.current(v)
    v0 = 0.1 / np.log(10)
    exact = 2e-6 * np.sinh(v.numpy()[:5] / v0) / np.sinh(0.6 / v0)
    assert np.allclose(i[:5].numpy(), exact, rtol=1e-12, atol=1e-24)
    assert float(i[1]) == pytest.approx(2e-7, rel=1e-5)
    assert bool(torch.isfinite(i).all())
    assert Spec.from_dict(s.to_dict()) == s
    with pytest.raises(ValueError, match="decade"):
        Selector(decade=0.0)


def test_series_cells_against_scipy():
    s = Selector()
    G = cells(5, 6)
    law = InSeries(lambda u: G * torch.sinh(3 * u) / 3, s.current)
    v = torch.linspace(-3, 3, 30, dtype=F64).view(5, 6)
    u = law.cell_share(v)

    def miss(u, v, g):
        return g * np.sinh(3 * u) / 3 - float(s.current(torch.tensor(v - u, dtype=F64)))

    for at, over, g in zip(
        u.flatten().tolist(), v.flatten().tolist(), G.flatten().tolist(), strict=True
    ):
        assert at == pytest.approx(
            brentq(miss, min(over, 0), max(over, 0), args=(over, g), xtol=1e-15), abs=1e-12
        )
    assert torch.equal(law(torch.zeros(5, 6, dtype=F64)), torch.zeros(5, 6, dtype=F64))
    assert torch.autograd.gradcheck(
        lambda v: 1e5 * law(v), (v.clone().requires_grad_(),), atol=1e-5
    )


def test_series_law_on_wires():
    G, wires = cells(5, 6), Wires(100, 50, 50, 100)
    law = InSeries(lambda u: G * u, Selector().current)
    v = torch.full((5,), 1.2, dtype=F64)
    found = solve_nonlinear(law, (5, 6), wires, v)
    over = found.cell_voltages
    u = law.cell_share(over)
    assert torch.allclose(G * u, found.cell_currents, rtol=1e-8, atol=0.0)
    assert torch.allclose(Selector().current(over - u), found.cell_currents, rtol=1e-8, atol=0.0)


def test_disturb_by_hand():
    # VTEAM without a window moves dx = push · t; half-selected cells at 0.4 V, threshold 0.3 V
    made = vteam(4, 5)
    before = made.x.clone()
    found = disturb(made, bias("V/2", (4, 5), 1, 2, -0.8), 1e-7)
    step = 1e-3 * (0.4 / 0.3 - 1) ** 3 / 3e-9 * 1e-7
    moved = made.x - before
    assert float(moved[1, 0]) == pytest.approx(step, rel=1e-9)
    assert float(moved[0, 2]) == pytest.approx(step, rel=1e-9)
    assert float(moved[1, 2]) == pytest.approx(1e-3 * (0.8 / 0.3 - 1) ** 3 / 3e-9 * 1e-7, rel=1e-9)
    assert float(moved[0, 0]) == 0
    assert found.worst == pytest.approx(float(found.change[1, 0]))


@pytest.mark.parametrize("wires", [Wires(), Wires(5, 5, 5, 5)])
def test_disturb_grows_with_the_voltage_and_has_a_threshold(wires):
    worst = [
        disturb(vteam(8, 8), bias("V/2", (8, 8), 3, 4, -v), 1e-7, wires=wires).worst
        for v in (0.4, 0.59, 0.7, 0.8, 0.9)
    ]
    assert worst[0] == worst[1] == 0.0
    assert 0 < worst[2] < worst[3] < worst[4]
    assert disturb(vteam(8, 8), bias("V/3", (8, 8), 3, 4, -0.88), 1e-7, wires=wires).worst == 0
    grounded = disturb(vteam(8, 8), bias("grounded", (8, 8), 3, 4, -0.8), 1e-7, wires=wires)
    assert grounded.worst > worst[3]


def test_disturb_adds_up_and_a_selector_prevents_it():
    once = disturb(vteam(6, 6), bias("V/2", (6, 6), 3, 4, -0.8), 1e-7).worst
    often = disturb(vteam(6, 6), bias("V/2", (6, 6), 3, 4, -0.8), 1e-7, pulses=5).worst
    assert often > 4 * once
    held = disturb(
        vteam(6, 6), bias("V/2", (6, 6), 3, 4, -1.2), 1e-7, selector=Selector(v_on=0.45).current
    )
    assert held.worst == 0
    assert float(held.change[3, 4]) > 0.05


def test_parts_follow_cells_that_change():
    device = DataDriven2021()
    lines, wires = bias("V/2", (6, 6), 2, 3, 2.0), Wires(100, 20, 20, 100)

    def written(parts):
        made = device.fabricate((6, 6), dtype=F64)
        return disturb(made, lines, 1e-4, wires=wires, parts=parts).after

    one, eight, many = written(1), written(8), written(64)
    assert float((eight - many).abs().max()) < float((one - many).abs().max()) / 4


def test_pictures():
    found = disturb(vteam(6, 5), bias("V/2", (6, 5), 3, 4, -0.8), 1e-7)
    ax = passive.disturb_map(found)
    assert np.allclose(ax.images[0].get_array(), 100 * found.change.numpy())
    assert ax.images[0].get_clim()[1] == pytest.approx(100 * found.worst)
    passive.disturb_map(found, log=True)
    passive.disturb_map(disturb(vteam(6, 5), bias("V/2", (6, 5), 3, 4, -0.1), 1e-7), log=True)
    row, col = (
        t.flatten() for t in torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij")
    )
    G = cells(3, 2)
    read = sneak_read(lambda v: G * v, (3, 2), row, col, 0.3)
    ax = passive.sneak_map(read)
    assert np.allclose(ax.images[0].get_array(), 100 * read.ratio.view(3, 2).numpy())
    passive.sneak_map(sneak_read(lambda v: G * v, (3, 2), 0, 1, 0.3))
    with pytest.raises(ValueError, match="all 6"):
        passive.sneak_map(sneak_read(lambda v: G * v, (3, 2), row[:4], col[:4], 0.3))
    mpl.pyplot.close("all")


def test_refusals():
    with pytest.raises(ValueError, match="scheme"):
        bias("V/4", (3, 3), 0, 0, 1.0)
    with pytest.raises(ValueError, match="row must be in 0…2"):
        bias("V/2", (3, 3), 3, 0, 1.0)
    with pytest.raises(TypeError, match="col"):
        bias("V/2", (3, 3), 0, torch.tensor(0.5), 1.0)
    with pytest.raises(ValueError, match="at least one"):
        bias("V/2", (3, 3), torch.zeros(3, dtype=torch.bool), 0, 1.0)
    with pytest.raises(ValueError, match="as many"):
        bias("V/2", (3, 3), torch.tensor([0, 1]), torch.tensor([0, 1, 2]), 1.0)
    with pytest.raises(ValueError, match="depend on the cells"):
        _ = bias("floating", (3, 3), 0, 0, 1.0).ideal_voltages
    with pytest.raises(ValueError, match="duration"):
        disturb(vteam(3, 3), bias("V/2", (3, 3), 0, 0, 1.0), -1.0)
    with pytest.raises(ValueError, match="one bias"):
        disturb(vteam(3, 3), bias("V/2", (4, 3), 0, 0, 1.0), 1e-6)
