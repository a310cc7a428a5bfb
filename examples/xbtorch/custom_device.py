"""Two ways to a device of your own: a law in Python, or pulses that you measured.

The law is a subclass of ``GenericDevice`` with its own ``write``: here soft bounds, where a pulse
moves a cell by a share of the way to the bound ahead. The measurement is a train of pulses on
some cells, of which Kriging makes jump tables (mean and scatter of a jump at each conductance)
for ``TabularDevice``. Here it is played back from a formula; put ``np.loadtxt`` in its place.

An unmodified program for XBTorch; it runs on mho by

    python -m mho.compat examples/xbtorch/custom_device.py [--quick]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from digits_data import load, train
from xbtorch.devices import AnalyticalIdeal, GenericDevice, TabularDevice
from xbtorch.devices.utils import construct_cdf, get_kriging_profiles, sweep_conductance_full
from xbtorch.nn.utils import test_classifier

QUICK = "--quick" in sys.argv
EPOCHS, SEEDS = (15, 1) if QUICK else (20, 3)
G_MIN, G_MAX = 1e-6, 10e-6


class SoftBounds(GenericDevice):
    """n pulses leave ``(1 - share)^n`` of the way; ``noise`` is in jumps from the middle."""

    def __init__(self, share=0.02, noise=0.5, max_level=200):
        super().__init__(min_conductance=G_MIN, max_conductance=G_MAX)
        self.share, self.noise, self.max_level = share, noise, max_level

    def write(self, G, numPulse, group_param_idx=None):
        """Apply signed numbers of pulses to conductances ``G`` (S)."""
        low, high = self.min_conductance, self.max_conductance
        bound = torch.where(numPulse > 0, high, low).to(G)
        after = bound + (G - bound) * (1 - self.share) ** numPulse.abs()
        deviation = self.noise * self.share * (high - low) / 2 * numPulse.abs().sqrt()
        after += deviation * torch.randn_like(G)
        return torch.where(numPulse != 0, after.clamp(low, high), G)


def measure(sign, cells=4, pulses=100):
    """Return conductances (S) before each pulse and the changes (S), as from a tester."""
    source = np.random.default_rng(7 if sign > 0 else 8)
    g = np.full(cells, G_MIN if sign > 0 else G_MAX)
    trace = [g]
    for _ in range(pulses):
        change = 0.05 * sign * ((G_MAX - g) if sign > 0 else (g - G_MIN)) ** 1.5 / 9e-6**0.5
        g = np.clip(g + change + 3e-8 * source.standard_normal(cells), G_MIN, G_MAX)
        trace.append(g)
    trace = np.array(trace)
    return trace[:-1].ravel(), np.diff(trace, axis=0).ravel()


def tabular_device(folder, max_level=100):
    """Return a device of the measured pulses; its six tables are files in ``folder``."""
    files = []
    for way, sign in (("reset", -1), ("set", 1)):
        g, dg, mean, deviation = get_kriging_profiles(*measure(sign))
        tables = {"g": g, "dg": dg, "cdf": construct_cdf(g, dg, mean, deviation)}
        for name, table in tables.items():
            files.append(Path(folder) / f"{way}_{name}.txt")
            np.savetxt(files[-1], table)
    return TabularDevice(*files, max_level=max_level)


def compare_jumps(device):
    """Print the jumps that were measured near some conductances, and those of the device."""
    print("jumps (nS)        measured: mean, s.d.      device: mean, s.d.")
    for sign, way in ((1, "set"), (-1, "reset")):
        g, dg = measure(sign)
        for at in (3e-6, 5e-6, 7e-6):
            near = dg[np.abs(g - at) < 0.5e-6]
            start = torch.full((4000,), at, dtype=torch.float64)
            jump = device.write(start.clone(), torch.full((4000,), sign), "probe") - start
            print(
                f"  {way:<5} at {1e6 * at:.0f} µS {1e9 * near.mean():12.0f}{1e9 * near.std():9.0f}"
                f"{1e9 * float(jump.mean()):18.0f}{1e9 * float(jump.std()):9.0f}"
            )


def main():
    torch.manual_seed(0)
    trace, _ = sweep_conductance_full(SoftBounds(noise=0.0))
    print(f"soft bounds, 50 set pulses: {1e6 * trace[0]:.3f} µS to {1e6 * trace[50]:.3f} µS\n")

    with tempfile.TemporaryDirectory() as folder:
        measured = tabular_device(folder)
    compare_jumps(measured)

    print(f"\naccuracy (%) after {EPOCHS} epochs on the cells, mean of {SEEDS}")
    loaders = load()
    devices = {
        "linear, no noise": AnalyticalIdeal(),
        "soft bounds, no noise": SoftBounds(noise=0.0),
        "soft bounds, noisy": SoftBounds(),
        "measured pulses": measured,
    }
    for name, device in devices.items():
        models = [train(loaders[0], EPOCHS, device_type=device) for _ in range(SEEDS)]
        accuracies = [test_classifier(loaders[1], model, "cpu")[0] for model in models]
        print(f"  {name:<24}{np.mean(accuracies):6.1f}")


if __name__ == "__main__":
    main()
