"""Singular value decompositions against torch.linalg.svd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.decomposition import FullSVD, TruncatedSVD
from mho.decomposition import svd as room
from mho.decomposition.svd import top_triplets


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def with_spectrum(values, out, wide, dtype=torch.float64, seed=0):
    values = torch.as_tensor(values, dtype=torch.float64)
    k = len(values)
    u = torch.linalg.qr(torch.randn(out, k, generator=generator(seed), dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(wide, k, generator=generator(seed + 1), dtype=torch.float64))[0]
    return (u * values @ v.T).to(dtype)


SPECTRA = {
    "decaying": 0.9 ** torch.arange(200),
    "steep": 10.0 ** -torch.arange(0.0, 20.0, 0.1),
    "cluster at the cut": torch.cat((torch.tensor([5.0, 4.0]), 1 + 1e-5 * torch.arange(60.0))),
    "equal at the cut": torch.cat((torch.tensor([5.0, 4.0]), torch.ones(100))),
    "all equal": torch.ones(200),
    "all but equal": 1 + 1e-3 * torch.linspace(1, 0, 200),
    "power law": torch.arange(1, 201) ** -0.5,
    "rank one": torch.tensor([3.0]),
    "rank below": torch.tensor([3.0, 2.0]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(210, 300), (300, 210)])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_largest_triplets_of_any_spectrum(spectrum, shape, dtype):
    rank = 4
    matrix = with_spectrum(SPECTRA[spectrum], *shape, dtype=dtype)
    u, s, v = top_triplets(matrix, rank)
    exact = torch.linalg.svdvals(matrix.double())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(s.double(), exact[:rank], rtol=0, atol=50 * eps * float(exact[0]))
    for side in (u * s, v * s):  # what no singular value carries need not be exact
        gram = side.T @ side / s[0] ** 2
        expected = torch.diag((s / s[0]) ** 2)
        torch.testing.assert_close(gram, expected, rtol=0, atol=100 * eps)
    # The best error of its rank (Eckart & Young), though vectors of a cluster are not unique.
    left_out = torch.linalg.norm(matrix.double() - (u.double() * s) @ v.double().T)
    best = exact[rank:].square().sum().sqrt()
    assert left_out <= best * (1 + 1e-5) + 2 * eps**0.75 * exact[0]


def test_vectors_where_they_are_unique():
    matrix = with_spectrum(0.7 ** torch.arange(150), 160, 220)
    u, s, v = top_triplets(matrix, 5)
    exact_u, exact_s, exact_v = torch.linalg.svd(matrix, full_matrices=False)
    expected = exact_u[:, :5] * exact_s[:5] @ exact_v[:5]
    torch.testing.assert_close((u * s) @ v.T, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_matrices_are_iterated_on(dtype, monkeypatch):
    """The gradient of a batch, of a rank far below its sides, does not need LAPACK's whole way."""
    x = torch.randn(128, 784, generator=generator(), dtype=dtype).relu()
    d = torch.randn(128, 512, generator=generator(1), dtype=dtype)
    gradient = d.T @ x
    exact = torch.linalg.svdvals(gradient)[:4]
    monkeypatch.setattr(room, "_svd", lambda matrix: pytest.fail("the whole was decomposed"))
    _, s, _ = top_triplets(gradient, 4)
    torch.testing.assert_close(s, exact, rtol=1e-5, atol=0)


def test_the_whole_is_decomposed_where_iterations_do_not_get_there(monkeypatch):
    whole, calls = room._svd, []
    monkeypatch.setattr(room, "_svd", lambda matrix: calls.append(1) or whole(matrix))
    # Two hundred values finer apart than a small space can resolve.
    matrix = with_spectrum(1 + 1e-6 * torch.linspace(1, 0, 200), 200, 260)
    _, s, _ = top_triplets(matrix, 4)
    assert calls
    torch.testing.assert_close(s, torch.linalg.svdvals(matrix)[:4], rtol=1e-13, atol=0)


