"""Pairs of one's own significances, offset columns of groups, pairs compared, slices in turn."""

import itertools

import pytest
import torch
from torch.distributions import Normal

import mho
from mho import ADC, DAC, Hardware
from mho.cells.population import Cells
from mho.devices import PCM, VTEAM, LinearDevice, Spread
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import (
    LEA,
    Binary,
    BitSliced,
    Differential,
    InnerFaultTolerance,
    Redundant,
    Scaling,
    SingleColumn,
    Ternary,
    WeightedPairs,
)
from mho.encoding.make_up import in_units, make_up, nearest_sum
from mho.programming import (
    OpenLoop,
    ProductDescent,
    Successive,
    WriteVerify,
    best_significances,
)

DEVICE = LinearDevice(g_min=1e-6, g_max=101e-6)
UNIT = LinearDevice(g_min=0.0, g_max=1.0)


def weights(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stored(encoding, w, *effects, seed=1, **parts):
    hardware = Hardware(**{"device": DEVICE, "encoding": encoding, "effects": effects, **parts})
    crossbar = mho.Crossbar(*w.shape, hardware=hardware, seed=seed).double()
    crossbar.program(w)
    return crossbar


# ── pairs with significances ─────────────────────────────────────────────────────────────────


def test_pairs_carry_equal_parts_of_their_range_by_hand():
    # 10 of 10 fills both pairs: 2 · 1 + 8 · 1; 5 is half of each; the unit is one siemens a pair.
    g, scale = WeightedPairs(significances=(2.0, 8.0)).encode(
        torch.tensor([[10.0, -5.0]]), 0.0, 1.0
    )
    assert g[:, 0].tolist() == [[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, 0.5]]
    assert float(scale) == 1.0


def test_uneven_levels_round_to_the_nearest_of_all_sums():
    significances, levels = (1.0, 3.0, 7.0), 2
    sums = {
        sum(s * d for s, d in zip(significances, digits, strict=True)): digits
        for digits in itertools.product((-1, 0, 1), repeat=3)
    }
    w = torch.linspace(-11, 11, 221, dtype=torch.float64).view(1, -1)
    encoding = WeightedPairs(significances=significances, levels=levels)
    found = encoding.decode(*encoding.encode(w, 1e-6, 5e-6)).flatten()
    grid = torch.tensor(sorted(sums), dtype=torch.float64)
    far = (w.flatten().round().unsqueeze(1) - grid).abs().amin(1)
    # Weights are whole sums first (where two are as near, either): 2 = 3 - 1, 5 = 7 - 3 + 1 …
    assert ((found - w.flatten()).abs() <= far + 0.5 + 1e-9).all()
    assert torch.isin((found * 1e6).round(), grid * 1e6).all()


def test_of_equal_sums_the_least_current_is_chosen():
    # 7 = 7 = 8 - 1 = 4 + 2 + 1: squares 49, 65, 21.
    encoding = WeightedPairs(significances=(1.0, 2.0, 4.0, 7.0, 8.0), levels=2)
    g, _ = encoding.encode(torch.tensor([[22.0, 7.0]]), 0.0, 1.0)
    assert (g[::2, 0, 1] - g[1::2, 0, 1]).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_of_equal_sums_and_currents_the_later_pair_carries():
    encoding = WeightedPairs(significances=(1.0, 1.0), levels=2)
    g, _ = encoding.encode(torch.tensor([[2.0, 1.0, -1.0]]), 0.0, 1.0)
    assert (g[::2, 0] - g[1::2, 0]).tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, -1.0]]


def test_powers_of_two_are_bit_slices():
    w = torch.arange(-15.0, 16.0, dtype=torch.float64).view(1, -1)
    sliced = BitSliced(bits=5, bits_per_cell=2)
    pairs = WeightedPairs(significances=(1.0, 4.0), levels=4)
    one, other = (e.decode(*e.encode(w, 1e-6, 4e-6)) for e in (sliced, pairs))
    assert torch.allclose(one, w)
    assert torch.allclose(other, w)


@pytest.mark.parametrize("kind", [BitSliced(bits=6), WeightedPairs(significances=(1.0, 2.5))])
def test_pairs_added_in_analog_meet_one_converter(kind):
    w, x = weights(20, 6), weights(9, 20, seed=2)
    digital, analog = (
        stored(kind.replace(add=add), w, dac=DAC(8), adc=ADC(9, range="per_call"))
        for add in ("digital", "analog")
    )
    assert torch.equal(digital.G, analog.G)
    assert analog.hardware.encoding.converters == 1
    # One conversion of the sum: its step is the range over 2^8 - 1, whatever the digits.
    span = float((x @ analog.weight).abs().max())
    y = x @ analog
    quantised_x = span / 255
    assert float((y - x @ analog.weight).abs().max()) < 4 * quantised_x
    assert not torch.equal(y, x @ digital)


