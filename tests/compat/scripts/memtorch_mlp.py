# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: it knows nothing of mho.

A multi-layer perceptron learns scikit-learn's digits, is patched onto VTEAM crossbars whose
resistances vary from device to device, tuned, and tested under non-idealities.
"""

import copy
import random
import sys

import memtorch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from memtorch.bh.crossbar.Program import naive_program
from memtorch.bh.nonideality.endurance_retention_models import model_conductance_drift
from memtorch.bh.nonideality.NonIdeality import apply_nonidealities
from memtorch.map.Input import naive_scale
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
BATCH_SIZE = 64


def set_all_seeds(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(64, 100)
        self.fc2 = nn.Linear(100, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def load_data():
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    train_x, test_x, train_y, test_y = train_test_split(
        x, y, test_size=0.25, random_state=0, stratify=y
    )
    train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=BATCH_SIZE, shuffle=True)
    test_loader = DataLoader(TensorDataset(test_x, test_y), batch_size=256, shuffle=False)
    return train_loader, test_loader


def test(model, test_loader):
    correct = 0
    for _, (data, target) in enumerate(test_loader):
        output = model(data.to(device))
        pred = output.data.max(1)[1]
        correct += pred.eq(target.to(device).data.view_as(pred)).cpu().sum()

    return 100.0 * float(correct) / float(len(test_loader.dataset))


def train(model, train_loader, test_loader):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    best_accuracy, best_state = 0.0, None
    for _ in range(EPOCHS):
        model.train()
        for _, (data, target) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = criterion(model(data.to(device)), target.to(device))
            loss.backward()
            optimizer.step()

        accuracy = test(model, test_loader)
        if accuracy > best_accuracy:
            best_accuracy, best_state = accuracy, copy.deepcopy(model.state_dict())

    model.load_state_dict(best_state)
    return best_accuracy


def patch(model, sigma=0.0, ADC_resolution=8, quant_method="linear"):
    r_on, r_off = 1e4, 1e5
    if sigma == 0.0:
        params = {"time_series_resolution": 1e-10, "r_on": r_on, "r_off": r_off}
    else:
        params = {
            "time_series_resolution": 1e-10,
            "r_on": memtorch.bh.StochasticParameter(loc=r_on, scale=sigma * r_on, min=1),
            "r_off": memtorch.bh.StochasticParameter(loc=r_off, scale=sigma * r_off, min=1),
        }

    patched = patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params=params,
        module_parameters_to_patch=[torch.nn.Linear],
        mapping_routine=naive_map,
        transistor=True,
        programming_routine=None,
        scheme=memtorch.bh.Scheme.DoubleColumn,
        tile_shape=(32, 32),
        max_input_voltage=0.3,
        scaling_routine=naive_scale,
        ADC_resolution=ADC_resolution,
        ADC_overflow_rate=0.0,
        quant_method=quant_method,
        verbose=False,
    )
    patched.tune_()
    return patched


def show(rows):
    names = list(rows[0])
    print(" | ".join("%12s" % name for name in names))
    for row in rows:
        print(" | ".join("%12s" % row[name] for name in names))


set_all_seeds(0)
device = torch.device("cpu" if "cpu" in memtorch.__version__ else "cuda")
train_loader, test_loader = load_data()
model = Net().to(device)
baseline = train(model, train_loader, test_loader)
print("baseline %.2f" % baseline)

patched_model = patch(model)
print("patched %.2f" % test(patched_model, test_loader))
memristor = patched_model.fc1.crossbars[0].devices[0][0][0]
print("one device: %.3e S" % memristor.g)
assert 1 / memristor.r_off <= memristor.g * (1 + 1e-4)
assert memristor.g <= 1 / memristor.r_on * (1 + 1e-4)

# 1. Variability against converter resolution.
rows = []
for sigma in [0.0, 0.1, 0.4]:
    row = {"sigma": sigma}
    for bits in [2, 4, 6, 8]:
        row["%d bits" % bits] = "%.2f" % test(patch(model, sigma, bits), test_loader)

    rows.append(row)

show(rows)

# 2. Finite states against faults.
NonIdeality = memtorch.bh.nonideality.NonIdeality
rows = []
for states in [2, 4, 16]:
    row = {"states": states}
    for proportion in [0.0, 0.1, 0.3]:
        faulty = apply_nonidealities(
            copy.deepcopy(patched_model),
            non_idealities=[NonIdeality.FiniteConductanceStates, NonIdeality.DeviceFaults],
            conductance_states=states,
            lrs_proportion=proportion / 2,
            hrs_proportion=proportion / 4,
            electroform_proportion=proportion / 4,
        )
        row["%.0f %%" % (100 * proportion)] = "%.2f" % test(faulty, test_loader)

    rows.append(row)

show(rows)

# 3. Retention, tuned again after every interval.
rows = []
for hours in [1, 24, 24 * 365]:
    drifted = apply_nonidealities(
        copy.deepcopy(patched_model),
        non_idealities=[NonIdeality.Retention],
        time=3600.0 * hours,
        retention_model=model_conductance_drift,
        retention_model_kwargs={"initial_time": 1.0, "drift_coefficient": 0.1},
    )
    before = test(drifted, test_loader)
    drifted.tune_()
    rows.append(
        {"hours": hours, "as it is": "%.2f" % before, "tuned": "%.2f" % test(drifted, test_loader)}
    )

show(rows)

# 4. Nonlinear devices, simulated.
nonlinear = apply_nonidealities(
    copy.deepcopy(patched_model), non_idealities=[NonIdeality.NonLinear], simulate=True
)
print("nonlinear %.2f" % test(nonlinear, test_loader))

# 5. One crossbar, programmed device by device.
crossbar = memtorch.bh.crossbar.Crossbar(
    memtorch.bh.memristor.LinearIonDrift, {"time_series_resolution": 1e-3}, (2, 2)
)
wanted = torch.tensor([[1e-3, 2e-3], [3e-3, 4e-3]])
crossbar.write_conductance_matrix(
    wanted,
    transistor=False,
    programming_routine=naive_program,
    programming_routine_params={"rel_tol": 0.05},
)
print("programmed", bool(torch.allclose(crossbar.conductance_matrix.float(), wanted.T, rtol=0.06)))

# 6. Without what only training needs.
patched_model.disable_legacy()
print("finished %.2f" % test(patched_model, test_loader))
