"""What all optimizers on cells share: one worth of a pulse, seeds by name, old checkpoints."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from mho.devices import ConstantStep, ExponentialDevice, SoftBoundsDevice, Spread
from mho.train import (
    AGAD,
    DifferentialPair,
    ExpectedPulses,
    InSitu,
    PulsedSGD,
    TikiTaka,
    TikiTakaV2,
)
from mho.train.on_cells.layouts import SingleCell, pulse_steps

OLD = Path(__file__).parent / "data" / "on_cells_0_1.pt"
G_MIN, G_MAX, LEVELS = 1e-6, 101e-6, 500
BENT = ExponentialDevice(
    g_min=G_MIN, g_max=G_MAX, nonlinearity_set=2.4, nonlinearity_reset=-2.4, levels=LEVELS
)
SOFT = SoftBoundsDevice(g_min=G_MIN, g_max=G_MAX, step=1e-6, asymmetry=0.2, d2d=0.1, c2c=0.2)


def zeros():
    layer = nn.Linear(50, 60, bias=False).double()
    nn.init.zeros_(layer.weight)
    return layer


def in_situ(layer, lr, layout):
    return InSitu(torch.optim.SGD(layer.parameters(), lr=lr), BENT, layout=layout)


def pulsed_sgd(layer, lr, layout):
    return PulsedSGD(layer, lr, device=BENT, layout=layout, update=ExpectedPulses())


def pulses_of(optimizer):
    if isinstance(optimizer, InSitu):
        (held,) = optimizer.held.values()
        return held.weights.writes.sum(0)
    return optimizer.pulses()["weight"].sum(0)


@pytest.mark.parametrize("way", [1.0, -1.0], ids=["set", "reset"])
def test_a_pulse_is_worth_the_same_to_both_optimizers(way):
    # By the curve's own equation: G(P) = B(1 − e^(−P/A)) + g_min, one pulse on from mid-window.
    k = BENT.constants()["curvature_set"]
    top = (G_MAX - G_MIN) / (1 - math.exp(-k))
    middle = -math.log(1 - (G_MAX - G_MIN) / 2 / top) * LEVELS / k
    curve = [top * (1 - math.exp(-k * (middle + p) / LEVELS)) for p in (0.0, 1.0)]
    step = (curve[1] - curve[0]) * 2.0 / (G_MAX - G_MIN)
    moved = {}
    for make in (in_situ, pulsed_sgd):
        layer = zeros()
        optimizer = make(layer, 1.5 * step, SingleCell())
        optimizer.zero_grad()
        (-way * layer(torch.ones(1, 50, dtype=torch.float64)).sum()).backward()
        optimizer.step()
        pulses = pulses_of(optimizer).double()
        error = 0.5 / pulses.numel() ** 0.5
        assert float(pulses.mean()) == pytest.approx(1.5, abs=4.5 * error)
        # A second pulse moves a cell by the part k/levels less than the first.
        one = layer.weight[pulses == 1].detach()
        torch.testing.assert_close(one, torch.full_like(one, way * step), rtol=1e-9, atol=0.0)
        assert float(layer.weight.detach().mean()) == pytest.approx(way * 1.5 * step, rel=0.05)
        moved[make] = float(one[0])
    assert moved[in_situ] == pytest.approx(moved[pulsed_sgd], rel=1e-12)


def test_pairs_of_cells_that_are_gradual_one_way_learn_by_coincidences():
    # Without gradual resets no single cell could be trained; pairs are set, and refreshed.
    device = ConstantStep(g_min=G_MIN, g_max=G_MAX, step=1e-7, asymmetry=1.0)
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    source = torch.Generator().manual_seed(1)
    x, target = torch.randn(32, 6, generator=source), torch.randn(3, 6, generator=source) * 0.3
    optimizer = PulsedSGD(
        model, 0.2, device=device, layout=DifferentialPair(refresh_every=20), seed=3
    )
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((model(x) - x @ target.T) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    writes = optimizer.pulses()["weight"]
    assert writes.shape == (2, 3, 6)
    assert (writes.sum((1, 2)) > 0).all()


def test_what_is_drawn_for_a_weight_follows_from_its_name():
    device = BENT.replace(g_max=Spread(torch.distributions.Normal(G_MAX, 5e-6), low=80e-6))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))

    def drawn(optimizer, name):
        return optimizer.weights(name).cells.parameter("g_max")

    whole = InSitu(torch.optim.SGD(model.parameters(), lr=0.1), device, model=model)
    assert not torch.equal(drawn(whole, "0.weight"), drawn(whole, "2.weight"))
    # Others beside it, and their order, change nothing.
    part = InSitu(torch.optim.SGD([model[2].weight, model[0].weight], lr=0.1), device, model=model)
    assert torch.equal(drawn(whole, "2.weight"), drawn(part, "2.weight"))
    tiki = TikiTaka(model, device=device)
    ends = [
        getattr(a, part).cells.parameter("g_max")
        for a in tiki.arrays.values()
        for part in ("fast", "slow")
    ]
    assert len({tuple(end.flatten().tolist()) for end in ends}) == 6


# ── checkpoints of version 0.1 ───────────────────────────────────────────────────────────────


def _sgd(layer):
    return torch.optim.SGD(layer.parameters(), lr=0.1)


MAKE = {
    "in_situ": lambda layer: InSitu(_sgd(layer), SOFT, seed=9),
    "in_situ_pair": lambda layer: InSitu(
        _sgd(layer), SOFT, layout=DifferentialPair(), threshold=1.0, seed=9
    ),
    "pulsed_sgd": lambda layer: PulsedSGD(layer, device=SOFT, seed=9),
    "tiki_taka": lambda layer: TikiTaka(
        layer, device=SOFT, rule=TikiTakaV2(transfer_lr=0.1), seed=9
    ),
    "agad": lambda layer: TikiTaka(
        layer, device=SOFT, rule=AGAD(transfer_lr=0.1, chop_probability=0.1), seed=9
    ),
}


@pytest.mark.parametrize("kind", MAKE)
def test_checkpoints_of_version_0_1_load(kind):
    saved = torch.load(OLD, weights_only=True)[kind]
    layer = nn.Linear(3, 2)
    optimizer = MAKE[kind](layer)
    layer.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.testing.assert_close(layer.weight, saved["model"]["weight"], rtol=0.0, atol=5e-7)
    loss = (layer(torch.ones(2, 3)) ** 2).sum()
    loss.backward()
    optimizer.step()
    assert (layer.weight != saved["model"]["weight"]).any()


def test_a_checkpoint_with_another_worth_of_a_pulse_says_what_to_do():
    device = ExponentialDevice(nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=97)
    saved = torch.load(OLD, weights_only=True)["in_situ_bent"]
    layer = nn.Linear(3, 2)
    old = 2 / 97
    assert max(pulse_steps(device)) / 35e-9 * 2 > 1.4 * old
    with pytest.raises(ValueError, match=r"give granularity=\(0\.0206"):
        InSitu(_sgd(layer), device).load_state_dict(saved["optimizer"])
    optimizer = InSitu(_sgd(layer), device, granularity=(old, old))
    optimizer.load_state_dict(saved["optimizer"])
    torch.testing.assert_close(layer.weight, saved["model"]["weight"], rtol=0.0, atol=5e-7)
