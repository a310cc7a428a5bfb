"""A device of your own: a frozen dataclass with a window, and the law of one pulse.

Run it to see the cell at work, and its card as `mho.plot` draws that of any device;
``pytest examples/custom_device.py`` runs the whole conformance kit that mho's own devices pass.

    python examples/custom_device.py [--quick] [--out custom_device]
"""

from dataclasses import dataclass

import torch
from torch.distributions import Normal

import mho
from mho.devices import Spread
from mho.devices.pulsed import PulsedDevice
from mho.plot import device_card
from mho.testing import DeviceContract


@dataclass(frozen=True)
class Filament(PulsedDevice):
    """A pulse moves the cell by a share of the way to the bound ahead, give or take some noise."""

    g_min: float | Spread = 2e-6
    g_max: float | Spread = 80e-6
    share: float = 0.05
    c2c: float = 0.3

    @property
    def noisy(self):
        """Whether equal pulses differ."""
        return self.c2c > 0

    def change(self, g, up, cell):
        """Mean change (S) of one pulse at conductances ``g`` (S), a set pulse where ``up``."""
        return cell["share"] * torch.where(up, cell["g_max"] - g, cell["g_min"] - g)

    def noise(self, g, change, cell):
        """Its standard deviation (S)."""
        return cell["c2c"] * change.abs()


class TestFilament(DeviceContract):
    """Shapes, dtypes, seeds, bounds, reads, checkpoints: two dozen tests in three lines."""

    def device(self):
        """The device under test."""
        return Filament(g_max=Spread(Normal(80e-6, 8e-6)))


def main():
    from example_options import (  # beside this file, where Python finds it when run
        parsed,
        save_figure,
    )

    options = parsed(__doc__, "custom_device", quick="the same: it takes seconds")
    cells = Filament(g_max=Spread(Normal(80e-6, 8e-6))).fabricate((1000,), seed=0)
    for pulses in (10, 20, 40, -40):
        cells.pulse(pulses)
        g = 1e6 * cells.conductance()
        print(f"{pulses:+4d} pulses: {g.mean():5.1f} ± {g.std():.1f} µS")
    # It is a cell like any other: crossbars are made of it, and it is kept in YAML.
    hardware = mho.Hardware(device=Filament())
    assert mho.Hardware.from_dict(hardware.to_dict()) == hardware
    crossbar = mho.Crossbar(64, 10, hardware, seed=0)
    print(crossbar.program(torch.randn(64, 10, generator=torch.Generator().manual_seed(0))))
    save_figure(device_card(Filament()), options.out / "custom_device.png")


if __name__ == "__main__":
    main()
