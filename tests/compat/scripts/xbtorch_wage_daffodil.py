# ruff: noqa
"""
WAGE 2-8-8-8: ternary weights, 8-bit activations, gradients and errors; with the default quantisers
and with quantisers of our own. The ternary solution is deployed on the Daffodil board.
"""

from collections import Counter
from functools import partial

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
from xbtorch.nn.utils import print_num_unique_values, test_classifier, train_classifier
from xbtorch.patches import xbtorch_model
from xbtorch.quant import FixedPointQuantF, fixed_point_quantize_wrapper
from xbtorch.quant.wage_qtorch import C, QG, QW, WAGEQuantizer

torch.manual_seed(0)
digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 8 - 1
y = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(X[1400:], y[1400:]), batch_size=397)


class MLP(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(64, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, 10, bias=False)
        )

    def forward(self, x):
        return self.model(x)


def weights_of(model):
    return [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]


def fit(epochs=6, lr=8.0, seed=1, device_type=None, criterion=nn.CrossEntropyLoss(), **wage_params):
    torch.manual_seed(seed)
    xbtorch.initialize(
        wage_quantize=True, wage_params=wage_params, device_type=device_type, weight_range=[-1, 1]
    )
    model = xbtorch_model(MLP())
    start = [w.clone() for w in weights_of(model)]
    optimizer = xoptim.SGD(model.parameters(), lr=lr)
    for epoch in range(epochs):
        train_classifier(
            train_loader, model, criterion, optimizer, epoch, epochs, "cpu", lr_decay_rate=0.85
        )
    return model, test_classifier(test_loader, model, "cpu")[0], start


bits = np.array([2, 8, 8, 8])
wl = dict(zip(("wl_weight", "wl_activation", "wl_grad", "wl_error"), bits))
ternary, accuracy, _ = fit(**wl)
print("ternary %.2f" % accuracy)
print("values", *[len(w.unique()) for w in weights_of(ternary)])
for w in weights_of(ternary):
    print_num_unique_values(w)
signs = [sorted(set(w.sign().flatten().tolist())) for w in weights_of(ternary)]
print("signs", signs == [[-1, 0, 1]] * 2)
torch.save(ternary.state_dict(), "ternary.pt")
kinds = [type(m).__name__ for m in ternary.model]
print("layers", *kinds)
_, finer, _ = fit(**{**wl, "wl_weight": np.int64(4)})
print("four_bits %.2f" % finer)
_, on_cells, _ = fit(device_type=TabularAnalyticalReal(), **wl)
print("on_cells %.2f" % on_cells)

# ------------------------------------------------------------------ quantisers of our own
seen = Counter()


def quarter_weight(x, scale):
    """Weights on multiples of 1/4 inside of +-1, whatever the scale."""
    seen["weight"] += 1
    return torch.round(x * 4).clamp(-4, 4) / 4


def sign_grad(x, lr):
    """Only the sign of a gradient counts."""
    seen["grad"] += 1
    seen["grad_lr"] = float(lr)
    return x.sign() * lr / 1024


def unit_clip(x):
    seen["clip"] += 1
    return x.clamp(-0.99, 0.99)


class Ties(nn.Module):
    """A quantiser of activations and errors, with QPyTorch-like numbers."""

    def __init__(self, bits_A, bits_E):
        super().__init__()
        self.bits = (bits_A, bits_E)
        seen["act"] += 1

    def forward(self, x):
        bits_A, _ = self.bits
        return x if bits_A == -1 else FixedPointQuantF.apply(x, int(bits_A), int(bits_A) - 4)


own = dict(quantizer_weight=quarter_weight, quantizer_grad=sign_grad, grad_clip=unit_clip)
model, accuracy, _ = fit(lr=4.0, quantizer_act_error=Ties, **own)
print("own %.2f" % accuracy)
print("own_calls", *["%s=%s" % (k, seen[k] > 0) for k in ("weight", "grad", "clip", "act")])
print("own_lr %.4f" % seen["grad_lr"])  # of the last epoch: 4 * 0.85^5
values = torch.cat([w.flatten() for w in weights_of(model)])
print(
    "own_grid %.6f largest %.2f"
    % (float((values * 4 - (values * 4).round()).abs().max()), values.abs().max())
)

