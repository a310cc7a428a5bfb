# ruff: noqa
"""
Low-rank gradients on devices of our own, and the loss landscape of what was learned.

Streaming batch PCA, SVD and NMF of several ranks; a decomposition of our own; a device that is a
Python law (GenericDevice), and an AnalyticalDevice whose curve was bent.
"""

import copy
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_blobs
from torch.utils.data import DataLoader, TensorDataset

import xbtorch
import xbtorch.loss as xbloss
import xbtorch.nn as xnn
import xbtorch.optim as xoptim
from xbtorch.decomposition import *
from xbtorch.decomposition.base import GenericDecomposition
from xbtorch.devices import *
from xbtorch.devices.base import GenericDevice
from xbtorch.devices.utils import sweep_conductance_full
from xbtorch.nn.utils import test_classifier, train_classifier
from xbtorch.patches import xbtorch_model

points, labels = make_blobs(600, 20, centers=5, cluster_std=7.0, random_state=1)
X = torch.tensor(points / 10, dtype=torch.float32)
y = torch.tensor(labels)
loader = DataLoader(TensorDataset(X[:480], y[:480]), batch_size=48, shuffle=True)
test_loader = DataLoader(TensorDataset(X[480:], y[480:]), batch_size=120)


class MLP(nn.Module):
    def __init__(self, bias=False):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(20, 16, bias=bias), nn.Tanh(), nn.Dropout(0.0), nn.Linear(16, 5, bias=bias)
        )

    def forward(self, x):
        return self.model(x)


def train(epochs=5, lr=0.3, seed=0, make=xoptim.SGD, bias=False, **settings):
    torch.manual_seed(seed)
    xbtorch.initialize(**settings)
    model = xbtorch_model(MLP(bias))
    optimizer = make(model.parameters(), lr=lr)
    path = {name: [p.detach().numpy().copy()] for name, p in model.named_parameters()}
    for epoch in range(epochs):
        loss = train_classifier(
            loader, model, nn.CrossEntropyLoss(), optimizer, epoch, epochs, "cpu"
        )
        for name, p in model.named_parameters():
            path[name].append(p.detach().numpy().copy())
    return model, test_classifier(test_loader, model, "cpu")[0], path, optimizer


# ------------------------------------------------------------------ decompositions
_, plain, path, _ = train()
_, outer, outer_path, _ = train(decomposition_algorithm=FullOuterProduct())
print("plain %.2f outer %.2f" % (plain, outer))
print(
    "outer_same %.6f"
    % max(np.abs(a[-1] - b[-1]).max() for a, b in zip(path.values(), outer_path.values()))
)
_, full, full_path, _ = train(decomposition_algorithm=FullSVD())
print(
    "svd_same %.6f"
    % max(np.abs(a[-1] - b[-1]).max() for a, b in zip(path.values(), full_path.values()))
)
for rank in np.arange(1, 4):
    row = []
    for alg in (
        SBPCA(rank=rank, sub_batch_size=16),
        TruncatedSVD(rank=rank),
        NMF(rank=rank, max_iters=np.int64(40)),
    ):
        row.append(train(decomposition_algorithm=alg)[1])
    print("rank %d SBPCA %.2f SVD %.2f NMF %.2f" % (rank, *row))
model, adam, _, _ = train(
    lr=np.float64(0.01), make=xoptim.Adam, bias=True, decomposition_algorithm=SBPCA(rank=2)
)
print("adam %.2f" % adam)


class OnlyLargest(GenericDecomposition):
    """Keeps the entries above a tenth of the largest one; counts what it was asked for."""

    def __init__(self):
        self.asked = []

    def decompose(self, input, delta, gradient, group_param_idx):
        self.asked.append(
            (group_param_idx, tuple(input.shape), tuple(delta.shape), tuple(gradient.shape))
        )
        whole = delta.T @ input
        return torch.where(whole.abs() > 0.1 * whole.abs().max(), whole, torch.zeros_like(whole))


own = OnlyLargest()
print("own %.2f" % train(decomposition_algorithm=own)[1])
print(
    "own_asked %d %s %s"
    % (len(own.asked), own.asked[0][1:], sorted({str(a[0]) for a in own.asked}))
)

# rank of what is applied: one step of SVD of rank 2 is a matrix of rank 2
xbtorch.initialize(decomposition_algorithm=TruncatedSVD(2))
model = xbtorch_model(MLP())
before = model.model[0].weight.detach().clone()
optimizer = xoptim.SGD(model.parameters(), lr=1.0)
nn.functional.cross_entropy(model(X), y).backward()
gradient = model.model[0].weight.grad.clone()
optimizer.step()
step = before - model.model[0].weight.detach()
u, s, v = torch.linalg.svd(gradient)
print("step_rank %d" % int(torch.linalg.matrix_rank(step, rtol=1e-3)))
print("eckart_young %.5f" % float(((gradient - step).norm() - s[2:].norm()).abs() / s.norm()))

# four micro-batches before a step: the gradient that was accumulated
xbtorch.initialize(decomposition_algorithm=FullOuterProduct())
model = xbtorch_model(MLP())
before = model.model[0].weight.detach().clone()
optimizer = xoptim.SGD(model.parameters(), lr=1.0)
for part, label in zip(X[:480].chunk(4), y[:480].chunk(4)):
    (nn.functional.cross_entropy(model(part), label) / 4).backward()
accumulated = model.model[0].weight.grad.clone()
optimizer.step()
step = before - model.model[0].weight.detach()
print("accumulated %.5f" % float((step - accumulated).norm() / accumulated.norm()))


