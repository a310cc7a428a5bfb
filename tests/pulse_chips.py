"""Crossbars whose inputs are pulses, for the tests of them."""

import torch

from mho import ADC, DAC, Array, Crossbar, Hardware, PulseWidth
from mho.circuit import Wires
from mho.devices import LinearDevice, Pickett

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


READS = 4000

ADCS = {"exact": None, "fixed": ADC(6, range=2e-4), "vector": ADC(6, range="per_vector")}


class Diode(LinearDevice):
    """Conducts more one way than the other."""

    def transfer(self, v):
        return v * (1.0 + 2.0 * v)


class Skewed(Pickett):
    """A current that neither separates nor is odd."""

    def current_of(self, v, g):
        return super().current_of(v, g) * (1.0 + v)


def spread(crossbar, x, *, reads=READS):
    """Mean and deviation of many reads of one input."""
    with torch.no_grad():
        y = crossbar(x.expand(reads, -1))
    return y.mean(0), y.std(0)


def within(found, expected, *, sigmas=4.5, reads=READS):
    """Whether a deviation agrees with what is expected, in standard errors of it."""
    error = expected / (2 * (reads - 1)) ** 0.5
    assert bool(((found - expected).abs() < sigmas * error).all()), (found, expected)


WAYS = {
    "plain": pulsed(5),
    "split": pulsed(5, split=(2, 2)),
    "phases": pulsed(5, signs="two_phase"),
    "once": pulsed(5, split=(2, 2), signs="two_phase", converts_once=True),
    "idle": pulsed(5, v_idle=0.02),
    "edges": pulsed(5, rise=9e-9, fall=4e-9),
    "full": pulsed(5, full_charge=3e-12),
}
