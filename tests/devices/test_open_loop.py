"""Open-loop programming, against populations that are pulsed one pulse after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from mho.devices import (
    ConstantStep,
    ExponentialDevice,
    ExpStep,
    LinearStep,
    PiecewiseStep,
    PowStep,
    PulsedDevice,
    SoftBoundsDevice,
    Spread,
    open_loop,
    presets,
)

F64 = torch.float64
N = 10_000
SIGMAS = 4.5

PRESETS = {
    name: device
    for name, device in ((p.name, presets.get(p.name)) for p in presets.list())
    if isinstance(device, PulsedDevice)
}
STEP = {"step": 2e-6}
NOISY = {
    **{name: device for name, device in PRESETS.items() if device.noisy},
    "soft bounds": SoftBoundsDevice(c2c=0.3, **STEP),
    "soft bounds, spread": SoftBoundsDevice(c2c=0.3, d2d=0.2, **STEP),
    "soft bounds, window": SoftBoundsDevice(g_max=Spread(Normal(1e-4, 1e-5)), c2c=0.3, **STEP),
    "linear, growing": LinearStep(slope_set=-0.5, c2c=0.5, d2d=0.1, **STEP),
    "linear, flat": LinearStep(slope_set=0.0, c2c=0.5, d2d=0.1, **STEP),
    "constant, spread": ConstantStep(c2c=0.5, d2d=0.1, asymmetry=0.2, **STEP),
    "power": PowStep(c2c=0.5, exponent_set=1.5, **STEP),
    "exponential step, spread": ExpStep(c2c=0.3, d2d=0.1, **STEP),
    "piecewise": PiecewiseStep(c2c=0.2, factors_set=(1.0, 0.2), **STEP),
    "power, two spreads": PowStep(
        c2c=0.5, d2d=0.1, exponent_set=Spread(Normal(1.5, 0.1), low=0.0), **STEP
    ),
    "labels spread": PRESETS["alox_hfo2"].replace(d2d=0.5),
    "labels and window spread": PRESETS["ag_a_si"].replace(
        d2d=0.3, g_max=Spread(Normal(38e-9, 4e-9)), g_min=Spread(Normal(3e-9, 5e-10), low=0.0)
    ),
    "noise spread": PRESETS["ag_a_si"].replace(c2c=Spread(Normal(0.035, 0.01), low=0.0)),
    "noise and labels spread": PRESETS["ag_a_si"].replace(
        c2c=Spread(Normal(0.035, 0.01), low=0.0), d2d=0.3
    ),
    "table, gains spread": PRESETS["fefet_3v0"].replace(d2d=0.2),
}
# Thousands of pulses one by one are for other days.
SLOW = ("ecram_metal_oxide",)


def both(device: PulsedDevice, share: float, n: int = N, seed: int = 0):
    """What a target at a share of the window becomes, in closed form and pulse by pulse."""
    low, high = device.window
    cells = device.fabricate((n,), seed=seed, dtype=F64)
    counts = open_loop.counts(device, torch.full((n,), low + share * (high - low), dtype=F64))
    source = torch.Generator().manual_seed(seed)
    g = open_loop.stored(device, counts, cells.parameters_drawn(), source, dtype=F64)
    cells.pulse(counts)
    return g, cells.g, counts, cells


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", [name for name in NOISY if name not in SLOW])
def test_moments_are_those_of_pulse_by_pulse(name: str, share: float) -> None:
    device = NOISY[name]
    found, expected, _, _ = both(device, share)
    width = device.window[1] - device.window[0]
    found, expected = found / width, expected / width
    # Two samples of N, and as many simulated cells behind the first. Beside that 0.3 % of the
    # window: what lies between laws, and bounds that act at a train's end only.
    error = float(expected.std()) * math.sqrt(3 / N)
    assert abs(float(found.mean() - expected.mean())) < SIGMAS * error + 3e-3
    fourth = float(((expected - expected.mean()) ** 4).mean())
    error = math.sqrt(max(fourth - float(expected.var()) ** 2, 0.0) * 3 / N)
    assert abs(float(found.var() - expected.var())) <= SIGMAS * error + 3e-3 * float(expected.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_moments_of_long_trains(name: str) -> None:
    test_moments_are_those_of_pulse_by_pulse(name, 0.5)


@pytest.mark.parametrize("name", ["alox_hfo2", "fefet_3v0", "labels spread", "table, gains spread"])
def test_whole_distributions_agree(name: str) -> None:
    found, expected, _, _ = both(NOISY[name], 0.6)
    levels = torch.linspace(0.02, 0.98, 25, dtype=F64)
    nodes = expected.quantile(levels)
    share = torch.stack([(found <= node).double().mean() for node in nodes])
    reached = torch.stack([(expected <= node).double().mean() for node in nodes])
    assert float((share - reached).abs().max()) < 4 * math.sqrt(0.25 * 3 / N)


NOISE_FREE = {
    "ideal": PRESETS["neurosim_ideal"],
    "labels spread": ExponentialDevice(nonlinearity_set=2.0, levels=40, d2d=0.5),
    "soft bounds": SoftBoundsDevice(d2d=0.2, **STEP),
    "linear": LinearStep(g_max=Spread(Normal(1e-4, 1e-5)), **STEP),
    "constant": ConstantStep(**STEP),
    "power": PowStep(exponent_set=1.2, **STEP),
    "piecewise": PiecewiseStep(factors_set=(1.0, 0.2), **STEP),
    "two spreads": PowStep(d2d=0.1, exponent_set=Spread(Normal(1.5, 0.1), low=0.0), **STEP),
    "median of a table": PRESETS["fefet_3v0"].replace(c2c=0.0),
}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("name", NOISE_FREE)
def test_without_noise_cells_are_exactly_where_their_pulses_lead(name: str, share: float) -> None:
    found, expected, counts, cells = both(NOISE_FREE[name], share, n=200)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)
    rest = counts == 0
    assert torch.equal(found[rest], cells.reset() or cells.g[rest])


def test_one_spread_without_a_closed_form_is_near_enough() -> None:
    device = PowStep(d2d=0.1, exponent_set=1.2, step=4e-6)
    found, expected, _, _ = both(device, 0.6, n=500)
    assert float((found - expected).abs().max()) < 1e-3 * 99e-6


@pytest.mark.parametrize("name", [*NOISY, *(f"free {name}" for name in NOISE_FREE)])
def test_counts_are_the_nearest_of_the_nominal_curve(name: str) -> None:
    device = NOISE_FREE[name[5:]] if name.startswith("free ") else NOISY[name]
    nodes = open_loop.curve(device)
    low, high = device.window
    assert float(nodes[0]) == pytest.approx(low)
    assert bool((nodes.diff() >= 0).all())
    assert float(nodes[-1]) > low + 0.9 * (high - low)
    target = torch.linspace(low - 1e-7, high + 1e-7, 501, dtype=F64).view(3, 167)
    counts = open_loop.counts(device, target)
    assert counts.dtype == torch.int64
    assert counts.shape == target.shape
    best = (target[..., None] - nodes).abs().amin(-1)
    torch.testing.assert_close((target - nodes[counts]).abs(), best, rtol=1e-9, atol=1e-15)
    if hasattr(device, "levels"):
        assert int(counts.max()) == device.levels


@settings(max_examples=30, deadline=None)
@given(
    label=st.just(0.0) | st.floats(1e-30, 8.0) | st.floats(-8.0, -1e-30), levels=st.integers(1, 300)
)
def test_curves_are_the_neurosim_law(label: float, levels: int) -> None:
    device = ExponentialDevice(nonlinearity_set=label, levels=levels)
    nodes = open_loop.curve(device)
    counts = torch.arange(levels + 1, dtype=F64)
    start = torch.full_like(counts, device.g_min)
    law = device.burst(start, counts, device.constants())
    torch.testing.assert_close(nodes, law, rtol=1e-9, atol=0.0)


def test_forty_levels_err_as_rounding_does() -> None:
    device = ExponentialDevice(g_min=1e-6, g_max=1e-4, levels=40)
    target = 1e-6 + 99e-6 * torch.rand(
        50_000, dtype=F64, generator=torch.Generator().manual_seed(0)
    )
    g = open_loop.stored(device, open_loop.counts(device, target), {}, dtype=F64)
    error = g - target
    step = 99e-6 / 40
    assert float(error.abs().max()) <= 0.5 * step * (1 + 1e-6)
    assert float(error.std()) == pytest.approx(step / math.sqrt(12), rel=0.02)


def test_two_noisy_levels_store_next_to_nothing() -> None:
    device = ExponentialDevice(g_min=1e-6, g_max=1e-4, levels=2, c2c=1.0)
    target = 1e-6 + 99e-6 * torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    g, _ = open_loop.programmed(device, target, {}, torch.Generator().manual_seed(1))
    assert float((g - target).std()) > 0.35 * 99e-6
    assert bool(((g >= 1e-6 * (1 - 1e-6)) & (g <= 1e-4 * (1 + 1e-6))).all())


def test_gradients_pass_straight_through_inside_the_window() -> None:
    device = PRESETS["alox_hfo2"]
    low, high = device.window
    target = torch.tensor([0.5 * low, low + 1e-7, 0.5 * (low + high), 2 * high]).double()
    target.requires_grad_()
    g, _ = open_loop.programmed(device, target, {})
    (grad,) = torch.autograd.grad(g.sum(), target)
    assert grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert not torch.equal(g, target.clamp(low, high))


@pytest.mark.parametrize("name", ["alox_hfo2", "fefet_3v0", "soft bounds, spread", "labels spread"])
def test_noise_comes_from_the_generator_or_from_torch(name: str) -> None:
    device = NOISY[name]
    drawn = device.fabricate((50,), seed=0).parameters_drawn()
    target = torch.full((50,), 0.6 * device.window[1])
    counts = open_loop.counts(device, target)

    def stored(source: torch.Generator | None) -> torch.Tensor:
        return open_loop.stored(device, counts, drawn, source)

    one, two = (stored(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)
    torch.manual_seed(1)
    three, after = stored(None), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(stored(None), three)
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(stored(None), three)


def test_dtypes_shapes_and_parameters_given_as_numbers() -> None:
    device = PRESETS["alox_hfo2"]
    counts = torch.full((3, 0, 2), 4)
    assert open_loop.stored(device, counts, {}).shape == (3, 0, 2)
    counts = torch.full((4000, 2), 20)
    assert open_loop.stored(device, counts, {}).dtype == torch.float32
    # A number in place of the nominal one acts as a device of that number.
    found = open_loop.stored(device, counts, {"c2c": 0.0}, dtype=F64)
    still = open_loop.stored(device.replace(c2c=0.0), counts, {}, dtype=F64)
    torch.testing.assert_close(found, still, rtol=1e-5, atol=0.0)


@dataclass(frozen=True)
class Own(PulsedDevice):
    """A device of one's own: a share of the way ahead, with noise of a constant size."""

    g_min: float | Spread = 2e-6
    g_max: float | Spread = 80e-6
    share: float | Spread = 0.05

    @property
    def noisy(self) -> bool:
        return True

    def change(self, g, up, cell):
        return cell["share"] * torch.where(up, cell["g_max"] - g, cell["g_min"] - g)

    def noise(self, g, change, cell):
        return 1e-6


