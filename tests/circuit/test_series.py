"""The series for good wires: as accurate as it says, or it says no."""

import pytest
import torch
from circuit_equations import mna, superlu
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from mho.circuit import Wires, effective_conductance, merge, series
from mho.circuit.problem import arrays

RESISTANCES = ("source", "word", "bit", "sense")


def cells(*shape, low=1e-6, high=1e-5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def grid_of(G, wires):
    return arrays(G, wires, dict.fromkeys(RESISTANCES))


def error(found, expected):
    """Largest error of each array, relative to its largest entry; the worst of them."""
    expected = torch.as_tensor(expected)
    return float(((found - expected).abs().amax((-2, -1)) / expected.amax((-2, -1))).max())


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 9), (9, 1), (36, 36), (100, 12), (12, 100)])
def test_matches_superlu(m, n):
    G = cells(m, n)
    found = effective_conductance(G, Wires(0.5, 1, 1.5, 2), method="series")
    assert error(found, superlu(G.numpy(), 0.5, 1, 1.5, 2)) < 1e-11
    assert torch.equal(effective_conductance(G, Wires(0.5, 1, 1.5, 2)), found)  # it is chosen


def test_a_usual_tile():
    """64 x 64 cells of 100 kilo-ohm to 1 megohm on lines of 1 ohm: two terms do, and are taken."""
    generator = torch.Generator().manual_seed(64)
    G = 1 / (1e5 + 9e5 * torch.rand(64, 64, generator=generator, dtype=torch.float64))
    grid = grid_of(G, Wires(1, 1, 1, 1))
    assert series.pays(grid, series.loss(grid))
    found = effective_conductance(G, Wires(1, 1, 1, 1))
    assert error(found, superlu(G.numpy(), 1, 1, 1, 1)) < 2e-11
    assert not torch.equal(found, effective_conductance(G, Wires(1, 1, 1, 1), method="merge"))


@pytest.mark.parametrize("drive", ["left", "right"])
@pytest.mark.parametrize("read", ["bottom", "top"])
@pytest.mark.parametrize("ohms", [(30, 40, 50, 60), (0, 40, 50, 0), (30, 0, 0, 60), (0, 0, 50, 0)])
def test_ends_and_zero_resistances(drive, read, ohms):
    G = cells(7, 5)
    G[2] = 0
    G[0, -1] = 0
    T, _ = mna(G.numpy(), *ohms, drive, read)
    wires = Wires(*ohms, drive=drive, read=read)
    assert error(effective_conductance(G, wires, method="series"), T) < 1e-11


def test_resistances_per_line():
    G = cells(6, 5)
    ohms = [50 * cells(k, low=0.0, high=1.0, seed=k) for k in (6, 6, 5, 5)]
    ohms[1][1] = ohms[2][3] = 0
    T, _ = mna(G.numpy(), *(value.numpy() for value in ohms))
    given = dict(zip(RESISTANCES, ohms, strict=True))
    assert error(effective_conductance(G, Wires(), method="series", **given), T) < 1e-11


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 3),
    st.floats(-9, -2),
    st.sampled_from([0.0, 1e-3, 1.0]),
    st.integers(0, 99),
)
def test_never_worse_than_it_says(m, n, count, power, share, seed):
    """Whatever the wires: the answer is within the bound of the exact one, or there is none."""
    G = cells(count, m, n, low=0.0, high=1e-4, seed=seed)
    G[torch.rand(G.shape, generator=torch.Generator().manual_seed(seed)) < 0.2] = 0
    G[:, 0, 0] = 1e-4
    G[0] *= 1e-3  # arrays of one batch may be of different severity
    r = 10**power / 1e-4
    grid = grid_of(G, Wires(r, r * share, r, r * share))
    lost = series.loss(grid)
    found = series.effective(grid, lost) if max(lost) < 0.5 else None
    if found is not None:
        assert error(found, merge.effective(grid)) < series.ACCURACY
    elif max(lost) < 0.5:
        assert lost.both > 1e-6


def test_terms_left_out_are_within_their_bound(monkeypatch):
    """In double precision nothing but the bound limits the error: it must hold, and be near."""
    monkeypatch.setattr(series, "_kind", lambda like: torch.float64)
    monkeypatch.setattr(series, "ACCURACY", 1.0)
    grid = grid_of(cells(24, 24), Wires(20, 20, 20, 20))
    exact = merge.effective(grid)
    errors = []
    for rest in (1e-4, 1e-6, 1e-8):
        monkeypatch.setattr(series, "REST", rest)
        errors.append(error(series.effective(grid, series.loss(grid)), exact))
        assert errors[-1] < rest
    assert errors[0] > 1e-8  # terms are left out indeed


def test_severe_wires_are_merged(monkeypatch):
    called = []
    direct = merge.effective
    monkeypatch.setattr(merge, "effective", lambda grid: called.append(1) or direct(grid))
    effective_conductance(cells(16, 16), Wires(1, 1, 1, 1))
    assert not called
    effective_conductance(cells(16, 16), Wires(1, 1, 1, 1, drive="both"))
    effective_conductance(cells(16, 16), Wires(1e4, 1e4, 1e4, 1e4))
    assert len(called) == 2
    # It looks as if it paid, but turns out not to be accurate enough.
    monkeypatch.setattr(series, "pays", lambda grid, lost: True)
    G = cells(32, 32)
    severe = Wires(15, 15, 15, 15)
    T = effective_conductance(G, severe)
    assert len(called) == 3
    assert error(T, superlu(G.numpy(), 15, 15, 15, 15)) < 1e-12
    with pytest.raises(RuntimeError, match="use method='merge'"):
        effective_conductance(G, severe, method="series")
    with pytest.raises(ValueError, match="one end"):
        effective_conductance(G, Wires(1, 1, 1, 1, drive="both"), method="series")


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 2), (4, 6)])
@pytest.mark.parametrize("word", [0.0, 1e-4])
def test_gradients(m, n, word):
    wires = Wires(1e-4, word, 2e-4, 1e-4)
    G = cells(m, n, low=0.1, high=1.0).requires_grad_()

    def function(G):
        return effective_conductance(G, wires, method="series")

    assert gradcheck(function, (G,), atol=1e-6, rtol=1e-4)
    assert gradgradcheck(function, (G,), atol=1e-5)


@pytest.mark.parametrize("wires", [Wires(1, 1, 1, 1), Wires(0, 0, 1, 0)])
def test_gradients_of_a_tile(wires):
    G = cells(48, 40).requires_grad_()
    weight = torch.randn(48, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, exact = (
        torch.autograd.grad((effective_conductance(G, wires, method=method) * weight).sum(), G)[0]
        for method in ("series", "merge")
    )
    torch.testing.assert_close(ours, exact, rtol=0, atol=1e-9 * float(exact.abs().max()))


def test_gradients_in_resistances_are_those_of_merging():
    G = cells(8, 8)
    ohm = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(effective_conductance(G, Wires(), word=ohm).sum(), ohm)
    exact = effective_conductance(G, Wires(), word=ohm, method="merge").sum()
    assert ours == torch.autograd.grad(exact, ohm)[0]
    with pytest.raises(ValueError, match="no gradient in the resistances"):
        effective_conductance(G, Wires(), word=ohm, method="series")


def test_precision_asked_of_products_is_minded():
    """Where a user lets torch compute products in less, doubles are taken."""
    G = cells(32, 32)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        found = effective_conductance(G, Wires(1, 1, 1, 1), method="series")
    finally:
        torch.set_float32_matmul_precision(before)
    assert error(found, superlu(G.numpy(), 1, 1, 1, 1)) < 1e-12
