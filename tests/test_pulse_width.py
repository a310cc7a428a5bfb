"""Inputs that are coded in the length of a pulse, held to circuits that are followed in time."""

import numpy as np
import pytest
import torch

from mho import ADC, DAC, Hardware, PulseWidth
from mho.circuit import Wires
from mho.devices import MTJ, LinearDevice, Pickett, Yakopcic
from mho.effects import ReadNoise
from mho.encoding import BitSliced, Differential, SingleColumn
from pulse_chips import (
    ADCS,
    T_PULSE,
    V_MAX,
    WIRES,
    Diode,
    Skewed,
    made,
    output,
    pulsed,
)
from time_stepped import charge

F64 = torch.float64

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
