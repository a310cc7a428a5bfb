"""A non-ideality of your own: a frozen dataclass that acts at one stage of a cell's life."""

import math
from dataclasses import dataclass

import torch

import mho


@dataclass(frozen=True)
class Anneal(mho.effects.AgingEffect):
    """Conductances relax towards the middle of the window with a time constant (s)."""

    tau: float

    def age(self, g, context, start, stop):
        """From the conductances ``g`` (S) at ``start`` to those at ``stop`` (s)."""
        middle = 0.5 * (context.g_min + context.g_max)
        return middle + (g - middle) * math.exp(-(stop - start) / self.tau)


hardware = mho.Hardware(effects=(mho.effects.WriteNoise(sigma=0.01), Anneal(tau=3600.0)))
crossbar = mho.Crossbar(64, 10, hardware, seed=0)
weight = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
print(crossbar.program(weight))
for minutes in (1, 10, 60):
    crossbar.age(60.0 * minutes - crossbar.seconds)
    kept = (crossbar.weight * weight).sum() / weight.square().sum()
    print(f"after {minutes:>2} min the weights are {100 * kept:.0f} % of what they were")

# It is part of the hardware: in YAML, in checkpoints, in mho.convert of a whole network.
assert mho.Hardware.from_dict(hardware.to_dict()) == hardware