def test_read_noise_of_weighted_pairs():
    w, x = weights(10, 4), torch.ones(6000, 10, dtype=torch.float64)
    for add in ("digital", "analog"):
        encoding = WeightedPairs(significances=(1.0, 5.0), add=add)
        quiet, noisy = stored(encoding, w), stored(encoding, w, ReadNoise(0.01))
        sigma = float(quiet.scale) * 0.01 * 100e-6 * (10 * 2 * (1 + 25)) ** 0.5
        deviation = (x @ noisy - x @ quiet).std(0)
        assert ((deviation / sigma - 1).abs() < 5 / (2 * 6000) ** 0.5).all()


def test_significances_that_are_refused():
    for bad, message in [
        ({"significances": ()}, "one or more"),
        ({"significances": (1.0, -2.0)}, "every significance"),
        ({"significances": (1.0, 2**0.5), "levels": 4}, "whole multiples"),
        ({"significances": (1.0, 4096.0), "levels": 2}, "4,096 sums"),
        ({"levels": 1}, "levels"),
        ({"add": "later"}, "add"),
    ]:
        with pytest.raises(ValueError, match=message):
            WeightedPairs(**bad)


def test_cells_of_one_line_make_up_by_hand():
    # Two slices of two cells: 0.5 − 0.2 with the first stuck at 0.3, and 0.9 − 0.1 with the second
    # stuck at 0.4: there the first would have to be 1.2, and takes what it can.
    target = torch.tensor([[0.5, 0.9], [0.2, 0.1]], dtype=torch.float64)
    stuck = torch.tensor([[True, False], [False, True]])
    held = torch.tensor([[0.3, 0.0], [0.0, 0.4]], dtype=torch.float64)
    found = make_up(target, stuck, held, (1.0, -1.0), (0.0, 1.0))
    wanted = torch.tensor([[0.5, 1.0], [0.0, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-12)


def test_units():
    assert in_units((0.5, 1.5, -3.0)) == (0.5, (1, 3, -6))
    assert in_units((1.0, 2**0.5)) is None
    assert in_units((7.0, 0.0)) == (7.0, (1, 0))


# ── healthy cells make up for broken ones ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("c", "states"),
    [((1, -1, 4, -4), 4), ((1, -1, 3, -3, 7, -7), 2), ((0.5, -0.5, 1.5, -1.5), 3)],
)
def test_the_nearest_sum_of_all_choices(c, states):
    source = torch.Generator().manual_seed(3)
    count, slices = 120, len(c)
    grid = torch.linspace(0, 1, states, dtype=torch.float64)
    target = grid[torch.randint(states, (slices, count, 1), generator=source)]
    stuck = torch.rand(slices, count, 1, generator=source) < 0.4
    held = torch.rand(slices, count, 1, generator=source, dtype=torch.float64) * 1.5 - 0.2
    found = nearest_sum(target, stuck, held, c, (0.0, 1.0), states)
    parts = torch.tensor(c, dtype=torch.float64)
    choices = torch.cartesian_prod(*[grid] * slices)
    misses = (parts.view(-1, 1, 1) * (torch.where(stuck, held, found) - target)).sum(0).abs()
    for i in range(count):
        tried = torch.where(stuck[:, i, 0], held[:, i, 0], choices)
        best = ((tried - target[:, i, 0]) @ parts).abs().min()
        assert float(misses[i, 0] - best) == pytest.approx(0.0, abs=1e-9)
    assert torch.equal(found[stuck], target[stuck])
    one_by_one = make_up(target, stuck, held, c, (0.0, 1.0), states)
    greedy = (parts.view(-1, 1, 1) * (torch.where(stuck, held, one_by_one) - target)).sum(0).abs()
    assert float(misses.sum()) < float(greedy.sum()) - 0.1


def test_of_equal_sums_cells_move_least():
    # Nothing is broken but an idle cell, which reads as planned.
    target = torch.tensor([2.0, 0.0, 0.0, 0.0]).view(4, 1, 1) / 3
    stuck = torch.tensor([False, False, True, False]).view(4, 1, 1)
    found = nearest_sum(target, stuck, torch.zeros(4, 1, 1), (1, -1, 1, -1), (0.0, 1.0), 4)
    assert torch.equal(found, target)


def test_digits_of_one_weight_make_up_for_each_other():
    w = weights(60, 20)
    stuck = StuckAt(low=0.05, high=0.05)
    plain = BitSliced(bits=6, bits_per_cell=1)
    whole = stored(plain, w).weight

    def error(encoding):
        return float((stored(encoding, w, stuck).weight - whole).norm())

    assert error(InnerFaultTolerance(plain, copies=1)) < 0.35 * error(plain)


# ── single columns with offset columns of their own ──────────────────────────────────────────


def test_groups_of_single_columns_by_hand():
    w = torch.tensor([[2.0, -1.0, 0.0, 1.0, -2.0]])
    g, scale = SingleColumn(group=2).encode(w, 0.0, 1.0)
    assert g[0, 0].tolist() == [1.0, 0.25, 0.5, 0.5, 0.75, 0.5, 0.0, 0.5]
    assert SingleColumn(group=2).physical_cols(5) == 8
    assert torch.equal(SingleColumn(group=2).decode(g, scale), w)


def test_an_offset_column_errs_for_its_group_alone():
    w = weights(8, 6)
    crossbar = stored(SingleColumn(group=3), w)
    g = crossbar.G.clone()
    g[0, :, 3] += 1e-6  # the first group's
    crossbar.store(g)
    missed = crossbar.weight - w
    assert torch.allclose(missed[:, 3:], torch.zeros(8, 3).double(), atol=1e-9)
    assert torch.allclose(missed[:, :3], -crossbar.scale * torch.full((8, 3), 1e-6).double())


def test_best_copies_count_the_offset_column_of_their_group():
    w = weights(6, 4)
    lea = LEA(SingleColumn(group=2), copies=2, best=1, rank="defects")
    stuck = torch.zeros(2, 6, 6, dtype=torch.bool)
    stuck[0, 0, 2] = True  # first copy: the first group's offset column
    stuck[1, 0, 4] = True  # second copy: the fourth output
    g, _ = lea.encode(w, 1e-6, 1e-4)
    _, shares = lea.suit(g, stuck, torch.zeros_like(g), 1, 1e-6, 1e-4)
    assert shares[0].argmax(0).tolist() == [1, 1, 0, 0]


# ── pairs that are compared ──────────────────────────────────────────────────────────────────


def test_binary_weights_by_hand():
    w = torch.tensor([[3.0, -1.0], [0.0, -2.0]])
    g, scale = Binary().encode(w, 0.0, 1.0)
    assert g.tolist() == [[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]
    assert float(scale) == 1.5
    bits, scale = Binary(compared=True).encode(w, 0.0, 1.0)
    assert Binary(compared=True).decode(bits, scale).tolist() == [[1.5, -1.5], [1.5, -1.5]]


@pytest.mark.parametrize("kind", [Binary, Ternary])
def test_compared_pairs_do_not_mind_errors_that_do_not_turn_them(kind):
    w = weights(50, 30)
    exact = stored(kind(), w).weight
    noise = WriteNoise(0.1, relative_to="value")
    noisy = stored(kind(compared=True), w, noise)
    assert torch.allclose(noisy.weight, exact, rtol=1e-12)
    assert float((stored(kind(), w, noise).weight - exact).abs().max()) > 0.01
    x = weights(7, 50, seed=3)
    assert torch.allclose(x @ noisy, x @ exact, rtol=1e-9)
    assert torch.allclose(x[:, :30] @ noisy.T, x[:, :30] @ exact.T, rtol=1e-9)


def test_pairs_are_turned_as_often_as_noise_says():
    # Of a binary pair the difference is 1 ± √2 σ windows: turned with chance Φ(-1 / (√2 σ)).
    w, sigma = torch.ones(400, 400, dtype=torch.float64), 0.5
    device = LinearDevice(g_min=100e-6, g_max=101e-6)  # noise far from zero conductance
    found = stored(Binary(compared=True), w, WriteNoise(sigma), device=device)
    wanted = float(Normal(0.0, 1.0).cdf(torch.tensor(-1 / (2**0.5 * sigma))))
    turned = float((found.weight < 0).double().mean())
    assert abs(turned - wanted) < 4 * (wanted * (1 - wanted) / w.numel()) ** 0.5


def test_trits_follow_the_line_of_three_to_one():
    g = torch.tensor([[3.1, 2.9, 1.0, 1.0], [1.0, 1.0, 2.9, 3.1]]).view(2, 1, 4) * 1e-6
    assert Ternary(compared=True).converted(g).tolist() == [[1.0, 0.0, 0.0, -1.0]]


def test_compared_pairs_learn_straight_through():
    w = weights(6, 4).requires_grad_()
    found = stored(Binary(compared=True), w.detach())
    x = weights(5, 6, seed=1)
    (grad,) = torch.autograd.grad(found.read_through(x, w).sum(), w)
    assert torch.allclose(grad, x.sum(0).unsqueeze(1).expand(6, 4))


def test_what_would_not_act_on_compared_pairs_is_refused():
    encoding = Binary(compared=True)
    for parts, message in [
        ({"adc": ADC(4)}, "an ADC"),
        ({"array": mho.Array(8, 8, wires=mho.circuit.Wires(word=1.0, bit=1.0))}, "wires"),
        ({"effects": (ReadNoise(0.1),)}, "noise of reads"),
        ({"amplifier": mho.Amplifier(gain=0.9)}, "an amplifier"),
    ]:
        with pytest.raises(ValueError, match=message):
            Hardware(encoding=encoding, **parts)
    with pytest.raises(ValueError, match="3 to 1"):
        Hardware(device=LinearDevice(1e-5, 2e-5), encoding=Ternary(compared=True))
    with pytest.raises(ValueError, match="subtract"):
        Binary(subtract="digital", compared=True)
    with pytest.raises(ValueError, match="percentile"):
        Binary(Scaling(percentile=90.0))
    with pytest.raises(ValueError, match="compared"):
        Redundant(Ternary(compared=True), copies=2)


# ── slices programmed in turn ────────────────────────────────────────────────────────────────


def test_what_one_slice_misses_the_next_takes_by_hand():
    # Cells of four levels: 0.6 of 5 is 4 · ⅔ - (⅓ of the idle cell, whose turn is next) + ⅔.
    device = LinearDevice(g_min=0.0, g_max=1.0)
    encoding = WeightedPairs(significances=(1.0, 4.0))
    effects = (mho.effects.FiniteStates(4),)
    w = torch.tensor([[5.0, 3.0]], dtype=torch.float64)
    found = stored(encoding, w, *effects, device=device, programming=Successive())
    assert torch.allclose(found.weight, w)
    assert found.G[:, 0, 1].tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3, 0.0])
    alone = stored(encoding, w, *effects, device=device)
    assert float((alone.weight - w).abs().max()) == pytest.approx(1 / 3)  # 5 · ⅔ for 3


