"""Draws by counting: normal, uniform, and independent of one another."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal

from mho.cells.behaviour import Context
from mho.core import counted, random
from mho.devices import Spread

N = 200_000


def splitmix64(seed, count):
    """The reference generator, in Python's integers (Steele, Lea, Flood 2014)."""
    mask = 2**64 - 1
    found = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(z ^ (z >> 31))
    return found


@pytest.mark.parametrize(("seed", "draws"), [(0, 0), (12345, 7), (2**63 - 1, 10**6)])
def test_the_bits_are_those_of_splitmix64(seed, draws):
    rng = torch.tensor([seed, draws])
    found = [value % 2**64 for value in counted.bits(5, rng).tolist()]
    key = splitmix64((seed + draws * 0x9E3779B97F4A7C15) % 2**64, 1)[0]
    assert found == splitmix64(key, 5)
    assert rng.tolist() == [seed, draws + 1]


def test_known_numbers_of_splitmix64():
    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]  # as published


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_distributions(dtype):
    rng = random.stream(3)
    normals = counted.normal(torch.empty(N, dtype=dtype), rng)
    uniforms = counted.uniform(torch.empty(N, dtype=dtype), rng)
    assert normals.dtype == uniforms.dtype == dtype
    if dtype is torch.bfloat16:  # rounded too coarsely for the tests below
        assert abs(float(normals.float().mean())) < 5 / N**0.5
        assert float(uniforms.min()) >= 0
        assert float(uniforms.max()) < 1
        return
    assert scipy.stats.kstest(normals.numpy(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(uniforms.numpy(), "uniform").pvalue > 1e-3
    assert abs(float(normals.var()) - 1) < 5 * (2 / N) ** 0.5
    assert abs(float(normals.pow(4).mean()) - 3) < 5 * (96 / N) ** 0.5
    # The two of one Box–Muller pair, neighbours, and neighbouring draws are uncorrelated.
    other = counted.normal(torch.empty(N, dtype=dtype), rng)
    half = N // 2
    for one, two in (
        (normals[:half], normals[half:]),
        (normals[1:], normals[:-1]),
        (normals, other),
    ):
        assert abs(float((one * two).mean())) < 5 / len(one) ** 0.5


def test_neighbouring_seeds_are_unrelated():
    drawn = [counted.normal(torch.empty(N), random.stream(seed)).numpy() for seed in range(3)]
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 5 / N**0.5


def test_streams_that_fork_go_their_own_ways():
    rng = random.stream(3)
    forks = [counted.forked(rng) for _ in range(2)]
    assert rng.tolist() == [3, 2]
    assert all(int(fork[0]) >= 0 and int(fork[1]) == 0 for fork in forks)
    drawn = [counted.normal(torch.empty(N), stream).numpy() for stream in (*forks, rng)]
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 5 / N**0.5


def test_odd_sizes_and_layouts():
    for shape in ((0,), (1,), (3, 5)):
        like = torch.empty(shape).mT if len(shape) == 2 else torch.empty(shape)
        drawn = random._counted(like, random.stream(1), "normal")
        assert drawn.shape == like.shape
        assert drawn.stride() == like.stride()
        assert bool(drawn.isfinite().all())


def test_compiled_draws_are_the_same_and_go_on():
    def draw(like, rng):
        return counted.normal(like, rng)

    torch.compiler.reset()
    compiled = torch.compile(draw, backend="aot_eager", fullgraph=True)
    one, two, like = random.stream(5), random.stream(5), torch.empty(6)
    for _ in range(3):
        assert torch.equal(compiled(like, one), draw(like, two))
    assert one.tolist() == two.tolist() == [5, 3]


def test_what_draws_on_the_host_draws_what_a_chip_there_would():
    """A population elsewhere is written with the numbers of the same chip on the host."""
    like = torch.empty(5, 4, dtype=torch.float64).T
    spread = Spread(Normal(1.0, 0.1))
    drawn = []
    for hosted in (False, True):
        context = Context(like, 0.0, 1.0, random.stream(7), hosted=hosted)
        drawn.append((context.normal(), context.uniform((3,)), context.sample(spread)))
    for one, two in zip(*drawn, strict=True):
        assert torch.equal(one, two)
        assert one.stride() == two.stride()
    away = Context(like.to("meta"), 0.0, 1.0, random.stream(7), hosted=True)
    assert away.normal().device == away.uniform().device == torch.device("meta")
