"""The exact solver against independent circuit equations, and against what must hold anyway."""

import numpy as np
import pytest
import torch
from circuit_equations import mna, superlu
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.circuit import Wires, effective_conductance, solve
from mho.circuit.plan import plan

METHODS = ["merge", "cg"]
ENDS = [(d, r) for d in ("left", "right", "both") for r in ("bottom", "top")]
SIDES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 11), (11, 3), (8, 8), (13, 6), (16, 24)]


def cells(m, n, low=1e-5, high=1e-4, seed=0, batch=()):
    generator = torch.Generator().manual_seed(seed)
    shape = (*batch, m, n)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def error(found, expected):
    expected = torch.as_tensor(expected)
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("m", "n"), SIDES)
def test_matches_superlu(m, n, method):
    G = cells(m, n)
    found = effective_conductance(G, Wires(3, 4, 5, 6), method=method)
    assert error(found, superlu(G.numpy(), 3, 4, 5, 6)) < 1e-10


@pytest.mark.parametrize("size", [64, 100, 129])
def test_matches_superlu_at_tile_size(size):
    G = cells(size, size)
    assert (
        error(effective_conductance(G, Wires(5, 5, 5, 5)), superlu(G.numpy(), 5, 5, 5, 5)) < 1e-10
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("drive", "read"), ENDS)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 5), (5, 1), (6, 4), (7, 9)])
@pytest.mark.parametrize("ohms", [(30, 40, 50, 60), (0, 40, 50, 0), (30, 0, 0, 60), (0, 0, 50, 0)])
def test_ends_sinks_and_zero_resistances(m, n, drive, read, ohms, method):
    G = cells(m, n, 1e-4, 1e-2)
    G[0, -1] = 0 if m * n > 1 else 1e-3
    T, reference = mna(G.numpy(), *ohms, drive, read)
    wires = Wires(*ohms, drive=drive, read=read)
    assert error(effective_conductance(G, wires, method=method), T) < 1e-10
    rng = np.random.default_rng(0)
    v, s = rng.normal(size=m), rng.normal(size=n)
    expected = reference(v, s)
    found = solve(G, wires, torch.tensor(v), sink=torch.tensor(s), method=method)
    assert error(found.currents, expected["currents"]) < 1e-10
    assert error(found.word_voltages, expected["word"]) < 1e-10
    assert error(found.bit_voltages, expected["bit"]) < 1e-10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("drive", ["left", "both"])
def test_resistances_per_line(drive, method):
    m, n = 6, 5
    G = cells(m, n, 1e-4, 1e-2)
    rng = np.random.default_rng(1)
    source, word = rng.uniform(0, 50, (2, m))
    bit, sense = rng.uniform(0, 50, (2, n))
    source[1] = word[1] = bit[2] = sense[2] = 0
    T, _ = mna(G.numpy(), source, word, bit, sense, drive)
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    given = {name: torch.tensor(value) for name, value in given.items()}
    found = effective_conductance(G, Wires(drive=drive), method=method, **given)
    assert error(found, T) < 1e-10


OHMS = st.sampled_from([0.0, 1e-9, 1e-3, 1.0, 20.0, 1e3, 1e6])
SIEMENS = st.sampled_from([0.0, 1e-9, 1e-6, 1e-5, 1e-4, 1e-2])


@st.composite
def circuits(draw):
    m, n = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**16))
    low, high = sorted((draw(SIEMENS), draw(st.sampled_from([1e-5, 1e-3]))))
    G = cells(m, n, low, high, seed)
    if draw(st.booleans()):
        G[draw(st.integers(0, m - 1))] = 0  # a word line that never connects
        G[0, 0] = high
    drive, read = draw(st.sampled_from(ENDS))
    return G, Wires(*(draw(OHMS) for _ in range(4)), drive=drive, read=read), seed


@settings(max_examples=150, deadline=None)
@given(circuits())
def test_kirchhoff(circuit):
    """Currents add up in every node, Ohm's law holds in every part, energy is conserved."""
    G, wires, seed = circuit
    m, n = G.shape
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(3, m, generator=generator, dtype=torch.float64)
    s = torch.randn(n, generator=generator, dtype=torch.float64)
    found = solve(G, wires, v, sink=s)
    u, b, J = found.word_voltages, found.bit_voltages, found.cell_currents
    # every node voltage lies between those of the terminals
    for nodes in (u, b):
        least = torch.minimum(v.min(-1).values, s.min())[:, None, None]
        most = torch.maximum(v.max(-1).values, s.max())[:, None, None]
        assert bool((nodes > least - 1e-9).all())
        assert bool((nodes < most + 1e-9).all())
    # Ohm in the cells
    scale = float(G.max() * (v.abs().max() + s.abs().max()))
    assert float((J - G * (u - b)).abs().max()) < 1e-10 * scale
    # Kirchhoff in the bit lines' nodes: what comes from above and the cell goes on below
    if wires.bit > 0 and m > 1:
        down = (b[:, :-1] - b[:, 1:]) / wires.bit
        if wires.read == "top":
            down = -down
            total = down[:, 0] + J[:, 0]
        else:
            total = down[:, -1] + J[:, -1]
        slack = 1e-10 * scale + 1e-14 / wires.bit
        assert float((total - found.currents).abs().max()) < slack * max(m, n)
    assert float((J.sum(-2) - found.currents).abs().max()) < 1e-12 * scale * m
    # energy
    power = found.source_power
    assert float((power - found.dissipated_power).abs().max()) < 1e-10 * scale * (3 * m * n)
    # T says the same
    T = effective_conductance(G, wires)
    grounded = solve(G, wires, v).currents
    assert float((v @ T - grounded).abs().max()) < 1e-10 * scale
    # and passive wires never add current
    assert float(T.min()) > -1e-12 * float(G.max())
    assert bool((T.sum(-2) <= G.sum(-2) * (1 + 1e-9)).all())


