"""Newton on the circuit, against SciPy's sparse Newton, ngspice, closed forms and Kirchhoff."""

import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from circuit_equations import mna
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.circuit import (
    NotConvergedError,
    Wires,
    linearisation_error,
    linearised,
    netlist,
    solve,
    solve_nonlinear,
)
from mho.circuit.deck import bit_node, word_node
from mho.devices.data_driven import DataDriven2018
from mho.devices.pickett import Pickett
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.yakopcic import Yakopcic

F64 = torch.float64


def cells(*shape, low=1e4, high=1e5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 1 / (low + (high - low) * torch.rand(*shape, generator=generator, dtype=F64))


def drive(*shape, seed=1):
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64) - 1


def node_newton(f, df, m, n, wires, v):
    """Newton on all 2mn node voltages, sparse, started at 0 and damped: the textbook way."""
    nodes = np.arange(2 * m * n).reshape(2, m, n)
    w, b = nodes
    size = nodes.size
    Y = sp.lil_matrix((size, size))
    right = np.zeros(size)

    def add(p, q, g):
        Y[p, p] += g
        Y[q, q] += g
        Y[p, q] -= g
        Y[q, p] -= g

    for i in range(m):
        for j in range(n):
            if j:
                add(w[i, j], w[i, j - 1], 1 / wires.word)
            if i:
                add(b[i, j], b[i - 1, j], 1 / wires.bit)
    for i in range(m):
        Y[w[i, 0], w[i, 0]] += 1 / wires.source
        right[w[i, 0]] = v[i] / wires.source
    for j in range(n):
        Y[b[-1, j], b[-1, j]] += 1 / wires.sense
    Y, x = Y.tocsc(), np.zeros(size)
    incidence = sp.csc_matrix(
        (
            np.r_[np.ones(m * n), -np.ones(m * n)],
            (np.r_[w.ravel(), b.ravel()], np.tile(np.arange(m * n), 2)),
        ),
        shape=(size, m * n),
    )

    def residual(x):
        return Y @ x - right + incidence @ f((incidence.T @ x).reshape(m, n)).ravel()

    for _ in range(200):
        r = residual(x)
        slopes = sp.diags(df((incidence.T @ x).reshape(m, n)).ravel())
        step = spla.spsolve((Y + incidence @ slopes @ incidence.T).tocsc(), -r)
        t = 1.0
        while (
            np.linalg.norm(residual(x + t * step)) > (1 - 1e-4 * t) * np.linalg.norm(r) and t > 1e-9
        ):
            t /= 2
        x = x + t * step
        if np.abs(step).max() < 1e-15:
            break
    return x[b[-1]] / wires.sense, (incidence.T @ x).reshape(m, n)


@pytest.mark.parametrize(("b", "r"), [(3.0, 5.0), (3.0, 1000.0), (8.0, 100.0)])
def test_sparse_newton_agrees(b, r):
    G, v, wires = cells(7, 5), drive(7), Wires(r, r, 2 * r, r / 2)
    g = G.numpy()
    currents, over = node_newton(
        lambda u: g * np.sinh(b * u) / b, lambda u: g * np.cosh(b * u), 7, 5, wires, v.numpy()
    )
    found = solve_nonlinear(lambda u: G * torch.sinh(b * u) / b, (7, 5), wires, v, tolerance=1e-12)
    assert np.abs(found.currents.numpy() - currents).max() < 1e-10 * np.abs(currents).max()
    assert np.abs(found.cell_voltages.numpy() - over).max() < 1e-9


@pytest.mark.parametrize(
    "wires",
    [
        Wires(5, 1, 2, 3),
        Wires(0, 2, 0, 0, drive="right"),
        Wires(3, 2, 1, 0, drive="both", read="top"),
        Wires(1e4, 1e3, 1e4, 10),
        Wires(),
    ],
)
def test_a_linear_law_is_the_linear_solution(wires):
    G, v, sink = cells(2, 6, 4), drive(2, 3, 6), drive(4, seed=3)
    found = solve_nonlinear(
        lambda u: G[:, None] * u, (2, 6, 4), wires, v, sink=sink, tolerance=1e-13
    )
    exact = solve(G, wires, v, sink=sink)
    for name, value in vars(exact).items():
        scale = float(value.abs().max())
        assert torch.allclose(getattr(found, name), value, rtol=0, atol=1e-11 * scale), name