@settings(deadline=None, max_examples=30)
@given(out=st.integers(1, 70), wide=st.integers(1, 70), data=st.data())
def test_any_shape_and_rank(out, wide, data):
    rank = data.draw(st.integers(1, min(out, wide)))
    matrix = torch.randn(out, wide, generator=generator(7), dtype=torch.float64)
    result = TruncatedSVD(rank).decompose(None, None, matrix)
    exact = torch.linalg.svdvals(matrix)
    left_out = torch.linalg.norm(matrix - result)
    torch.testing.assert_close(left_out, exact[rank:].square().sum().sqrt(), rtol=1e-9, atol=1e-9)


def test_full_svd_gives_the_gradient_back_in_falling_terms():
    matrix = torch.randn(20, 13, generator=generator(), dtype=torch.float64)
    factors = FullSVD().factors(None, None, matrix, 0)
    torch.testing.assert_close(factors.product(), matrix)
    sizes = torch.stack([term.product().norm() for term in factors.split()])
    torch.testing.assert_close(sizes, torch.linalg.svdvals(matrix))
    # Both sides carry the root: neither leaves the range of a driver or a dtype first.
    torch.testing.assert_close(factors.left.norm(dim=0), factors.right.norm(dim=0))


def test_extreme_sizes():
    matrix = with_spectrum(0.8 ** torch.arange(100), 110, 130, dtype=torch.float32)
    _, expected, _ = top_triplets(matrix, 3)
    for size in (1e-30, 1e30):
        _, s, _ = top_triplets(matrix * size, 3)
        torch.testing.assert_close(s / size, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("rank", [0, -1, 2.0, True, "2"])
def test_refused_ranks(rank):
    with pytest.raises((ValueError, TypeError), match="TruncatedSVD rank must be"):
        TruncatedSVD(rank)


def test_rank_larger_than_the_matrix_names_both():
    with pytest.raises(ValueError, match=r"rank must be <= 3.*shape \[3, 8\]; got 5"):
        TruncatedSVD(5).decompose(None, None, torch.ones(3, 8))


@pytest.mark.parametrize("true_rank", [1, 2, 5, 12])
@pytest.mark.parametrize("rank", [1, 4, 10])
def test_low_ranks_end_the_iteration(true_rank, rank, monkeypatch):
    # As of a batch of few samples: there is nothing left to iterate on.
    monkeypatch.setattr(room, "_svd", None)  # LAPACK's whole decomposition would fail
    torch.manual_seed(true_rank)
    matrix = torch.randn(300, true_rank) @ torch.randn(true_rank, 400)
    u, s, v = top_triplets(matrix, rank)
    exact = torch.linalg.svdvals(matrix.double())[:rank]
    assert torch.allclose(s.double(), exact, atol=1e-6 * float(exact[0]))
    eye = torch.eye(rank)
    assert torch.allclose(u.mT @ u, eye, atol=1e-5)
    assert torch.allclose(v.mT @ v, eye, atol=1e-5)
    if rank >= true_rank:
        assert torch.allclose((u * s) @ v.mT, matrix, atol=1e-5 * float(exact[0]))


def test_a_large_gradient_of_zeros_has_values_of_zero():
    u, s, v = top_triplets(torch.zeros(300, 400), 4)
    assert torch.equal(s, torch.zeros(4))
    assert torch.allclose(u.mT @ u, torch.eye(4), atol=1e-5)
    assert torch.allclose(v.mT @ v, torch.eye(4), atol=1e-5)


@pytest.mark.parametrize("smallest", [1e-2, 1e-4, 1e-6])
def test_values_whose_squares_are_lost_are_found_otherwise(smallest):
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(n, 6, dtype=torch.float64))[0] for n in (300, 400))
    sizes = torch.tensor([1.0, 0.5, smallest, smallest / 2, smallest / 4, smallest / 8]).double()
    found = top_triplets(((u * sizes) @ v.mT), 4)[1]
    assert torch.allclose(found, sizes[:4], rtol=1e-6)
