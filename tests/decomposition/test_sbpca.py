"""Streaming batch PCA against the published recurrence, and against the stream's own vectors."""

import math

import numpy as np
import pytest
import torch

from mho.decomposition import StreamingBatchPCA, TruncatedSVD


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def batch(seed=0, samples=32, out=12, wide=17):
    x, d = normal(samples, wide, seed=seed), normal(samples, out, seed=seed + 1000)
    return x, d, d.T @ x


def published(delta, sigma, x, inputs, deltas, sub_batch):
    """The recurrence as it is printed, with its division by sigma."""

    def qr_plus(matrix):
        q, r = np.linalg.qr(matrix)
        return q * np.sign(np.diag(r))

    for i in range(len(inputs) // sub_batch):
        part = slice(i * sub_batch, (i + 1) * sub_batch)
        xs, ds = inputs[part], deltas[part]
        a, c = (i + 1) / (i + 2), 1 / ((i + 2) * sub_batch)
        x = qr_plus(a * x + xs.T @ (ds @ delta) * c / sigma)
        delta = qr_plus(a * delta + ds.T @ (xs @ x) * c / sigma)
        sigma = a * sigma + c * ((ds @ delta) * (xs @ x)).sum(0)
    return delta, sigma, x


def test_later_batches_follow_the_published_recurrence():
    # Deltas that go with inputs: sigma then stays above zero, as the published form needs.
    x, planted = normal(32, 17), normal(12, 17, seed=5)
    d = x @ planted.T
    decomposition = StreamingBatchPCA(3, sub_batch=8)
    decomposition.decompose(x, d, d.T @ x, "layer")
    memory = decomposition.state_dict()["memory"]["layer"]
    start = [memory[name].numpy() for name in ("delta", "sigma", "x")]
    x2 = normal(32, 17, seed=9)
    d2 = x2 @ planted.T
    result = decomposition.decompose(x2, d2, d2.T @ x2, "layer")
    delta, sigma, right = published(*start, x2.numpy(), d2.numpy(), 8)
    assert (sigma > 0).all()
    expected = 32 * (delta * sigma) @ right.T
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("samples", [1, 5, 8, 9, 37, 64])
@pytest.mark.parametrize("carry", [0.0, 1.0, math.inf])
def test_every_sample_counts_by_its_size(samples, carry):
    """Along one direction the sum is exact: short last sub-batches and short batches included."""
    u, v = normal(12), normal(17, seed=1)
    sizes = torch.rand(samples, 1, generator=generator(2), dtype=torch.float64)
    x, d = sizes * v, sizes * u
    result = StreamingBatchPCA(2, sub_batch=8, carry=carry).decompose(x, d, d.T @ x)
    expected = sizes.square().sum() * torch.outer(u, v)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("carry", "weight"), [(0.0, 0.0), (1.0, 4.0), (2.0, 8.0), (math.inf, 13.0)]
)
def test_what_the_past_weighs(carry, weight):
    u, v = normal(6), normal(7, seed=1)
    decomposition = StreamingBatchPCA(1, sub_batch=4, carry=carry)

    def give(samples, size):
        x, d = v.expand(samples, -1), size * u.expand(samples, -1)
        return decomposition.decompose(x, d, d.T @ x, "layer")

    give(13, 1.0)
    mean = (weight * 1.0 + 10 * 3.0) / (weight + 10)
    torch.testing.assert_close(give(10, 3.0), 10 * mean * torch.outer(u, v))


def test_a_batch_smaller_than_the_sub_batch_updates():
    x, d, gradient = batch(samples=3)
    decomposition = StreamingBatchPCA(3, sub_batch=1000)
    first = decomposition.decompose(x, d, gradient)
    for _ in range(300):
        last = decomposition.decompose(x, d, gradient)
    assert not torch.equal(first, last)
    torch.testing.assert_close(last, gradient, rtol=0, atol=1e-6 * float(gradient.norm()))


def subspace_error(found, exact):
    """Sine of the largest angle between two spaces given by orthonormal columns."""
    return float(torch.linalg.matrix_norm(exact - found @ (found.T @ exact), 2))


def test_converges_to_the_top_vectors_of_a_repeated_batch():
    x, d, gradient = batch(samples=40)
    decomposition = StreamingBatchPCA(3, sub_batch=40)
    for _ in range(400):
        result = decomposition.decompose(x, d, gradient)
    best = TruncatedSVD(3).decompose(None, None, gradient)
    torch.testing.assert_close(result, best, rtol=0, atol=1e-6 * float(best.norm()))


