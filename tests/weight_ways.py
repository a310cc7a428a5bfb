"""Ways in which torch computes a layer's weights, and what tests of them share."""

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune


class Softplus(nn.Module):
    """A parametrization as users write them."""

    def forward(self, x):
        return nn.functional.softplus(x)


class Scaled(nn.Module):
    """One with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.factor * x


class Counted(nn.Module):
    """One that tells how often it was asked."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def parametrized(layer, weight, *parts, bias=False):
    for part in parts:
        name = weight.replace("weight", "bias") if bias else weight
        parametrize.register_parametrization(layer, name, part)
    return layer


def half(layer, weight):
    mask = torch.ones_like(getattr(layer, weight)).flatten()
    mask[::2] = 0
    return prune.custom_from_mask(layer, weight, mask.view_as(getattr(layer, weight)))


def twice_pruned(layer, weight):
    prune.random_unstructured(layer, weight, 0.3)
    return prune.ln_structured(layer, weight, 0.3, n=2, dim=0)


def pruned_bias(layer, weight):
    return prune.l1_unstructured(layer, weight.replace("weight", "bias"), 0.5)


def both_ways(layer, weight):
    pruned_bias(layer, weight)
    return parametrizations.weight_norm(layer, weight)


WAYS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "user's own": lambda m, w: parametrized(m, w, Softplus()),
    "stacked": lambda m, w: parametrized(m, w, Scaled(), Softplus()),
    "of the bias": lambda m, w: parametrized(m, w, Scaled(), bias=True),
    "old weight norm": nn.utils.weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "pruned": lambda m, w: prune.l1_unstructured(m, w, 0.5),
    "custom mask": half,
    "pruned twice": twice_pruned,
    "pruned bias": pruned_bias,
    "parametrized and pruned": both_ways,
}
LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), "weight", (4, 6)),
    "conv": (lambda: nn.Conv2d(4, 6, 2, groups=2), "weight", (3, 4, 5, 5)),
    "up": (lambda: nn.ConvTranspose2d(4, 6, 2, groups=2), "weight", (3, 4, 3, 3)),
    "lstm": (lambda: nn.LSTM(3, 4), "weight_hh_l0", (5, 2, 3)),
    "gru cell": (lambda: nn.GRUCell(3, 4), "weight_hh", (2, 3)),
}


def prepared(way, layer="linear"):
    make, name, shape = LAYERS[layer]
    torch.manual_seed(3)
    digital = way(make().double(), name)
    return digital, torch.randn(shape, dtype=torch.float64)


def first(y):
    return y[0] if isinstance(y, tuple) else y


def steps(model, x, count=4):
    """A few steps of SGD with momentum; the outputs on the way."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    outputs = []
    for _ in range(count):
        optimizer.zero_grad()
        y = first(model(x))
        (y - 1).square().mean().backward()
        optimizer.step()
        outputs.append(y.detach())
    return outputs


def digital_part(analog):
    return {k: v for k, v in analog.state_dict().items() if "crossbar" not in k}


def same_state(found, wanted, error=1e-9, but=()):
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if name.endswith(but):
            continue
        torch.testing.assert_close(found[name], value, rtol=error, atol=error, msg=name)