def test_the_error_left_is_that_of_the_least_significant_pair():
    w = weights(100, 100)
    device = LinearDevice(g_min=20e-6, g_max=120e-6)
    sigma = 0.002
    # Weights of at most 0.6 of the range leave the last pair room both ways.
    encoding = WeightedPairs(significances=(1.0, 6.0))
    w = w.clamp(-2.0, 2.0)
    w[0, 0] = 3.4
    found = stored(encoding, w, WriteNoise(sigma), device=device, programming=Successive())
    # Only the last cell written is not made up for: one cell of the pair of significance 1.
    one = float(found.scale) * sigma * 100e-6
    missed = (found.weight - w).flatten()
    assert float(missed.square().mean().sqrt()) == pytest.approx(one, rel=0.05)
    plain = stored(encoding, w, WriteNoise(sigma), device=device)
    both = one * (2 * (1 + 36)) ** 0.5
    assert float((plain.weight - w).square().mean().sqrt()) == pytest.approx(both, rel=0.05)


def test_noise_of_reading_written_cells_comes_in():
    w = weights(80, 80).clamp(-2, 2)
    w[0, 0] = 3.4
    encoding = WeightedPairs(significances=(1.0, 6.0))
    device = LinearDevice(g_min=20e-6, g_max=120e-6)
    found = stored(encoding, w, device=device, programming=Successive(read_noise=0.002))
    # Readings of three cells (those of 6, 6 and the first of 1) move the targets after them.
    one = float(found.scale) * 0.002 * 100e-6
    missed = float((found.weight - w).square().mean().sqrt())
    assert missed == pytest.approx(one * (36 + 36 + 1) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("device", "by"),
    [
        (PCM(), None),
        (VTEAM(r_on=1e4, r_off=1e6), WriteVerify(tolerance=0.02)),
        (mho.devices.ConstantStep(step=2e-6, d2d=0.1), OpenLoop()),
    ],
)
def test_slices_in_turn_help_whatever_writes_them(device, by):
    w = weights(40, 30)
    encoding = WeightedPairs(significances=(1.0, 6.0))
    parts = {"device": device, "array": mho.Array(16, 16)}
    at_once = stored(encoding, w, programming=by, **parts)
    in_turn = stored(encoding, w, programming=Successive(by=by), **parts)
    again = stored(encoding, w, programming=Successive(by=by), **parts)
    assert torch.equal(in_turn.G, again.G)
    assert float((in_turn.weight - w).norm()) < 0.5 * float((at_once.weight - w).norm())


