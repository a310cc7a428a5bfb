"""Redundant encodings against cell-by-cell references, and in the whole life of a crossbar."""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.circuit import Wires
from mho.devices import LinearDevice
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import (
    LEA,
    BitSliced,
    Differential,
    InnerFaultTolerance,
    Redundant,
    Scaling,
    SingleColumn,
    Ternary,
)
from mho.encoding.make_up import make_up
from mho.testing import EncodingContract

BASES = {
    "differential": Differential(),
    "digital": Differential(Scaling(per_column=True), subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=5, bits_per_cell=2),
    "ternary": Ternary(),
}
STUCK = StuckAt(low=0.1, high=0.1)
WINDOW = (1e-6, 1e-4)


class TestRedundantContract(EncodingContract):
    def encoding(self):
        return Redundant(Differential(), copies=3)


class TestAnalogContract(EncodingContract):
    def encoding(self):
        return Redundant(SingleColumn(), copies=2, add="analog")


class TestLEAContract(EncodingContract):
    def encoding(self):
        return LEA(Differential(Scaling(per_column=True)), copies=3, best=2, tuned=True)


class TestInnerContract(EncodingContract):
    def encoding(self):
        return InnerFaultTolerance(Differential(), copies=4, strength=2)


class TestInnerSingleContract(EncodingContract):
    def encoding(self):
        return InnerFaultTolerance(SingleColumn(), copies=3)


def strategies(base, copies=3):
    return {
        "mean": Redundant(base, copies),
        "lea": LEA(base, copies),
        "lea 2": LEA(base, copies, tuned=True),
        "best of": LEA(base, copies, best=2),
        "fewest": LEA(base, copies, best=2, rank="defects"),
        "inner": InnerFaultTolerance(base, copies),
        "inner 2": InnerFaultTolerance(base, copies, strength=2, foresight=False),
    }


def crossbar(encoding, weight, *effects, seed=0, **parts):
    hardware = Hardware(encoding=encoding, effects=effects, **parts)
    found = Crossbar(*weight.shape, hardware, seed=seed, dtype=weight.dtype)
    found.program(weight)
    return found


