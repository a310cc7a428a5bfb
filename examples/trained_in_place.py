"""A network trained on its own cells: put to work, aged, and trained on with what is left.

One hidden layer learns scikit-learn's digits in situ, on pairs of noisy, bent cells. The very cells
it was trained on then become a chip, with converters and drift; the chip ages for ten days, and its
cells go back into training for one more epoch.

    python examples/trained_in_place.py [--quick] [--out trained_in_place]
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import mho
from example_options import bars, parsed
from mho.demo.data import digits
from mho.devices import presets
from mho.effects import PowerLawDrift
from mho.train import DifferentialPair, InSitu, fit

CELLS = presets.get("ag_a_si")
HARDWARE = mho.Hardware(
    device=CELLS,
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=8),
    effects=(PowerLawDrift(nu=0.06, nu_spread=0.03),),
)
DAY = 86400.0


@torch.no_grad()
def accuracy(model, data):
    return float((model.eval()(data.test_x).argmax(1) == data.test_y).float().mean())


def main(args=None):
    more = {"--epochs": {"type": int, "help": "before it is put to work (10)"}}
    options = parsed(__doc__, "trained_in_place", args, "six epochs instead of ten", more)
    data = digits(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = InSitu(
        torch.optim.SGD(model.parameters(), lr=0.1),
        CELLS,
        layout=DifferentialPair(),
        model=model,
        threshold=1.0,
        seed=0,
    )

    def train(epochs):
        samples = (data.train_x, data.train_y)
        fit(model, optimizer, samples, F.cross_entropy, epochs=epochs, batch=32, seed=0)

    def deploy():
        chip = optimizer.deploy(model, HARDWARE, seed=1)
        mho.calibrate(chip, data.train_x[:256])
        return chip

    def show(stage, chip):
        found[stage] = 100 * accuracy(chip, data)
        worst = max(layer.pulses for layer in mho.summary(chip).layers)
        print(f"{stage:<34}{found[stage]:>8.1f} %{worst:>16,}")

    found = {}
    print(f"{'':<34}{'accuracy':>10}{'pulses a cell':>16}")
    train(options.epochs or (6 if options.quick else 10))
    chip = deploy()
    show("the trained cells as a chip", chip)
    mho.age(chip, 10 * DAY)
    show("ten days later", chip)
    mho.compensate(chip)
    show("compensated by one factor a layer", chip)
    optimizer.recall(model, chip)
    train(1)
    chip = deploy()
    show("the same cells, an epoch later", chip)
    bars(found, options.out / "trained_in_place.png", "test accuracy (%)")
    return found


if __name__ == "__main__":
    main()