def test_ideal_wires_are_one_product():
    G, v = cells(9, 4), drive(5, 9)
    found = solve_nonlinear(lambda u: G * torch.sinh(3 * u) / 3, (9, 4), Wires(), v)
    assert torch.allclose(found.currents, torch.sinh(3 * v) / 3 @ G, rtol=1e-13, atol=0.0)
    assert found.steps == 1


def test_one_cell_in_closed_form():
    # a diode behind a resistor: Lambert's W
    from scipy.special import lambertw

    i0, b, r, v = 1e-9, 1 / 0.026, 1e3, 2.0
    found = solve_nonlinear(
        lambda u: i0 * torch.expm1(b * u), (1, 1), Wires(r), torch.tensor([v], dtype=F64)
    )
    exact = lambertw(b * r * i0 * math.exp(b * (v + r * i0))).real / (b * r) - i0
    assert float(found.currents) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e3])
def test_voltages_of_any_size_are_solved_as_exactly(size):
    # A quadratic behind a resistor: g·u·(1 + |u|/size) + u/r = v/r.
    g, r, v = 1e-4, 2e4, 3.0 * size
    found = solve_nonlinear(
        lambda u: g * u * (1.0 + u.abs() / size), (1, 1), Wires(r), torch.tensor([v], dtype=F64)
    )
    a, b = g * r / size, 1.0 + g * r
    u = (math.sqrt(b * b + 4 * a * v) - b) / (2 * a)
    assert float(found.currents) == pytest.approx((v - u) / r, rel=1e-9, abs=0.0)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e6]),
    st.sampled_from([0.0, 2.0, 1e3]),
    st.sampled_from([0.5, 3.0, 20.0, 60.0]),
    st.integers(0, 99),
)
def test_kirchhoff(m, n, r, s, b, seed):
    G = cells(m, n, seed=seed) * (
        torch.rand(m, n, generator=torch.Generator().manual_seed(seed)) > 0.2
    )
    law = lambda u: G * torch.sinh(b * u) / b  # noqa: E731
    wires = Wires(s, r, r, s)
    found = solve_nonlinear(law, (m, n), wires, drive(2, m, seed=seed))
    flow, most = found.cell_currents, found.cell_currents.abs().amax((-2, -1))
    floor = 1e-13 * (G * torch.cosh(b * found.cell_voltages)).amax((-2, -1))
    miss = (law(found.cell_voltages) - flow).abs().amax((-2, -1))
    assert bool((miss <= 1.01e-10 * most + floor).all())
    # currents along the wires: what flows on is what the cells beyond take
    if r > 0:
        along = (found.word_voltages[..., :-1] - found.word_voltages[..., 1:]) / r
        beyond = flow.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        assert torch.allclose(along, beyond, rtol=1e-7, atol=1e-12 / r + 1e-9 * float(most.max()))
    assert torch.allclose(found.source_power, found.dissipated_power, rtol=1e-9, atol=1e-18)
    assert bool((found.dissipated_power >= 0).all())


def test_published_devices():
    v, wires = drive(3, 8), Wires(20, 5, 5, 20)
    for device in (StanfordPKU(), DataDriven2018(), Yakopcic(), Pickett()):
        population = device.fabricate((8, 6), dtype=F64)
        population.write(torch.linspace(*device.window, 48, dtype=F64).view(8, 6))
        found = solve_nonlinear(population.current, (8, 6), wires, v)
        assert found.currents.shape == (3, 6)
        miss = (population.current(found.cell_voltages) - found.cell_currents).abs().max()
        assert float(miss / found.cell_currents.abs().max()) < 1e-9