def test_pulses_time_and_energy_of_all_slices_are_counted():
    w = weights(12, 7)
    parts = {"device": VTEAM(r_on=1e4, r_off=1e6), "encoding": Differential()}
    by = WriteVerify(tolerance=0.02)
    hardware = Hardware(**parts, programming=Successive(by=by))
    crossbar = mho.Crossbar(12, 7, hardware, seed=0)
    report = crossbar.program(w.float())
    assert report.written.pulses.shape == (2, 12, 7)
    assert torch.equal(crossbar.cells.writes, report.written.pulses)
    times = [each.time for each in report.written.report]
    assert report.written.seconds == pytest.approx(sum(times))
    assert report.written.energy > 0


def test_slices_in_turn_are_refused_where_there_is_no_turn():
    with pytest.raises(ValueError, match="two or more cells"):
        Hardware(encoding=SingleColumn(), programming=Successive())
    with pytest.raises(ValueError, match="column by column"):
        Hardware(encoding=LEA(), programming=Successive())
    with pytest.raises(ValueError, match="bits"):
        Hardware(encoding=Binary(compared=True), programming=Successive())
    with pytest.raises(ValueError, match="one by one"):
        Successive(by=ProductDescent())
    cells = Cells((DEVICE,), (3, 4), seed=0)
    with pytest.raises(ValueError, match="belong to weights"):
        cells.program(torch.full((3, 4), 1e-5), Successive())
    passive = WriteVerify(access="1R", order="row")
    hardware = Hardware(device=VTEAM(r_on=1e4, r_off=1e6), programming=Successive(by=passive))
    with pytest.raises(ValueError, match="passive arrays"):
        mho.Crossbar(5, 3, hardware).program(torch.randn(5, 3))


