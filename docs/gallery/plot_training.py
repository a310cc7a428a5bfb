"""Training on cells
=================

A layer is trained in place: every step is pulses on cells of lithium ECRAM. Accuracy over the epochs,
accuracy at several ranks of the gradient, what was written where, and the weights before and after.
"""

import torch
from torch import nn
from torch.nn import functional as F

from mho import plot
from mho.decomposition import TruncatedSVD
from mho.demo.data import digits
from mho.devices import presets
from mho.train import InSitu

data = digits(seed=0)
device = presets.get("ecram_lithium")


def run(seed, epochs=6, rank=None):
    """Train one layer; return the accuracies by epoch, the model and its optimizer."""
    torch.manual_seed(seed)
    model = nn.Linear(64, 10)
    base = torch.optim.SGD(model.parameters(), lr=0.2)
    few = TruncatedSVD(rank) if rank else None
    optimizer = InSitu(base, device, seed=seed, decomposition=few)
    found = []
    for _ in range(epochs):
        for rows in torch.randperm(len(data.train_x)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(model(data.train_x[rows]), data.train_y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            right = model(data.test_x).argmax(1) == data.test_y
        found.append(float(right.float().mean()))
    return found, model, optimizer


runs = [run(seed) for seed in range(3)]

# %%
# The mean and spread of three runs.
plot.accuracy_curve(torch.tensor([accuracies for accuracies, _, _ in runs]), label="on ECRAM")

# %%
# Gradients of few ranks need few numbers next to the cells. After three epochs four ranks are on the way
# to what all of them give (dotted).
ranks = [1, 2, 4]
few = torch.tensor([[run(seed, 3, rank)[0][-1] for rank in ranks] for seed in range(2)])
full = sum(accuracies[2] for accuracies, _, _ in runs) / len(runs)
plot.rank_accuracy(ranks, few, baseline=full)

# %%
# Pixels at the border are always dark: their cells are hardly ever written.
_, model, optimizer = runs[0]
plot.writes_map(optimizer.writes(model.weight))

# %%
torch.manual_seed(0)
before = nn.Linear(64, 10).weight
plot.weight_histogram(before, model.weight, weight_range=(-1, 1))