def weights(rows=12, cols=7, seed=0):
    return torch.randn(
        rows, cols, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("base", BASES)
def test_without_defects_all_agree_with_the_plain_mapping(base):
    w = weights()
    plain = crossbar(BASES[base], w).weight
    for name, encoding in strategies(BASES[base]).items():
        found = crossbar(encoding, w).weight
        assert torch.allclose(found, plain, rtol=1e-12, atol=1e-12), name


@pytest.mark.parametrize("base", BASES)
def test_all_of_the_copies_averaged_is_the_mean(base):
    w = weights()
    mean = crossbar(Redundant(BASES[base], 4), w, STUCK)
    lea = crossbar(LEA(BASES[base], 4, best=4), w, STUCK)
    assert torch.equal(mean.G, lea.G)
    assert torch.allclose(mean.weight, lea.weight, rtol=1e-12)
    x = weights(3, 12, seed=1)
    assert torch.allclose(x @ mean, x @ lea, rtol=1e-12)
    # The mean itself, from the copies' own weights:
    cells = mean.G.unflatten(0, (4, -1))
    one = torch.stack([BASES[base].decode(g, mean.scale) for g in cells])
    assert torch.allclose(mean.weight, one.mean(0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("best", [1, 2, 3, None])
@pytest.mark.parametrize("base", ["differential", "single", "sliced"])
def test_lea_averages_the_best_copies_of_every_output(base, best):
    w, copies = weights(9, 6), 4
    found = crossbar(LEA(BASES[base], copies, best=best), w, STUCK, seed=5)
    plain = crossbar(BASES[base], w).weight
    one = [BASES[base].decode(g, found.scale) for g in found.G.unflatten(0, (copies, -1))]
    for j in range(6):
        errors = [float((c[:, j] - plain[:, j]).norm()) for c in one]
        order = sorted(range(copies), key=errors.__getitem__)
        means = {n: sum(one[k][:, j] for k in order[:n]) / n for n in range(1, copies + 1)}
        if best is not None:
            wanted = means[best]
        else:
            wanted = min(means.values(), key=lambda m: float((m - plain[:, j]).norm()))
        assert torch.allclose(found.weight[:, j], wanted, rtol=1e-9, atol=1e-12)


def test_lea_by_the_number_of_defects():
    w = weights(20, 5)
    found = crossbar(LEA(copies=5, best=2, rank="defects"), w, STUCK)
    count = found.stuck.unflatten(0, (5, 2)).sum((1, 2))  # [copies, cols]
    chosen = found.digital[0] > 0
    assert (chosen.sum(0) == 2).all()
    for j in range(5):
        kept, left = count[chosen[:, j], j], count[~chosen[:, j], j]
        assert kept.max() <= left.min()


def naive_make_up(target, stuck, held, c, low, high, states):
    """One weight, cell by cell."""
    now = [held[s] if stuck[s] else target[s] for s in range(len(c))]
    wanted = sum(k * g for k, g in zip(c, target, strict=True))
    for s in sorted(range(len(c)), key=lambda s: -abs(c[s])):
        if stuck[s]:
            continue
        gap = wanted - sum(k * g for k, g in zip(c, now, strict=True))
        g = min(max(now[s] + gap / c[s], low), high)
        if states:
            g = low + round((g - low) / (high - low) * (states - 1)) * (high - low) / (states - 1)
        if abs(gap - c[s] * (g - now[s])) < abs(gap):
            now[s] = g
    return now


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from([None, 2, 4]), st.sampled_from([2, 6]))
def test_inner_fault_tolerance_cell_by_cell(seed, states, cells):
    source = torch.Generator().manual_seed(seed)
    kind = {"generator": source, "dtype": torch.float64}
    target = torch.rand(cells, 3, 4, **kind)
    if states:
        target = (target * (states - 1)).round() / (states - 1)
    stuck = torch.rand(cells, 3, 4, **kind) < 0.4
    held = torch.rand(cells, 3, 4, **kind) * 3 - 1  # also far outside of the window
    c = [1.0, -1.0] * (cells // 2)
    found = make_up(target, stuck, held, c, (0.0, 1.0), states)
    signs = torch.tensor(c, dtype=torch.float64).view(-1, 1, 1)
    wanted = (signs * target).sum(0)
    before = ((signs * torch.where(stuck, held, target)).sum(0) - wanted).abs()
    after = ((signs * torch.where(stuck, held, found)).sum(0) - wanted).abs()
    assert (after <= before + 1e-12).all()  # no weight gets worse
    for i, j in itertools.product(range(3), range(4)):
        naive = naive_make_up(
            *(x[:, i, j].tolist() for x in (target, stuck, held)), c, 0.0, 1.0, states
        )
        kept = torch.where(stuck, held, found)[:, i, j]
        assert torch.allclose(kept, torch.tensor(naive, dtype=torch.float64), atol=1e-9)


def test_inner_fault_tolerance_is_as_good_as_any_choice_of_cells():
    # Two-state cells, few enough to try every combination.
    source = torch.Generator().manual_seed(0)
    c = torch.tensor([1.0, -1.0] * 3, dtype=torch.float64)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)
    target = torch.zeros(6, 200, 1, dtype=torch.float64)
    trit = torch.randint(-1, 2, (200, 1), generator=source).double()
    target[0], target[1] = trit.clamp(min=0), (-trit).clamp(min=0)
    stuck = torch.rand(6, 200, 1, generator=source) < 0.5
    held = torch.randint(0, 2, (6, 200, 1), generator=source).double()
    found = make_up(target, stuck, held, c.tolist(), (0.0, 1.0), 2)
    reached = (c.view(-1, 1, 1) * torch.where(stuck, held, found)).sum(0).squeeze(1)
    for i in range(200):
        frozen, fixed = stuck[:, i, 0], held[:, i, 0]
        possible = states[(states[:, frozen] == fixed[frozen]).all(1)] @ c
        best = float((possible - trit[i]).abs().min())
        assert abs(float(reached[i] - trit[i])) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("base", BASES)
def test_methods_help(base):
    w = torch.sign(weights(60, 20))
    plain = crossbar(BASES[base], w)

    def error(encoding):
        found = crossbar(encoding, w, STUCK, seed=1)
        return float((found.weight - plain.weight).norm())

    once, kinds = error(BASES[base]), strategies(BASES[base])
    errors = {name: error(encoding) for name, encoding in kinds.items()}
    assert errors["mean"] < 0.8 * once
    assert errors["lea"] <= errors["mean"] * (1 + 1e-12)
    assert errors["lea 2"] <= errors["lea"] * (1 + 1e-12)
    assert errors["inner"] < errors["mean"]


HARDWARE = {
    "collapsed": {},
    "converters": {"dac": DAC(8), "adc": ADC(12, range="per_call")},
    "wires": {"array": Array(5, 4, wires=Wires(word=2.0, bit=2.0))},
    "serial": {"dac": DAC(6, mode="bit_serial"), "adc": ADC(14, range="per_call")},
}


@pytest.mark.parametrize("kind", HARDWARE)
@pytest.mark.parametrize("base", BASES)
def test_reads_see_the_weights_of_their_columns(base, kind):
    w, x, z = weights(12, 7), weights(5, 12, seed=2), weights(5, 7, seed=3)
    encoding = LEA(BASES[base], 3, best=1)
    found = crossbar(encoding, w, STUCK, **{"array": Array(5, 4), **HARDWARE[kind]})
    assert not torch.allclose(found.digital[..., :1], found.digital)  # columns differ
    coarse = 1e-12 if kind in ("collapsed", "wires") else 0.05
    weight = found.effective_weight
    assert torch.equal(weight, found.weight) == (kind != "wires")
    for y, wanted in ((x @ found, x @ weight), (z @ found.T, z @ weight.T)):
        assert float((y - wanted).norm() / wanted.norm()) < coarse


def test_white_read_noise_follows_the_chosen_copies():
    w = weights(10, 6)
    quiet = crossbar(LEA(copies=4, best=1), w, STUCK)
    noisy = crossbar(LEA(copies=4, best=1), w, STUCK, ReadNoise(0.01))
    x = torch.ones(4000, 10, dtype=torch.float64)
    y = x @ noisy
    sigma = float(quiet.scale * 0.01 * 99e-6 * (2 * 10) ** 0.5)  # one copy: 20 cells a column
    deviation = y.std(0)
    assert ((deviation - sigma).abs() < 5 * sigma / (2 * 4000) ** 0.5).all()


def test_shares_of_groups_are_their_own():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 6, 3, groups=2, bias=False).double()
    hardware = Hardware(encoding=LEA(copies=3, best=1), effects=(STUCK,))
    analog = mho.convert(torch.nn.Sequential(conv), hardware).eval()
    crossbar = analog[0].crossbars["crossbar"]
    assert tuple(crossbar.digital.shape) == (2, 3, 3)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    assert torch.allclose(analog(x), mho.collapse(analog)(x), rtol=1e-9, atol=1e-12)


def test_shares_are_saved_loaded_copied_and_reset():
    w = weights()
    one, other = (crossbar(LEA(copies=3, best=1), w, STUCK, seed=s) for s in (0, 1))
    assert not torch.equal(one.digital, other.digital)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.digital, other.digital)
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(copy.deepcopy(one).weight, one.weight)
    one.reset_parameters(3)
    assert torch.allclose(one.digital, torch.full_like(one.digital, 1 / 3))
    assert crossbar(Redundant(copies=3), w, STUCK).digital is None