# ── the best significances ───────────────────────────────────────────────────────────────────


def test_equal_pairs_average_best_and_unequal_ones_correct_best():
    w = weights(60, 40).float()
    hardware = Hardware(device=PCM())
    # Independent errors of pairs: √(Σ s²) / Σ s is least for equal ones.
    alone = best_significances(hardware, w, candidates=[(1, 1), (1, 3), (1, 10)], chips=2)
    assert alone.best == (1, 1)
    assert list(alone.errors) == sorted(alone.errors)
    turned = best_significances(
        hardware.replace(programming=Successive()), w, candidates=[(1, 1), (1, 8)], chips=2
    )
    assert turned.best == (1, 8)
    assert turned.errors[1] < 0.5 * turned.errors[0]
    assert "1 : 8" in str(turned)


def test_the_best_after_a_time_and_what_is_refused():
    w = weights(30, 20).float()
    hardware = Hardware(device=DEVICE, effects=(PowerLawDrift(0.05),))
    fresh = best_significances(hardware, w, candidates=[(1, 2)], chips=1)
    old = best_significances(hardware, w, candidates=[(1, 2)], chips=1, seconds=1e6)
    assert old.errors[0] > fresh.errors[0] + 0.01
    with pytest.raises(ValueError, match="weight must be"):
        best_significances(hardware, torch.zeros(0, 3))
    with pytest.raises(ValueError, match="candidates"):
        best_significances(hardware, w, candidates=[])
    spread = LinearDevice(g_min=Spread(Normal(1e-6, 1e-7), low=0.0), g_max=1e-4)
    assert len(best_significances(Hardware(device=spread), w, pairs=1).tried) == 1


def test_trits_are_not_compared_where_zeros_have_no_ratio():
    """What rounding or any noise leaves of two cells at 0 S would decide."""
    device = mho.devices.LinearDevice(g_min=0.0, g_max=1e-4)
    encoding = mho.encoding.Ternary(compared=True)
    with pytest.raises(ValueError, match="lower end: it must be > 0 S"):
        mho.Hardware(device=device, encoding=encoding)
    mho.Hardware(device=device.replace(g_min=1e-6), encoding=encoding)
    mho.Hardware(device=device, encoding=mho.encoding.Binary(compared=True))
