# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: devices of one's own.

One from scratch, and models that come along with an equation, a write or a method changed; as single
devices, in crossbars, and in the layers of a network.
"""

import copy
import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import memtorch
import numpy as np
import torch
import torch.nn as nn
from memtorch.bh.crossbar.Program import naive_program
from memtorch.bh.memristor import Biolek, Data_Driven2021, LinearIonDrift, Stanford_PKU, VTEAM
from memtorch.bh.memristor.Memristor import Memristor
from memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from memtorch.mn.Module import patch_model
from memtorch.utils import clip, convert_range


class PulsedPCM(Memristor):
    """Conductance that approaches its bound by a share of what is left, at every pulse."""

    def __init__(
        self, time_series_resolution=1e-6, r_off=1e6, r_on=2e4, eta=0.1, v_read=0.2, **kwargs
    ):
        args = memtorch.bh.unpack_parameters(locals())
        super(PulsedPCM, self).__init__(
            args.r_off, args.r_on, args.time_series_resolution, args.v_read, -args.v_read
        )
        self.eta = args.eta
        self.g = 1 / self.r_off
        self.history = []

    def simulate(self, voltage_signal, return_current=False):
        if return_current:
            current = np.zeros(len(voltage_signal))

        np.seterr(all="raise")
        for i in range(0, len(voltage_signal)):
            v = float(voltage_signal[i])
            if v > self.pos_write_threshold:
                self.g = self.g + self.eta * (1 / self.r_on - self.g)
            elif v < self.neg_write_threshold:
                self.g = self.g + self.eta * (1 / self.r_off - self.g)
            if return_current:
                current[i] = self.current(v)

        self.history.append(self.g)
        if return_current:
            return current

    def current(self, voltage):
        return voltage * self.g

    def set_conductance(self, conductance):
        self.g = clip(conductance, 1 / self.r_off, 1 / self.r_on)

    def plot_hysteresis_loop(
        self,
        duration=2e-4,
        voltage_signal_amplitude=1.0,
        voltage_signal_frequency=1e4,
        return_result=False,
    ):
        return super(PulsedPCM, self).plot_hysteresis_loop(
            self,
            duration=duration,
            voltage_signal_amplitude=voltage_signal_amplitude,
            voltage_signal_frequency=voltage_signal_frequency,
            return_result=return_result,
        )

    def plot_bipolar_switching_behaviour(
        self,
        voltage_signal_amplitude=1.0,
        voltage_signal_frequency=1e4,
        log_scale=True,
        return_result=False,
    ):
        return super(PulsedPCM, self).plot_bipolar_switching_behaviour(
            self, voltage_signal_amplitude, voltage_signal_frequency, log_scale, return_result
        )


class HalfSpeed(VTEAM):
    def dxdt(self, voltage):
        return 0.5 * super(HalfSpeed, self).dxdt(voltage)


class Sinh(VTEAM):
    def current(self, voltage):
        return self.g * math.sinh(3 * voltage) / 3


class Windowed(LinearIonDrift):
    """Biolek's window instead of Joglekar's."""

    def dxdt(self, current):
        return (self.u_v * self.r_on / self.d**2) * current * Biolek(current, self.x, self.p)


class Frozen(Stanford_PKU):
    def dg_dt(self, voltage, current):
        return 0.0


class Noisy(VTEAM):
    """Writes are off by two percent; every device counts its writes."""

    def __init__(self, spread=0.02, **kwargs):
        super().__init__(**kwargs)
        self.spread = spread
        self.writes = 0

    def set_conductance(self, conductance):
        self.writes += 1
        super().set_conductance(conductance * (1 + self.spread * np.random.randn()))


class Counted(VTEAM):
    samples = 0

    def simulate(self, voltage_signal, return_current=False):
        Counted.samples += len(voltage_signal)
        return super().simulate(voltage_signal, return_current)


np.random.seed(0)
torch.manual_seed(0)

# 1. From scratch: the law of its pulses, its hysteresis, its place in crossbars and networks.
device = PulsedPCM()
device.simulate(np.ones(10))
expected = 1 / 2e4 + (1 / 1e6 - 1 / 2e4) * 0.9**10
print("pulsed %.6e expected %.6e resistance %.1f" % (device.g, expected, device.get_resistance()))
voltage, current = device.plot_hysteresis_loop(return_result=True)
print(
    "pinched %.2e largest %.2e"
    % (abs(np.array(current)[np.abs(voltage) < 1e-9]).max(), abs(np.array(current)).max())
)
crossbar = memtorch.bh.crossbar.Crossbar(
    PulsedPCM, {"eta": memtorch.bh.StochasticParameter(loc=0.1, scale=0.02, min=0.01)}, (20, 10)
)
etas = np.vectorize(lambda d: d.eta)(crossbar.devices)
print("etas mean %.3f std %.3f" % (etas.mean(), etas.std()))
for d in crossbar.devices.flatten():
    d.simulate([1.0])
crossbar.update(from_devices=True)
lifted = (crossbar.conductance_matrix.numpy() - 1e-6) / (5e-5 - 1e-6)
print("lifted by eta %.2e" % np.abs(lifted - etas).max())
naive_program(crossbar, (3, 4), 2e-5, rel_tol=0.1, pulse_duration=1e-6, simulate_neighbours=False)
print(
    "own programmed %.3f pulses %d"
    % (crossbar.devices[3][4].g / 2e-5, len(crossbar.devices[3][4].history) - 1)
)

net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))
x = torch.randn(100, 12)
with torch.no_grad():
    digital = net(x)


def error(model, **kwargs):
    patched = patch_model(copy.deepcopy(net), model, kwargs, [nn.Linear], verbose=False)
    patched.tune_()
    with torch.no_grad():
        return patched, float((patched(x) - digital).std() / digital.std())


for model in [PulsedPCM, HalfSpeed, Sinh, Windowed, Noisy, Counted]:
    patched, off = error(model)
    print("network of %s error %.4f" % (model.__name__, off))
    if model is Noisy:
        writes = [
            d.writes
            for layer in (patched[0], patched[2])
            for c in layer.crossbars
            for d in c.devices.flatten()
        ]
        print("writes at least once", min(writes) >= 1, "devices", len(writes))

patched, _ = error(PulsedPCM)
patched = apply_nonidealities(
    patched,
    [NonIdeality.DeviceFaults],
    lrs_proportion=0.5,
    hrs_proportion=0.0,
    electroform_proportion=0.0,
)
g = np.vectorize(lambda d: d.g)(patched[0].crossbars[0].devices)
print("own faults %.4f" % np.isclose(g, 1 / 2e4).mean())

# 2. Half the speed: half the way.
a, b = VTEAM(), HalfSpeed()
for d in (a, b):
    d.set_conductance(1 / 500)
    d.simulate(np.full(10, 0.5))
print("half speed ratio %.4f" % ((1 / b.g - 500) / (1 / a.g - 500)))
crossbar = memtorch.bh.crossbar.Crossbar(HalfSpeed, {}, (2, 2))
crossbar.devices[0][1].set_conductance(1 / 500)
crossbar.devices[0][1].simulate(torch.full((10,), 0.5))
print("in a crossbar %.4f" % ((1 / crossbar.devices[0][1].g - 500) / (1 / a.g - 500)))

# 3. Currents that rise as a hyperbolic sine, read cell by cell.
patched = patch_model(copy.deepcopy(net[:1]), Sinh, {}, [nn.Linear], verbose=False)
nonlinear = apply_nonidealities(copy.deepcopy(patched), [NonIdeality.NonLinear], simulate=True)
v = torch.rand(5, 12)
expected = (
    torch.sinh(3 * v)
    / 3
    @ (patched[0].crossbars[0].conductance_matrix - patched[0].crossbars[1].conductance_matrix)
)
found = memtorch.bh.crossbar.simulate_matmul(
    v, patched[0].crossbars[0], nl=False
) - memtorch.bh.crossbar.simulate_matmul(v, patched[0].crossbars[1], nl=False)
print("sinh current %.2e" % float((found - expected).abs().max() / expected.abs().max()))
slope = np.polyfit(
    expected.numpy().ravel(), (nonlinear(v) - net[0].bias).detach().numpy().ravel(), 1
)
rest = (nonlinear(v) - net[0].bias).detach().numpy().ravel() - np.polyval(
    slope, expected.numpy().ravel()
)
print("sinh layer %.2e" % np.abs(rest).max())

# 4. Another window: at the bound Biolek's lets a device come back at once.
a, b = LinearIonDrift(), Windowed()
times = []
for d in (a, b):
    d.set_conductance(1 / 8000)
    start = d.x
    current = np.array(d.simulate(np.ones(5), return_current=True))
    times.append(d.x - start)
x_0 = (16000 - 8000) / (16000 - 100)
rate = 1e-14 * 100 / 1e-16 * (1 / 8000)
print(
    "windows moved %.5e %.5e first order %.5e %.5e"
    % (times[0], times[1], rate * 5e-4 * (1 - (2 * x_0 - 1) ** 2), rate * 5e-4 * (1 - x_0**2))
)

# 5. No motion, and what is counted.
f = Frozen()
gap = f.gap
f.simulate(np.full(50, 1.2))
print("frozen", f.gap == gap)
crossbar = memtorch.bh.crossbar.Crossbar(Counted, {}, (2, 3))
Counted.samples = 0
for row in crossbar.devices:
    for d in row:
        d.simulate(np.zeros(7))
print("counted", Counted.samples)

# 6. Noisy writes: their spread is found in the matrix.
crossbar = memtorch.bh.crossbar.Crossbar(Noisy, {"spread": 0.05}, (40, 50))
crossbar.write_conductance_matrix(torch.full((40, 50), 5e-3), transistor=True)
crossbar.update(from_devices=True, parallelize=True)
ratio = crossbar.conductance_matrix / 5e-3
print("noisy mean %.3f spread %.4f" % (ratio.mean(), ratio.std()))
