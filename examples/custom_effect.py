"""A non-ideality of your own: a frozen dataclass that acts at one stage of a cell's life.

Drawn is what is left of the weights as time passes.

    python examples/custom_effect.py [--quick] [--out custom_effect]
"""

import math
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch

import mho
from example_options import parsed, save_figure
from mho.plot import style

options = parsed(__doc__, "custom_effect", quick="the same: it takes a second")


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
minutes, left = (1, 10, 30, 60), []
for moment in minutes:
    crossbar.age(60.0 * moment - crossbar.seconds)
    left.append(100 * float((crossbar.weight * weight).sum() / weight.square().sum()))
    print(f"after {moment:>2} min the weights are {left[-1]:.0f} % of what they were")

# It is part of the hardware: in YAML, in checkpoints, in mho.convert of a whole network.
assert mho.Hardware.from_dict(hardware.to_dict()) == hardware

with style():
    figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    ax.plot(minutes, left, "o-")
    ax.set(xlabel="time since programming (min)", ylabel="left of the weights (%)", ylim=(0, 100))
    save_figure(figure, options.out / "custom_effect.png")