@pytest.mark.parametrize(
    "device",
    [Own(), Own(share=Spread(Normal(0.05, 0.005))), Own(g_max=Spread(Normal(8e-5, 5e-6)))],
    ids=["alike", "share spread", "window spread"],
)
def test_devices_of_ones_own_need_no_more_than_a_change(device: PulsedDevice) -> None:
    found, expected, _, _ = both(device, 0.5)
    error = float(expected.std()) * math.sqrt(3 / N)
    assert abs(float(found.mean() - expected.mean())) < SIGMAS * error + 1e-3 * 78e-6
    assert float(found.std() / expected.std()) == pytest.approx(1.0, abs=0.05)


# Of a parameter's values: the least, the greatest, and the ends of what the device allows.
GRIDS = {
    "inside": ("asymmetry", 0.31, 0.42, (-1.0, 1.0)),
    "up to the top": ("asymmetry", 0.93, 0.98, (-1.0, 1.0)),
    "from the bottom": ("asymmetry", -0.98, -0.93, (-1.0, 1.0)),
    "at the top alone": ("asymmetry", 1.0, 1.0, (-1.0, 1.0)),
    "at the bottom alone": ("asymmetry", -1.0, -1.0, (-1.0, 1.0)),
    "everything": ("asymmetry", -1.0, 1.0, (-1.0, 1.0)),
    "one value": ("step", 2e-6, 2e-6, (0.0, math.inf)),
    "down to almost nothing": ("step", 1e-9, 3e-6, (0.0, math.inf)),
    "many": ("step", 1e-6, 1e-4, (0.0, math.inf)),
}


