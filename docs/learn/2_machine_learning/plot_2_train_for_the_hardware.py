"""
Training for the hardware
=========================

In ``train()`` mode a converted model computes through its weights, with the hardware's noise drawn afresh at
every step. So any training loop adapts it to the hardware; nothing else has to be learnt.
"""

# %%
# Two networks with the same start: one trained in software, one on noisy hardware. A recipe says what training
# does beyond the plain loop: here it learns the converters' ranges and clips weights, so that no single large
# weight spends the cells' window.
import matplotlib.pyplot as plt
import torch

import mho
from mho.demo.data import digits
from mho.train import Recipe

data = digits(seed=0)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def hardware(noise):
    effects = (mho.effects.StuckAt(low=0.005, high=0.005), mho.effects.WriteNoise(noise))
    return mho.Hardware(dac=mho.DAC(bits=6), adc=mho.ADC(bits=6), effects=effects)


def train(model, after_step=None):
    mho.train.fit(
        model.train(),
        torch.optim.Adam(model.parameters(), lr=3e-3),
        (data.train_x, data.train_y),
        torch.nn.functional.cross_entropy,
        epochs=15,
        batch=32,
        seed=0,
        after_step=after_step,
    )
    return model.eval()


in_software = train(network())
recipe = Recipe(ranges="learned", clip=2.5)
on_hardware = recipe.prepare(network(), hardware(0.15), data.train_x[:300])
train(on_hardware, recipe.after_step)
recipe.finish(on_hardware)
on_hardware.eval()

# %%
# Both are put on chips whose cells are written with more and more noise (the standard deviation of a cell,
# relative to the window). ``mho.convert`` of a converted model moves its weights to other hardware.
levels = (0.05, 0.1, 0.2, 0.3)


def evaluate(chip):
    mho.calibrate(chip, data.train_x[:300])
    return float((chip(data.test_x).argmax(1) == data.test_y).float().mean())


figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
found = {}
for name, model, colour in (
    ("trained in software", in_software, "#6B6B6B"),
    ("trained on the hardware", on_hardware, "#0072B2"),
):
    chips = [
        mho.study.over_chips(mho.convert(model, hardware(n), seed=0).eval(), evaluate, range(4))
        for n in levels
    ]
    found[name] = torch.stack(chips, 1)
    mho.plot.accuracy_against(levels, found[name], ax, label=name, colour=colour)
ax.set_xlabel("write noise, σ of the window")
ax.legend()
plt.show()

# %%
# The gain, chip by chip: the same seeds make the same chips, so that differences are less noisy than means. It
# grows with the noise, also beyond the noise of training.
gain = 100 * (found["trained on the hardware"] - found["trained in software"])
for noise, points in zip(levels, gain.T, strict=True):
    error = float(points.std()) / len(points) ** 0.5
    print(f"noise {noise:.2f}: {points.mean():+5.1f} ± {error:.1f} points")
