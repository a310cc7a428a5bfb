"""Solvers: their measured order of convergence, their bounds, and the statistics of their noise."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from mho.devices import integrate
from mho.devices.integrate import EULER, HEUN, RK4, Integrator


def smooth_error(solver: Integrator, steps: int, as_tensor: bool) -> float:
    """Error at t = 1 of dx/dt = x (1 - x) · 2 cos²(t), a logistic with a moving rate."""
    dt = 1.0 / steps
    count = 2 * steps + 1 if solver.middle else steps + 1
    drives = [
        2 * math.cos(t) ** 2 for t in torch.linspace(0, 1, count, dtype=torch.float64).tolist()
    ]
    x = 0.2
    if as_tensor:
        x = torch.tensor([0.2], dtype=torch.float64)  # type: ignore[assignment]
    for state in solver.states(lambda x, d: x * (1 - x) * d, x, drives, dt):
        x = state
    grown = 0.25 * math.exp(1.0 + math.sin(2.0) / 2.0)
    return abs(float(x) - grown / (1.0 + grown))


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("solver", [EULER, HEUN, RK4], ids=lambda s: s.name)
def test_order_of_convergence(solver: Integrator, as_tensor: bool) -> None:
    errors = [smooth_error(solver, steps, as_tensor) for steps in (20, 40, 80)]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(solver.order, abs=0.15)


@pytest.mark.parametrize("solver", [EULER, HEUN, RK4], ids=lambda s: s.name)
def test_increments_are_the_steps_of_a_rate_without_state(solver: Integrator) -> None:
    rates = torch.sin(torch.arange(2 * 10 + 1 if solver.middle else 11, dtype=torch.float64))
    steps = solver.states(lambda x, d: d, 0.5, rates.tolist(), 1e-2)
    summed = integrate.accumulate(0.5, solver.increments(rates, 1e-2))
    torch.testing.assert_close(summed[1:], torch.tensor(list(steps), dtype=torch.float64))


def test_accumulate_holds_the_sum_inside_at_every_step() -> None:
    increments = torch.tensor([0.4, 0.4, -0.5, -0.9, 0.1], dtype=torch.float64)
    expected = [0.5, 0.9, 1.0, 0.5, 0.0, 0.1]
    assert integrate.accumulate(0.5, increments).tolist() == pytest.approx(expected)


def test_states_stay_inside() -> None:
    for solver in (EULER, HEUN):
        assert list(solver.states(lambda x, d: d, 0.5, [10.0] * 4, 0.1))[-1] == 1.0
        assert list(solver.states(lambda x, d: d, 0.5, [-10.0] * 4, 0.1))[-1] == 0.0


def test_adaptive_meets_its_tolerance_for_rates_that_differ_by_decades() -> None:
    speed = torch.logspace(-2, 6, 9, dtype=torch.float64)
    x = torch.full_like(speed, 0.2)
    found = integrate.adaptive(lambda x, t: speed * x * (1 - x), x, torch.full_like(speed, 1.0))
    grown = torch.log(torch.tensor(0.25)) + speed
    torch.testing.assert_close(found, torch.sigmoid(grown), atol=1e-5, rtol=0)


def test_adaptive_is_third_order() -> None:
    x = torch.tensor([0.2], dtype=torch.float64)
    exact = torch.sigmoid(math.log(0.25) + torch.tensor([3.0], dtype=torch.float64))
    calls = []
    for tolerance in (1e-6, 1e-9):
        count = [0]

        def rate(x: torch.Tensor, t: torch.Tensor, count: list[int] = count) -> torch.Tensor:
            count[0] += 1
            return 3.0 * x * (1 - x)

        found = integrate.adaptive(rate, x, torch.ones_like(x), tolerance)
        assert float((found - exact).abs()) < 30 * tolerance
        calls.append(count[0])
    # The error of a step falls as h³: a thousandth of it costs ten times the steps, not more.
    assert calls[1] < 12 * calls[0]


def test_adaptive_stops_at_a_bound_and_follows_time() -> None:
    x = torch.tensor([0.5, 0.5], dtype=torch.float64)
    seconds = torch.tensor([10.0, 0.2], dtype=torch.float64)
    found = integrate.adaptive(lambda x, t: 1.0 + 2.0 * t, x, seconds)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.5 + 0.2 + 0.04], dtype=torch.float64))


def test_adaptive_gives_up_with_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrate, "_MAX_STEPS", 3)
    x = torch.tensor([0.5], dtype=torch.float64)
    with pytest.raises(ValueError, match="too long for this model"):
        integrate.adaptive(lambda x, t: 50.0 * (0.9 - x), x, torch.tensor([1.0]).double())


def noise(steps: int, solver: str, cells: int = 40_000) -> torch.Tensor:
    """Final states of dx = 0.3 (0.6 - x) dt + 0.05 dW from 0.4 after 1 s."""
    generator = torch.Generator().manual_seed(steps)
    x = torch.full((cells,), 0.4, dtype=torch.float64)
    normals = (torch.randn(cells, generator=generator, dtype=torch.float64) for _ in range(steps))
    run = getattr(integrate, solver)
    states = run(
        lambda x, d: 0.3 * (0.6 - x), lambda x, d: 0.05, x, [0.0] * (steps + 1), 1 / steps, normals
    )
    return list(states)[-1]


@pytest.mark.parametrize("solver", ["euler_maruyama", "heun_maruyama"])
def test_noise_does_not_depend_on_the_step(solver: str) -> None:
    mean = 0.6 - 0.2 * math.exp(-0.3)
    variance = 0.05**2 * (1 - math.exp(-0.6)) / 0.6
    for steps in (50, 100, 200):
        x = noise(steps, solver)
        # Within 4 standard errors (plus Euler's own O(dt) bias).
        bias = 0.02 / steps if solver == "euler_maruyama" else 1e-5
        assert abs(float(x.mean()) - mean) < 4 * math.sqrt(variance / len(x)) + bias
        relative = math.sqrt(2 / len(x))
        assert abs(float(x.var()) / variance - 1) < 4 * relative + 0.5 / steps
