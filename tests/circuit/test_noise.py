"""White noise of cells on wires, against circuits solved cell by cell."""

import pytest
import torch

import mho.circuit.noise
from mho.circuit import Wires, effective_conductance, solve
from mho.circuit.noise import noise_form, noise_moments

DTYPE = torch.float64
SIGMA = 0.05
WIRES = {
    "usual": Wires(1.0, 1.0, 1.0, 1.0),
    "other ends": Wires(2.0, 1.0, 0.5, 1.0, drive="right", read="top"),
    "both drivers": Wires(1.0, 2.0, 1.0, 0.0, drive="both"),
}


def cells(m, n, seed=0):
    """Half of them rest at the lowest conductance, as in a differential pair."""
    w = torch.rand(m, n, dtype=DTYPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return 1e-5 + 9e-5 * w.clamp(min=0)


def at_half(g, wires):
    """Wires of that kind whose mean attenuation is 0.5, by bisection."""
    low, high = 1e-3, 1e6
    for _ in range(25):
        factor = (low * high) ** 0.5
        scaled = Wires(
            *(factor * r for r in (wires.source, wires.word, wires.bit, wires.sense)),
            drive=wires.drive,
            read=wires.read,
        )
        attenuation = float(effective_conductance(g, scaled).sum() / g.sum())
        low, high = (factor, high) if attenuation > 0.5 else (low, factor)
    return scaled


def inputs(m):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, m, dtype=DTYPE, generator=generator)
    return {"random": 2 * x - 1, "positive": x, "all on": torch.ones(1, m, dtype=DTYPE)}


def reference(g, wires, v, columns):
    """Σ_c (dI_j/dg_c)² σ_c², by the gradient of the exact solver."""
    g = g.clone().requires_grad_()
    currents = v @ effective_conductance(g, wires)
    found = torch.empty(len(v), len(columns), dtype=DTYPE)
    for b in range(len(v)):
        for k, j in enumerate(columns):
            (slope,) = torch.autograd.grad(currents[b, j], g, retain_graph=True)
            found[b, k] = (slope * SIGMA * g.detach()).square().sum()
    return found


@pytest.mark.parametrize("wires", WIRES.values(), ids=WIRES)
@pytest.mark.parametrize("shape", [(64, 64), (24, 48), (64, 16)])
def test_noise_at_a_mean_attenuation_of_one_half(shape, wires):
    """Within 1 % in standard deviation (rms over columns); bare cells are far off."""
    g = cells(*shape)
    wires = at_half(g, wires)
    eye = torch.eye(shape[1], dtype=DTYPE)
    form = noise_form(noise_moments(g[None], (SIGMA * g[None]).square(), wires, eye)[0])
    columns = list(range(0, shape[1], 8))
    for v in inputs(shape[0]).values():
        expected = reference(g, wires, v, columns).sqrt()
        ratio = form.variance(v)[:, columns].sqrt() / expected
        assert float((ratio - 1).square().mean().sqrt()) < 0.01
        bare = (v.square() @ (SIGMA * g).square())[:, columns].sqrt() / expected
        assert float(bare.mean()) > 1.4


def test_the_reference_is_the_noise_of_a_circuit_with_noisy_cells():
    """Standard deviations over 3,000 circuits, each solved exactly (0.2 % statistical error)."""
    g = cells(24, 16)
    wires = at_half(g, WIRES["usual"])
    v = inputs(24)["positive"][:1]
    torch.manual_seed(2)
    drawn = g * (1 + 0.01 * torch.randn(3000, *g.shape, dtype=DTYPE))
    seen = (v @ effective_conductance(drawn, wires))[:, 0].std(0) / 0.01 * SIGMA
    expected = reference(g, wires, v, list(range(16)))[0].sqrt()
    assert float((seen / expected - 1).square().mean().sqrt()) < 3 / (2 * 3000) ** 0.5
    assert float((seen / expected).mean()) == pytest.approx(1, abs=4 / (2 * 3000 * 16) ** 0.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (4, 3), (17, 6)])
def test_one_driven_line_and_probes_are_exact(shape):
    """Kirchhoff, cell by cell: voltage across each cell, and where its current goes."""
    m, n = shape
    g = cells(m, n)
    wires = Wires(900.0, 200.0, 300.0, 500.0)
    eye = torch.eye(n, dtype=DTYPE)
    variance = (SIGMA * g).square()
    form = noise_form(noise_moments(g[None], variance[None], wires, eye)[0])
    v = torch.cat([torch.eye(m, dtype=DTYPE), torch.ones(1, m, dtype=DTYPE)])
    across = solve(g, wires, v).cell_voltages
    seen = solve(g, wires, torch.zeros(n, m, dtype=DTYPE), sink=-eye).cell_voltages
    exact = across.square().flatten(1) @ (seen.square() * variance).flatten(1).mT
    torch.testing.assert_close(form.variance(v)[:-1], exact[:-1], rtol=1e-6, atol=0.0)
    torch.testing.assert_close(form.variance(v)[-1], exact[-1], rtol=0.03, atol=0.0)


def test_good_wires_leave_the_noise_of_bare_cells():
    g = cells(20, 10)
    variance, eye = (SIGMA * g).square(), torch.eye(10, dtype=DTYPE)
    moments = noise_moments(g[None], variance[None], Wires(word=1e-6), eye)
    v = inputs(20)["random"]
    bare = v.square() @ variance
    torch.testing.assert_close(noise_form(moments[0]).variance(v), bare, rtol=1e-7, atol=0.0)


def test_an_array_that_does_not_conduct_has_the_noise_of_bare_cells():
    variance = torch.rand(2, 5, 4, dtype=DTYPE)
    eye = torch.eye(4, dtype=DTYPE)
    moments = noise_moments(torch.zeros(2, 5, 4, dtype=DTYPE), variance, WIRES["usual"], eye)
    v = inputs(5)["random"]
    bare = v.square() @ variance
    torch.testing.assert_close(noise_form(moments).variance(v), bare, rtol=1e-9, atol=0.0)


def test_transposed_is_the_turned_array():
    """Drivers at the bit lines' lower ends and sinks at the left: another corner, the same net."""
    g, wires = cells(12, 9), Wires(700, 300, 200, 400)
    variance, eye = (SIGMA * g).square(), torch.eye(9, dtype=DTYPE)
    there = noise_moments(g[None], variance[None], wires, eye, transposed=True)
    turned = Wires(400, 200, 300, 700, drive="right", read="top")
    words = torch.eye(12, dtype=DTYPE)
    back = noise_moments(g.mT[None], variance.mT[None], turned, words)
    torch.testing.assert_close(there, back, rtol=1e-9, atol=0.0)


def test_large_tiles_are_solved_a_few_vectors_at_a_time(monkeypatch):
    """In single precision: the same moments to a few 1e-6, for cells of a picosiemens, too."""
    g = cells(40, 60)
    variance, eye = (1e-7 * g).square(), torch.eye(60, dtype=DTYPE)
    args = (1e-7 * g[None], 1e-7**2 * variance[None], Wires(1e8, 1e8, 1e8, 1e8), eye)
    whole = noise_moments(*args)
    monkeypatch.setattr(mho.circuit.noise, "_CELLS_AT_ONCE", 1)
    monkeypatch.setattr(mho.circuit.noise, "_FEWEST_VECTORS", 16)
    parts = noise_moments(*args)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))
