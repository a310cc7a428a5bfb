"""Loss landscapes
===============

The loss of a small network for digits around what training found: along one direction, in the plane of
its way, digital and on a chip. On cells the valley is higher and rougher.
"""

import torch
from torch.nn import functional as F

import mho
from mho import plot
from mho.analysis import landscape, random_direction, snapshot, trajectory_directions
from mho.demo.data import digits
from mho.demo.models import mlp

data = digits(seed=0)
torch.manual_seed(0)
model = mlp()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
trajectory = [snapshot(model)]
for _ in range(8):
    for rows in torch.randperm(len(data.train_x)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(model(data.train_x[rows]), data.train_y[rows]).backward()
        optimizer.step()
    trajectory.append(snapshot(model))
effects = (mho.effects.StuckAt(low=0.02, high=0.02), mho.effects.WriteNoise(0.05))
analog = mho.convert(model, mho.Hardware(effects=effects))
sample = (data.train_x[:300], data.train_y[:300])

# %%
# A random direction of the size of the weights: digital, and the mean and spread of five chips.
line = [random_direction(model, seed=1)]
ax = plot.landscape_line(
    landscape(model, F.cross_entropy, sample, line), label="digital", colour="#6B6B6B"
)
chips = landscape(analog, F.cross_entropy, sample, line, chips=range(5))
plot.landscape_line(chips, ax, label="five chips")

# %%
# The plane that holds most of the way of training, which ends at the star.
directions, _ = trajectory_directions(trajectory)
reach = ((-12.0, 4.0), (-4.0, 4.0))
plane = landscape(model, F.cross_entropy, sample, directions, span=reach, trajectory=trajectory)
plot.landscape_contour(plane)

# %%
# The same plane as a surface.
plot.landscape_surface(plane)
