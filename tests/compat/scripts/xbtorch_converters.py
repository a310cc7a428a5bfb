# ruff: noqa
"""
Hardware-aware training on an analytical device, then inference with real converters.

A classifier for 8x8 digits is trained three times (seeds) on ideal and on noisy cells; the last
one is deployed on a SimpleFixedPoint accelerator, and the resolution of its ADCs and DACs swept.
"""

import copy
from functools import partial

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import xbtorch
import xbtorch.nn as xnn
import xbtorch.optim as xoptim
from xbtorch.deployment import *
from xbtorch.devices import *
from xbtorch.nn.utils import test_classifier, train_classifier
from xbtorch.patches import xbtorch_model

device = "cuda" if torch.cuda.is_available() else "cpu"
EPOCHS = 6
SEEDS = np.arange(3)


class Net(nn.Module):
    def __init__(self, hidden=np.int64(32)):
        super(Net, self).__init__()
        self.model = nn.Sequential(
            nn.Linear(64, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, 10, bias=False),
        )

    def forward(self, x):
        return self.model(x.view(-1, 64))


# ---------------------------------------------------------------- data
digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
y = torch.tensor(digits.target)
order = np.random.RandomState(0).permutation(len(X))
X, y = X[order], y[order]
train_set, test_set = TensorDataset(X[:1400], y[:1400]), TensorDataset(X[1400:], y[1400:])
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=len(test_set))


# ---------------------------------------------------------------- the device
# nonlinearity and noise as numpy numbers, as they come out of a fit
params = np.array([0.0, 0.005, 1.2, -1.2], dtype=np.float32)
fitted = AnalyticalDevice(3e-9, 38e-9, *params, max_level=np.int64(500))
print("levels", fitted.max_level)
print("A_set %.5f" % float(fitted.param_A_set))
print("B_set_nS %.5f" % (1e9 * float(fitted.param_B_set)))

# curve of the device by its own equations, over pulses
pulses = np.arange(0, 501, 50)
curve = fitted.pulse_to_conductance(
    torch.tensor(pulses),
    torch.tensor(float(fitted.param_A_set)),
    torch.tensor(float(fitted.param_B_set)),
)
back = fitted.conductance_to_pulse(
    curve, torch.tensor(float(fitted.param_A_set)), torch.tensor(float(fitted.param_B_set))
)
print("curve_nS", *["%.3f" % (1e9 * g) for g in curve.tolist()])
print("round_trip %.4f" % float((back - torch.tensor(pulses)).abs().max()))


# ---------------------------------------------------------------- training
def train(seed, xb_device, lr=0.2):
    torch.manual_seed(seed)
    xbtorch.initialize(pytorch_device=device, device_type=xb_device, weight_range=(-1, 1))
    model = xbtorch_model(Net().to(device))
    optimizer = xoptim.SGD(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.7)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        train_classifier(train_loader, model, criterion, optimizer, epoch, EPOCHS, device)
        scheduler.step()
    return model, test_classifier(test_loader, model, device)[0], scheduler.get_last_lr()[0]


results = {}
for name, xb_device in {"digital": None, "ideal": AnalyticalIdeal(), "fitted": fitted}.items():
    accuracies = []
    for seed in SEEDS:
        model, accuracy, last_lr = train(int(seed), xb_device)
        accuracies.append(accuracy)
    results[name] = model
    print("%s %.2f +- %.2f" % (name, np.mean(accuracies), np.std(accuracies)))
print("last_lr %.5f" % last_lr)

weights = torch.cat([p.detach().flatten() for p in results["ideal"].parameters()])
print("inside %s" % bool((weights.abs() <= 1).all()))
torch.save(results["fitted"].state_dict(), "fitted.pt")


# ---------------------------------------------------------------- deployment
def encode_analog(accelerator, sw_weight, pos_idxs=[], neg_idxs=[], additional_args={}):
    """A weight is one pair of cells with as many levels as one likes."""
    window = accelerator.g_max - accelerator.g_min
    relative = sw_weight / sw_weight.abs().max()
    pos = accelerator.g_min + window * relative.clamp(min=0)
    neg = accelerator.g_min + window * (-relative).clamp(min=0)
    copies = max(1, len(pos_idxs))
    return [pos.clone() for _ in range(copies)], [neg.clone() for _ in range(copies)]


def deploy(**kwargs):
    accelerator = SimpleFixedPoint(
        xb_size=np.array([160, 160]), weight_encoding_scheme=encode_analog, device=device, **kwargs
    )
    xbtorch.initialize(pytorch_device=device, inference_accelerator=accelerator)
    net = Net().to(device)
    net.load_state_dict(torch.load("fitted.pt"))
    net = xbtorch_model(net)
    net.initialize_array_mappings()
    return accelerator, net


images = X[1400:].to(device)
accelerator, net = deploy(adc_bits=16, dac_bits=16)
with torch.no_grad():
    software = net(images)
print("software %.2f" % test_classifier(test_loader, net, device)[0])

errors = {"adc": [], "dac": []}
accs = []
bits = np.arange(2, 11)
for n in bits:
    row = []
    for which in ("adc", "dac"):
        other = "dac_bits" if which == "adc" else "adc_bits"
        accelerator, net = deploy(**{which + "_bits": n, other: np.int32(16)})
        net.xb_eval()
        with torch.no_grad():
            errors[which].append(float((net(images) - software).norm() / software.norm()))
        row.append(test_classifier(test_loader, net, device)[0])
    accs.append(row)
    print(
        "bits %d adc_error %.5f dac_error %.5f acc %.2f %.2f"
        % (n, errors["adc"][-1], errors["dac"][-1], *row)
    )
for which in errors:
    e = np.array(errors[which])
    slope = np.polyfit(bits[3:], np.log2(e[3:]), 1)[0]  # bits 5..10
    print("slope_%s %.3f" % (which, slope))

# the resolution may also be changed on the accelerator that is there already
accelerator, net = deploy(adc_bits=10, dac_bits=10)
net.xb_eval(enable=True)
outputs = {}
for n in (10, 3):
    accelerator.adc_bits = accelerator.dac_bits = n
    with torch.no_grad():
        outputs[n] = net(images)
print("changed_in_place %s" % (not torch.equal(outputs[10], outputs[3])))
clone = copy.deepcopy(net)
with torch.no_grad():
    print("clone_agrees %s" % torch.equal(clone(images), net(images)))
net.xb_eval(enable=False)
print("back_to_software %s" % torch.allclose(net(images), software, atol=1e-5))

# read noise as numpy float32: spread of an output grows linearly with it
spreads = []
for noise in np.array([0.5, 1.0, 2.0], dtype=np.float32):
    accelerator, net = deploy(adc_bits=16, dac_bits=16, read_noise=noise)
    net.xb_eval()
    with torch.no_grad():
        reads = torch.stack([net(images[:50]) for _ in range(20)])
    spreads.append(float(reads.std(0).mean()))
print("noise_spread", *["%.5f" % s for s in spreads])

plt.figure()
plt.errorbar(bits, [a for a, _ in accs], yerr=1.0, fmt="o-", label="ADC")
plt.plot(bits, [b for _, b in accs], label="DAC")
plt.legend()
plt.savefig("converters.png")
plt.close()
accelerator.plot_array(0, 20, 0, 20, title="a corner")
plt.savefig("chip.png")
print("done")