# ------------------------------------------------------------------ devices
class Ratchet(GenericDevice):
    """A pulse moves a cell by a fixed share of the window; one in ten cells takes no pulses."""

    def __init__(self, levels=256, dead=0.1):
        super().__init__(min_conductance=1e-6, max_conductance=20e-6)
        self.max_level = levels
        self.dead = dead
        self.reset_cached_params()

    def write(self, G, numPulse, group_param_idx=(0, 0)):
        if group_param_idx not in self.params:
            source = torch.Generator().manual_seed(1)
            self.params[group_param_idx] = torch.rand(G.shape, generator=source) >= self.dead
        alive = self.params[group_param_idx]
        step = (self.max_conductance - self.min_conductance) / self.max_level
        moved = (G + numPulse * step).clamp(self.min_conductance, self.max_conductance)
        return torch.where(alive, moved, G)


class Watched(AnalyticalDevice):
    """The analytical device; counts how often its curve is looked up."""

    asked = 0

    def pulse_to_conductance(self, xPulse, A, B):
        type(self).asked += 1
        return super().pulse_to_conductance(xPulse, A, B)


class HalfWindow(AnalyticalIdeal):
    """No pulse goes above the middle of the window."""

    def pulse_to_conductance(self, xPulse, A, B):
        return torch.clamp(super().pulse_to_conductance(xPulse, A, B), max=20e-9)

    def set_c2c_var(self, var):
        self.note = var
        super().set_c2c_var(var)


ratchet = Ratchet()
model, accuracy, ratchet_path, optimizer = train(
    device_type=ratchet, weight_range=np.array([-1.0, 1.0])
)
print("ratchet %.2f" % accuracy)
print("ratchet_cells", *[tuple(v.shape) for v in ratchet.params.values()])
moved = np.concatenate([(np.abs(p[-1] - p[0]) > 1e-6).ravel() for p in ratchet_path.values()])
alive = torch.cat([v.flatten() for v in ratchet.params.values()]).numpy()
print("dead_moved %d dead %.3f" % (moved[~alive].sum(), (~alive).mean()))
first = list(ratchet_path.values())[0]
grid = (first[-1] - first[0]) / (2 / 256)
print("on_grid %.4f" % np.abs(grid - grid.round()).max())
print("ratchet_sweep %.4f" % (1e6 * sweep_conductance_full(Ratchet(dead=0.0))[0][-1]))

watched = Watched(3e-9, 38e-9, 0.0, 0.0, 1.0, -1.0, 500)
print("watched %.2f asked %s" % (train(device_type=watched)[1], Watched.asked > 0))
half = HalfWindow()
half.set_c2c_var(np.float32(0.0))
print("half_top_nS %.3f" % (1e9 * max(sweep_conductance_full(half)[0])))

# set_* on a device in use
real = AnalyticalReal()
spreads = []
for c2c in np.array([0.0, 0.01, 0.02]):
    real.set_c2c_var(c2c)
    spreads.append(
        1e9 * float(real.write(torch.full((4000,), 20e-9), torch.ones(4000), ("c2c", 0)).std())
    )
print("c2c_nS", *["%.4f" % s for s in spreads])  # 0, 0.35, 0.70 nS: of a window of 35 nS
real.set_c2c_var(0.0)
slopes = []
for nl in (0.01, 3.0):
    real.set_nonlinearity_set(nl)
    g = np.array(sweep_conductance_full(real)[0])
    slopes.append((g[1] - g[0]) / (g[-1] - g[-2]))
print("bend", *["%.3f" % s for s in slopes])
clone = copy.deepcopy(real)
clone.set_d2d_var(0.5)
cells = clone.write(torch.full((2000,), 20e-9), torch.full((2000,), 50.0), (1, 1))
print("d2d_differs %s original %.1f" % (bool(cells.std() > 1e-11), real.d2d_var))

# model and optimizer in a checkpoint together
buffer = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
buffer.seek(0)
state = torch.load(buffer)
model.load_state_dict(state["model"])
optimizer.load_state_dict(state["optimizer"])
print("resumed %.2f" % test_classifier(test_loader, model, "cpu")[0])

# ------------------------------------------------------------------ landscape
model, accuracy, path, _ = train(epochs=8)
full_weights = {name: np.array(values) for name, values in path.items()}
name = list(full_weights)[0]
matrix = np.array([(w - full_weights[name][-1]).flatten() for w in full_weights[name]])
coords, directions, info = xbloss.reduction_pca(matrix, seed=np.int64(0))
print(
    "pca",
    coords.shape,
    directions.shape,
    "%.5f" % np.abs(directions @ directions.T - np.eye(2)).max(),
)
_, randoms, _ = xbloss.reduction_random(matrix, seed=np.int64(3))
print("random_orthonormal %.5f" % np.abs(randoms @ randoms.T - np.eye(2)).max())
for fast in (True, False):
    xs, ys, grid = xbloss.compute_grid_loss(
        model,
        full_weights,
        name,
        (-3, 3),
        (-3, 3),
        directions,
        [(X[:480], y[:480])],
        nn.CrossEntropyLoss(),
        "cpu",
        -1,
        resolution=np.float64(1.0),
        fast=fast,
    )
print("grid", xs.shape, ys.shape, grid.shape)
with torch.no_grad():
    print(
        "centre %.5f"
        % abs(grid[3, 3] - float(nn.functional.cross_entropy(model(X[:480]), y[:480])))
    )
print("rim_higher %s" % bool(grid[[0, -1]].mean() > grid[3, 3]))
plt.contourf(xs, ys, grid)
plt.savefig("landscape.png")
print("done")
