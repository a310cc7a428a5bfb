"""The loss landscape of a small CNN, digital and on chips, with the way training took.

Draws three pictures into a folder: the plane of the training trajectory, the same plane on
crossbars with programming error and stuck cells, and a line with a band over ten chips.

    python examples/loss_landscape.py [--quick] [--out landscape]
"""

from __future__ import annotations

import time

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import mho
from example_options import parsed
from mho.analysis import landscape, random_direction, snapshot, trajectory_directions
from mho.demo.data import digits
from mho.demo.models import cnn
from mho.plot import landscape_contour, landscape_line, style

options = parsed(__doc__, "landscape", quick="fewer points and chips")
folder = options.out
points, many = (9, 4) if options.quick else (21, 10)
data = digits(seed=0)
images, labels = data.train_x, data.train_y

torch.manual_seed(0)
model = cnn()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
trajectory = [snapshot(model)]
for _ in range(12):
    for rows in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
    trajectory.append(snapshot(model))
print(f"loss after training: {F.cross_entropy(model(images), labels).item():.3f}")

sample = (images[:500], labels[:500])
directions, share = trajectory_directions(trajectory)
print(f"the plane holds {share.sum():.1%} of the way of training")
start = time.perf_counter()
reach = ((-10.0, 4.0), (-4.0, 4.0))
plane = landscape(
    model,
    F.cross_entropy,
    sample,
    directions,
    span=reach,
    points=points,
    trajectory=trajectory,
    label="digital",
)
print(f"{points} × {points} points, digital: {time.perf_counter() - start:.1f} s")

hardware = mho.Hardware(
    effects=(mho.effects.StuckAt(low=0.02, high=0.02), mho.effects.WriteNoise(0.05))
)
analog = mho.convert(model, hardware)
start = time.perf_counter()
on_chip = landscape(
    analog, F.cross_entropy, sample, directions, span=reach, points=points, chips=(1,)
)
print(f"{points} × {points} points, programmed on a chip each: {time.perf_counter() - start:.1f} s")

line = random_direction(model, seed=1)
digital = landscape(model, F.cross_entropy, sample, [line], points=points)
chips = landscape(analog, F.cross_entropy, sample, [line], points=points, chips=range(many))

with style():
    for name, found in (("digital", plane), ("chip", on_chip)):
        ax = landscape_contour(found)
        ax.set_title(f"loss in the plane of training, {name}")
        ax.figure.savefig(folder / f"plane_{name}.png")
    ax = landscape_line(digital, label="digital", colour="#6B6B6B")
    landscape_line(chips, ax, label=f"{many} chips")
    ax.set_title("loss along a filter-normalised direction")
    ax.legend()
    ax.figure.savefig(folder / "line.png")
plt.close("all")
print(f"pictures in {folder}/")