@settings(max_examples=60, deadline=None)
@given(circuits())
def test_methods_agree(circuit):
    G, wires, _ = circuit
    # where iterating makes sense at all
    if (wires.source + wires.sense + 12 * (wires.word + wires.bit)) * float(G.sum()) > 1e4:
        return
    merged = effective_conductance(G, wires)
    assert float(
        (merged - effective_conductance(G, wires, method="cg")).abs().max()
    ) < 1e-10 * float(G.max())


def test_tends_to_ideal():
    G = cells(20, 30)
    assert torch.equal(effective_conductance(G, Wires()), G)
    zeros = effective_conductance(G, Wires(), word=torch.zeros(20))  # through the solver
    assert error(zeros, G) < 1e-13
    errors = [error(effective_conductance(G, Wires(r, r, r, r)), G) for r in (1e-1, 1e-3, 1e-5)]
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 100, rtol=0.05)


def test_huge_resistance_isolates():
    G = cells(5, 4)
    T = effective_conductance(G, Wires(source=1e15))
    torch.testing.assert_close(
        T.sum(-1), torch.full((5,), 1e-15, dtype=torch.float64), rtol=1e-9, atol=0
    )
    only = effective_conductance(G, Wires(word=1e18, bit=1e18))
    assert float(only[-1, 0] / G[-1, 0]) == pytest.approx(1, rel=1e-9)  # next to driver and sink
    assert float(only.flatten().sort().values[-2]) < 1e-15


def test_long_lossy_line_does_not_overflow():
    """A line of 300 segments attenuates by hundreds of decades; nothing may become NaN."""
    G = torch.full((1, 300), 1e-2, dtype=torch.float64)
    T = effective_conductance(G, Wires(word=1e4))
    assert bool(torch.isfinite(T).all())
    assert bool((T[0, 1:] < T[0, :-1]).sum() > 100)


def test_one_cell_by_hand():
    G = torch.tensor([[1e-3]])
    T = effective_conductance(G, Wires(source=10, word=1e9, bit=1e9, sense=20))
    assert float(T) == pytest.approx(1 / (10 + 1e3 + 20), rel=1e-6)


def test_two_by_one_by_hand():
    """Two cells on one bit line: a divider."""
    g1, g2, bit, sense = 1e-3, 2e-3, 100.0, 50.0
    G = torch.tensor([[g1], [g2]], dtype=torch.float64)
    T = effective_conductance(G, Wires(bit=bit, sense=sense))
    upper = 1 / (1 / g1 + bit)
    total = upper + g2
    node = 1 / sense + total
    expected = torch.tensor([[upper], [g2]], dtype=torch.float64) / sense / node
    torch.testing.assert_close(T, expected, rtol=1e-13, atol=0)


def test_mirror_symmetry():
    """Reciprocity: swapping lines' roles transposes T; uniform arrays are symmetric."""
    G = cells(9, 14)
    T = effective_conductance(G, Wires(1, 20, 30, 4))
    # turned by 180 degrees and transposed, drivers and sinks change places
    turned = effective_conductance(G.flip(0, 1).mT.contiguous(), Wires(4, 30, 20, 1))
    assert error(turned.mT.flip(0, 1), T) < 1e-13
    uniform = effective_conductance(
        torch.full((8, 8), 1e-3, dtype=torch.float64), Wires(1, 9, 9, 1)
    )
    assert error(uniform.flip(0, 1).mT, uniform) < 1e-13
    both = effective_conductance(
        torch.full((4, 7), 1e-3, dtype=torch.float64), Wires(1, 9, 9, 1, drive="both")
    )
    assert error(both.flip(1), both) < 1e-13


