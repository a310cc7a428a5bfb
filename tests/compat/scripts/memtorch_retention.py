# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: retention and endurance of a network.

Conductance drift, the endurance of metal-oxide devices, and a retention model of one's own, hooked
in beside those that come along; models are saved and loaded between the steps, as simulations take
days. Error bars are over networks with devices of their own.
"""

import copy
import csv
import math
import os
import pickle

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import memtorch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from memtorch.bh.nonideality import Retention
from memtorch.bh.nonideality.endurance_retention_models import (
    OperationMode,
    model_conductance_drift,
    model_endurance_retention,
)
from memtorch.bh.nonideality.endurance_retention_models.empirical_metal_oxide_RRAM import (
    model_endurance_retention_gradual,
    scale_p_0,
)
from memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from memtorch.map.Input import naive_scale
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model
from sklearn.datasets import load_digits

device = torch.device("cuda" if "cpu" not in memtorch.__version__ else "cpu")


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = x.view(-1, 64)
        return self.fc2(F.relu(self.fc1(x)))


def patch(model, sigma):
    patched = patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={
            "r_on": memtorch.bh.StochasticParameter(loc=1e4, scale=sigma * 1e4, min=1e2),
            "r_off": memtorch.bh.StochasticParameter(loc=2e5, scale=sigma * 2e5, min=1e2),
        },
        module_parameters_to_patch=[nn.Linear],
        tile_shape=(32, 32),
        verbose=False,
    )
    patched.tune_()
    return patched


def test(model):
    model.eval()
    with torch.no_grad():
        return 100.0 * float((model(test_x).max(1)[1] == test_y).float().mean())


def conductances(model):
    return [c.conductance_matrix.clone() for m in (model.fc1, model.fc2) for c in m.crossbars]


def stretched_exponential(layer, x, tau=1e4, beta=0.7):
    """Relax all conductances towards that of high resistance."""
    for i in range(len(layer.crossbars)):
        low = 1 / layer.crossbars[i].r_off_mean
        g = layer.crossbars[i].conductance_matrix
        layer.crossbars[i].conductance_matrix = low + (g - low) * math.exp(-((x / tau) ** beta))
        layer.crossbars[i].update(from_devices=False)

    return layer


torch.manual_seed(3)
np.random.seed(3)
digits = load_digits()
images = torch.FloatTensor(digits.images / 16).to(device)
targets = torch.LongTensor(digits.target).to(device)
test_x, test_y = images[1300:], targets[1300:]

model = Net().to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(80):
    optimizer.zero_grad()
    F.cross_entropy(model(images[:1300]), targets[:1300]).backward()
    optimizer.step()
print("digital %.2f" % test(model))

# 1. Saved and loaded: state, whole model, by pickle.
patched = patch(model, 0.1)
before = test(patched)
torch.save(patched.state_dict(), "patched_state.pt")
torch.save(patched, "patched_model.pt")
with open("patched.pkl", "wb") as f:
    pickle.dump(patched, f)
with open("patched.pkl", "rb") as f:
    print("pickled the same", test(pickle.load(f)) == before)
loaded = torch.load("patched_model.pt", weights_only=False)
print("loaded the same", test(loaded) == before)
print(
    "loaded devices",
    loaded.fc1.crossbars[0].devices[0][0][0].g == patched.fc1.crossbars[0].devices[0][0][0].g,
)
torch.save(model.state_dict(), "state.pt")
fresh = patch(Net(), 0.1)
fresh.load_state_dict(torch.load("state.pt"), strict=False)
print("tensors in the state", all(torch.is_tensor(v) for v in patched.state_dict().values()))
digital = Net()
print("missing", len(digital.load_state_dict(patched.state_dict(), strict=False).missing_keys))
print("digital again %.2f" % test(digital))

# 2. Drift: the exponent is found again in the conductances.
nu = 0.05
times = np.logspace(0, 6, 4)
means = []
for t in times:
    drifted = apply_nonidealities(
        copy.deepcopy(patched),
        non_idealities=[NonIdeality.Retention],
        time=t,
        retention_model=model_conductance_drift,
        retention_model_kwargs={"initial_time": 1, "drift_coefficient": nu},
    )
    means.append(conductances(drifted)[0][0, :8, :8].mean().item())
slope = np.polyfit(np.log(times), np.log(means), 1)[0]
print("drift exponent %.4f" % slope)

# 3. Accuracy over time, with error bars, drifting and tuned again.
rows = []
for t in times:
    as_is, tuned = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        network = patch(model, 0.2)
        network = apply_nonidealities(
            network,
            [NonIdeality.Retention],
            time=t,
            retention_model=model_conductance_drift,
            retention_model_kwargs={"initial_time": np.float32(1), "drift_coefficient": 0.1},
        )
        as_is.append(test(network))
        network.tune_()
        tuned.append(test(network))
    rows.append([t, np.mean(as_is), np.std(as_is), np.mean(tuned), np.std(tuned)])
    print("time %.0e accuracy %.2f +- %.2f tuned %.2f +- %.2f" % tuple(rows[-1]))
rows = np.array(rows)
fig, ax = plt.subplots()
ax.errorbar(rows[:, 0], rows[:, 1], yerr=rows[:, 2])
ax.set_xscale("log")
fig.savefig("retention.pdf")
np.savetxt("retention.csv", rows, delimiter=",", header="time,mean,std,tuned,std")

# 4. A model of one's own, beside those that come along.
Retention.valid_retention_models.append(stretched_exponential)
own = apply_nonidealities(
    copy.deepcopy(patched),
    non_idealities=[NonIdeality.Retention],
    time=5e3,
    retention_model=stretched_exponential,
    retention_model_kwargs={"tau": 1e4, "beta": 0.7},
)
g_0, g_1 = conductances(patched)[1][:, :20, :10], conductances(own)[1][:, :20, :10]
low = 1 / patched.fc1.crossbars[1].r_off_mean
print(
    "stretched %.5f expected %.5f"
    % (((g_1 - low).sum() / (g_0 - low).sum()).item(), math.exp(-(0.5**0.7)))
)
seen = np.vectorize(lambda d: d.g)(own.fc1.crossbars[1].devices)
print(
    "devices follow %.1e"
    % np.abs(seen / own.fc1.crossbars[1].conductance_matrix.numpy() - 1)[0, :20, :10].max()
)
own.tune_()
print("own tuned %.2f" % test(own))

# 5. Endurance: sudden and gradual failures over cycles.
kwargs = {
    "operation_mode": OperationMode.sudden,
    "p_lrs": [1, 0, 0, 0],
    "stable_resistance_lrs": 5e3,
    "p_hrs": [1, 0, 0, 0],
    "stable_resistance_hrs": 5e5,
    "cell_size": None,
    "temperature": None,
}
worn = apply_nonidealities(
    copy.deepcopy(patched),
    non_idealities=[NonIdeality.Endurance],
    x=1e8,
    endurance_model=model_endurance_retention,
    endurance_model_kwargs=kwargs,
)
r = 1 / conductances(worn)[0][0, :20, :10].numpy()
print("all failed", np.isclose(r, 5e3).mean() + np.isclose(r, 5e5).mean())
p_0 = scale_p_0(
    1e6, 1.0, v_stop=np.float64(1.3), v_stop_min=1.0, v_stop_max=2.0, v_stop_optimal=1.5
)
print("p_0 at the optimum at least", scale_p_0(1e6, 1.0, 1.5, 1.0, 2.0, 1.5) >= p_0)
resistances = []
for cycles in [1e5, 1e6, 1e7, 1e8]:
    r = model_endurance_retention_gradual(
        initial_resistance=torch.full((4, 4), 1e5),
        x=cycles,
        p_0=np.log10(1e5),
        p_1=0.1,
        p_2=0.0,
        p_3=-0.2,
        threshold=1e5,
        temperature_constant=298,
        cell_size=10,
    )
    resistances.append(float(torch.as_tensor(r).mean()))
print("gradual", " ".join("%.4e" % r for r in resistances))
for name in [
    "patched_state.pt",
    "patched_model.pt",
    "patched.pkl",
    "retention.csv",
    "retention.pdf",
]:
    assert os.path.getsize(name) > 0
