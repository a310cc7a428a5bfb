# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: detecting seizures in (made-up) recordings.

Windows of a multi-channel signal go through a one-dimensional convolutional network, a recurrent
one and a three-dimensional one, all on crossbars; the first is cross-validated, with sensitivity
and specificity, over numbers of conductance states and rates of faults.
"""

import copy
import functools
import random
from collections import OrderedDict

import memtorch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from memtorch import *
from memtorch.bh.crossbar.Program import naive_program
from memtorch.bh.nonideality import NonIdeality as non_idealities
from memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from memtorch.map.Input import naive_scale
from memtorch.mn.Module import patch_model, supported_module_parameters
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, Subset, TensorDataset

CHANNELS, SAMPLES, RATE = 4, 128, 64


def recordings(n):
    """Noise with a background rhythm; half of the windows have spikes and waves of 3 Hz."""
    rng = np.random.RandomState(0)
    t = np.arange(SAMPLES) / RATE
    x = rng.randn(n, CHANNELS, SAMPLES)
    x += np.sin(2 * np.pi * (9 + rng.rand(n, CHANNELS, 1)) * t + 6.3 * rng.rand(n, CHANNELS, 1))
    y = np.arange(n) % 2
    spikes = 1.5 * np.sin(2 * np.pi * 3 * t + 6.3 * rng.rand(n, 1, 1))
    x += y[:, None, None] * (spikes + 0.7 * spikes**3 / 3)
    return torch.tensor(x / 3, dtype=torch.float), torch.tensor(y)


class EEGNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            OrderedDict(
                [
                    ("conv1", nn.Conv1d(CHANNELS, 8, kernel_size=7, stride=2)),
                    ("bn", nn.BatchNorm1d(8)),
                    ("relu", nn.ReLU()),
                    ("pool", nn.MaxPool1d(2)),
                    ("conv2", nn.Conv1d(8, 8, 5, groups=2, dilation=2)),
                ]
            )
        )
        self.classifier = nn.ModuleList([nn.Linear(8 * 22, 16), nn.Linear(16, 2)])

    def forward(self, x):
        x = F.relu(self.net(x))
        x = x.view(x.shape[0], -1)
        for k, layer in enumerate(self.classifier):
            x = layer(x if k == 0 else torch.relu(x))
        return F.log_softmax(x, dim=1)


class Recurrent(nn.Module):
    def __init__(self):
        super(Recurrent, self).__init__()
        self.rnn = nn.RNN(CHANNELS * 4, 16, batch_first=True)
        self.out = nn.Linear(16, 2)

    def forward(self, x):
        x = x.permute(0, 2, 1).reshape(x.shape[0], SAMPLES // 4, CHANNELS * 4)
        output, hidden = self.rnn(x)
        return self.out(output.mean(dim=1))


class Volumes(nn.Module):
    """Four channels are a grid of 2 x 2 electrodes; time is the third dimension."""

    def __init__(self):
        super(Volumes, self).__init__()
        self.conv = nn.Conv3d(1, 6, kernel_size=(8, 2, 2), stride=(4, 1, 1))
        self.fc = nn.Linear(6 * 31, 2)

    def forward(self, x):
        x = x.view(-1, 1, 2, 2, SAMPLES).permute(0, 1, 4, 2, 3)
        x = torch.relu(self.conv(x)).view(x.size(0), -1)
        return self.fc(x)


def fit(model, loader, epochs):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        for data, target in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(data), target).backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def score(model, loader):
    found, truth = [], []
    for data, target in loader:
        found += list(model(data).numpy().argmax(axis=1))
        truth += target.tolist()
    tn, fp, fn, tp = confusion_matrix(truth, found).ravel()
    return 100 * tp / (tp + fn), 100 * tn / (tn + fp), 100 * (tp + tn) / len(truth)


patch = functools.partial(
    patch_model,
    memristor_model=memtorch.bh.memristor.VTEAM,
    memristor_model_params={"time_series_resolution": 1e-10, "r_off": 1e5, "r_on": 1e4},
    mapping_routine=memtorch.map.Parameter.naive_map,
    scaling_routine=naive_scale,
    max_input_voltage=0.3,
    verbose=False,
)
LAYERS = [nn.Conv1d, nn.Conv3d, nn.Linear, nn.RNN]

random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
x, y = recordings(300)
dataset = TensorDataset(x, y)

# 1. Cross-validation of the convolutional network.
folds, states_found, fault_found = [], {}, {}
for fold, (train, test) in enumerate(StratifiedKFold(3).split(x, y)):
    train_loader = DataLoader(Subset(dataset, train), batch_size=32, shuffle=True)
    test_loader = DataLoader(Subset(dataset, test), batch_size=64)
    model = fit(EEGNet(), train_loader, 4)
    patched = patch(copy.deepcopy(model), module_parameters_to_patch=LAYERS, tile_shape=(64, 64))
    patched.tune_()
    folds.append([score(model, test_loader), score(patched, test_loader)])
    for states in np.linspace(2, 32, 3).astype(int):
        finite = apply_nonidealities(
            copy.deepcopy(patched),
            non_idealities=[NonIdeality.FiniteConductanceStates],
            conductance_states=states,
        )
        states_found.setdefault(states, []).append(score(finite, test_loader)[2])
    for rate in np.arange(0, 0.6, 0.25):
        faulty = apply_nonidealities(
            copy.deepcopy(patched),
            non_idealities=[NonIdeality.DeviceFaults, NonIdeality.FiniteConductanceStates],
            lrs_proportion=rate,
            hrs_proportion=rate / 2,
            electroform_proportion=0.0,
            conductance_states=64,
        )
        fault_found.setdefault(rate, []).append(score(faulty, test_loader)[2])

folds = np.array(folds).mean(axis=0)
print("digital sensitivity %.2f specificity %.2f accuracy %.2f" % tuple(folds[0]))
print("patched sensitivity %.2f specificity %.2f accuracy %.2f" % tuple(folds[1]))
for states, values in states_found.items():
    print("states %d accuracy %.2f +- %.2f" % (states, np.mean(values), np.std(values)))
for rate, values in fault_found.items():
    print("rate %.2f accuracy %.2f" % (rate, np.mean(values)))
print("groups and dilation %.1e" % (patched(x) - model(x)).abs().max().item())
print("types", [type(m).__name__ for m in patched.modules() if "crossbars" in dir(m)])

# 2. The others.
loader = DataLoader(dataset, batch_size=50, shuffle=True)
for network in (Recurrent(), Volumes()):
    name = type(network).__name__
    network = fit(network, loader, 6)
    other = patch(copy.deepcopy(network), module_parameters_to_patch=LAYERS)
    other.tune_()
    print(
        "%s digital %.2f patched %.2f difference %.1e"
        % (
            name,
            score(network, loader)[2],
            score(other, loader)[2],
            (network(x) - other(x)).abs().max().item(),
        )
    )
    other.forward_legacy(True)
    print("%s legacy %.1e" % (name, (network(x) - other(x)).abs().max().item()))

# 3. Names by the star.
print("by the star", LinearIonDrift is memtorch.bh.memristor.LinearIonDrift, "patch_model" in dir())
print("supported", len(supported_module_parameters) >= 4, non_idealities is NonIdeality)