def test_converges_to_the_top_vectors_of_a_stationary_stream():
    """Samples drawn anew for ever: the mean gradient's vectors, at the rate of a running mean."""
    out, wide, rank = 12, 17, 2
    u = torch.linalg.qr(normal(out, rank, seed=1))[0]
    v = torch.linalg.qr(normal(wide, rank, seed=2))[0]
    mean = (u * torch.tensor([2.0, 1.0], dtype=torch.float64)) @ v.T
    decomposition = StreamingBatchPCA(rank, sub_batch=16, carry=math.inf)
    angles, sizes = [], []
    for step in range(640):
        x = normal(64, wide, seed=10 + step)
        d = x @ mean.T + normal(64, out, seed=10_000 + step)  # E[d xᵀ] = mean
        decomposition.decompose(x, d, d.T @ x)
        if step + 1 in (40, 160, 640):
            memory = decomposition.memory(0)
            pair = subspace_error(memory["delta"], u), subspace_error(memory["x"], v)
            angles.append(max(pair))
            sizes.append(memory["sigma"])
    # Four times the samples halve the error; half as good a rate would fail.
    assert angles[1] < 0.75 * angles[0]
    assert angles[2] < 0.75 * angles[1]
    # Noise of the mean of n samples along one direction is about 1/√n, 17 of them at most.
    assert angles[2] < 4 * math.sqrt(17 / (64 * 640))
    assert sizes[2].tolist() == pytest.approx([2.0, 1.0], abs=0.05)


def test_first_step_does_not_explode():
    for size in (1e-20, 1.0, 1e20):
        x, d, gradient = batch(samples=8)
        result = StreamingBatchPCA(3, sub_batch=4).decompose(x, d * size, gradient * size)
        assert result.norm() < 2 * gradient.norm() * size


def test_zero_batches_keep_the_vectors():
    x, d, gradient = batch()
    decomposition = StreamingBatchPCA(3, carry=0)
    decomposition.decompose(x, d, gradient)
    before = decomposition.state_dict()["memory"][0]
    assert not decomposition.decompose(x, 0 * d, 0 * gradient).any()
    after = decomposition.state_dict()["memory"][0]
    for name in ("delta", "x"):
        torch.testing.assert_close(after[name], before[name])
    # Dead inputs and dead outputs, as relu gives them.
    x[:, :9] = 0
    d[:, 4:] = 0
    result = decomposition.decompose(x, d, d.T @ x)
    assert result.isfinite().all()
    assert result[:, 9:].any()


def test_without_samples_it_is_a_power_iteration_on_the_gradient():
    gradient = batch()[2]
    decomposition = StreamingBatchPCA(3)
    for _ in range(300):
        result = decomposition.decompose(None, None, gradient)
    best = TruncatedSVD(3).decompose(None, None, gradient)
    torch.testing.assert_close(result, best, rtol=0, atol=1e-6 * float(best.norm()))
    assert not decomposition.decompose(None, None, 0 * gradient).any()  # the past has no weight


def test_components_are_orthonormal_and_sizes_not_negative():
    decomposition = StreamingBatchPCA(4, sub_batch=3)
    for seed in range(20):
        decomposition.decompose(*batch(seed, samples=17))
        memory = decomposition.memory(0)
        for side in (memory["delta"], memory["x"]):
            torch.testing.assert_close(side.T @ side, torch.eye(4, dtype=torch.float64))
        assert (memory["sigma"] >= 0).all()


def test_seeds():
    x, d, gradient = batch()
    results = [StreamingBatchPCA(2, seed=s).decompose(x, d, gradient) for s in (0, 0, 1)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_another_shape_under_the_same_key():
    decomposition = StreamingBatchPCA(2)
    decomposition.decompose(*batch())
    with pytest.raises(ValueError, match=r"shape \[12, 17\] and rank 2.*shape \[5, 6\]"):
        decomposition.decompose(*batch(out=5, wide=6))


@pytest.mark.parametrize(
    "arguments",
    [{"rank": 0}, {"rank": 2, "sub_batch": 0}, {"rank": 2, "carry": -1.0}, {"rank": 1, "seed": -1}],
)
def test_refused_parameters(arguments):
    with pytest.raises(ValueError, match="StreamingBatchPCA"):
        StreamingBatchPCA(**arguments)
    with pytest.raises(ValueError, match="carry"):
        StreamingBatchPCA(2, carry=math.nan)