def test_single_precision_cells():
    population = DataDriven2018().fabricate((8, 6), dtype=torch.float32)
    population.write(torch.full((8, 6), 3e-4))
    found = solve_nonlinear(population.current, (8, 6), Wires(5, 5, 5, 5), drive(8).float())
    exact = solve_nonlinear(population.double().current, (8, 6), Wires(5, 5, 5, 5), drive(8))
    assert found.currents.dtype == torch.float32
    assert torch.allclose(found.currents.double(), exact.currents, rtol=1e-4, atol=0.0)


def test_a_slope_given_is_used():
    G, v = cells(4, 3), drive(4)
    wires = Wires(50, 50, 50, 50)
    asked = []

    def slope(u):
        asked.append(1)
        return G * torch.cosh(3 * u)

    law = lambda u: torch.from_numpy(np.sinh(3 * u.detach().numpy())) * G / 3  # noqa: E731
    found = solve_nonlinear(law, (4, 3), wires, v, slope=slope)
    other = solve_nonlinear(lambda u: G * torch.sinh(3 * u) / 3, (4, 3), wires, v)
    assert asked
    assert torch.allclose(found.currents, other.currents, rtol=1e-9, atol=0.0)
    with pytest.raises(TypeError, match="differentiable"):
        solve_nonlinear(law, (4, 3), wires, v)


@pytest.mark.parametrize("law", ["sinh", "linear"])
def test_floating_lines_are_lines_behind_huge_resistors(law):
    G, v = cells(5, 4), drive(5)
    b = 1e-6 if law == "linear" else 4.0
    rows, cols = torch.tensor([0, 1, 0, 1, 1]).bool(), torch.tensor([0, 1, 1, 0]).bool()
    found = solve_nonlinear(
        lambda u: G * torch.sinh(b * u) / b,
        (5, 4),
        Wires(20, 30, 40, 50),
        v,
        floating_words=rows,
        floating_bits=cols,
        tolerance=1e-12,
    )
    assert float(found.cell_currents.sum(-1)[rows].abs().max()) < 1e-17
    assert float(found.currents[cols].abs().max()) < 1e-17
    if law == "linear":
        source = torch.where(rows, 1e13, 20.0).numpy()
        sense = torch.where(cols, 1e13, 50.0).numpy()
        _, reference = mna(G.numpy(), source, np.full(5, 30.0), np.full(4, 40.0), sense)
        expected = torch.from_numpy(reference(np.where(rows, 0.0, v.numpy()))["word"])
        assert torch.allclose(found.word_voltages, expected, rtol=0, atol=1e-7)


def test_everything_floats():
    found = solve_nonlinear(
        lambda u: cells(3, 3) * torch.sinh(u),
        (3, 3),
        Wires(1, 1, 1, 1),
        drive(3),
        floating_words=torch.ones(3, dtype=torch.bool),
        floating_bits=torch.ones(3, dtype=torch.bool),
    )
    assert float(found.cell_currents.abs().max()) < 1e-15


@pytest.mark.parametrize("r", [0.0, 300.0])
def test_gradients(r):
    G, v = cells(4, 3).requires_grad_(), drive(2, 4).requires_grad_()
    ohms = torch.full((4,), r + 5, dtype=F64, requires_grad=True)

    def currents(G, v, ohms):
        found = solve_nonlinear(
            lambda u: 1e4 * G * torch.sinh(3 * u),
            (4, 3),
            Wires(1e-3, 1e-3 * r, 2e-3 * r, 1e-3),
            v,
            source=1e-3 * ohms,
            tolerance=1e-13,
        )
        return found.currents, found.cell_voltages, found.dissipated_power

    assert torch.autograd.gradcheck(
        currents, (1e3 * G.detach().requires_grad_(), v, ohms), atol=1e-5
    )


def test_no_gradient_through_floating_lines():
    G = cells(2, 2).requires_grad_()
    floating = torch.tensor([False, True])
    with pytest.raises(ValueError, match="no_grad"):
        solve_nonlinear(lambda u: G * u, (2, 2), Wires(), drive(2), floating_words=floating)


