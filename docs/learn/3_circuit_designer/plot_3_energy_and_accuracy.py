"""Energy against accuracy
=======================

A converter of one bit more costs energy; one of too few costs accuracy. Both come from the same
model, on the same inputs: what the cells take is computed from the voltages that the data put on
the lines, what circuits take is published.
"""

# %%
# A classifier of digits, on tiles of 64 × 64.
import matplotlib.pyplot as plt
import torch

import mho
from mho.analysis import chips, cost
from mho.demo.data import digits

data = digits(seed=0)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
mho.train.fit(
    model,
    torch.optim.Adam(model.parameters(), lr=5e-3),
    (data.train_x, data.train_y),
    torch.nn.functional.cross_entropy,
    epochs=15,
    batch=64,
    seed=0,
)
model.eval()
effects = (mho.effects.WriteNoise(0.03),)


def evaluate(chip):
    mho.calibrate(chip, data.train_x[:200])
    return float((chip(data.test_x).argmax(1) == data.test_y).float().mean())


# %%
# Accuracy of three chips and energy of one inference, for every number of bits.
bits = (4, 5, 6, 7, 8)  # the regression behind the energy begins at 4
accuracy, energy = [], []
for b in bits:
    hardware = mho.Hardware(
        array=mho.Array(64, 64), dac=mho.DAC(bits=6), adc=mho.ADC(bits=b), effects=effects
    )
    analog = mho.convert(model, hardware, seed=0).eval()
    accuracy.append(mho.study.over_chips(analog, evaluate, range(3)))
    mho.calibrate(analog, data.train_x[:200])
    energy.append(cost(analog, data.test_x[:50], chips.get("generic_22nm")))
    joules = energy[-1].energy  # an estimate: typical, and from low to high
    print(
        f"{b} bits: {100 * accuracy[-1].mean():5.1f} %, {1e12 * joules.typical:.0f} pJ "
        f"({1e12 * joules.low:.0f} to {1e12 * joules.high:.0f})"
    )

# %%
# Every point is a design; error bars are one standard deviation of the chips.
figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained")
means = [100 * float(a.mean()) for a in accuracy]
spread = [100 * float(a.std()) for a in accuracy]
picojoules = [1e12 * found.energy.typical for found in energy]
left.errorbar(picojoules, means, spread, marker="o", color="#0072B2", capsize=3)
for x, y, b in zip(picojoules, means, bits, strict=True):
    left.annotate(f"{b} bits", (x, y), xytext=(4, -12), textcoords="offset points", fontsize=9)
left.set(xlabel="energy of one inference (pJ)", ylabel="accuracy (%)")
mho.plot.cost_breakdown(energy[-1], right)
plt.show()
