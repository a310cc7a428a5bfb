"""How cells hold weights: layouts, pulses, endurance, programming, refresh."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.core.spec import Spec
from mho.devices import (
    ConstantStep,
    ExponentialDevice,
    JumpTable,
    LinearDevice,
    PowStep,
    SoftBoundsDevice,
    Spread,
    TabularDevice,
)
from mho.devices.vteam import VTEAM
from mho.train.on_cells.layouts import (
    DifferentialPair,
    MultiCell,
    SingleCell,
    check_range,
    pulse_steps,
)
from mho.train.on_cells.voltage import VoltagePulses
from mho.train.on_cells.weights import WeightCells

G_MIN, G_MAX = 2e-6, 50e-6
LINE = ExponentialDevice(g_min=G_MIN, g_max=G_MAX, levels=100)
LAYOUTS = [
    SingleCell(),
    DifferentialPair(),
    DifferentialPair(update="reset"),
    MultiCell(3),
    MultiCell(3, significances=(1.0, 2.0, 4.0)),
]
F64 = torch.float64


def random_weights(shape=(7, 5), seed=0, size=1.0):
    draw = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return (2.0 * draw - 1.0) * size


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_write_and_read_are_inverse_and_conductances_are_as_published(layout):
    weights = WeightCells(LINE, (7, 5), layout=layout, weight_range=(-2.0, 2.0), dtype=F64)
    wanted = random_weights(size=2.0)
    assert weights.write(wanted) == 0
    torch.testing.assert_close(weights.read(), wanted, rtol=0, atol=1e-14)
    g, window = weights.cells.g, G_MAX - G_MIN
    if isinstance(layout, DifferentialPair):
        torch.testing.assert_close(2.0 / window * (g[0] - g[1]), wanted)
        assert (g.amin(0) == G_MIN).all()
    else:
        for cell in g:
            torch.testing.assert_close(-2.0 + (cell - G_MIN) / window * 4.0, wanted)
    assert int(weights.writes.sum()) == 0
    assert Spec.from_dict(layout.to_dict()) == layout


def test_weights_outside_of_the_range_are_clipped_and_counted():
    weights = WeightCells(LINE, (2, 2), weight_range=(-0.5, 1.0), dtype=F64)
    assert weights.write(torch.tensor([[-0.6, 0.0], [1.0, 1.5]])) == 2
    torch.testing.assert_close(weights.read(), torch.tensor([[-0.5, 0.0], [1.0, 1.0]], dtype=F64))
    with pytest.raises(ValueError, match="weight must be finite"):
        weights.write(torch.tensor([[torch.nan, 0.0], [1.0, 1.5]]))


@pytest.mark.parametrize("layout", LAYOUTS[:4], ids=str)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_pulses_of_a_straight_device_add_up(layout, seed):
    weights = WeightCells(LINE, (7, 5), layout=layout, dtype=F64)
    start = random_weights(seed=seed, size=0.3)
    weights.write(start)
    source = torch.Generator().manual_seed(seed)
    index = torch.randperm(35, generator=source)[:20]
    counts = torch.randint(1, 9, (20,), generator=source) * (
        torch.randint(0, 2, (20,), generator=source) * 2 - 1
    )
    weights.pulse(index, counts)
    step = weights.steps[0]
    expected = start.flatten().index_add(0, index, counts.to(F64) * step)
    # In "reset" mode the last pulse on an idle cell may find less than a step to take.
    slack = 8 * step if getattr(layout, "update", "") == "reset" else 1e-13
    assert (weights.read().flatten() - expected).abs().max() <= slack
    assert int(weights.writes.sum()) == int(counts.abs().sum())


def test_steps_are_the_range_over_the_levels():
    assert WeightCells(LINE, (1, 1), weight_range=(-1, 3)).steps == pytest.approx((0.04, 0.04))
    pair = WeightCells(LINE, (1, 1), layout=DifferentialPair(), weight_range=(-3, 3))
    assert pair.steps == pytest.approx((0.03, 0.03))
    several = WeightCells(LINE.replace(levels_reset=50), (1, 1), layout=MultiCell(4))
    assert several.steps == pytest.approx((0.005, 0.01))
    soft = SoftBoundsDevice(g_min=0.0, g_max=1e-4, step=1e-6, asymmetry=0.1)
    assert pulse_steps(soft) == pytest.approx((1.1e-6, 0.9e-6))


def test_a_pulse_is_worth_the_step_in_the_middle_of_the_window():
    # The exponential curve's, written out: G(P) = B(1 − e^(−P/A)), and back from mid-window.
    bent = LINE.replace(nonlinearity_set=2.4, nonlinearity_reset=-4.88)
    window, constants = G_MAX - G_MIN, bent.constants()
    for way, step in zip(("set", "reset"), pulse_steps(bent), strict=True):
        k = abs(constants[f"curvature_{way}"])
        assert step == pytest.approx(window / 2 / math.tanh(k / 2) * (1 - math.exp(-k / 100)))
        # Not the mean over the pulses that take a cell through its window.
        assert step > 1.25 * window / 100
        # But the mean over all conductances of it.
        g = torch.linspace(G_MIN, G_MAX, 1001, dtype=F64)
        up = torch.full_like(g, way == "set", dtype=torch.bool)
        assert float(bent.change(g, up, constants).abs().mean()) == pytest.approx(step)
    assert pulse_steps(PowStep(step=1e-7, exponent_set=3.0)) == pytest.approx((1e-7, 1e-7))


def test_granularities_of_both_directions():
    assert WeightCells(LINE, (1, 1), granularity=(0.1, 0.2)).steps == (0.1, 0.2)
    assert WeightCells(LINE, (1, 1), granularity=(0.1, 0.2)).step == pytest.approx(0.15)
    with pytest.raises(ValueError, match="granularity must be > 0"):
        WeightCells(LINE, (1, 1), granularity=(0.1, 0.0))
    # Pairs that are only set need no reset.
    one_way = ConstantStep(asymmetry=1.0)
    with pytest.raises(ValueError, match="move up by set and down by reset"):
        WeightCells(one_way, (1, 1))
    assert WeightCells(one_way, (1, 1), layout=DifferentialPair()).step > 0.0


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_pulses_of_both_directions_are_those_of_each(layout):
    weights = WeightCells(LINE, (4, 6), layout=layout, dtype=F64)
    start = random_weights((4, 6), size=0.3)
    weights.write(start)
    source = torch.Generator().manual_seed(3)
    up, down = (torch.randint(0, 9, (4, 6), generator=source) for _ in range(2))
    weights.pulse_both(up, down)
    # What cells count is a whole round, where they count unequally.
    slack = 9 * weights.step if isinstance(layout, MultiCell) and layout.significances else 1e-13
    slack = 9 * weights.step if getattr(layout, "update", "") == "reset" else slack
    expected = start + (up - down).to(F64) * weights.step
    assert (weights.read() - expected).abs().max() <= slack
    assert torch.equal(weights.writes.sum(0), up + down)
    if layout == DifferentialPair():
        assert torch.equal(weights.writes, torch.stack((up, down)))


def test_worn_cells_take_their_last_pulses_of_both_directions():
    weights = WeightCells(LINE, (1, 3), endurance=6, dtype=F64)
    weights.write(torch.zeros(1, 3))
    for _ in range(2):
        weights.pulse_both(torch.tensor([[6, 1, 0]]), torch.tensor([[2, 1, 9]]))
    assert weights.writes.tolist() == [[[6, 4, 6]]]
    assert weights.read()[0].tolist() == pytest.approx([0.04, 0.0, -0.12])  # 4 up, 2 down


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_references_of_ones_own_are_zero(layout):
    device = SoftBoundsDevice(
        g_min=G_MIN,
        g_max=G_MAX,
        step=1e-7,
        asymmetry=Spread(torch.distributions.Normal(0.0, 0.2), low=-0.5, high=0.5),
    )
    weights = WeightCells(device, (5, 7), layout=layout, dtype=F64)
    weights.shift_reference()
    assert not weights.read().any()
    assert weights.cells.g.std() > 1e-6
    wanted = random_weights((5, 7), size=0.2)
    weights.write(wanted)
    torch.testing.assert_close(weights.read(), wanted, rtol=0, atol=1e-12)
    index = torch.tensor([3, 17])
    torch.testing.assert_close(weights.read_at(index), wanted.flatten()[index], rtol=0, atol=1e-12)
    again = WeightCells(device, (5, 7), layout=layout, dtype=F64, seed=1)
    again.load_state_dict(weights.state_dict())
    assert torch.equal(again.read(), weights.read())


def test_pair_sets_one_cell_only_and_takes_from_the_other_when_told():
    up_and_down = torch.tensor([0, 1]), torch.tensor([3, -2])
    pair = WeightCells(LINE, (1, 2), layout=DifferentialPair(), dtype=F64)
    pair.pulse(*up_and_down)
    assert pair.writes.tolist() == [[[3, 0]], [[0, 2]]]
    assert (pair.cells.g >= G_MIN).all()
    takes = WeightCells(LINE, (1, 2), layout=DifferentialPair(update="reset"), dtype=F64)
    takes.write(torch.tensor([[-0.5, 0.0]]))
    takes.pulse(*up_and_down)
    # The first weight gives back from G⁻, the second has nothing in G⁺ and sets G⁻.
    assert takes.writes.tolist() == [[[0, 0]], [[3, 2]]]
    torch.testing.assert_close(takes.read(), torch.tensor([[-0.47, -0.02]], dtype=F64))


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 5), pulses=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_several_cells_take_turns(count, pulses):
    weights = WeightCells(LINE, (1, 1), layout=MultiCell(count), dtype=F64)
    naive = [0] * count
    for turn, number in enumerate(pulses):
        weights.pulse(torch.tensor([0]), torch.tensor([number]))
        for k in range(number):
            naive[(turn + k) % count] += 1
    assert weights.writes.flatten().tolist() == naive


def test_significances_weigh_the_mean():
    layout = MultiCell(2, significances=(1.0, 3.0))
    weights = WeightCells(LINE, (1, 1), layout=layout, weight_range=(0.0, 4.0), dtype=F64)
    weights.pulse(torch.tensor([0]), torch.tensor([1]))  # the first cell's turn
    assert float(weights.read()) == pytest.approx(0.01)
    weights.pulse(torch.tensor([0]), torch.tensor([1]))
    assert float(weights.read()) == pytest.approx(0.01 + 0.03)


def test_worn_cells_answer_no_more():
    weights = WeightCells(LINE, (1, 3), endurance=5, dtype=F64)
    index = torch.tensor([0, 1])
    for _ in range(3):
        weights.pulse(index, torch.tensor([3, 1]))
    assert weights.writes.tolist() == [[[5, 3, 0]]]
    assert weights.worn.tolist() == [[[True, False, False]]]
    torch.testing.assert_close(weights.read(), torch.tensor([[-0.9, -0.94, -1.0]], dtype=F64))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_programming_by_pulses_comes_within_a_step(layout):
    device = ExponentialDevice(
        g_min=G_MIN, g_max=G_MAX, nonlinearity_set=1.0, nonlinearity_reset=-1.0, levels=200
    )
    weights = WeightCells(device, (9, 9), layout=layout, dtype=F64)
    wanted = random_weights((9, 9), size=0.9)
    assert weights.program(wanted) == 0
    assert (weights.read() - wanted).abs().max() < max(weights.steps) * 1.0001
    assert int(weights.writes.sum()) > 0


def test_refresh_keeps_the_weight_within_a_step_and_counts():
    layout = DifferentialPair(full=0.9)
    weights = WeightCells(LINE, (1, 4), layout=layout, dtype=F64)
    fraction = torch.tensor([[0.95, 0.99, 0.5, 1.0], [0.65, 0.95, 0.45, 0.0]], dtype=F64)
    weights.cells.g = (G_MIN + fraction * (G_MAX - G_MIN)).unsqueeze(1)
    before = weights.read().clone()
    # Not the third, which has room, nor the fourth, which is at the end of its range.
    assert weights.refresh() == 2
    assert (weights.read() - before).abs().max() <= weights.steps[0] * 1.0001
    assert torch.equal(weights.read()[0, 2:], before[0, 2:])
    assert (weights.cells.g[:, 0, :2].amin(0) == G_MIN).all()
    # An erasure of both cells, and 29 or 30 (3 or 4) pulses to a difference of 0.30 (0.04).
    erased = weights.writes.sum(0)[0]
    assert erased[0] in (31, 32)
    assert erased[1] in (5, 6)
    assert erased[2:].tolist() == [0, 0]
    assert weights.refresh() == 0


def test_spread_windows_are_respected():
    device = ConstantStep(
        g_min=G_MIN, g_max=Spread(torch.distributions.Normal(G_MAX, 2e-6), high=60e-6), step=1e-6
    )
    weights = WeightCells(device, (20, 20), dtype=F64)
    weights.write(torch.ones(20, 20))
    assert (weights.cells.g <= weights.cells.parameter("g_max")).all()
    assert weights.read().std() > 0.01  # a reader does not know each cell's own window


def test_refusals():
    with pytest.raises(TypeError, match="device must be PulsedDevice"):
        WeightCells(LinearDevice(), (1, 1))
    with pytest.raises(ValueError, match=r"must be \(-high, high\)"):
        WeightCells(LINE, (1, 1), layout=DifferentialPair(), weight_range=(-1, 2))
    with pytest.raises(ValueError, match="weight_range high must be > 1"):
        check_range((1.0, 1.0))
    with pytest.raises(TypeError, match="weight_range"):
        check_range(1.0)
    with pytest.raises(ValueError, match="weight_range low"):
        check_range((float("nan"), 1.0))
    with pytest.raises(ValueError, match="update must be one of"):
        DifferentialPair(update="both")
    with pytest.raises(ValueError, match="significances must be 2 numbers"):
        MultiCell(2, significances=(1.0,))
    with pytest.raises(ValueError, match="endurance must be >= 1"):
        WeightCells(LINE, (1, 1), endurance=0)
    wrong = JumpTable(g=(G_MIN, G_MAX), dg=(-2e-6, 1e-6), cdf=((0.0, 1.0), (0.0, 1.0)))
    with pytest.raises(ValueError, match="move up by set"):
        WeightCells(TabularDevice(wrong, wrong), (1, 1))
    assert WeightCells(TabularDevice(wrong, wrong), (1, 1), granularity=0.1).steps == (0.1, 0.1)
    with pytest.raises(ValueError, match="granularity must be > 0"):
        WeightCells(LINE, (1, 1), granularity=0.0)


# ── voltage-driven cells ─────────────────────────────────────────────────────────────────────

VTEAM_PULSES = VoltagePulses(VTEAM(), 1.5, 2e-11, 1.0, 2e-11)


def test_voltage_pulses_are_the_models_own():
    device = VTEAM_PULSES.device
    ours = VTEAM_PULSES.fabricate((50,), dtype=F64)
    theirs = device.fabricate((50,), dtype=F64)
    low, high = device.window
    g = torch.linspace(low * 1.01, high * 0.99, 50, dtype=F64)
    counts = torch.randint(-3, 4, (50,), generator=torch.Generator().manual_seed(0))
    ours.write(g)
    theirs.write(g)
    ours.pulse(counts)
    sign = device.set_polarity
    for k in range(3):  # singly, in the model's own way
        volts = torch.where(counts > 0, sign * 1.5, -sign * 1.0)
        theirs.apply_pulse(volts, torch.where(counts.abs() > k, 2e-11, 0.0))
    moved = (ours.g - g).abs()
    assert float(moved.max()) > 0.05 * (high - low)
    torch.testing.assert_close(ours.g, theirs.conductance(), rtol=1e-9, atol=0.0)


def test_voltage_pulses_that_fit_a_device():
    pulses = VoltagePulses.for_device(VTEAM(), levels=50)
    cells = pulses.fabricate((3,), dtype=F64)
    cells.pulse(50)
    low, high = pulses.window
    assert (cells.g > low + 0.98 * (high - low)).all()
    cells.pulse(-50)
    assert (cells.g < low + 0.02 * (high - low)).all()
    assert Spec.from_dict(pulses.to_dict()) == pulses
    with pytest.raises(ValueError, match="set_width must be > 0"):
        pulses.replace(set_width=0.0)


def test_spread_voltage_cells_keep_their_own_windows():
    device = VTEAM(r_off=Spread(torch.distributions.Normal(2000.0, 100.0), low=1000.0))
    cells = VoltagePulses(device, 1.5, 1e-9, 1.0, 1e-9).fabricate((40,), dtype=F64)
    cells.pulse(-10_000)
    torch.testing.assert_close(cells.g, cells.parameter("g_min"), rtol=1e-3, atol=0.0)
    assert cells.g.std() > 0


@pytest.mark.parametrize("layout", [SingleCell(), DifferentialPair(), MultiCell(2)], ids=repr)
def test_weights_nearby_are_reached_from_where_cells_stand_at_fewer_pulses(layout):
    device = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=5e-7, d2d=0.2, c2c=0.2)
    wanted = torch.linspace(-0.5, 0.5, 60).view(6, 10)
    spent = {}
    for erase in (True, False):
        weights = WeightCells(device, (6, 10), layout=layout, seed=1)
        weights.write(wanted - 0.05)
        before = weights.writes.sum()
        assert weights.program(wanted, erase=erase) == 0
        spent[erase] = int(weights.writes.sum() - before)
        assert (weights.read() - wanted).abs().max() <= 1.5 * max(weights.steps)
    assert spent[False] < 0.5 * spent[True]