def test_what_does_not_converge_is_named():
    G, wires = cells(2, 4, 3), Wires(500, 500, 500, 500)
    v = torch.stack([torch.zeros(4, dtype=F64), drive(4)])
    law = lambda u: G[:, None] * torch.sinh(9 * u)  # noqa: E731
    with pytest.raises(
        NotConvergedError, match=r"1 steps for 2 of 4.*\(0, 1\).*\(1, 1\)"
    ) as caught:
        solve_nonlinear(law, (2, 4, 3), wires, v.expand(2, 2, 4), limit=1)
    assert caught.value.where.tolist() == [[0, 1], [1, 1]]
    assert bool((caught.value.residual > 1e-10).all())
    # a law with a jump that the load line meets nowhere
    jump = lambda u: 1e-4 * u + torch.where(u > 0.3, 1e-3, 0.0)  # noqa: E731
    with pytest.raises(NotConvergedError, match="jump"):
        solve_nonlinear(jump, (1, 1), Wires(1e3), torch.tensor([1.0], dtype=F64))


def test_refusals():
    law = lambda u: 1e-4 * u  # noqa: E731
    v, wires = drive(4), Wires(1, 1, 1, 1)
    with pytest.raises(ValueError, match="finite"):
        solve_nonlinear(lambda u: u / 0.0, (4, 3), wires, v)
    with pytest.raises(ValueError, match="finite"):
        solve_nonlinear(law, (4, 3), wires, v * float("nan"))
    with pytest.raises(TypeError, match="shape"):
        solve_nonlinear(lambda u: (1e-4 * u).sum(-1), (4, 3), wires, v)
    with pytest.raises(ValueError, match="voltages"):
        solve_nonlinear(law, (5, 3), wires, v)
    with pytest.raises(ValueError, match="shape"):
        solve_nonlinear(law, (4,), wires, v)
    with pytest.raises(ValueError, match="gated"):
        solve_nonlinear(law, (4, 3), Wires(gated=True), v)
    with pytest.raises(ValueError, match="tolerance"):
        solve_nonlinear(law, (4, 3), wires, v, tolerance=0.0)
    with pytest.raises(TypeError, match="floating_words"):
        solve_nonlinear(law, (4, 3), wires, v, floating_words=torch.ones(4))
    with pytest.raises(ValueError, match="floating_bits"):
        solve_nonlinear(law, (4, 3), wires, v, floating_bits=torch.ones(4).bool())
    with pytest.raises(ValueError, match="source"):
        solve_nonlinear(law, (4, 3), wires, v, source=-1.0)


@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
@pytest.mark.parametrize("wires", [Wires(5, 2, 3, 4), Wires(300, 100, 100, 300, drive="right")])
def test_ngspice_agrees(wires, tmp_path):
    G, v, b = cells(6, 5), drive(6), 4.0
    lines = []
    for line in netlist(G, wires, v).splitlines():
        cell = re.match(r"Rcell_(\d+)_(\d+) ", line)
        if cell:
            i, j = map(int, cell.groups())
            p, q = word_node(i, j, 5, wires), bit_node(i, j, 6, wires)
            line = f"Bcell_{i}_{j} {p} {q} I={float(G[i, j] / b)!r}*sinh({b!r}*v({p},{q}))"
        lines.append(line)
    deck = tmp_path / "deck.cir"
    deck.write_text("\n".join(lines))
    done = subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, timeout=60)
    printed = re.findall(r"i\(vsense\d+\) = (\S+)", done.stdout)
    spice = torch.tensor([float(value) for value in printed], dtype=F64)
    found = solve_nonlinear(lambda u: G * torch.sinh(b * u) / b, (6, 5), wires, v).currents
    assert float((spice - found).abs().max() / found.abs().max()) < 1e-6


