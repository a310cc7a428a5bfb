"""A device of your own: as MemTorch wanted it (a class of one cell), and as mho does.

A crossbar of a user's ``Memristor`` subclass holds one Python object per cell and calls each of
them: it works as it always did, slowly. The same law as a spec of mho is a tensor operation on all
cells at once.

    python -m mho.compat examples/memtorch/custom_device.py [--quick]
"""

import copy
import sys
import time
from dataclasses import dataclass

import memtorch
import numpy as np
import torch
from digits_data import Net, accuracy, load, train
from memtorch.bh.memristor.Memristor import Memristor
from memtorch.mn.Module import patch_model
from memtorch.utils import clip

import mho
from mho.devices.pulsed import PulsedDevice

QUICK = "--quick" in sys.argv


class Exponential(Memristor):
    """Conductance that moves by a share of the way to the bound ahead, per volt and second."""

    def __init__(self, time_series_resolution=1e-3, r_on=1e4, r_off=1e5, rate=100.0, **kwargs):
        args = memtorch.bh.unpack_parameters(locals())
        super().__init__(args.r_off, args.r_on, args.time_series_resolution)
        self.rate = args.rate
        self.g = 1 / args.r_off

    def simulate(self, voltage_signal, return_current=False):
        """Apply voltages (V), one sample after the other."""
        currents = np.zeros(len(voltage_signal))
        for k, voltage in enumerate(np.asarray(voltage_signal, dtype=float).ravel()):
            bound = 1 / self.r_on if voltage > 0 else 1 / self.r_off
            share = 1 - np.exp(-self.rate * abs(voltage) * self.time_series_resolution)
            self.g += share * (bound - self.g)
            currents[k] = self.g * voltage
        return currents if return_current else None

    def set_conductance(self, conductance):
        """Put the device to a conductance (S)."""
        self.g = clip(conductance, 1 / self.r_off, 1 / self.r_on)


@dataclass(frozen=True)
class Exponential1T1R(PulsedDevice):
    """The same for mho: the law of one pulse of 1 V and 1 ms, for all cells at once."""

    g_min: float = 1e-5
    g_max: float = 1e-4
    share: float = 1 - float(np.exp(-0.1))

    def change(self, g, up, cell):
        """Change (S) of one pulse at conductances ``g`` (S), a set pulse where ``up``."""
        return cell["share"] * torch.where(up, cell["g_max"] - g, cell["g_min"] - g)


def main():
    torch.manual_seed(0)
    pulses = 10
    device = Exponential()
    device.simulate(np.ones(pulses))
    cells = Exponential1T1R().fabricate((1,), seed=0)
    cells.reset()
    cells.pulse(pulses)
    print(f"{pulses} pulses, MemTorch's way: {1e6 * device.g:.2f} uS")
    print(f"{pulses} pulses, mho's way:      {1e6 * float(cells.conductance()):.2f} uS")

    train_data, test_data = load()
    model = train(Net(hidden=16), train_data, epochs=5 if QUICK else 30)
    print(f"\n{'network':<34}{'accuracy':>10}{'built in':>12}")
    print(f"{'digital':<34}{accuracy(model, test_data):>8.1f} %")
    start = time.perf_counter()
    patched = patch_model(
        copy.deepcopy(model),
        memristor_model=Exponential,
        memristor_model_params={},
        module_parameters_to_patch=[torch.nn.Linear],
        verbose=False,
    )
    patched.tune_()
    seconds = time.perf_counter() - start
    name = f"an object for each of {2 * (64 * 16 + 16 * 10)} cells"
    print(f"{name:<34}{accuracy(patched, test_data):>8.1f} %{1e3 * seconds:>9.0f} ms")
    start = time.perf_counter()
    analog = mho.convert(model, mho.Hardware(device=Exponential1T1R()), seed=0)
    seconds = time.perf_counter() - start
    print(f"{'tensors':<34}{accuracy(analog, test_data):>8.1f} %{1e3 * seconds:>9.0f} ms")

    # Cells of a crossbar are the objects themselves: pulse one, and carry it to the matrix.
    crossbar = patched.fc2.crossbars[0]
    g = crossbar.conductance_matrix
    row, column = np.unravel_index(int(g.argmax()), g.shape)
    before = float(g[row, column])
    crossbar.devices[row][column].simulate(np.full(5, -1.0))
    crossbar.update(from_devices=True)
    after = float(crossbar.conductance_matrix[row, column])
    print(f"\nfive reset pulses on one cell: {1e6 * before:.1f} -> {1e6 * after:.1f} uS")


main()
