"""The pulsed update's counts against closed forms, scipy and a slot-by-slot reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mho.core.spec import Spec
from mho.train.on_cells import coincidence
from mho.train.on_cells.coincidence import ExpectedPulses, StochasticPulses, round_at_random

REPEATS = 1500
GAIN = 30.0  # lr over the step: about ten slots for the samples below


def samples(seed=0, batch=3, inputs=5, outputs=4):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, inputs, generator=source)
    delta = torch.randn(batch, outputs, generator=source) * 0.1
    x[0, 0] = 0.0
    return x, delta


def draw(update, x, delta, gain=GAIN, repeats=REPEATS, seed=1):
    source = torch.Generator().manual_seed(seed)
    counts = [update.counts(x, delta, gain, source) for _ in range(repeats)]
    return [torch.stack(way).double().numpy() for way in zip(*counts, strict=True)]


def closed_form(x, delta, gain, bl, adaptive=True, balanced=True):
    """Mean and variance of set and reset counts, in numpy, sample by sample."""
    x, delta = x.double().numpy(), delta.double().numpy()
    mean, var = np.zeros((2, 2, delta.shape[1], x.shape[1]))
    for xs, ds in zip(x, delta, strict=True):
        k = gain * np.abs(xs).max() * np.abs(ds).max()
        slots = min(math.ceil(k), bl) if adaptive else bl
        c = np.sqrt(gain / slots)
        m = np.sqrt(np.abs(ds).max() / np.abs(xs).max()) if balanced else 1.0
        p = np.minimum(c * m * np.abs(xs), 1.0)
        q = np.minimum(c / m * np.abs(ds), 1.0)
        hit = np.outer(q, p)
        for way, sign in ((0, -1.0), (1, 1.0)):
            mine = np.sign(np.outer(ds, xs)) == sign
            mean[way] += mine * slots * hit
            var[way] += mine * slots * hit * (1.0 - hit)
    return mean, var


UPDATES = [
    StochasticPulses(),
    StochasticPulses(bl=12),
    StochasticPulses(bl=1),
    StochasticPulses(adaptive=False),
    StochasticPulses(balanced=False),
]


@pytest.mark.parametrize("update", UPDATES, ids=str)
def test_mean_and_variance_are_those_of_coincidences(update):
    x, delta = samples()
    mean, var = closed_form(x, delta, GAIN, update.bl, update.adaptive, update.balanced)
    for way, drawn in enumerate(draw(update, x, delta)):
        error = np.sqrt(var[way] / REPEATS) + 1e-12
        assert (np.abs(drawn.mean(0) - mean[way]) / error).max() < 4.5
        # The error of a variance, from the fourth moment that was drawn.
        fourth = ((drawn - drawn.mean(0)) ** 4).mean(0)
        error = np.sqrt(np.maximum(fourth - var[way] ** 2, 0.0) / REPEATS) + 1e-3
        assert (np.abs(drawn.var(0) - var[way]) / error).max() < 5.0


@pytest.mark.parametrize("update", [StochasticPulses(), ExpectedPulses()], ids=str)
def test_mean_is_the_gradient_step(update):
    x, delta = samples(seed=2, batch=6)
    lr, step = 0.06, 0.002
    up, down = draw(update, x, delta, lr / step)
    moved = (up - down) * step
    wanted = (-lr * delta.T @ x).numpy()
    error = moved.std(0) / math.sqrt(REPEATS)
    assert (np.abs(moved.mean(0) - wanted) / error).max() < 4.5


def test_one_cell_is_binomial():
    x, delta = torch.tensor([[0.5, 1.0]]), torch.tensor([[-0.3, 1.0]])
    up, down = draw(StochasticPulses(), x, delta, gain=20.0, repeats=2000)
    # k = 20 slots, amplitudes 1: p = 0.5, q = 0.3.
    assert not up[:, 1].any()
    assert not down[:, 0].any()
    seen = np.bincount(up[:, 0, 0].astype(int), minlength=21)
    wanted = stats.binom.pmf(np.arange(21), 20, 0.15) * len(up)
    few = wanted < 5
    seen = np.append(seen[~few], seen[few].sum())
    wanted = np.append(wanted[~few], wanted[few].sum())
    assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_certain_lines_pulse_in_every_slot():
    up, down = draw(StochasticPulses(), -torch.ones(2, 3), torch.ones(2, 4), 31.0, repeats=200)
    assert (up == 62).all()
    assert not down.any()


def test_cells_of_a_line_are_correlated():
    # One sample: cov(a_i b_j, a_i' b_j) = q_j p_i p_i' (1 - q_j) per slot; none without a line.
    x, delta = torch.tensor([[1.0, 0.6]]), torch.tensor([[-1.0, -0.5]])
    up, _ = draw(StochasticPulses(), x, delta, gain=10.0, repeats=2000)
    slots, p, q = 10, (1.0, 0.6), (1.0, 0.5)
    shared = np.cov(up[:, 1, 0], up[:, 1, 1])[0, 1]
    wanted = slots * q[1] * p[0] * p[1] * (1 - q[1])
    assert shared == pytest.approx(wanted, rel=0.2)
    assert abs(np.cov(up[:, 0, 0], up[:, 1, 1])[0, 1]) < 4 * math.sqrt(0.01 / 2000)
    independent, _ = draw(ExpectedPulses(), x, delta, gain=9.5, repeats=2000)
    crossed = np.corrcoef(independent[:, 1, 0], independent[:, 1, 1])[0, 1]
    assert abs(crossed) < 4 / math.sqrt(2000)


def by_hand(trains, source):
    """Slot by slot, line by line, cell by cell."""
    counts = np.zeros((2, trains.q.shape[1], trains.p.shape[1]))
    for p, q, slots in zip(trains.p.numpy(), trains.q.numpy(), trains.slots, strict=True):
        for _ in range(int(slots)):
            a, b = source.random(len(p)) < np.abs(p), source.random(len(q)) < np.abs(q)
            for j in np.flatnonzero(b):
                for i in np.flatnonzero(a):
                    counts[int(p[i] * q[j] > 0), j, i] += 1
    return counts


def test_same_distribution_as_slot_by_slot():
    x, delta = samples(seed=5, batch=2, inputs=3, outputs=2)
    update, source = StochasticPulses(), np.random.default_rng(0)
    mine = np.stack(draw(update, x, delta, repeats=2000), axis=1).reshape(2000, -1)
    trains = update.trains(x, delta, GAIN)
    theirs = np.stack([by_hand(trains, source).reshape(-1) for _ in range(2000)])
    error = np.sqrt((mine.var(0) + theirs.var(0)) / 2000) + 1e-9
    assert (np.abs(mine.mean(0) - theirs.mean(0)) / error).max() < 4.5
    # All covariances between cells, too: lines are shared as on the array.
    scale = np.sqrt(np.outer(theirs.var(0), theirs.var(0))) + 1e-9
    assert (np.abs(np.cov(mine.T) - np.cov(theirs.T)) / scale).max() < 0.12


def test_trains_are_as_long_as_needed_and_balanced():
    x, delta = torch.tensor([[2.0, -1.0], [0.1, 0.0]]), torch.tensor([[0.5, 0.2], [0.1, -0.3]])
    trains = StochasticPulses(bl=31).trains(x, delta, 25.0)
    assert trains.slots.tolist() == [25, 1]  # k = 25 and 0.75
    assert trains.p.abs().amax(1).allclose(trains.q.abs().amax(1))
    assert trains.p[1].tolist() == pytest.approx([math.sqrt(0.75), 0.0])
    assert (trains.p.sign() == x.sign()).all()
    fixed = StochasticPulses(bl=7, adaptive=False, balanced=False).trains(x, delta, 25.0)
    assert fixed.slots.tolist() == [7, 7]
    assert float(fixed.q[0, 1]) == pytest.approx(math.sqrt(25 / 7) * 0.2)


def test_long_trains_saturate_and_say_so_in_their_mean():
    x, delta = torch.ones(1, 1), torch.ones(1, 1)
    _, down = draw(StochasticPulses(bl=4), x, delta, gain=100.0, repeats=10)
    assert (down == 4).all()
    _, free = draw(ExpectedPulses(), x, delta, gain=100.0, repeats=10)
    assert (free == 100).all()


def test_small_probabilities_keep_their_mean():
    # Far below the sixteen bits that are drawn: neither 0 nor the sixteenth bit.
    wide = torch.full((1, 100_000), 2e-6)
    wide[0, 0] = 1.0
    up, _ = draw(StochasticPulses(), wide, torch.tensor([[-1.0]]), gain=31.0, repeats=20)
    seen, wanted = up[:, 0, 1:].sum(), 20 * 31 * 2e-6 * 99_999
    assert abs(seen - wanted) < 4.5 * math.sqrt(wanted) * 4  # slots of one dither are not free


@pytest.mark.parametrize("update", [StochasticPulses(), ExpectedPulses()], ids=str)
def test_nothing_to_do(update):
    source = torch.Generator().manual_seed(0)
    for x, delta in (
        (torch.zeros(3, 4), torch.ones(3, 2)),
        (torch.ones(3, 4), torch.zeros(3, 2)),
        (torch.ones(0, 4), torch.ones(0, 2)),
    ):
        up, down = update.counts(x, delta, 10.0, source)
        assert up.shape == down.shape == (2, 4)
        assert not up.any()
        assert not down.any()
    up, down = update.counts(torch.ones(2, 4), torch.ones(2, 2), 0.0, source)
    assert not up.any()
    assert not down.any()


@given(
    batch=st.integers(1, 4),
    bl=st.integers(1, 40),
    gain=st.floats(1e-3, 1e4),
    seed=st.integers(0, 100),
    adaptive=st.booleans(),
    balanced=st.booleans(),
)
def test_counts_are_possible(batch, bl, gain, seed, adaptive, balanced):
    x, delta = samples(seed, batch)
    update = StochasticPulses(bl, adaptive, balanced)
    trains = update.trains(x, delta, gain)
    assert float(trains.p.abs().max()) <= 1.0
    assert float(trains.q.abs().max()) <= 1.0
    up, down = update.counts(x, delta, gain, torch.Generator().manual_seed(seed))
    assert int(up.min()) >= 0
    assert int(down.min()) >= 0
    assert int((up + down).max()) <= int(trains.slots.sum()) <= batch * bl
    agree = (x.sign().T.unsqueeze(1) * delta.sign().T.unsqueeze(0)).permute(1, 0, 2)
    assert not up[(agree >= 0).all(-1)].any()
    assert not down[(agree <= 0).all(-1)].any()


def test_pieces_make_the_whole(monkeypatch):
    x, delta = samples(seed=3, batch=7)
    mean, _ = closed_form(x, delta, GAIN, 31)
    monkeypatch.setattr(coincidence, "_CHUNK", 40)
    up, down = draw(StochasticPulses(), x, delta, repeats=500)
    error = np.stack([up.std(0), down.std(0)]) / math.sqrt(500) + 1e-9
    assert (np.abs(np.stack([up.mean(0), down.mean(0)]) - mean) / error).max() < 4.5


def test_both_products_agree(monkeypatch):
    x, delta = samples(seed=4, batch=5, inputs=33, outputs=18)
    results = []
    assert int(StochasticPulses().trains(x, delta, GAIN).slots.sum()) >= coincidence._LEAST
    for works in (True, False):
        if not works:
            monkeypatch.setattr(coincidence, "_int8_works", lambda kind: False)
        source = torch.Generator().manual_seed(3)
        results.append(StochasticPulses().counts(x, delta, GAIN, source))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0].up.dtype == torch.int32


def test_rounding_is_exact_in_the_mean():
    value = torch.tensor([0.0, 0.25, 1.0, 2.9, -0.3]).repeat(40_000, 1)
    found = round_at_random(value, torch.Generator().manual_seed(0)).double()
    part = value[0] - value[0].floor()
    error = (part * (1 - part) / 40_000).sqrt() + 1e-9
    assert ((found.mean(0) - value[0]).abs() / error < 4.5).all()
    assert set(found[:, 4].tolist()) == {-1.0, 0.0}


def test_specs():
    for update in (StochasticPulses(bl=5, balanced=False), ExpectedPulses(sequential=True)):
        assert Spec.from_dict(update.to_dict()) == update
    with pytest.raises(ValueError, match="bl must be >= 1"):
        StochasticPulses(bl=0)
    with pytest.raises(TypeError, match="bl must be an integer"):
        StochasticPulses(bl=3.5)
    with pytest.raises(TypeError, match="balanced must be bool"):
        StochasticPulses(balanced=1)


class Doubled(StochasticPulses):
    """An update of one's own, which says its counts alone."""

    def counts(self, x, delta, gain, source):
        up, down = super().counts(x, delta, gain, source)
        return coincidence.Counts(2 * up, 2 * down)


