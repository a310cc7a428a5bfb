# ruff: noqa
"""
Hardware-aware training and deployment with XBTorch:

1. look at a device,
2. train a small perceptron on it, with WAGE quantization,
3. deploy the solution on an accelerator with stuck cells,
4. and compare layer ensemble averaging, MAO and a committee with the plain mapping.
"""

import argparse
import random
import time
from functools import partial

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import xbtorch
import xbtorch.loss as xbloss
import xbtorch.optim as xboptim
from xbtorch.decomposition import SBPCA
from xbtorch.deployment import (
    SimpleFixedPoint,
    compute_error,
    encode_LEA1,
    encode_MAO,
    encode_simple_binary,
    map_random,
    test_committee,
)
from xbtorch.devices import AnalyticalReal, TabularCompactFeFETKriging
from xbtorch.devices.utils import sweep_conductance_full, synthesize_G_dG_dataset
from xbtorch.nn.utils import test_classifier, train_classifier
from xbtorch.patches import xbtorch_model

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--lr", type=float, default=8.0)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)
np.random.seed(args.seed)
random.seed(args.seed)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print(f"Using device: {device}")


class SimpleMLP(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        self.input_size = input_size
        super(SimpleMLP, self).__init__()
        self.model = nn.Sequential(
            nn.Linear(input_size, hidden_size, bias=False),
            nn.ReLU(),
            nn.Linear(hidden_size, output_size, bias=False),
        )

    def forward(self, x):
        x = x.view(-1, self.input_size)
        return self.model(x)


# ------------------------------------------------------------------ data
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
images, labels = images[order], labels[order]
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=400)
sizes = (64, 48, 10)

# ------------------------------------------------------------------ device
set_G, reset_G = sweep_conductance_full(AnalyticalReal())
print(f"sweep: {len(set_G)} set and {len(reset_G)} reset states")
dataset = synthesize_G_dG_dataset(AnalyticalReal(), set=True, num_points=200)
print(f"synthetic data set: {dataset.shape}")
xb_device = TabularCompactFeFETKriging("tab_fefet_compact_vgs_0.9_sd_1")

# ------------------------------------------------------------------ training
wage_params = {
    "wl_weight": 2,
    "wl_grad": 8,
    "wl_activation": 8,
    "wl_error": 8,
    "rounding_weight": "nearest",
    "rounding_activation": "nearest",
    "rounding_grad": "nearest",
    "rounding_error": "nearest",
}


def train(**settings):
    xbtorch.initialize(pytorch_device=device, weight_range=(-1, +1), **settings)
    model = xbtorch_model(SimpleMLP(*sizes).to(device))
    optimizer = xboptim.SGD(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    history = {name: [] for name, _ in model.named_parameters()}
    for epoch in range(args.epochs):
        start = time.time()
        loss = train_classifier(
            train_loader, model, criterion, optimizer, epoch, args.epochs, device, lr_decay_rate=0.8
        )
        accuracy, _ = test_classifier(test_loader, model, device)
        print(
            f"epoch {epoch}: loss {loss:.3f}, accuracy {accuracy:.1f} %, {time.time() - start:.1f} s"
        )
        for name, parameter in model.named_parameters():
            history[name].append(parameter.detach().cpu().numpy().copy())
    return model, accuracy, {name: np.array(values) for name, values in history.items()}


model, digital, full_weights = train(wage_quantize=True, wage_params=wage_params)
_, on_cells, _ = train(device_type=xb_device, wage_quantize=True, wage_params=wage_params)
print(f"fefet = {on_cells:.2f}")
print(f"digital = {digital:.2f}")
torch.save(model.state_dict(), "weights.pt")

args.lr = 0.1
_, low_rank, _ = train(decomposition_algorithm=SBPCA(rank=4))
print(f"low_rank = {low_rank:.2f}")

# ------------------------------------------------------------------ loss landscape
layer = list(full_weights)[0]
M = np.array([(w - full_weights[layer][-1]).flatten() for w in full_weights[layer][:-1]])
path, directions, info = xbloss.reduction_pca(M, seed=0)
xv, yv, grid = xbloss.compute_grid_loss(
    model,
    full_weights,
    layer,
    (-2, 2),
    (-2, 2),
    directions,
    train_loader,
    nn.CrossEntropyLoss(),
    device,
    -1,
    resolution=0.5,
    fast=True,
)
print(f"landscape: {grid.shape}, loss from {grid.min():.2f} to {grid.max():.2f}")


# ------------------------------------------------------------------ deployment
def deploy(scheme, copies, polling, additional_args, stuck=0.1, bits=8):
    accelerator = SimpleFixedPoint(
        g_min=133,
        g_max=233,
        adc_bits=bits,
        dac_bits=bits,
        read_noise=5,
        write_noise=10,
        xb_size=(400, 400),
        weight_encoding_scheme=scheme,
        xb_mapping_scheme=partial(map_random, beta=copies),
        stuck_percentage=stuck,
        stuck_mode="real",
        device=device,
    )
    xbtorch.initialize(
        pytorch_device=device,
        inference_accelerator=accelerator,
        wage_quantize=True,
        wage_params=wage_params,
    )
    accelerator.initialize_chip()
    deployed = xbtorch_model(SimpleMLP(*sizes).to(device))
    deployed.load_state_dict(torch.load("weights.pt"))
    before, _ = test_classifier(test_loader, deployed, device)
    deployed.initialize_array_mappings(
        output_polling_mode=polling, additional_args=additional_args, existing_mappings=[]
    )
    deployed.xb_eval(enable=True)
    accuracy, _ = test_classifier(test_loader, deployed, device)
    return deployed, before, accuracy


deployed, restored, plain = deploy(encode_simple_binary, 1, "avg", {})
print(f"restored = {restored:.2f}")
print(f"plain = {plain:.2f}")
errors, _ = compute_error(deployed)
print("mapping errors (%):", [round(error[0], 1) for error in errors])
print("places:", deployed.get_array_mappings()[0])

deployed, _, lea = deploy(encode_LEA1, 6, "reduced_avg", {"alpha": 4, "beta": 6})
print(f"lea = {lea:.2f}")
deployed, _, mao = deploy(encode_MAO, 3, "sum", {})
print(f"mao = {mao:.2f}")

members = [deploy(encode_simple_binary, 1, "avg", {})[0] for _ in range(4)]
print(f"committee = {test_committee(test_loader, members, device):.2f}")
print("done")