# a quantiser that says nothing moves: nothing moves
model, _, start = fit(epochs=1, quantizer_grad=lambda x, lr: torch.zeros_like(x))
before = torch.cat([QW(w, 2).flatten() for w in start])
kept = [p.weight_acc.clone() for p in model.parameters()]
again = xoptim.SGD(model.parameters(), lr=8.0)
model(X[:64]).square().sum().backward()
again.step()
print(
    "frozen %.6f"
    % max(float((p.weight_acc - k).abs().max()) for p, k in zip(model.parameters(), kept))
)
# and one step of our own size is that size
xbtorch.initialize(wage_quantize=True, wage_params={"quantizer_grad": sign_grad})
model = xbtorch_model(MLP())
kept = [p.weight_acc.clone() for p in model.parameters()]
model(X[:64]).square().sum().backward()
xoptim.SGD(model.parameters(), lr=2.0).step()
moved = torch.cat([(p.weight_acc - k).abs().flatten() for p, k in zip(model.parameters(), kept)])
inside = torch.cat([(k.abs() < 0.49).flatten() for k in kept])
print("steps", *["%.6f" % v for v in moved[inside & (moved > 1e-7)].unique()[[0, -1]]])

# ------------------------------------------------------------------ the functions by themselves
print("C", C(torch.tensor([0.9, -0.2]), bits[0]).tolist())
print("QW", QW(torch.tensor([0.4, 0.2, -0.3]), bits[0]).tolist())
print("QG", QG(torch.tensor([0.5, -0.25, 0.0]), bits[2], 8.0).tolist())
print(
    "fixed",
    fixed_point_quantize_wrapper(torch.tensor([0.3, 5.0]), np.int64(8), np.int64(7)).tolist(),
)
print("act", WAGEQuantizer(bits[1], -1)(torch.tensor([0.3, 5.0])).tolist())

# ------------------------------------------------------------------ on the board
xbtorch.initialize(wage_quantize=True, wage_params=wl)
images = X[1400:]


def board(cls, **kwargs):
    torch.manual_seed(3)
    accelerator = cls(g_min=np.float32(50), g_max=np.float32(100), **kwargs)
    xbtorch.initialize(wage_quantize=True, wage_params=wl, inference_accelerator=accelerator)
    net = xbtorch_model(MLP())
    net.load_state_dict(torch.load("ternary.pt"))
    with torch.no_grad():
        software = net(images)
        before = test_classifier(test_loader, net, "cpu")[0]
        net.initialize_array_mappings()
        net.xb_eval()
        after = test_classifier(test_loader, net, "cpu")[0]
        return before, after, float((net(images) - software).norm() / software.norm()), net


for name, cls, kwargs in (
    ("fixed8", SimpleFixedPoint, dict(adc_bits=8, dac_bits=8)),
    ("fixed2", SimpleFixedPoint, dict(adc_bits=2, dac_bits=2)),
    ("daffodil", Daffodil, dict(read_noise=0, write_noise=0)),
    ("daffodil_noisy", Daffodil, dict(read_noise=np.float32(2), write_noise=np.float32(2))),
):
    before, after, error, net = board(cls, **kwargs)
    print("%s before %.2f after %.2f error %.4f" % (name, before, after, error))

acc = Daffodil(read_noise=0, write_noise=0)
v = torch.linspace(-0.3, 0.3, 61)
print("dac_volts %.6f" % float((acc.DAC_quantize(v) - v).abs().max()))
print(
    "dac_inverse %d"
    % int(
        (acc.dac_invertvout(acc.dac_calcvout(torch.arange(100.0))) - torch.arange(100.0))
        .abs()
        .max()
    )
)
print(
    "adc_inverse %.6f"
    % float(
        (
            acc.adc_predict_voltage(acc.adc_invert_voltage(torch.tensor([1.0, 2.0])))
            - torch.tensor([1.0, 2.0])
        )
        .abs()
        .max()
    )
)
print("board", acc.dac_n, acc.dac_max_prec, acc.adc_vref, acc.dac_vref)
print("done")
