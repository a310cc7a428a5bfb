"""A PyTorch model on a crossbar
=============================

``mho.convert`` makes of any model a new one whose layers compute through crossbars. It trains,
saves and moves between devices as the old one did.
"""

# %%
# A classifier of handwritten digits in plain PyTorch.
import matplotlib.pyplot as plt
import torch

import mho
from mho.demo.data import digits

data = digits(seed=0)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for _ in range(150):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(data.train_x), data.train_y).backward()
    optimizer.step()
model.eval()


def accuracy(network):
    return float((network(data.test_x).argmax(1) == data.test_y).float().mean())


print(f"plain PyTorch: {accuracy(model):.1%}")

# %%
# The same on chips with 8-bit converters, some broken cells and imperfect writing. ``calibrate``
# sets what is full scale for each converter, from data of yours.
hardware = mho.Hardware(
    array=mho.Array(rows=64, cols=64),
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=8),
    effects=(mho.effects.StuckAt(low=0.01, high=0.01), mho.effects.WriteNoise(sigma=0.03)),
)
analog = mho.convert(model, hardware, seed=0)
mho.calibrate(analog, data.train_x[:200])
print(f"on a chip: {accuracy(analog):.1%}")
print(mho.summary(analog))

# %%
# How many bits must a converter have? Hardware is a frozen dataclass, so a sweep is a loop with
# ``replace``; ``over_chips`` makes several chips of each design.
bits = (3, 4, 5, 6, 8)
found = []
for b in bits:
    design = mho.convert(model, hardware.replace(adc=mho.ADC(bits=b)), seed=0)

    def evaluate(chip):
        mho.calibrate(chip, data.train_x[:200])
        return accuracy(chip)

    found.append(mho.study.over_chips(design, evaluate, seeds=range(5)))
    print(f"{b}-bit ADC: {100 * found[-1].mean():.1f} ± {100 * found[-1].std():.1f} %")

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
mho.plot.accuracy_against(bits, torch.stack(found, 1), ax, baseline=accuracy(model))
ax.set(xlabel="bits of the ADC", ylim=(80, 100), title="Five chips of each design")
plt.show()
