"""What is not ideal of pulses: noise of cells, jitter, edges, integrators that fill."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Hardware
from mho.effects import ReadNoise
from mho.encoding import Differential
from pulse_chips import (
    ADCS,
    READS,
    T_PULSE,
    V_MAX,
    WIRES,
    made,
    pulsed,
    spread,
    within,
)
from time_stepped import sensed

F64 = torch.float64

# ── noise, jitter, edges, saturation ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("relative_to", ["range", "value"])
@pytest.mark.parametrize(
    "more",
    [{}, {"v_idle": 0.15}, {"signs": "two_phase"}, {"rise": 20e-9, "fall": 30e-9}],
    ids=str,
)
def test_white_noise_grows_with_the_root_of_the_length(more, relative_to):
    effects = (ReadNoise(0.02, relative_to=relative_to),)
    crossbar, _ = made(pulsed(4, **more), effects=effects)
    x = torch.tensor([1, -3, 0, 7, 2, -7], dtype=F64) / 7
    t = x.abs().numpy() * T_PULSE
    # ∫ v² dt of each pulse, from its shape alone
    grid = np.linspace(0, 2 * T_PULSE, 200001)
    up, down = more.get("rise", 0) or 1e-15, more.get("fall", 0) or 1e-15
    peak = np.minimum(t / up, 1)[:, None]
    shape = np.minimum(grid / up, peak) * (grid < t[:, None])
    shape = shape + np.clip(peak - (grid - t[:, None]) / down, 0, None) * (grid >= t[:, None])
    v = np.where(x.numpy()[:, None] == 0, 0.0, shape * V_MAX)
    window = grid <= T_PULSE if more.get("v_idle") else np.ones_like(grid, dtype=bool)
    v = np.where((v == 0) & window, more.get("v_idle", 0.0), v)
    squares = (v**2)[:, window].sum(1) * (grid[1] - grid[0]) / T_PULSE
    if more.get("signs"):  # both phases; nothing rests at another voltage
        squares = t / T_PULSE * V_MAX**2
    low, high = crossbar.hardware.device.window
    sigma = 0.02 * (crossbar.G if relative_to == "value" else high - low)
    variance = (torch.ones_like(crossbar.G) * sigma).square().sum(0)
    expected = (torch.from_numpy(squares) @ variance).sqrt() * crossbar.scale / V_MAX
    within(spread(crossbar, x[None])[1], expected)


def test_noise_of_the_longest_pulse_is_that_of_an_amplitude():
    one = torch.ones(1, 6, dtype=F64)
    for dac in (pulsed(4), DAC(4, v_max=V_MAX, range=1.0)):
        crossbar, _ = made(dac, effects=(ReadNoise(0.02),))
        low, high = crossbar.hardware.device.window
        expected = 0.02 * (high - low) * 12**0.5 * crossbar.scale
        within(spread(crossbar, one)[1], expected.expand(3))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("once", [False, True])
def test_noise_of_parts_adds_up_in_training_and_in_blocks(stored, once):
    """Two phases of two parts, weighted: pulses of 1, 3 and 8 times 3, 2 units of the longest."""
    dac = pulsed(6, split=(2, 3), signs="two_phase", converts_once=once)
    hardware = Hardware(dac=dac, adc=ADC(20, range=1e-3), effects=(ReadNoise(0.02),))
    layer = mho.convert(nn.Linear(3, 2, bias=False).double(), hardware, seed=0)
    (crossbar,) = mho.crossbars(layer).values()
    mho.limit_memory(layer, 100_000)
    layer.train(not stored)
    x = torch.tensor([[5, -14, 0]], dtype=F64) / 31  # 1 + 4 · 1, and 2 + 4 · 3
    with torch.no_grad():
        y = layer(x.expand(READS, -1))
    variance = 7 * (1 * 1 + 16 * 1 + 1 * 2 + 16 * 3) / 31**2  # top · Σ weight² · length, in levels
    low, high = hardware.device.window
    scale = crossbar.scale if stored else layer.weight.detach().abs().max() / (high - low)
    within(y.std(0), (0.02 * (high - low) * scale * (2 * variance) ** 0.5).expand(2))


@pytest.mark.parametrize("more", [{}, {"v_idle": 0.1}], ids=str)
@pytest.mark.parametrize("bits", [4, 7, None])
def test_noise_behind_wires_is_that_of_every_interval(bits, more):
    """Against the sensitivity of the charge to each cell, by finite differences of the circuit."""
    crossbar, _ = made(
        pulsed(bits, **more), 6, 2, wires=WIRES, effects=(ReadNoise(0.02),), encoding=Differential()
    )
    x = torch.tensor([1, -3, 0, 7, 2, -7], dtype=F64) / 7
    if bits == 7:
        x = (x * 63).round() / 63
    ends = np.unique(np.concatenate(([0.0], x.abs().numpy(), [1.0])))
    low, high = crossbar.hardware.device.window
    variance, tiny = 0.0, 1e-9
    all_on = np.ones(6, dtype=bool)
    for g in crossbar.G.numpy():
        for start, end in pairwise(ends):
            on = x.abs().numpy() > start + 1e-12
            volts = np.where(on, np.sign(x.numpy()) * V_MAX, more.get("v_idle", 0.0))
            base = sensed(g, WIRES, volts, all_on)
            for i, j in np.ndindex(*g.shape):
                moved = g.copy()
                moved[i, j] += tiny
                slope = (sensed(moved, WIRES, volts, all_on) - base) / tiny
                variance = variance + (end - start) * slope**2
    expected = torch.from_numpy(np.sqrt(variance)) * 0.02 * (high - low) * crossbar.scale / V_MAX
    found = spread(crossbar, x[None])[1]
    error = 4.5 * expected / (2 * READS) ** 0.5 + 0.02 * expected  # a form, and its probes
    assert bool(((found - expected).abs() < error).all()), found / expected


@pytest.mark.parametrize("large", [False, True])
def test_jitter_is_of_lines_and_shared_by_columns(large):
    jitter = 0.5e-9
    crossbar, _ = made(pulsed(5, jitter=jitter), adc=ADC(16, range=2e-4) if large else None)
    if large:
        mho.limit_memory(crossbar, 200_000)
    x = torch.tensor([1, -0.4, 0, 0.6, 0.2, -1], dtype=F64).mul(15).round()[None] / 15
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    sent = (x != 0).to(F64)[0] * jitter / T_PULSE
    expected = (weight.square() * sent.square()[:, None]).sum(0).sqrt()
    with torch.no_grad():
        y = crossbar(x.expand(READS, -1))
    within(y.std(0), expected)
    off = (y.mean(0) - (x @ weight)[0]) / (expected / READS**0.5)
    assert bool((off.abs() < 4.5).all())
    covariance = weight.mT @ (sent.square()[:, None] * weight)
    correlation = covariance / expected[:, None] / expected
    found = torch.corrcoef(y.mT)
    assert float((found - correlation).abs().max()) < 4.5 / READS**0.5


def test_jitter_is_drawn_from_the_crossbars_own_stream():
    first, x = made(pulsed(5, jitter=1e-9))
    second, _ = made(pulsed(5, jitter=1e-9))
    once = first(x)
    torch.testing.assert_close(once, second(x), rtol=0, atol=0)
    assert not torch.equal(once, first(x))
    layer = mho.convert(nn.Linear(4, 3), Hardware(dac=pulsed(5, jitter=1e-9)))
    quiet = mho.noise_free(layer).eval()
    x = torch.rand(2, 4)
    torch.testing.assert_close(quiet(x), quiet(x), rtol=0, atol=0)


def test_large_reads_with_gradients_jitter_anew():
    """Blocks that gradients work out again have the jitter they had; another read has another."""
    crossbar, _ = made(pulsed(5, jitter=1e-9), 40, 6, adc=ADC(6, range=2e-5))
    mho.limit_memory(crossbar, 200_000)
    x = torch.rand(400, 40, dtype=F64, generator=torch.Generator().manual_seed(3))
    x.requires_grad_()
    first, second = crossbar(x), crossbar(x)
    assert not torch.equal(first, second)
    # Where a converter clips is known by the gradient, which is nothing there.
    gradient = torch.autograd.grad(first.sum(), x)[0]
    assert bool(gradient.isfinite().all())
    again, _ = made(pulsed(5, jitter=1e-9), 40, 6, adc=ADC(6, range=2e-5))
    mho.limit_memory(again, 200_000)
    torch.testing.assert_close(again(x), first, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("rise", "fall"), [(20e-9, 20e-9), (40e-9, 0.0), (0.0, 30e-9), (9e-9, 4e-9)]
)
def test_edges_take_and_give_charge(rise, fall):
    crossbar, x = made(pulsed(5, rise=rise, fall=fall))
    sizes = (x * 15).round().abs().numpy() / 15 * T_PULSE
    grid = np.linspace(0, 2 * T_PULSE, 400001)
    area = np.zeros_like(sizes)
    for place, t in np.ndenumerate(sizes):
        up = np.minimum(grid / rise, 1) if rise else np.ones_like(grid)
        peak = min(t / rise, 1) if rise else float(t > 0)
        down = np.clip(peak - (grid - t) / fall, 0, None) if fall else np.zeros_like(grid)
        shape = np.where(grid < t, up, down) * (t > 0)
        area[place] = np.trapezoid(shape, grid)
    level = torch.from_numpy(area / T_PULSE) * x.sign()
    expected = level @ (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    torch.testing.assert_close(crossbar(x), expected, rtol=1e-4, atol=1e-4)


def test_equal_edges_cost_long_pulses_nothing():
    even, x = made(pulsed(4, rise=8e-9, fall=8e-9))
    steep, _ = made(pulsed(4))
    torch.testing.assert_close(even(x), steep(x))


@pytest.mark.parametrize("adc", ADCS.values(), ids=ADCS)
def test_integrators_fill(adc):
    full = 1e-12
    crossbar, x = made(pulsed(4, full_charge=full), 20, 3, adc=adc, tile=(8, 8))
    level, total = (x * 7).round() / 7, 0.0
    currents = [
        (level[:, r] * V_MAX @ (crossbar.G[0] - crossbar.G[1])[r])
        for r in (slice(0, 8), slice(8, 16), slice(16, 20))
    ]
    assert max(float(c.abs().max()) for c in currents) * T_PULSE > 1.2 * full
    held = [c.clamp(-full / T_PULSE, full / T_PULSE) for c in currents]
    if adc is not None:
        largest = torch.stack(held).abs().amax((0, 2))[:, None]
        step = (2e-4 if adc.range == 2e-4 else largest) / 31
        held = [(c / step).round().clamp(-31, 31) * step for c in held]
    total = sum(held)
    torch.testing.assert_close(crossbar(x), total * crossbar.scale / V_MAX, rtol=1e-9, atol=1e-9)