@pytest.mark.parametrize(("size", "share"), [(64, 0.74), (128, 0.43), (256, 0.18)])
def test_severity_guide(size, share):
    """Mean current at 5 ohm with cells between 10 and 100 kilo-ohm, as other tools find it."""
    generator = torch.Generator().manual_seed(0)
    ohms = 1e4 + 9e4 * torch.rand(size, size, generator=generator, dtype=torch.float64)
    G = 1 / ohms
    found = float(effective_conductance(G, Wires(5, 5, 5, 5)).sum() / G.sum())
    assert found == pytest.approx(share, abs=0.015)


def test_batches():
    G = cells(6, 5, batch=(2, 3))
    wires = Wires(3, 4, 5, 6)
    T = effective_conductance(G, wires)
    single = torch.stack([torch.stack([effective_conductance(g, wires) for g in row]) for row in G])
    torch.testing.assert_close(T, single, rtol=1e-13, atol=0)
    v = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    found = solve(G, wires, v)
    assert found.cell_voltages.shape == (2, 3, 4, 6, 5)
    assert found.source_power.shape == (2, 3, 4)
    torch.testing.assert_close(found.currents, v @ T, rtol=1e-6, atol=0.0)
    one = solve(G, wires, v[0, 0, 0])
    assert one.currents.shape == (2, 3, 5)
    many = solve(G[0, 0], wires, v)
    torch.testing.assert_close(many.currents, v @ T[0, 0], rtol=1e-6, atol=0.0)


def test_batches_larger_than_memory_allows_at_once(monkeypatch):
    monkeypatch.setattr("mho.circuit.solver.CELLS_AT_ONCE", 40)
    G = cells(5, 6, batch=(5,)).requires_grad_()
    T = effective_conductance(G, Wires(3, 4, 5, 6))
    weights = torch.randn(5, 5, 6, dtype=torch.float64)
    (chunked,) = torch.autograd.grad((T * weights).sum(), G)
    monkeypatch.undo()
    again = effective_conductance(G, Wires(3, 4, 5, 6))
    (whole,) = torch.autograd.grad((again * weights).sum(), G)
    torch.testing.assert_close(T, again)
    torch.testing.assert_close(chunked, whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept_and_solved_in_double(dtype):
    G = cells(10, 10).to(dtype)
    T = effective_conductance(G, Wires(5, 5, 5, 5))
    exact = effective_conductance(G.double(), Wires(5, 5, 5, 5))
    assert T.dtype == dtype
    assert torch.equal(T, exact.to(dtype))
    assert solve(G, Wires(5, 5, 5, 5), torch.ones(10)).currents.dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu():
    G = cells(33, 20)
    wires = Wires(5, 5, 5, 5, drive="both")
    found = effective_conductance(G.cuda(), wires)
    assert found.device.type == "cuda"
    assert error(found.cpu(), effective_conductance(G, wires)) < 1e-12


def test_severe_array_iterates_or_says_so():
    from mho.circuit import cg
    from mho.circuit.grid import canonical

    G = cells(12, 12)[None]
    ohms = torch.full((1, 12), 1e9, dtype=torch.float64)
    grid = canonical(G, Wires(), ohms, ohms, ohms, ohms)
    with pytest.raises(RuntimeError, match="stopped after 3 iterations"):
        cg.effective(grid, limit=3)


def test_solve_chooses_its_method(monkeypatch):
    """Few vectors on good wires iterate, many or severe ones merge, giants iterate if they can."""
    from mho.circuit import merge, solver

    called = []
    direct = merge.cell_currents
    monkeypatch.setattr(merge, "cell_currents", lambda *given: called.append(1) or direct(*given))
    G = cells(16, 16)
    solve(G, Wires(1, 1, 1, 1), torch.ones(16))
    assert not called
    solve(G, Wires(1, 1, 1, 1), torch.ones(40, 16))
    assert len(called) == 1
    solve(G, Wires(1e9, 1e9, 1e9, 1e9), torch.ones(16))
    assert len(called) == 2
    monkeypatch.setattr(solver, "LARGE", 100)
    solve(G, Wires(1, 1, 1, 1), torch.ones(40, 16))
    assert len(called) == 2
    solve(G, Wires(1e9, 1e9, 1e9, 1e9), torch.ones(16))
    assert len(called) == 3


@pytest.mark.parametrize(("rows", "cols"), [(8, 8), (4, 32), (32, 4), (1, 6), (6, 1)])
def test_what_no_neighbour_will_meet_is_eliminated_with_the_last_merge_of_its_axis(rows, cols):
    """In the end a block has its drivers and its outputs, and far ends where these are driven."""
    for both in (False, True):
        found = plan(rows, cols, both)
        ends = [len(found.near_word), len(found.near_bit), len(found.far_word)]
        assert ends == [found.rows, found.cols, found.rows if both else 0]
        places = torch.cat([found.near_word, found.near_bit, found.far_word]).sort().values
        assert places.tolist() == list(range(sum(ends)))
        assert sorted(found.leaf.flatten().tolist()) == list(range(found.rows * found.cols))