def test_linearised():
    G, wires, b = cells(12, 10), Wires(5, 5, 5, 5), 3.0
    law = lambda u: G * torch.sinh(b * u) / b  # noqa: E731
    T = linearised(law, (12, 10), wires, 0.0, kind="tangent")
    small = 1e-5 * drive(12)
    exact = solve_nonlinear(law, (12, 10), wires, small, tolerance=1e-12).currents
    assert torch.allclose(small @ T, exact, rtol=0, atol=1e-8 * float(exact.abs().max()))
    # ideal wires, all inputs at the operating voltage: the chord is exact
    at = torch.full((12,), 0.7, dtype=F64)
    assert linearisation_error(law, (12, 10), Wires(), at, 0.7).largest < 1e-12
    mild = linearisation_error(law, (12, 10), wires, at, 0.7)
    assert 1e-4 < mild.largest < 0.05
    tangent = linearisation_error(law, (12, 10), wires, at, 0.0, kind="tangent")
    assert tangent.largest > 10 * mild.largest
    assert tangent.rms <= tangent.largest * 10
    with pytest.raises(ValueError, match="tangent"):
        linearised(law, (12, 10), wires, 0.0)
    with pytest.raises(ValueError, match="no current"):
        linearisation_error(law, (12, 10), wires, torch.zeros(12, dtype=F64), 0.7)


@pytest.mark.parametrize("lead", [(7,), (2, 7)])
@pytest.mark.parametrize("batch", [False, True])
def test_many_vectors_are_solved_in_groups(monkeypatch, lead, batch):
    """Group by group is all at once: values, gradients, floating lines and refusals."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 4, 5) if batch else (4, 5)
    G = 1e-3 * torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()
    lead = (2, 7) if batch else lead
    v = torch.rand(*lead, 4, generator=generator, dtype=torch.float64)
    asked = []

    def law(u):
        asked.append(u.shape[-3])
        return (G[..., None, :, :] if batch else G) * torch.sinh(3 * u) / 3

    def solve(**more):
        found = solve_nonlinear(law, shape, Wires(5, 5, 5, 5), v, **more)
        return found, torch.autograd.grad(found.currents.square().sum(), G)[0]

    whole, gradient = solve()
    assert set(asked) == {7}
    monkeypatch.setattr(
        "mho.circuit.nonlinear.CELLS_AT_ONCE", 3 * 20 * (len(v) if v.ndim > 2 else 1)
    )
    asked.clear()
    found, grouped = solve()
    assert set(asked) == {3, 1}
    for name, value in vars(whole).items():
        if name not in ("steps", "residual"):
            torch.testing.assert_close(getattr(found, name), value, rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(grouped, gradient, rtol=1e-8, atol=0)
    mask = torch.zeros(*lead, 5, dtype=torch.bool)
    mask[..., 2, 3] = True
    with torch.no_grad():
        floating = solve_nonlinear(law, shape, Wires(5, 5, 5, 5), v, floating_bits=mask)
        assert float(floating.currents[..., 2, 3].abs().max()) < 1e-12
        torch.testing.assert_close(
            floating.currents[..., 0, :], whole.currents[..., 0, :], rtol=1e-6, atol=0.0
        )
        with pytest.raises(NotConvergedError) as caught:
            solve_nonlinear(law, shape, Wires(500, 500, 500, 500), v, limit=1)
    assert caught.value.where.shape == (v.shape[:-1].numel(), len(lead))


def test_laws_that_tell_vectors_apart_are_asked_about_all(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    G = 1e-3 * torch.rand(6, 4, 5, generator=generator, dtype=torch.float64)
    v = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    monkeypatch.setattr("mho.circuit.nonlinear.CELLS_AT_ONCE", 20)
    wires = Wires(5, 5, 5, 5)
    found = solve_nonlinear(lambda u: G * torch.sinh(u), (4, 5), wires, v)
    for k in range(6):
        alone = solve_nonlinear(lambda u, k=k: G[k] * torch.sinh(u), (4, 5), wires, v[k])
        torch.testing.assert_close(found.currents[k], alone.currents, rtol=1e-9, atol=0)