@pytest.mark.parametrize("name", ["lea", "lea 2", "inner", "mean"])
def test_training_reads_go_through_the_strategy(name):
    w = weights().requires_grad_()
    found = crossbar(strategies(Differential())[name], w.detach(), STUCK)
    y = found.read_through(weights(4, 12, seed=1), w)
    (grad,) = torch.autograd.grad(y.sum(), w)
    assert torch.isfinite(grad).all()
    assert float(grad.norm()) > 0


def test_training_through_own_cells_is_reading_them():
    w = weights()
    for encoding in strategies(Ternary()).values():
        found = crossbar(encoding, w, STUCK)
        found.inject_noise(found.injection.replace(own_cells=True))
        x = weights(4, 12, seed=1)
        assert torch.allclose(found.read_through(x, w), x @ found, rtol=1e-9)


def test_broken_cells_stay_whatever_happens():
    w = weights()
    found = crossbar(InnerFaultTolerance(copies=3), w, STUCK, PowerLawDrift(nu=0.1))
    before = found.G[found.stuck]
    found.program(-w)
    found.age(1e6)
    found.program(2 * w)
    assert torch.equal(found.G[found.stuck], before)


def test_noise_of_reserve_and_of_averages():
    # Errors of written cells add up: a mean of n copies has 1/√n, a sum in reserve √n of it.
    w = weights(400, 50)
    device = LinearDevice(1e-5, 1e-4)

    def spread(encoding):
        found = crossbar(encoding, w, WriteNoise(0.01), device=device)
        return float((found.weight - w).std())

    one = spread(Differential())
    assert spread(Redundant(copies=4)) == pytest.approx(one / 2, rel=0.03)
    assert spread(InnerFaultTolerance(copies=4)) == pytest.approx(one * 2, rel=0.03)
    assert spread(InnerFaultTolerance(copies=4, strength=4)) == pytest.approx(one / 2, rel=0.03)


def test_refusals():
    with pytest.raises(ValueError, match=r"best must be <= copies, got best=4 of copies=3.*α.*β"):
        LEA(copies=3, best=4)
    with pytest.raises(ValueError, match="LEA best must be >= 1"):
        LEA(copies=3, best=0)
    with pytest.raises(ValueError, match="set best"):
        LEA(copies=3, rank="defects")
    with pytest.raises(ValueError, match="add must be 'digital'"):
        LEA(copies=3, best=1, add="analog")
    with pytest.raises(ValueError, match="strength must be <= copies"):
        InnerFaultTolerance(copies=2, strength=3)
    with pytest.raises(ValueError, match="must not be redundant itself"):
        Redundant(Redundant())
    with pytest.raises(TypeError, match="Redundant base must be Encoding"):
        Redundant("ternary")
    with pytest.raises(ValueError, match="copies must be >= 1"):
        Redundant(copies=0)


def test_specs_round_trip_with_the_scaling_of_the_base():
    spec = LEA(Ternary(Scaling(per_column=True)), copies=6, best=4, tuned=True)
    assert spec.scaling == Scaling(per_column=True)
    assert LEA.from_dict(spec.to_dict()) == spec
    assert spec.replace(copies=7).copies == 7
