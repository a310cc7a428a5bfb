"""Seeds, counted streams, and the two ways of drawing normals."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats

from mho.core import random

BULK = torch.empty(1000, 1000)
SIGMAS = 5.0


def quick(like=BULK, seed=0):
    return random.quick_normal(like, random.generator(seed))


# ── seeds and streams ────────────────────────────────────────────────────────────────────────


def test_derived_seeds_differ_and_repeat():
    paths = [(), (0,), (1,), ("a",), ("a", 0), ("a", "b"), ("b", "a")]
    seeds = {random.derive(seed, *path) for seed in range(200) for path in paths}
    assert len(seeds) == 200 * len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert random.derive(7, "layer", 3) == random.derive(7, "layer", 3)
    # A checkpoint or a paper that names a seed must mean the same chip for ever.
    assert random.derive(0, "0") == random.derive(0, 0)


def test_derived_seeds_are_spread_over_the_whole_range():
    bits = torch.tensor([[random.derive(s) >> k & 1 for k in range(63)] for s in range(2000)])
    off = bits.double().mean(0) - 0.5
    assert float(off.abs().max()) < SIGMAS * 0.5 / math.sqrt(2000)


@pytest.mark.parametrize("function", [random.generator, random.stream])
@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "1", None, True])
def test_bad_seeds(function, seed):
    with pytest.raises((TypeError, ValueError), match="seed"):
        function(seed)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_stream_counts_its_draws(seed):
    rng = random.stream(seed)
    assert rng.tolist() == [seed, 0]
    drawn = [torch.rand(3, generator=random.take(rng, "cpu")) for _ in range(5)]
    assert rng.tolist() == [seed, 5]
    for i, one in enumerate(drawn):
        assert not any(torch.equal(one, other) for other in drawn[i + 1 :])


def test_a_stream_resumes_from_its_state_dict():
    module = torch.nn.Module()
    module.register_buffer("rng", random.stream(3))
    for _ in range(4):
        random.take(module.rng, "cpu")
    state = copy.deepcopy(module.state_dict())
    wanted = [random.normal_like(BULK[:3], module.rng) for _ in range(3)]
    other = torch.nn.Module()
    other.register_buffer("rng", random.stream(0))
    other.load_state_dict(state)
    for one in wanted:
        assert torch.equal(random.normal_like(BULK[:3], other.rng), one)


def test_neighbouring_streams_and_draws_are_unrelated():
    seeds = set()
    for seed in range(100):
        rng = random.stream(seed)
        seeds |= {random.take(rng, "cpu").initial_seed() for _ in range(100)}
    assert len(seeds) == 100 * 100
    drawn = torch.stack(
        [random.normal_like(torch.empty(20_000), random.stream(seed)) for seed in range(10)]
    )
    off = torch.corrcoef(drawn) - torch.eye(10)
    assert float(off.abs().max()) < SIGMAS / math.sqrt(20_000)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    quick()
    random.normal(BULK, random.generator(0))
    random.normal_like(BULK, random.stream(0))
    assert torch.equal(torch.get_rng_state(), before)


# ── normals in bulk ──────────────────────────────────────────────────────────────────────────


def test_quick_normals_are_normal():
    z = quick().flatten().double()
    count = len(z)
    assert abs(float(z.mean())) < SIGMAS / math.sqrt(count)
    assert abs(float(z.var()) - 1.0) < SIGMAS * math.sqrt(2.0 / count)
    assert abs(float((z**3).mean())) < SIGMAS * math.sqrt(15.0 / count)
    assert abs(float((z**4).mean()) - 3.0) < SIGMAS * math.sqrt(96.0 / count)
    # Its steps of 2^-16 in probability are below what a million draws can tell.
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    beyond = int((z.abs() > 3.0).sum())
    wanted = count * 2 * stats.norm.sf(3.0)
    assert abs(beyond - wanted) < SIGMAS * math.sqrt(wanted)
    assert float(z.abs().max()) < 4.4


def test_its_values_have_exactly_the_normals_moments():
    values = random._slice_means().double()
    assert len(values) == 2**16
    assert float(values.mean()) == pytest.approx(0.0, abs=1e-9)
    assert float(values.square().mean()) == pytest.approx(1.0, rel=1e-6)
    assert torch.equal(values.sort().values, values)
    # Every value lies inside its own slice of the normal distribution.
    share = torch.special.ndtr(values) * 2**16
    inside = torch.arange(2**16) + 0.5
    assert float((share - inside).abs().max()) <= 0.5


def test_its_four_lanes_are_independent():
    # Four draws come of one 64-bit number.
    z = quick().flatten().double()
    for lag in range(1, 9):
        r = float((z[:-lag] * z[lag:]).mean())
        assert abs(r) < SIGMAS / math.sqrt(len(z) - lag), f"lag {lag}"
    lanes = z.view(-1, 4).T
    size = math.sqrt(lanes.shape[1])
    for powers in (lanes, lanes.square(), lanes.abs()):
        off = torch.corrcoef(powers) - torch.eye(4, dtype=torch.float64)
        assert float(off.abs().max()) < SIGMAS / size
    means = lanes.mean(1)
    assert float(means.abs().max()) < SIGMAS / size


@pytest.mark.parametrize("count", [2**16, 2**16 + 1, 2**16 + 2, 2**16 + 3])
def test_any_count(count):
    z = quick(torch.empty(count))
    assert z.shape == (count,)
    assert z.isfinite().all()
    assert float(z[-4:].abs().min()) > 0.0


LAYOUTS = {
    "contiguous": lambda dtype: torch.empty(300, 400, dtype=dtype),
    "transposed": lambda dtype: torch.empty(400, 300, dtype=dtype).T,
    "permuted": lambda dtype: torch.empty(5, 300, 80, dtype=dtype).permute(2, 0, 1),
    "channels last": lambda dtype: torch.empty(4, 16, 50, 50, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    ),
}


@pytest.mark.parametrize("draw", [random.quick_normal, random.normal])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_is_that_of_the_model(layout, dtype, draw):
    like = LAYOUTS[layout](dtype)
    z = draw(like, random.generator(0))
    assert (z.shape, z.stride(), z.dtype) == (like.shape, like.stride(), dtype)
    assert abs(float(z.double().var()) - 1.0) < SIGMAS * math.sqrt(2.0 / z.numel())
    # Memory is filled in order, whatever the shape says.
    flat = draw(torch.empty(like.numel(), dtype=dtype), random.generator(0))
    assert torch.equal(z.as_strided((like.numel(),), (1,)), flat)


@pytest.mark.parametrize("draw", [random.quick_normal, random.normal])
def test_gaps_in_memory_are_not_copied(draw):
    like = torch.empty(400, 400)[:, ::2]
    z = draw(like, random.generator(0))
    assert z.shape == like.shape
    assert z.isfinite().all()
    assert abs(float(z.mean())) < SIGMAS / math.sqrt(z.numel())


@pytest.mark.parametrize(
    "like",
    [BULK.double(), torch.empty(2**16 - 1), torch.empty(()), torch.empty(0, 3)],
    ids=["float64", "few", "one", "none"],
)
def test_falls_back_to_exact_normals(like):
    assert torch.equal(quick(like), random.normal(like, random.generator(0)))


def test_bulk_is_not_the_exact_way():
    assert not torch.equal(quick(), random.normal(BULK, random.generator(0)))


@pytest.mark.parametrize("like", [BULK, BULK.double(), torch.empty(7)])
def test_seeds_repeat(like):
    assert torch.equal(quick(like, 5), quick(like, 5))
    assert not torch.equal(quick(like, 5), quick(like, 6))


def test_normal_like_draws_from_the_stream_and_takes_no_gradient():
    rng, like = random.stream(4), torch.ones(3, requires_grad=True)
    z = random.normal_like(like, rng)
    assert not z.requires_grad
    assert rng.tolist() == [4, 1]
    assert torch.equal(z, random.normal(like.detach(), random.take(random.stream(4), "cpu")))


@pytest.mark.parametrize("like", [torch.zeros(300, 400), torch.zeros(5), torch.zeros(400, 300).T])
def test_compiled_code_draws_the_same_numbers(like):
    def noisy(x, rng):
        y = x + random.normal_like(x, rng)
        return y * random.normal_like(y, rng)

    compiled = torch.compile(noisy, backend="aot_eager", fullgraph=True)
    ours, theirs = random.stream(9), random.stream(9)
    for count in (2, 4):
        assert torch.equal(compiled(like, theirs), noisy(like, ours))
        assert ours.tolist() == theirs.tolist() == [9, count]


@pytest.mark.parametrize("shape", [(30, 20), (400, 300)], ids=["few", "many"])
def test_normals_of_training_are_torchs_own_in_the_order_of_memory(shape):
    like = torch.zeros(shape).T
    torch.manual_seed(3)
    drawn = random.normal_like(like, None)
    assert drawn.stride() == like.stride()
    torch.manual_seed(3)
    assert torch.equal(random.normal_like(like.T, None).T, drawn)
    assert not torch.equal(random.normal_like(like, None), drawn)
    count = drawn.numel()
    assert abs(float(drawn.mean())) < 5 / count**0.5
    assert abs(float(drawn.var()) - 1) < 5 * (2 / count) ** 0.5


def test_normals_of_training_are_drawn_under_vmap():
    like = torch.zeros(300, 400).T
    each = torch.vmap(lambda x: random.normal_like(like + x, None), randomness="different")
    drawn = each(torch.zeros(3))
    assert drawn.shape == (3, *like.shape)
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_below_small_numbers_have_their_chances(dtype):
    # Chances of pulses, some finer than sixteen bits: hits are binomial, 5 σ.
    chances = torch.tensor([0.0, 3e-7, 1e-5, 2.0**-16, 1e-3, 0.05, 1.0, 2.5], dtype=dtype)
    each, rounds = 2**15, 100
    size = (0.3 * chances).repeat_interleave(each)
    assert float(size.sum()) < 0.6 * 0.3 * len(size)
    size = torch.cat((size, torch.zeros(2**19, dtype=dtype)))  # few are hit: the quick way
    source, hits = random.generator(7), torch.zeros(len(size))
    for _ in range(rounds):
        index, drawn = random.below(size, 0.3, source)
        assert bool(((drawn >= 0) & (drawn < size[index])).all())
        hits[index] += 1
    found = hits[: 8 * each].view(8, each).sum(1)
    wanted = chances.clamp(max=1.0).double() * each * rounds
    spread = (wanted * (1 - chances.clamp(max=1.0).double())).sqrt()
    assert bool(((found - wanted).abs() <= 5 * spread + 1e-9).all()), (found, wanted)
    assert float(hits[8 * each :].sum()) == 0


def test_draws_below_are_uniform_there():
    size = torch.zeros(2**20)
    size[::20] = 0.3
    _, drawn = random.below(size, 0.3, random.generator(3))
    assert len(drawn) == len(size[::20])
    assert stats.kstest(drawn.numpy() / 0.3, "uniform").pvalue > 1e-3


def test_draws_below_repeat_with_their_seed():
    size = torch.full((2**17,), 1e-3)
    first, again = (random.below(size, 1.0, random.generator(5)) for _ in range(2))
    other = random.below(size, 1.0, random.generator(6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_positions_of_a_mask(count):
    mask = torch.rand(count) < 0.3
    assert torch.equal(random.where(mask), mask.nonzero().squeeze(1))


@pytest.mark.parametrize("wrong", [True, "3", -1, 1.0, None, float("nan")])
def test_seeds_are_integers_before_any_other_is_derived_from_them(wrong):
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        random.derive(wrong, "part")
    known = random.derive(3, "part")
    assert known == random.derive(torch.tensor(3), "part") == random.derive(np.int64(3), "part")