@pytest.mark.parametrize("case", GRIDS)
def test_laws_are_computed_around_all_values_and_at_none_that_is_refused(case: str) -> None:
    name, least, most, (low, high) = GRIDS[case]
    spread = Spread(Normal(0.5, 0.2)) if name == "asymmetry" else Spread(Normal(2e-6, 5e-7), low=0)
    device = PowStep(**{"step": 2e-6, name: spread})
    step = 0.05 * (0.5 if name == "asymmetry" else 2e-6)
    grid = open_loop._grid(device, name, torch.tensor([least, most], dtype=F64))
    assert 2 <= len(grid) <= open_loop._LARGEST_GRID
    assert list(grid) == sorted(grid)
    assert low <= grid[0] <= least
    assert most <= grid[-1] <= high
    # All but the ends are whole multiples of a step, or of one doubled until they are few.
    while (most - least) / step > open_loop._LARGEST_GRID - 3:
        step *= 2
    multiples = [node / step for node in grid[1:-1]]
    assert multiples == pytest.approx([round(multiple) for multiple in multiples], abs=1e-9)
    inner = torch.tensor(grid, dtype=F64).diff()[1:-1]
    assert inner.tolist() == pytest.approx([step] * len(inner), rel=1e-9, abs=0.0)
    # No further than a step beyond what there is.
    assert least - grid[0] <= step * (1 + 1e-9)
    assert grid[-1] - most <= step * (1 + 1e-9)
