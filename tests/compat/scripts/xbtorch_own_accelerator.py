# ruff: noqa
"""
An accelerator of our own: PWM inputs, an ADC with a fixed range, a log-time drift law, sneaky reads;
our own encoding and mapping; stuck cells with LEA-1, LEA-2 and MAO; a committee.
"""

import random
from collections import Counter
from functools import partial

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
import torch.nn as nn

import xbtorch
from xbtorch.deployment import *
from xbtorch.deployment.base import ACCELERATOR_REGISTRY, GenericAccelerator
from xbtorch.deployment.mapping import check_overlap
from xbtorch.deployment.metrics import error_mapping
from xbtorch.patches import xbtorch_model

calls = Counter()


@register_accelerator("PulseWidth")
class PulseWidth(GenericAccelerator):
    def __init__(self, pulses=np.int64(255), full_scale=2000.0, decay=0.0, **kwargs):
        self.pulses = pulses
        self.full_scale = full_scale
        self.decay = decay
        super().__init__(
            g_min=50.0,
            g_max=100.0,
            v_read=0.2,
            read_noise=0.0,
            write_noise=0.0,
            input_encoding_scheme="pwm",
            **kwargs,
        )

    def DAC_quantize(self, vector):
        calls["DAC"] += 1
        return torch.round(vector / self.v_read * self.pulses) / self.pulses * self.v_read

    def ADC_quantize(self, vector):
        calls["ADC"] += 1
        lsb = self.full_scale / 2**15
        return torch.clamp(torch.round(vector / lsb), -(2**15), 2**15 - 1) * lsb

    def apply_conductance_drift(self, G):
        calls["drift"] += 1
        return G * (1.0 - self.decay)

    def read_chip(self, row, n_rows, col, n_cols, fast_mode=True):
        calls["read_chip"] += 1
        G = self._chip[row : row + n_rows, col : col + n_cols]
        return self.apply_conductance_drift(G)

    def read_chip_stateless(self, subarray):
        calls["read_chip_stateless"] += 1
        return self.apply_conductance_drift(subarray)


def encode_quarters(accelerator, sw_weight, pos_idxs=[], neg_idxs=[], additional_args={}):
    """Five levels on either side."""
    calls["encode"] += 1
    levels = additional_args.get("levels", 4)
    size = torch.round(sw_weight.abs() / sw_weight.abs().max() * levels) / levels
    G = accelerator.g_min + size * (accelerator.g_max - accelerator.g_min)
    low = torch.full_like(G, accelerator.g_min)
    pos, neg = torch.where(sw_weight > 0, G, low), torch.where(sw_weight < 0, G, low)
    return [pos] * max(len(pos_idxs), 1), [neg] * max(len(neg_idxs), 1)


def map_shelf(accelerator, layer_shape, beta=1, current_mappings=[]):
    """One below the other, left-aligned."""
    calls["map"] += 1
    places = []
    for _ in range(beta):
        row = max([s[0] + n[0] for s, n in current_mappings], default=0)
        current_mappings.append(((row, 0), layer_shape))
        places.append((row, 0))
    return places


