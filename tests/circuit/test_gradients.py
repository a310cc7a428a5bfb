"""Gradients through the solvers, in the cells, the resistances and the voltages."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mho.circuit import Wires, effective_conductance, solve, solve_gated


def random(*shape, low=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return (low + torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()


@pytest.mark.parametrize("method", ["merge", "cg"])
@pytest.mark.parametrize("wires", [Wires(), Wires(drive="both", read="top")])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 2), (5, 6)])
def test_effective_conductance(m, n, wires, method):
    def function(G, source, word, bit, sense):
        return effective_conductance(
            0.1 * G, wires, source=source, word=word, bit=bit, sense=sense, method=method
        )

    inputs = random(m, n, low=0.1), random(m), random(m), random(n), random(n)
    assert gradcheck(function, inputs, atol=1e-7)


def test_through_larger_blocks_and_twice():
    """Sizes whose blocks are joined in place, with a gradient of its own."""
    G = random(6, 9, low=0.1)
    function = lambda G: effective_conductance(0.1 * G, Wires(1, 2, 3, 4))[1:3, 2:5]  # noqa: E731
    assert gradcheck(function, (G,))
    assert gradgradcheck(function, (G[:4, :4].detach().requires_grad_(),))
    # Here blocks are joined so before the last step, too.
    assert gradgradcheck(function, (G,), fast_mode=True)


@pytest.mark.parametrize("method", ["merge", "cg"])
@pytest.mark.parametrize("drive", ["left", "both"])
def test_solve(drive, method):
    m, n = 3, 4

    def function(G, source, word, bit, sense, voltages, sink):
        found = solve(
            0.1 * G,
            Wires(drive=drive),
            voltages,
            sink=sink,
            source=source,
            word=word,
            bit=bit,
            sense=sense,
            method=method,
        )
        return found.currents, found.word_voltages, found.bit_voltages, found.dissipated_power

    inputs = (random(m, n, low=0.1), random(m), random(m), random(n), random(n))
    assert gradcheck(function, (*inputs, random(2, m), random(n)), atol=1e-7)


def test_gated():
    def function(G, source, word, bit, sense, gates):
        found = solve_gated(
            0.1 * G, Wires(gated=True), gates, source=source, word=word, bit=bit, sense=sense
        )
        return found.currents, found.cell_voltages

    gates = (0.8 * random(2, 4).detach() + 0.1).requires_grad_()
    inputs = random(4, 3, low=0.1), random(3), random(3), random(3), random(3), gates
    assert gradcheck(function, inputs)


@pytest.mark.parametrize("method", ["merge", "cg"])
def test_open_cells_have_finite_gradients(method):
    """At G = 0 the gradient is the one-sided difference, not NaN (square roots and inverses)."""
    G = random(4, 5).detach() * 1e-3
    G[1] = 0
    G.requires_grad_()
    total = lambda G: effective_conductance(G, Wires(9, 9, 9, 9), method=method).sum()  # noqa: E731
    (grad,) = torch.autograd.grad(total(G), G)
    step = torch.zeros_like(G)
    step[1, 2] = 1e-8
    with torch.no_grad():
        slope = (total(G + step) - total(G)) / 1e-8
    assert float(grad[1, 2]) == pytest.approx(float(slope), rel=1e-4)
    assert bool(torch.isfinite(grad).all())


def test_number_of_resistance_is_a_parameter():
    ohms = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    G = random(6, 6).detach() * 1e-3
    effective_conductance(G, Wires(1, 1, 1, 1), word=ohms).sum().backward()
    assert ohms.grad is not None
    assert float(ohms.grad) < 0