@pytest.mark.parametrize(
    "update", [StochasticPulses(), StochasticPulses(bl=3), ExpectedPulses(), Doubled()], ids=repr
)
def test_hits_are_the_counts_of_the_cells_that_have_any(update):
    x, delta = samples(batch=40, inputs=37, outputs=23)
    up, down = update.counts(x, delta, GAIN, torch.Generator().manual_seed(3))
    hits = update.hits(x, delta, GAIN, torch.Generator().manual_seed(3))
    dense = torch.zeros(2, up.numel(), dtype=up.dtype)
    dense[0, hits.at], dense[1, hits.at] = hits.up, hits.down
    assert torch.equal(dense.view(2, 23, 37), torch.stack((up, down)))
    assert bool((hits.up + hits.down > 0).all())
    assert bool((hits.at.diff() > 0).all())


def test_trains_drawn_in_blocks_are_those_drawn_at_once(monkeypatch):
    """How the work is cut is nobody's business: the same bits, at the same counts."""
    x, delta = samples(batch=50, inputs=21, outputs=18)
    drawn = []
    for block in (2**13, 7):
        monkeypatch.setattr(coincidence, "_BLOCK", block)
        drawn.append(StochasticPulses().counts(x, delta, GAIN, torch.Generator().manual_seed(5)))
    for one, other in zip(*drawn, strict=True):
        assert torch.equal(one, other)


def test_pulses_of_a_wide_batch_have_the_binomial_mean():
    """Many blocks: of every sample's trains, those of the last as of the first."""
    x = torch.full((3000, 40), 0.5)
    delta = torch.full((3000, 30), -0.1)
    delta[1500:] *= -1.0
    up, down = StochasticPulses().counts(x, delta, 8.0, torch.Generator().manual_seed(7))
    mean, var = 1500 * 0.4, 1500 * 0.4 * 0.6  # one slot each, of probability 8 · 0.5 · 0.1
    for ways in (up, down):
        # Cells of one line share its trains: the lines' own means say how far apart they may be.
        error = float(ways.double().mean() - mean)
        assert abs(error) < 5 * math.sqrt(var / 30), error