class Net(nn.Module):
    def __init__(self, sizes=(32, 24, 8)):
        super().__init__()
        layers = []
        for n_in, n_out in zip(sizes[:-1], sizes[1:]):
            layers += [nn.Linear(n_in, n_out, bias=False), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.model(x)


def ternary_net(seed=0):
    torch.manual_seed(seed)
    net = Net()
    for p in net.parameters():
        p.data = torch.randint(-1, 2, p.shape).float()
    return net


def put(accelerator, net, **mapping):
    xbtorch.initialize(inference_accelerator=accelerator)
    net = xbtorch_model(net)
    if accelerator.stateful:
        net.initialize_array_mappings(**mapping)
    net.xb_eval()
    return net


def distance(a, b):
    return float((a - b).norm() / b.norm())


x = torch.rand(200, 32) * 2 - 1
software = ternary_net()(x).detach()

# ------------------------------------------------------------------ the own accelerator
print("registered", sorted(ACCELERATOR_REGISTRY))
for stateful in (True, False):
    calls.clear()
    acc = ACCELERATOR_REGISTRY["PulseWidth"](
        stateful=stateful,
        xb_size=(128, 128),
        weight_encoding_scheme=encode_quarters,
        xb_mapping_scheme=map_shelf,
    )
    net = put(acc, ternary_net())
    with torch.no_grad():
        name = "chip" if stateful else "cells"
        print("%s_error %.4f" % (name, distance(net(x), software)))
        fresh = net(x)
        acc.decay = 0.25  # every cell loses a quarter, so do all weights: 0.75 for each layer
        print("%s_decayed %.4f" % (name, float(net(x).norm() / fresh.norm())))
        acc.decay = 1.0
        print("%s_dead %.4f" % (name, float(net(x).abs().max())))
    for what in (
        "DAC",
        "ADC",
        "drift",
        "read_chip" if stateful else "read_chip_stateless",
        "encode",
    ):
        print("called_%s_%s %s" % (name, what, calls[what] > 0))
    if stateful:
        spots = [p for m in net.get_array_mappings() for p in m["Gpos"] + m["Gneg"]]
        print("shelf", *[r for r, c in spots])

# ------------------------------------------------------------------ stuck cells
acc = SimpleFixedPoint(xb_size=[200, 100], stuck_percentage=np.float32(0.12), stuck_mode="real")
(rows, cols), values = acc.defect_map
print("stuck_fraction %.4f" % (len(values) / (200 * 100)))
print("stuck_values", *np.unique(values.numpy()))
print("stuck_high_share %.3f" % float((values > 100).float().mean()))
print("stuck_read %s" % torch.equal(acc.read_chip(0, 200, 0, 100)[rows, cols], values))
print("unwritten %d" % int((acc._chip == -1).sum()))
acc.map_weights_to_array(torch.ones(60, 60), pos_idxs=[(0, 0)], neg_idxs=[(100, 0)])
inside = torch.zeros(200, 100, dtype=torch.bool)
inside[rows, cols] = True
print("healthy_written %s" % bool((acc._chip[:60, :60][~inside[:60, :60]] == 100).all()))
print(
    "overlap %s %s"
    % (check_overlap((0, 0), (2, 2), (1, 1), (2, 2)), check_overlap((0, 0), (2, 2), (2, 0), (2, 2)))
)
share = acc.plot_array()
print("plotted", tuple(share.shape))


def compare(scheme, copies, mode, seed, args={}, stuck=0.08, stuck_mode="ideal"):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    acc = SimpleFixedPoint(
        adc_bits=12,
        dac_bits=12,
        xb_size=(300, 300),
        stuck_percentage=stuck,
        stuck_mode=stuck_mode,
        weight_encoding_scheme=scheme,
        xb_mapping_scheme=partial(map_random, beta=copies),
    )
    net = put(
        acc, ternary_net(), output_polling_mode=mode, additional_args=args, existing_mappings=[]
    )
    errors, _ = compute_error(net)
    with torch.no_grad():
        return distance(net(x), software), np.mean([e[0] for e in errors]), net


schemes = {
    "plain": (encode_simple_binary, 1, "avg", {}),
    "copies": (encode_simple_binary, 6, "avg", {}),
    "LEA1": (encode_LEA1, 6, "reduced_avg", {"alpha": np.int64(3), "beta": np.int64(6)}),
    "LEA2": (partial(encode_LEA2, states=np.int64(2)), 6, "reduced_avg", {}),
    "MAO": (partial(encode_MAO, states=4), 4, "sum", {}),
}
for name, (scheme, beta, mode, args) in schemes.items():
    found = [compare(scheme, beta, mode, seed, args)[:2] for seed in range(3)]
    (out, mapped), spread = np.mean(found, axis=0), np.std(found, axis=0)
    print("scheme_%s output %.4f +- %.4f mapped %.2f" % (name, out, spread[0], mapped))
for name in ("plain", "LEA1"):
    scheme, beta, mode, args = schemes[name]
    print("real_%s %.4f" % (name, compare(scheme, beta, mode, 0, args, stuck_mode="real")[0]))
for name in ("plain", "MAO"):
    scheme, beta, mode, args = schemes[name]
    print("healthy_%s %.4f" % (name, compare(scheme, beta, mode, 0, args, stuck=0.0)[0]))

# members of a committee share a chip; their mean is nearer than a member
taken = []
acc = SimpleFixedPoint(
    adc_bits=12, dac_bits=12, xb_size=(300, 300), stuck_percentage=0.05, stuck_mode="ideal"
)
members = [put(acc, ternary_net(), existing_mappings=taken) for _ in range(6)]
print("taken %d" % len(taken))
labels = software.argmax(1)
loader = [(x[:100], labels[:100]), (x[100:], labels[100:])]
single = np.mean([test_committee(loader, [member], "cpu") for member in members])
print("committee %.2f single %.2f" % (test_committee(loader, members, torch.device("cpu")), single))

# what an encoding would do, without writing it
W = ternary_net().model[0].weight.detach()
pos, neg = encode_simple_binary(acc, W, [(0, 0)], [(40, 40)])
print("ideal_encoding %.4f" % error_mapping(acc, W, pos_matrices=pos, neg_matrices=neg)[0][0])
print("done")
