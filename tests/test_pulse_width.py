"""Inputs that are coded in the length of a pulse, held to circuits that are followed in time."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho import ADC, DAC, Amplifier, Array, Crossbar, Hardware, PulseWidth
from mho.circuit import Wires
from mho.crossbar import pulses
from mho.devices import MTJ, LinearDevice, Pickett, Spread, Yakopcic
from mho.effects import ReadNoise
from mho.encoding import BitSliced, Differential, SingleColumn
from mho.periphery import DriverErrors
from time_stepped import charge, sensed

F64 = torch.float64
V_MAX, T_PULSE = 0.3, 64e-9
WIRES = Wires(source=40.0, word=25.0, bit=30.0, sense=15.0)


def pulsed(bits=4, **more):
    own = {name: more.pop(name) for name in ("signed", "converts_once") if name in more}
    given = PulseWidth(**{"t_pulse": T_PULSE, **more})
    return DAC(bits, v_max=V_MAX, mode="pulse_width", range=1.0, pulses=given, **own)


def made(dac, rows=6, cols=3, *, wires=None, tile=(8, 8), groups=1, seed=0, **parts):
    array = Array(*tile, wires=wires or Wires(), **parts.pop("array", {}))
    hardware = Hardware(array=array, dac=dac, **parts)
    crossbar = Crossbar(rows, cols, hardware, groups=groups, dtype=F64)
    generator = torch.Generator().manual_seed(seed)
    crossbar.program(torch.randn(groups * rows, cols, generator=generator, dtype=F64))
    x = 2 * torch.rand(5, groups * rows, generator=generator, dtype=F64) - 1
    x[1, 0], x[2] = 0.0, 1.0  # a line without a pulse; all of one length
    return crossbar, x


def output(crossbar, charges, volts=V_MAX):
    """From charges of both lines of a pair (C) to the output they stand for."""
    positive, negative = charges
    currents = torch.from_numpy((positive - negative) / T_PULSE)
    return currents * crossbar.scale / volts


# ── against the circuit in time ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "more",
    [{}, {"v_idle": 0.04}, {"v_idle": -0.02, "signed": False}, {"idle": "floating"}],
    ids=["driven", "idle rail", "unsigned", "floating"],
)
def test_wired_reads_are_those_of_the_circuit_in_time(more):
    crossbar, x = made(pulsed(4, **more), wires=WIRES)
    top = 15 if more.get("signed") is False else 7
    floating = more.get("idle") == "floating"
    with torch.no_grad():
        y = crossbar(x)
    low = 0 if top == 15 else -top
    for sample, out in zip(x.numpy(), y, strict=True):
        levels = np.clip(np.round(sample * top), low, top)
        volts, times = np.sign(levels) * V_MAX, np.abs(levels) / top * T_PULSE
        both = [
            charge(
                g.numpy(), WIRES, volts, times, T_PULSE,
                steps=top, v_idle=more.get("v_idle", 0.0), floating=floating,
            )
            for g in crossbar.G
        ]  # fmt: skip
        torch.testing.assert_close(out, output(crossbar, both), rtol=1e-6, atol=1e-9)


def test_floating_lines_change_what_wires_take():
    """The circuit above would not tell a read that takes floating lines for grounded ones."""
    grounded, x = made(pulsed(), wires=WIRES)
    floating, _ = made(pulsed(idle="floating"), wires=WIRES)
    assert float((grounded(x) - floating(x)).abs().max()) > 1e-3
    bare = [made(pulsed(idle=idle))[0](x) for idle in ("driven", "floating")]
    torch.testing.assert_close(*bare, rtol=0, atol=0)


def test_floating_lines_of_pulses_of_any_length():
    """Ideal drivers, with jitter of none: ends that are no whole levels, in no order."""
    crossbar, _ = made(pulsed(None, idle="floating"), wires=WIRES, tile=(8, 2))
    times = np.array([[3, 40, 17, 17, 0, 64], [64, 1, 2, 63, 31, 30]])
    signs = np.array([[1, -1, 1, 1, 1, -1], [-1, 1, 1, -1, 1, 1]])
    y = crossbar(torch.from_numpy(times * signs / 64.0))
    for k in range(2):
        for cols in (slice(0, 2), slice(2, 3)):  # a tile is two columns wide
            both = [
                charge(
                    g.numpy()[:, cols], WIRES, signs[k] * V_MAX, times[k] * 1e-9, T_PULSE,
                    steps=64, floating=True,
                )
                for g in crossbar.G
            ]  # fmt: skip
            expected = output(crossbar, both)
            torch.testing.assert_close(y[k, cols], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("encoding", [SingleColumn(), BitSliced(bits=4, bits_per_cell=2)])
def test_floating_tiles_are_each_in_their_place(encoding, interleaved):
    """With the longest pulses alone no line floats: the read is that of driven lines."""
    more = {
        "encoding": encoding,
        "groups": 2,
        "rows": 10,
        "cols": 5,
        "tile": (4, 9),
        "wires": WIRES,
        "array": {"interleaved": interleaved},
    }
    floating, x = made(pulsed(idle="floating"), **more)
    driven, _ = made(pulsed(), **more)
    x = torch.where(x < 0, -1.0, 1.0).to(F64)
    torch.testing.assert_close(floating(x), driven(x), rtol=1e-9, atol=1e-9)


class Diode(LinearDevice):
    """Conducts more one way than the other."""

    def transfer(self, v):
        return v * (1.0 + 2.0 * v)


class Skewed(Pickett):
    """A current that neither separates nor is odd."""

    def current_of(self, v, g):
        return super().current_of(v, g) * (1.0 + v)


def law(device, g, v):
    g = g if isinstance(g, torch.Tensor) else torch.from_numpy(g)
    if device.separable:
        return (g * device.transfer(v)).numpy()
    return device.current_of(v, g).numpy()


@pytest.mark.parametrize("signs", ["bipolar", "two_phase"])
@pytest.mark.parametrize("device", [Yakopcic(), Diode(), Pickett(), MTJ(v_half=0.3), Skewed()])
def test_cells_that_are_not_ohmic_answer_to_one_voltage(device, signs):
    """Charges are in proportion to lengths, whatever the law: it is asked for ±v_max alone."""
    crossbar, x = made(pulsed(5, signs=signs), device=device)
    y = crossbar(x)
    level = (x * 15).round().clamp(-15, 15)
    v = level.sign() * V_MAX if signs == "bipolar" else torch.where(level == 0, 0.0, V_MAX)
    count = level.sign() if signs == "two_phase" else torch.ones_like(level)
    for k in range(len(x)):
        share = (level[k].abs() * count[k] / 15).numpy()
        both = [share @ law(device, g, v[k, :, None].expand_as(g)) for g in crossbar.G]
        expected = torch.from_numpy(both[0] - both[1]) * crossbar.scale / V_MAX
        torch.testing.assert_close(y[k], expected, rtol=1e-6, atol=1e-8)


def test_idle_rails_bend_as_cells_do():
    crossbar, x = made(pulsed(5, v_idle=0.1), device=Diode())
    level = (x * 15).round()
    share = level.abs() / 15
    f = share * Diode().transfer(level.sign() * V_MAX) + (1 - share) * Diode().transfer(
        torch.tensor(0.1, dtype=F64)
    )
    expected = f @ (crossbar.G[0] - crossbar.G[1]) * crossbar.scale / V_MAX
    torch.testing.assert_close(crossbar(x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("jitter", [0.0, 1e-20])
def test_exact_reads_solve_every_interval(jitter):
    """Ohmic cells that do not say so: Newton's circuits add up to the linear one's product."""

    class Straight(LinearDevice):
        def transfer(self, v):
            return v * 1.0

    exact = {"wires": WIRES, "tile": (4, 2), "rows": 6, "array": {"exact_reads": True}}
    dac = pulsed(3, v_idle=0.05, jitter=jitter)
    newton, x = made(dac, device=Straight(), **exact)
    linear, _ = made(pulsed(3, v_idle=0.05), **{**exact, "array": {}})
    x.requires_grad_()
    torch.testing.assert_close(newton(x), linear(x), rtol=1e-6, atol=1e-7)
    if jitter:  # full pulses are a trifle too long, and rest no more
        return
    grads = [torch.autograd.grad(c(x).square().sum(), x)[0] for c in (newton, linear)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-6)


def test_exact_reads_of_one_length_are_those_of_amplitudes():
    parts = {"device": Pickett(), "wires": WIRES, "array": {"exact_reads": True}}
    pulse, x = made(pulsed(3), **parts)
    amplitude, _ = made(DAC(3, v_max=V_MAX, range=1.0), **parts)
    x = x.sign()[:2]
    torch.testing.assert_close(pulse(x), amplitude(x), rtol=1e-7, atol=1e-9)


# ── levels and parts ─────────────────────────────────────────────────────────────────────────


ADCS = {"exact": None, "fixed": ADC(6, range=2e-4), "vector": ADC(6, range="per_vector")}


@pytest.mark.parametrize("adc", ADCS.values(), ids=ADCS)
@pytest.mark.parametrize("wires", [Wires(), WIRES], ids=["bare", "wired"])
@pytest.mark.parametrize("bits", [None, 1, 4])
def test_without_noise_means_are_those_of_amplitudes(bits, wires, adc):
    parts = {"adc": adc, "wires": wires, "rows": 20, "cols": 5}
    pulse, x = made(pulsed(bits), **parts)
    amplitude, _ = made(DAC(bits, v_max=V_MAX, range=1.0), **parts)
    torch.testing.assert_close(pulse(x), amplitude(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "dac",
    [
        pulsed(6, split=(2, 3)),
        pulsed(6, split=(2, 3), signs="two_phase"),
        pulsed(6, signs="two_phase"),
        pulsed(6, split=(1,) * 5),
        pulsed(6, split=(4, 2), signed=False),
        pulsed(None, signs="two_phase"),
        pulsed(1, signs="two_phase"),
    ],
    ids=str,
)
def test_parts_add_up_to_levels(dac):
    level = torch.arange(dac.levels[0], dac.levels[1] + 1.0, dtype=F64)
    if dac.bits is None:
        level = torch.linspace(-1, 1, 9, dtype=F64)
    level.requires_grad_()
    planes, weight = dac.planes(level)
    assert len(planes) == dac.planes_sent == len(dac.drive_times)
    assert float(planes.detach().abs().max()) == dac.top
    torch.testing.assert_close(weight @ planes, level, rtol=0, atol=0)
    assert max(dac.drive_times) == pytest.approx(T_PULSE, rel=1e-9, abs=0)
    (grad,) = torch.autograd.grad((weight @ planes).sum(), level)
    torch.testing.assert_close(grad, torch.ones_like(level))
    for one, other in zip(dac.bits_of(level.detach()), planes, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=0, atol=0)


def test_parts_last_as_long_as_they_need():
    dac = pulsed(8, split=(3, 4), t_pulse=15e-9, signs="two_phase")
    assert dac.drive_times == pytest.approx((7e-9, 15e-9, 7e-9, 15e-9), rel=1e-9, abs=0)
    assert pulsed(8, signs="two_phase").drive_times == (T_PULSE, T_PULSE)
    assert DAC(8).drive_times == ()


def test_bit_by_bit_is_bit_serial():
    for once in (False, True):
        parts = {"adc": ADC(5, range=2e-4), "rows": 20}
        pulse, x = made(pulsed(5, split=(1,) * 4, converts_once=once), **parts)
        serial = DAC(5, v_max=V_MAX, mode="bit_serial", range=1.0, converts_once=once)
        torch.testing.assert_close(pulse(x), made(serial, **parts)[0](x), rtol=0, atol=0)


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("signs", ["bipolar", "two_phase"])
def test_every_part_is_converted_or_their_sum_is(signs, once):
    """By hand: charges of the parts, rounded to the converter's grid one by one or at the end."""
    limit, top = 2e-4, 7  # the longest part is of three bits
    dac = pulsed(6, split=(3, 2), signs=signs, converts_once=once)
    crossbar, x = made(dac, adc=ADC(6, range=limit), encoding=Differential())
    step = limit / 31

    def converted(current):
        return (current / step).round().clamp(-31, 31) * step

    level, total = (x * 31).round(), 0.0
    for sign in (1, -1) if signs == "two_phase" else (0,):
        own = level if sign == 0 else (sign * level).clamp(min=0)
        for part, weight in ((own.abs() % 8 * own.sign(), 1), ((own.abs() // 8) * own.sign(), 8)):
            current = part / top * V_MAX @ (crossbar.G[0] - crossbar.G[1])
            counted = (sign or 1) * weight
            total = total + (current if once else converted(current)) * counted
    if once:  # in units of a whole input the sum is that of one line's full scale
        total = converted(total * top / 31) * 31 / top
    expected = total * top / 31 * crossbar.scale / V_MAX
    torch.testing.assert_close(crossbar(x), expected, rtol=1e-9, atol=1e-12)


# ── noise, jitter, edges, saturation ─────────────────────────────────────────────────────────

READS = 4000


def spread(crossbar, x, *, reads=READS):
    """Mean and deviation of many reads of one input."""
    with torch.no_grad():
        y = crossbar(x.expand(reads, -1))
    return y.mean(0), y.std(0)


def within(found, expected, *, sigmas=4.5, reads=READS):
    """Whether a deviation agrees with what is expected, in standard errors of it."""
    error = expected / (2 * (reads - 1)) ** 0.5
    assert bool(((found - expected).abs() < sigmas * error).all()), (found, expected)


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


# ── every way of reading ─────────────────────────────────────────────────────────────────────


WAYS = {
    "plain": pulsed(5),
    "split": pulsed(5, split=(2, 2)),
    "phases": pulsed(5, signs="two_phase"),
    "once": pulsed(5, split=(2, 2), signs="two_phase", converts_once=True),
    "idle": pulsed(5, v_idle=0.02),
    "edges": pulsed(5, rise=9e-9, fall=4e-9),
    "full": pulsed(5, full_charge=3e-12),
}


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "adc", [ADC(6, range=1e-4), ADC(6, range="per_call")], ids=["fixed", "call"]
)
def test_large_reads_are_small_reads(dac, adc):
    """In blocks, tile by tile, and their gradients."""
    crossbar, _ = made(dac, 40, 6, adc=adc)
    x = 2 * torch.rand(300, 40, dtype=F64, generator=torch.Generator().manual_seed(1)) - 1
    x.requires_grad_()
    y = crossbar(x)
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    mho.limit_memory(crossbar, 400_000)
    again = crossbar(x)
    torch.testing.assert_close(again, y)
    torch.testing.assert_close(torch.autograd.grad(again.square().sum(), x)[0], grad)
    with torch.no_grad():
        torch.testing.assert_close(crossbar(x), y)


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_convolutions_are_reads_of_patches(dac, noise):
    torch.manual_seed(0)
    effects = (ReadNoise(1e-6),) if noise else ()  # which takes another way
    hardware = Hardware(dac=dac, adc=ADC(8, range=1e-4), array=Array(10, 8), effects=effects)
    layer = nn.Conv2d(3, 4, 3, padding=1).double()
    analog = mho.convert(layer, hardware, seed=0).eval()
    image = 2 * torch.rand(2, 3, 5, 6, dtype=F64) - 1
    (crossbar,) = mho.crossbars(analog).values()
    patches = nn.functional.unfold(image, 3, padding=1).mT
    expected = crossbar(patches) + layer.bias
    found = analog(image).flatten(2).mT
    # Noise may carry a current over the edge of a code.
    if noise:
        assert float((found - expected).abs().median()) < 1e-6 * float(expected.abs().max())
    else:
        torch.testing.assert_close(found, expected)


def test_jitter_of_convolutions_is_each_patchs_own():
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 2, bias=False).double()
    nn.init.ones_(layer.weight)
    analog = mho.convert(layer, Hardware(dac=pulsed(5, jitter=1e-9)), seed=0).eval()
    with torch.no_grad():
        y = analog(torch.ones(2000, 1, 2, 3, dtype=F64)).flatten(1)
    within(y.std(0), torch.full((2,), 2e-9 / T_PULSE, dtype=F64), reads=2000)
    assert abs(float(torch.corrcoef(y.mT)[0, 1])) < 4.5 / 2000**0.5


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_transposed_reads_send_one_whole_pulse(dac):
    crossbar, _ = made(dac, 6, 4)
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    e = 2 * torch.rand(3, 4, dtype=F64, generator=torch.Generator().manual_seed(2)) - 1
    y = e @ crossbar.T
    level = (e / e.abs().amax(1, keepdim=True) * 15).round() / 15
    expected = level * e.abs().amax(1, keepdim=True) @ weight.mT
    loose = dac.pulses.exact and dac.pulses.full_charge is None
    assert float((y - expected).abs().max()) < (1e-9 if loose else 1.0)
    assert not dac.pulses.v_idle or not torch.equal(y, expected)


def test_transposed_noise_goes_by_lengths():
    crossbar, _ = made(pulsed(5), 6, 4, effects=(ReadNoise(0.02),))
    e = torch.tensor([[1.0, -0.2, 0.0, 0.4]], dtype=F64)
    with torch.no_grad():
        y = e.expand(READS, -1) @ crossbar.T
    low, high = crossbar.hardware.device.window
    lengths = (e * 15).round().abs().sum() / 15
    expected = 0.02 * (high - low) * (2 * lengths).sqrt() * crossbar.scale
    within(y.std(0), expected.expand(6))


def test_transposed_pulses_jitter_and_fill():
    e = torch.tensor([[1.0, -0.2, 0.0, 0.4]], dtype=F64)
    crossbar, _ = made(pulsed(5, jitter=0.5e-9), 6, 4)
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    with torch.no_grad():
        y = e.expand(READS, -1) @ crossbar.T
    within(y.std(0), weight[:, [0, 1, 3]].square().sum(1).sqrt() * 0.5e-9 / T_PULSE)
    full, _ = made(pulsed(5, full_charge=1e-12), 6, 4)
    current = (e * 15).round() / 15 * V_MAX @ (full.G[0] - full.G[1]).mT
    assert float(current.abs().max()) * T_PULSE > 1.1e-12
    held = current.clamp(-1e-12 / T_PULSE, 1e-12 / T_PULSE)
    torch.testing.assert_close(e @ full.T, held * full.scale / V_MAX)


@pytest.mark.parametrize("bits", [4, None])
def test_patterns_last_until_the_end(bits):
    """Voltages times shares are the mean, also where no line is driven to the end."""
    dac = pulsed(bits, v_idle=0.1)
    size = torch.tensor([[1.0, -3.0, 0.0, 4.0], [2.0, 2.0, -5.0, 0.0]], dtype=F64)
    level = size if bits else size / 7
    found = list(pulses.patterns(level, dac))
    shares = sum(share for _, share in found)
    torch.testing.assert_close(
        torch.as_tensor(shares, dtype=F64).expand(2, 1), torch.ones(2, 1, dtype=F64)
    )
    mean = sum(v * share for v, share in found)
    expected = size / 7 * V_MAX + (1 - size.abs() / 7) * 0.1
    torch.testing.assert_close(mean, expected)


def test_floating_lines_are_refused_where_they_cannot_be_solved():
    crossbar, _ = made(pulsed(4, idle="floating"), wires=WIRES)
    with pytest.raises(ValueError, match="idle='driven'"):
        torch.ones(1, 3, dtype=F64) @ crossbar.T


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_read_by_pulses(name):
    torch.manual_seed(0)
    layer = getattr(nn, name)(4, 5, batch_first=True)
    x = torch.randn(2, 6, 4)
    read = {}
    for mode, sent in (("amplitude", None), ("pulse_width", PulseWidth())):
        dac = DAC(6, mode=mode, pulses=sent, range=2.0)
        analog = mho.convert(layer, Hardware(dac=dac, adc=ADC(8, range=1e-5)), seed=0).eval()
        read[mode] = analog(x)[0]
    torch.testing.assert_close(*read.values(), rtol=0, atol=0)
    dac = DAC(6, mode="pulse_width", pulses=PulseWidth(signs="two_phase", jitter=1e-9), range=2.0)
    noisy = mho.convert(layer, Hardware(dac=dac, effects=(ReadNoise(0.01),)), seed=0).eval()
    off = (noisy(x)[0] - layer(x)[0]).abs().max()
    assert 0 < float(off) < 0.5


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_embeddings_read_lines(dac):
    torch.manual_seed(0)
    layer = nn.Embedding(20, 6).double()
    analog = mho.convert(
        layer, Hardware(dac=dac, adc=ADC(8, range=1e-4)), seed=0, embeddings=True
    ).eval()
    (crossbar,) = mho.crossbars(analog).values()
    index = torch.tensor([3, 3, 0, 19])
    one_hot = nn.functional.one_hot(index, 20).to(F64)
    torch.testing.assert_close(analog(index), crossbar(one_hot))


# ── training, calibration, dtypes, graphs ────────────────────────────────────────────────────


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_gradients_pass_straight_through(dac):
    """Without a converter they are those of the weights that are read."""
    if dac.pulses.full_charge is not None:
        dac = dac.replace(pulses=dac.pulses.replace(full_charge=None))
    layer = nn.Linear(6, 3, bias=False).double()
    analog = mho.convert(layer, Hardware(dac=dac)).train()
    x = (1.6 * torch.rand(4, 6, dtype=F64) - 0.8).requires_grad_()
    with torch.no_grad():
        x[0, 0] = 0.0
    analog(x).sum().backward()
    tolerance = 0.1 if dac.pulses.v_idle else 1e-6  # lines that rest less
    expected = layer.weight.sum(0).expand(4, 6)
    assert float((x.grad - expected).abs().max()) < tolerance * float(layer.weight.abs().sum())
    assert analog.weight.grad is not None
    assert bool(analog.weight.grad.isfinite().all())


@pytest.mark.parametrize(
    "sent", [PulseWidth(), PulseWidth(jitter=2e-9), PulseWidth(signs="two_phase")]
)
def test_training_on_pulses_learns(sent):
    torch.manual_seed(0)
    dac = DAC(6, mode="pulse_width", pulses=sent)
    hardware = Hardware(dac=dac, adc=ADC(8), effects=(ReadNoise(0.01),))
    layer = mho.convert(nn.Linear(8, 4), hardware).train()
    x, target = torch.randn(64, 8), torch.randn(8, 4)
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    losses = []
    for _ in range(60):
        loss = (layer(x) - x @ target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_ranges_are_calibrated_in_amperes(dac):
    torch.manual_seed(0)
    dac = dac.replace(range="calibrated", pulses=dac.pulses.replace(full_charge=None))
    layer = nn.Linear(30, 10)
    analog = mho.convert(layer, Hardware(dac=dac, adc=ADC(10)), seed=0).eval()
    x = torch.randn(200, 30)
    mho.calibrate(analog, x)
    (crossbar,) = mho.crossbars(analog).values()
    largest = V_MAX * float(crossbar.G.sum(1).max())
    assert 0 < float(crossbar.adc_range) < largest
    exact = layer(x)
    assert float((analog(x) - exact).std()) < 0.2 * float(exact.std())


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("idle", ["driven", "floating"])
def test_half_precision(kind, idle):
    torch.manual_seed(0)
    dac = pulsed(5, idle=idle, jitter=1e-10)
    hardware = Hardware(dac=dac, array=Array(8, 8, wires=Wires(1.0, 1.0, 1.0, 1.0)), adc=ADC(8))
    layer = nn.Linear(12, 4)
    analog = mho.convert(layer, hardware, seed=0).eval()
    x = torch.rand(3, 12)
    wide = analog(x)
    found = analog.to(kind)(x.to(kind))
    assert found.dtype == kind
    assert float((found - wide).abs().max()) < 0.1 * float(wide.abs().max())
    assert analog(x[:0].to(kind)).shape == (0, 4)


@pytest.mark.parametrize("dac", [*WAYS.values(), pulsed(5, jitter=1e-9)], ids=str)
def test_compiled_reads_are_the_same(dac):
    torch.manual_seed(0)
    quiet = dac.replace(pulses=dac.pulses.without_noise)
    analog = mho.convert(nn.Linear(12, 4), Hardware(dac=quiet, adc=ADC(6, range=1e-4)), seed=0)
    x = torch.rand(3, 12) - 0.5
    torch.compiler.reset()
    for mode in (analog.eval(), copy.deepcopy(analog).train()):
        compiled = torch.compile(mode, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), mode(x))


def test_the_same_chip_from_its_file(tmp_path):
    dac = pulsed(6, split=(2, 3), signs="two_phase", jitter=1e-10, full_charge=1e-12)
    hardware = Hardware(dac=dac, adc=ADC(8))
    mho.save_hardware(hardware, tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == hardware
    assert DAC.from_dict({"mode": "pulse_width"}).pulses == PulseWidth()
    old = DAC(6).to_dict()
    del old["pulses"]  # as saved before there were any
    assert DAC.from_dict(old) == DAC(6)
    first = mho.convert(nn.Linear(4, 3), hardware, seed=0).eval()
    second = mho.convert(nn.Linear(4, 3), hardware, seed=1).eval()
    second.load_state_dict(first.state_dict())
    x = torch.rand(2, 4)
    again = copy.deepcopy(first)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    again(x)
    torch.testing.assert_close(first(x), again(x), rtol=0, atol=0)


def test_amplifiers_take_mean_currents():
    parts = {"amplifier": Amplifier(offset=3e-6, gain=1.1), "adc": ADC(8, range=1e-4)}
    pulse, x = made(pulsed(4), **parts)
    amplitude, _ = made(DAC(4, v_max=V_MAX, range=1.0), **parts)
    torch.testing.assert_close(pulse(x), amplitude(x))


def test_what_drives_last():
    """Energy of bare cells from what is on the lines, and for how long: V² Σ t Σ G."""
    dac = pulsed(6, split=(2, 3), signs="two_phase")
    crossbar, x = made(dac)
    ranges = crossbar.reader.ranges
    volts, share = ranges.voltages(x), ranges.lasting(x)
    assert set(volts.unique().tolist()) <= {0.0, V_MAX}
    energy = (volts.square() * share * T_PULSE).sum(0) @ crossbar.G.sum((0, 2))
    level = (x * 31).round().abs()
    slots = (level % 4 + level // 4) * T_PULSE / 7
    torch.testing.assert_close(energy, V_MAX**2 * slots.sum(0) @ crossbar.G.sum((0, 2)))
    assert made(DAC(4, range=1.0))[0].reader.ranges.lasting(x) is None


def test_drivers_differ_by_their_voltage():
    """A driver's gain is a factor on its line, whatever the length of the pulse."""
    gain = DriverErrors(gain=Spread(Normal(1.0, 0.1)))
    plain, x = made(pulsed(4, signs="two_phase"))
    crossbar, _ = made(pulsed(4, signs="two_phase").replace(errors=gain))
    of_lines = crossbar(torch.eye(6, dtype=F64)) / plain(torch.eye(6, dtype=F64))
    assert 0.02 < float(of_lines[:, 0].std()) < 0.3
    level = (x * 7).round() / 7
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    torch.testing.assert_close(crossbar(x), level * of_lines[:, 0] @ weight)
    with pytest.raises(ValueError, match="gain alone"):
        pulsed(4).replace(errors=DriverErrors(offset=0.1))
    with pytest.raises(ValueError, match="with errors"):
        made(pulsed(4, idle="floating").replace(errors=gain), wires=WIRES)


def test_converters_with_errors_take_charges():
    adc = ADC(6, range=1e-4, architecture=mho.periphery.SAR(offset=Spread(Normal(0.0, 0.01))))
    read = [made(dac, adc=adc)[0] for dac in (pulsed(4), DAC(4, v_max=V_MAX, range=1.0))]
    x = made(pulsed(4))[1]
    torch.testing.assert_close(read[0](x), read[1](x))
    exact = made(pulsed(4), adc=ADC(6, range=1e-4))[0]
    assert not torch.equal(read[0](x), exact(x))


# ── refused ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PulseWidth(t_pulse=0.0), "t_pulse"),
        (lambda: PulseWidth(signs="both"), "signs"),
        (lambda: PulseWidth(idle="open"), "idle"),
        (lambda: PulseWidth(jitter=-1e-9), "jitter"),
        (lambda: PulseWidth(full_charge=0.0), "full_charge"),
        (lambda: PulseWidth(split=(0, 3)), r"split\[0\]"),
        (lambda: PulseWidth(idle="floating", v_idle=0.1), "v_idle"),
        (lambda: PulseWidth(idle="floating", rise=1e-9), "rise"),
        (lambda: PulseWidth(v_idle=0.1, fall=1e-9), "v_idle"),
        (lambda: PulseWidth(v_idle=0.1, split=(2, 3)), "one length"),
        (lambda: DAC(8, pulses=PulseWidth()), "pulse_width"),
        (lambda: DAC(8, mode="pulse_width", code="twos_complement"), "code"),
        (lambda: DAC(8, mode="pulse_width", converts_once=True), "several pulses"),
        (lambda: pulsed(8, split=(3, 3)), "7 bits"),
        (lambda: pulsed(None, split=(3, 3)), "bits=None"),
        (lambda: pulsed(4, signs="two_phase", signed=False), "signed"),
        (lambda: pulsed(5, split=(2, 2), converts_once=True, full_charge=1e-12), "full_charge"),
        (lambda: Hardware(device=Diode(), dac=pulsed(4, rise=1e-9)), "ohmic"),
        (lambda: Hardware(device=Pickett(), dac=pulsed(4, v_idle=0.1)), "separate"),
        (lambda: made(pulsed(idle="floating"), wires=Wires(1.0, drive="both")), "both"),
        (lambda: made(pulsed(idle="floating"), wires=WIRES, device=Diode()), "ohmic"),
        (
            lambda: made(pulsed(idle="floating"), wires=WIRES, effects=(ReadNoise(0.1),)),
            "ReadNoise",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_pulses_are_pulses():
    with pytest.raises(TypeError, match="pulses"):
        DAC(8, mode="pulse_width", pulses=100e-9)
    with pytest.raises(TypeError, match="split"):
        PulseWidth(split=3)
