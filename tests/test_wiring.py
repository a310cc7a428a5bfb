"""Wires in the heart: what crossbars read through them, and when they are solved."""

import copy

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch.autograd import gradcheck

import mho.crossbar.wires
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.circuit import Wires, effective_conductance
from mho.devices import LinearDevice
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn, Ternary

WIRES = Wires(source=200.0, word=30.0, bit=20.0, sense=100.0)
ENCODINGS = {
    "differential": Differential(),
    "digital": Differential(Scaling(per_column=True), subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=6, bits_per_cell=2),
    "ternary": Ternary(),
}
DTYPE = torch.float64


def weights(rows, cols, seed=0):
    return torch.randn(rows, cols, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))


def programmed(rows=10, cols=5, groups=1, *, wires=WIRES, tile=(4, 3), **parts):
    interleaved, solve_every = parts.pop("interleaved", False), parts.pop("solve_every", 1)
    array = Array(*tile, wires=wires, interleaved=interleaved, solve_every=solve_every)
    hardware = Hardware(array=array, **parts)
    crossbar = Crossbar(rows, cols, hardware, groups=groups, dtype=DTYPE)
    crossbar.program(weights(groups * rows, cols))
    return crossbar


def nodal(G, wires, volts):
    """Currents of one tile: Kirchhoff's law at every node, as a circuit simulator writes it."""
    m, n = G.shape
    matrix = scipy.sparse.lil_matrix((2 * m * n, 2 * m * n))
    driven = np.zeros(2 * m * n)

    def join(a, g, b=None):
        matrix[a, a] += g
        if b is not None:
            matrix[b, b] += g
            matrix[a, b] -= g
            matrix[b, a] -= g

    for i in range(m):
        for j in range(n):
            word, bit = i * n + j, m * n + i * n + j
            join(word, float(G[i, j]), bit)
            if j == 0:
                join(word, 1 / wires.source)
                driven[word] += float(volts[i]) / wires.source
            else:
                join(word, 1 / wires.word, word - 1)
            if i == m - 1:
                join(bit, 1 / wires.sense)
            else:
                join(bit, 1 / wires.bit, bit + n)
    nodes = scipy.sparse.linalg.spsolve(matrix.tocsc(), driven)
    return torch.from_numpy(nodes[-n:] / wires.sense)


def tiles(crossbar):
    """Yield every tile, in plain loops: its conductances, and where its cells lie in ``G``."""
    array, (slices, rows, cols) = crossbar.hardware.array, crossbar.G.shape
    if array.interleaved:
        each = array.cols // slices
        lines = [
            [(s, j) for j in range(a, min(a + each, cols)) for s in range(slices)]
            for a in range(0, cols, each)
        ]
    else:
        lines = [
            [(s, j) for j in range(a, min(a + array.cols, cols))]
            for s in range(slices)
            for a in range(0, cols, array.cols)
        ]
    for group in range(0, rows, crossbar.rows):
        for top in range(group, group + crossbar.rows, array.rows):
            inside = range(top, min(top + array.rows, group + crossbar.rows))
            for line in lines:
                s, j = (torch.tensor(k) for k in zip(*line, strict=True))
                i = torch.tensor(inside)[:, None]
                yield crossbar.G[s, i, j], (s, i, j)


def tile_by_tile(crossbar):
    T = torch.full_like(crossbar.G, torch.nan)
    for G, place in tiles(crossbar):
        T[place] = effective_conductance(G, crossbar.hardware.array.wires)
    return T


def assert_close(found, wanted, rtol=1e-10):
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= rtol * float(wanted.abs().max())


@pytest.fixture
def solutions(monkeypatch):
    """Count how often wires are solved."""
    calls = []
    solve = mho.crossbar.wires.wired

    def counted(*args):
        calls.append(args)
        return solve(*args)

    monkeypatch.setattr(mho.crossbar.wires, "wired", counted)
    return calls


