"""Non-negative factors against scikit-learn's, and what each step must do."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.decomposition import NMF
from mho.decomposition.nmf import improve

sklearn = pytest.importorskip("sklearn.decomposition")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_gradient(seed=0, out=40, wide=60, batch=32):
    x = torch.randn(batch, wide, generator=generator(seed), dtype=torch.float64).relu()
    d = torch.randn(batch, out, generator=generator(seed + 100), dtype=torch.float64)
    return d.T @ x


def planted(seed=0, rank=3):
    w = torch.rand(30, rank, generator=generator(seed), dtype=torch.float64)
    h = torch.rand(rank, 50, generator=generator(seed + 1), dtype=torch.float64)
    return w @ h


def parts_of(gradient):
    return torch.stack((gradient, -gradient)).relu()


def errors(factors, gradient):
    """Errors of both parts, each by its own half of the terms."""
    rank = factors.rank // 2
    halves = (
        [factors.left[:, :rank], factors.right[:, :rank]],
        [
            -factors.left[:, rank:],
            factors.right[:, rank:],
        ],
    )
    pairs = zip(parts_of(gradient), halves, strict=True)
    return torch.stack([(part - w @ h.T).norm() for part, (w, h) in pairs])


def sklearn_error(part, rank):
    model = sklearn.NMF(rank, init="nndsvda", max_iter=600, tol=1e-5)
    w = model.fit_transform(part.numpy())
    return float((part - torch.from_numpy(w @ model.components_)).norm())


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_error_near_scikit_learns(seed, rank):
    gradient = batch_gradient(seed)
    ours = errors(NMF(rank, iterations=60).factors(None, None, gradient, 0), gradient)
    for own, part in zip(ours, parts_of(gradient), strict=True):
        theirs = sklearn_error(part, rank)
        assert own <= 1.02 * theirs
        # Not better than the best of any sign (Eckart & Young): the error is measured rightly.
        assert own >= torch.linalg.svdvals(part)[rank:].norm() * (1 - 1e-9)


def test_few_iterations_are_near_it_too():
    gradient = batch_gradient(0, 256, 392, 128)
    ours = errors(NMF(4).factors(None, None, gradient, 0), gradient)
    for own, part in zip(ours, parts_of(gradient), strict=True):
        assert own <= 1.01 * sklearn_error(part, 4)


def test_a_planted_factorisation_is_found():
    gradient = planted()
    factors = NMF(3, iterations=500).factors(None, None, gradient, 0)
    assert (factors.product() - gradient).norm() < 2e-3 * gradient.norm()


@settings(deadline=None, max_examples=25)
@given(
    out=st.integers(1, 12),
    wide=st.integers(1, 12),
    rank=st.integers(1, 4),
    zeros=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)
def test_every_step_lowers_the_error_and_keeps_the_sign(out, wide, rank, zeros, seed):
    source = generator(seed)
    parts = torch.rand(2, out, wide, generator=source, dtype=torch.float64)
    parts = parts * (torch.rand(2, out, wide, generator=source) >= zeros)
    w = torch.rand(2, rank, out, generator=source, dtype=torch.float64)
    h = torch.rand(2, rank, wide, generator=source, dtype=torch.float64)
    w[0, 0] = 0.0  # a column that has died
    before = (parts - w.mT @ h).norm(dim=(1, 2))
    for _ in range(6):
        w, h = improve(parts, w, h)
        after = (parts - w.mT @ h).norm(dim=(1, 2))
        assert (after <= before * (1 + 1e-12) + 1e-12).all()
        assert (w >= 0).all()
        assert (h >= 0).all()
        before = after


def test_more_iterations_never_do_worse():
    gradient = batch_gradient(3)
    seen = [
        errors(NMF(4, iterations=n).factors(None, None, gradient, 0), gradient)
        for n in (1, 2, 5, 10, 30)
    ]
    for worse, better in itertools.pairwise(seen):
        assert (better <= worse + 1e-12).all()


def test_terms_have_one_sign_each():
    factors = NMF(3).factors(None, None, batch_gradient(), 0)
    terms = [term.product() for term in factors.split()]
    assert len(terms) == 6
    assert all((term >= 0).all() for term in terms[:3])
    assert all((term <= 0).all() for term in terms[3:])


def test_one_signed_gradients_leave_the_other_part_empty():
    gradient = planted()
    up = NMF(3).factors(None, None, gradient, 0)
    assert up.left[:, 3:].abs().max() == 0
    down = NMF(3).factors(None, None, -gradient, 0)
    assert down.left[:, :3].abs().max() == 0
    for factors, expected in ((up, gradient), (down, -gradient)):
        assert (factors.product() - expected).norm() < 0.1 * gradient.norm()


def test_streaming_goes_on_from_where_it_was():
    gradient = batch_gradient(1)
    streaming, afresh = NMF(4, True, iterations=3), NMF(4, iterations=12)
    first = errors(streaming.factors(None, None, gradient, 0), gradient)
    for _ in range(3):
        last = errors(streaming.factors(None, None, gradient, 0), gradient)
    assert (last < first).all()
    # Four times three passes are twelve.
    torch.testing.assert_close(last, errors(afresh.factors(None, None, gradient, 0), gradient))


def test_streaming_follows_a_gradient_that_changes():
    """A warm start that is not updated, or whose zeros are locked, cannot do this."""
    streaming = NMF(3, True)
    for sign in (1.0, -1.0, 1.0):
        gradient = sign * planted(5)
        for _ in range(10):
            result = streaming.decompose(None, None, gradient, "layer")
        assert (result - gradient).norm() < 0.05 * gradient.norm()
    streaming.decompose(None, None, torch.zeros_like(gradient), "layer")
    for _ in range(10):
        result = streaming.decompose(None, None, gradient, "layer")
    assert (result - gradient).norm() < 0.05 * gradient.norm()


def test_another_shape_under_the_same_key():
    streaming = NMF(2, True)
    streaming.decompose(None, None, torch.ones(4, 5), 0)
    with pytest.raises(ValueError, match="remembers"):
        streaming.decompose(None, None, torch.ones(5, 4), 0)


@pytest.mark.parametrize(
    "arguments", [{"rank": 0}, {"rank": 2, "iterations": 0}, {"rank": 2, "seed": -1}]
)
def test_refused_parameters(arguments):
    with pytest.raises(ValueError, match="NMF"):
        NMF(**arguments)
    with pytest.raises(TypeError, match="NMF streaming"):
        NMF(2, streaming=1)
