"""A result that others can repeat
===============================

A figure can be repeated if three things are written down: what the hardware was, which chips, and
every single number. All three are files here.
"""

# %%
# The hardware goes to YAML and back, the same to the last digit.
import csv

import matplotlib.pyplot as plt
import torch

import mho
from mho.demo.data import digits

hardware = mho.Hardware(
    device=mho.devices.presets.get("reram_wan"),
    array=mho.Array(64, 64),
    dac=mho.DAC(bits=6),
    adc=mho.ADC(bits=6),
)
mho.save_hardware(hardware, "hardware.yaml")
assert mho.load_hardware("hardware.yaml") == hardware
with open("hardware.yaml", encoding="utf-8") as file:
    print(file.read())

# %%
# The network: ``torch.manual_seed`` decides its training.
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
analog = mho.convert(model.eval(), mho.load_hardware("hardware.yaml"), seed=0).eval()

# %%
# Eight chips, at four moments. A chip is its seed: the same seed gives the same bits, on any day.
times = (1.0, 3600.0, 86_400.0, 30 * 86_400.0)


def evaluate(chip):
    mho.calibrate(chip, data.train_x[:300])
    found, before = [], 0.0
    for seconds in times:
        mho.age(chip, seconds=seconds - before)
        before = seconds
        found.append(float((chip(data.test_x).argmax(1) == data.test_y).float().mean()))
    return found


seeds = range(8)
found = mho.study.over_chips(analog, evaluate, seeds)
again = mho.study.over_chips(analog, evaluate, [3])
assert torch.equal(again[0], found[3])  # chip 3 is chip 3

# %%
# Every number, not only the mean: whoever repeats this compares chip by chip.
with open("accuracy.csv", "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["chip", "seconds", "accuracy"])
    for seed, row in zip(seeds, found.tolist(), strict=True):
        table.writerows([seed, seconds, value] for seconds, value in zip(times, row, strict=True))

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
mho.plot.accuracy_against(times, found, ax)
mho.plot.time_axis(ax, times)
ax.set(xlabel="time since programming", ylim=(80, 100))
plt.show()
print(f"mho {mho.__version__}, torch {torch.__version__}")