# ── what they are ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("rows", "cols", "tile"),
    [(10, 5, (4, 8)), (8, 8, (4, 8)), (3, 2, (4, 8)), (9, 1, (4, 9)), (5, 7, (1, 6))],
)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_tile_has_its_own_effective_conductance(
    encoding, groups, rows, cols, tile, interleaved
):
    crossbar = programmed(
        rows, cols, groups, tile=tile, encoding=ENCODINGS[encoding], interleaved=interleaved
    )
    T = mho.crossbar.wires.wired(crossbar.G, crossbar.hardware.array, groups)
    wanted = tile_by_tile(crossbar)
    assert_close(T, wanted)
    decoded = crossbar.hardware.encoding.decode(wanted, crossbar.scale)
    assert_close(crossbar.effective_weight, decoded)
    assert_close(torch.eye(groups * rows, dtype=DTYPE)[:rows] @ crossbar, by_group(decoded, groups))


def by_group(weight, groups):
    """What inputs of the first group alone give: its matrix beside zeros."""
    first = weight.unflatten(0, (groups, -1))[0]
    return torch.cat([first, first.new_zeros(first.shape[0], (groups - 1) * first.shape[1])], 1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_read_is_what_a_circuit_simulator_finds(encoding, interleaved):
    crossbar = programmed(5, 4, tile=(3, 6), encoding=ENCODINGS[encoding], interleaved=interleaved)
    x = torch.tensor([0.3, -1.0, 0.0, 0.7, 0.2], dtype=DTYPE)
    currents = torch.zeros(crossbar.G.shape[0], 1, crossbar.G.shape[2], dtype=DTYPE)
    for G, (s, i, j) in tiles(crossbar):
        currents[s, 0, j] += nodal(G, WIRES, x[i[:, 0]])
    wanted = crossbar.hardware.encoding.decode(currents, crossbar.scale)[0]
    assert_close(x @ crossbar, wanted, rtol=1e-9)
    assert float((x @ crossbar - x @ crossbar.weight).abs().max()) > 1e-3  # wires matter here


def test_other_ends_of_the_lines():
    wires = Wires(source=50.0, word=10.0, bit=10.0, sense=50.0, drive="both", read="top")
    crossbar = programmed(wires=wires)
    assert_close(
        mho.crossbar.wires.wired(crossbar.G, crossbar.hardware.array), tile_by_tile(crossbar)
    )


def test_tiled_reads_see_the_same_wires_as_collapsed_ones():
    x = torch.rand(7, 10, dtype=DTYPE)
    wanted = x @ programmed()
    for parts in (
        {"effects": (ReadNoise(0.0),)},
        {"adc": ADC(24, range="per_call")},
        {"dac": DAC(20, range="per_call", mode="bit_serial")},
    ):
        crossbar = programmed(**parts)
        assert not crossbar.collapsed
        assert_close(x @ crossbar, wanted, rtol=1e-5)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_transposed_read_is_exact(encoding, interleaved):
    crossbar = programmed(tile=(4, 8), encoding=ENCODINGS[encoding], interleaved=interleaved)
    x = torch.randn(6, 5, dtype=DTYPE)
    assert_close(x @ crossbar.T, x @ crossbar.effective_weight.T)


def test_the_transposed_read_is_what_a_circuit_simulator_finds():
    crossbar = programmed(4, 3, tile=(8, 8))
    x = torch.tensor([0.5, -1.0, 0.2], dtype=DTYPE)
    # Bit lines are driven through their sense resistors, word lines read through their source
    # resistors: the same network, seen from the opposite corner.
    turned = Wires(source=WIRES.sense, word=WIRES.bit, bit=WIRES.word, sense=WIRES.source)
    currents = [nodal(G.T.flip(0, 1), turned, x.flip(0)).flip(0) for G in crossbar.G]
    assert_close(x @ crossbar.T, (currents[0] - currents[1]) * crossbar.scale, rtol=1e-9)


# ── ideal wires, empty arrays ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("parts", [{}, {"adc": ADC(6, range="per_call")}])
def test_zero_wires_change_no_bit(parts):
    x = torch.randn(6, 10, dtype=DTYPE)
    without = Crossbar(10, 5, Hardware(array=Array(4, 3), **parts), dtype=DTYPE)
    without.program(weights(10, 5))
    crossbar = programmed(wires=Wires(), **parts)
    assert torch.equal(x @ crossbar, x @ without)
    assert torch.equal(x[:, :5] @ crossbar.T, x[:, :5] @ without.T)
    weight = weights(10, 5, seed=1)
    assert torch.equal(crossbar.read_through(x, weight), without.read_through(x, weight))


@pytest.mark.parametrize("interleaved", [False, True])
def test_cells_that_do_not_conduct_at_all(interleaved):
    array = Array(4, 4, wires=WIRES, interleaved=interleaved)
    hardware = Hardware(device=LinearDevice(g_min=0.0, g_max=1e-4), array=array)
    crossbar = Crossbar(10, 5, hardware, dtype=DTYPE)
    x = torch.randn(6, 10, dtype=DTYPE)
    assert torch.equal(x @ crossbar, torch.zeros(6, 5, dtype=DTYPE))
    weight = weights(10, 5)
    weight[:4] = 0.0  # whole tiles without a conducting cell, beside others
    crossbar.program(weight)
    assert not crossbar.G[:, :4].any()
    assert torch.equal(crossbar.effective_weight[:4], torch.zeros(4, 5, dtype=DTYPE))
    assert torch.isfinite(x @ crossbar).all()
    assert (x @ crossbar).any()


# ── when they are solved ─────────────────────────────────────────────────────────────────────


def test_solved_once_for_any_number_of_reads(solutions):
    crossbar = programmed()
    x = torch.rand(3, 10, dtype=DTYPE)
    for _ in range(4):
        x @ crossbar
        x[:, :5] @ crossbar.T
        crossbar.effective_weight  # noqa: B018 (it is the reading that counts)
    assert len(solutions) == 1


def test_what_programming_has_solved_is_not_solved_again_by_reads(solutions):
    crossbar = programmed()
    solutions.clear()
    crossbar.program(weights(10, 5, seed=2))  # what the reference of drift needs
    assert len(solutions) == 1
    crossbar(torch.rand(3, 10, dtype=DTYPE))
    assert len(solutions) == 1
    crossbar.reset_parameters(3)
    assert len(solutions) == 1


CHANGES = {
    "program": lambda c, _: c.program(weights(10, 5, seed=3)),
    "age": lambda c, _: c.age(1e4),
    "store": lambda c, _: c.store(c.G * 0.5),
    "fabricate": lambda c, _: c.reset_parameters(5),
    "load": lambda c, state: c.load_state_dict(state),
    "by hand": lambda c, _: (c.G.mul_(0.5), c.refresh()),
}


@pytest.mark.parametrize("adc", [None, ADC(24, range="per_call")])
@pytest.mark.parametrize("change", CHANGES)
def test_solved_anew_when_the_cells_have_changed(solutions, change, adc):
    other, crossbar = (programmed(effects=(PowerLawDrift(0.1),), adc=adc) for _ in range(2))
    other.store(other.G * 0.5)
    x = torch.rand(3, 10, dtype=DTYPE)
    before = x @ crossbar
    solutions.clear()
    CHANGES[change](crossbar, other.state_dict())
    y = x @ crossbar
    x @ crossbar
    assert len(solutions) == 1
    assert not torch.equal(y, before)
    T = crossbar.hardware.encoding.decode(tile_by_tile(crossbar), crossbar.scale)
    assert_close(y, x @ T, rtol=1e-5)


def test_calibration_of_the_outputs_solves_nothing_anew(solutions):
    crossbar = programmed()
    x = torch.rand(3, 10, dtype=DTYPE)
    before = x @ crossbar
    crossbar.gain = torch.full_like(crossbar.gain, 2.0)
    crossbar.refresh()
    assert_close(x @ crossbar, 2.0 * before)
    assert len(solutions) == 1


def test_a_copy_knows_its_wires_and_is_independent(solutions):
    crossbar = programmed()
    x = torch.rand(3, 10, dtype=DTYPE)
    before = x @ crossbar
    twin = copy.deepcopy(crossbar)
    assert torch.equal(x @ twin, before)
    assert len(solutions) == 1
    twin.program(weights(10, 5, seed=4))
    assert not torch.equal(x @ twin, before)
    assert torch.equal(x @ crossbar, before)


def test_a_first_read_in_inference_mode_leaves_gradients_possible():
    crossbar = programmed()
    x = torch.rand(3, 10, dtype=DTYPE)
    with torch.inference_mode():
        x[:, :5] @ crossbar.T
        x @ crossbar
    x.requires_grad_()
    (x @ crossbar).sum().backward()
    assert_close(x.grad, crossbar.effective_weight.sum(1).expand(3, -1))


def test_a_life_in_inference_mode():
    x = torch.rand(3, 10, dtype=DTYPE)
    with torch.inference_mode():
        crossbar = programmed(effects=(PowerLawDrift(0.1),))
        before = x @ crossbar
        state = copy.deepcopy(crossbar.state_dict())
        crossbar.age(1e5)
        assert not torch.equal(x @ crossbar, before)
        crossbar.load_state_dict(state)
        assert torch.equal(x @ crossbar, before)


# ── training through them ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("encoding", ["differential", "single"])
def test_gradient_through_the_wires(encoding, interleaved):
    crossbar = programmed(3, 2, tile=(2, 3), encoding=ENCODINGS[encoding], interleaved=interleaved)
    x = torch.randn(2, 3, dtype=DTYPE, requires_grad=True)
    weight = weights(3, 2).requires_grad_()
    # The largest weight sets the scale, which is held constant: leave it out.
    fixed = weights(3, 2)
    largest = fixed.abs() == fixed.abs().max()

    def read(x, weight):
        return crossbar.read_through(x, torch.where(largest, fixed, weight))

    assert gradcheck(read, (x, weight))


def test_training_reads_what_programming_would_store():
    crossbar = programmed()
    x = torch.randn(4, 10, dtype=DTYPE)
    assert_close(crossbar.read_through(x, weights(10, 5)), x @ crossbar)


def test_solve_every(solutions):
    crossbar = programmed(solve_every=3)
    solutions.clear()
    x, first = torch.randn(4, 10, dtype=DTYPE), weights(10, 5)
    exact = crossbar.read_through(x, first)
    assert len(solutions) == 1
    second = first + 0.01 * weights(10, 5, seed=1)
    second[first.abs() == first.abs().max()] = first[first.abs() == first.abs().max()]
    between = [crossbar.read_through(x, second.clone()) for _ in range(2)]
    assert len(solutions) == 1
    assert torch.equal(*between)
    again = crossbar.read_through(x, second.clone())
    assert len(solutions) == 2
    # The kept attenuation is nearly that of the new cells, far nearer than none.
    off = (between[0] - again).norm()
    assert 0 < float(off) < 0.05 * float((x @ second - again).norm())
    assert_close(exact, x @ crossbar)


def test_reads_of_one_version_of_the_weights_see_the_same(solutions):
    """A forward pass that is computed twice, or reads twice, makes one decision."""
    crossbar = programmed(solve_every=2)
    wires, g = mho.crossbar.wires.TileWires(crossbar.hardware.array, 1), crossbar.G
    solutions.clear()
    solved, weight = [], torch.zeros(3)
    for moves in (True, False, True, False, False, True, False, True):
        if moves:
            weight += 1.0
        before = len(solutions)
        T = wires.fresh(g * (1 + weight[0]), [weight])
        assert torch.equal(T, wires.fresh(g * (1 + weight[0]), [weight]))
        solved.append(len(solutions) > before)
    assert solved == [True, True, False, False, False, True, True, False]
    # Another tensor is another version, even where torch gives it the address of the last.
    for solves in (True, False, True, False):
        before = len(solutions)
        wires.fresh(g, [torch.zeros(3)])
        assert (len(solutions) > before) is solves


def test_solve_every_keeps_each_cells_attenuation_as_a_constant():
    crossbar = programmed(solve_every=2)
    x, weight = torch.eye(10, dtype=DTYPE), weights(10, 5)
    crossbar.read_through(x, weight)
    weight = weight.clone().requires_grad_()
    crossbar.read_through(x, weight).sum().backward()
    # Exactly one of a pair's cells follows its weight: its own attenuation is the gradient.
    own = (tile_by_tile(crossbar) / crossbar.G)[[0, 1]]
    wanted = torch.where(weight > 0, own[0], own[1])
    assert_close(weight.grad, wanted.detach())


def test_solve_every_with_cells_that_did_not_conduct():
    # A sneak current through a cell of 0 S is no attenuation: the next draw may conduct.
    device = LinearDevice(g_min=0.0, g_max=1e-4)
    crossbar = programmed(device=device, solve_every=2)
    x, weight = torch.rand(4, 10, dtype=DTYPE), weights(10, 5)
    crossbar.read_through(x, weight)
    between = crossbar.read_through(x, -weight)
    again = crossbar.read_through(x, -weight)  # another tensor: another version of the weights
    assert float((between - again).norm()) < 0.5 * float(again.norm())


def test_solve_every_after_an_array_that_did_not_conduct_at_all():
    device = LinearDevice(g_min=0.0, g_max=1e-4)
    crossbar = programmed(device=device, solve_every=2)
    x, weight = torch.rand(4, 10, dtype=DTYPE), weights(10, 5)
    crossbar.read_through(x, 0.0 * weight)
    assert_close(crossbar.read_through(x, weight), x @ weight)  # as if wires were ideal, once


def test_solve_every_after_a_change_of_dtype():
    crossbar = programmed(solve_every=5)
    x, weight = torch.rand(4, 10, dtype=DTYPE), weights(10, 5)
    wanted = crossbar.read_through(x, weight)
    crossbar.float()
    found = crossbar.read_through(x.float(), weight.float())
    assert found.dtype == torch.float32
    assert_close(found.double(), wanted, rtol=1e-4)


def test_training_and_reading_do_not_disturb_each_other(solutions):
    crossbar = programmed(effects=(WriteNoise(0.02), StuckAt(low=0.05)))
    x = torch.rand(3, 10, dtype=DTYPE)
    before = x @ crossbar
    for _ in range(3):
        crossbar.read_through(x, weights(10, 5, seed=6))
    assert torch.equal(x @ crossbar, before)
    assert len(solutions) == 4


# ── what is refused ──────────────────────────────────────────────────────────────────────────


def test_refusals():
    with pytest.raises(ValueError, match="gated"):
        Array(wires=Wires(gated=True))
    with pytest.raises(TypeError, match="wires"):
        Array(wires=5.0)
    with pytest.raises(ValueError, match="solve_every"):
        Array(solve_every=0)
    with pytest.raises(TypeError, match="interleaved"):
        Array(interleaved=1)
    with pytest.raises(ValueError, match="word"):
        Array(wires=Wires(word=-1.0))
    with pytest.raises(ValueError, match="interleaved"):
        Hardware(array=Array(4, 1, interleaved=True))


def test_wires_are_part_of_what_a_checkpoint_belongs_to():
    with pytest.raises(RuntimeError, match="wires"):
        programmed().load_state_dict(programmed(wires=Wires(word=1.0)).state_dict())
