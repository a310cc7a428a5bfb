"""What a device allows, the floor of plain SGD, and stalls that are noticed."""

import math
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import mho
from mho.devices import VTEAM, ConstantStep, SoftBoundsDevice, Yakopcic, presets
from mho.devices.pulsed import PulsedDevice
from mho.train import (
    DifferentialPair,
    ExpectedPulses,
    InSitu,
    PulsedSGD,
    TikiTaka,
    TikiTakaV2,
    check_device,
    sgd_floor,
)

WINDOW = {"g_min": 1e-6, "g_max": 101e-6}
SOFT = SoftBoundsDevice(**WINDOW, step=1e-6)  # a hundred steps, τ = 1
NAMES = [each.name for each in presets.list()]


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


@pytest.mark.parametrize("c2c", [0.0, 1.0])
def test_the_floor_of_plain_sgd_is_what_it_does(c2c):
    # 400 weights, each on a quadratic of curvature 1 with normal gradients about w* = 0.5.
    torch.manual_seed(0)
    layer = nn.Linear(1, 400, bias=False)
    nn.init.constant_(layer.weight, 0.4)
    lr, sigma = 0.1, 0.4
    device = SOFT.replace(c2c=c2c)
    optimizer = PulsedSGD(layer, lr, device=device, update=ExpectedPulses())
    late = []
    for step in range(260):
        optimizer.zero_grad()
        y = 0.5 + sigma * torch.randn(1, 400)
        (0.5 * (layer(torch.ones(1, 1)) - y).square()).sum().backward()
        optimizer.step()
        if step >= 100:
            late.append(layer.weight.detach().flatten().clone())
    w = torch.stack(late)
    gross = math.sqrt(2 / math.pi) * math.hypot(sigma, 0.1)
    found = sgd_floor(
        curvature=1.0,
        noise=sigma,
        lr=lr,
        step=0.02,
        reach=1.0,
        distance=0.5,
        snr=1 / c2c if c2c else math.inf,
        gross=gross,
    )
    assert 0.5 - float(w.mean()) == pytest.approx(found.bias, rel=0.15)
    assert float(w.std(0).mean()) == pytest.approx(found.deviation, rel=0.25)


def test_numbers_by_hand():
    found = check_device(SOFT.replace(asymmetry=0.5, c2c=0.5, d2d=0.1), model()).numbers
    assert found.states == pytest.approx(100.0, rel=0.05)
    half = 1.0
    step = 2 * half / found.states
    assert found.up == pytest.approx([3 * step, 1.5 * step, 0.0], abs=1e-3)
    assert found.down == pytest.approx([0.0, 0.5 * step, step], abs=1e-3)
    assert found.asymmetry == pytest.approx(0.5, rel=1e-3)
    assert found.symmetry[0] == pytest.approx(0.5, abs=0.01)
    assert found.snr == pytest.approx(step / (0.5 * step * math.sqrt(1.25)), rel=0.1)
    assert found.spread == pytest.approx(0.1, rel=0.2)
    assert found.reach == pytest.approx(0.75, rel=0.02)


def stepped(device, *, digital):
    """Let the proposed optimizer of a device step once; return the advice and the optimizer."""
    net = model()
    advice = check_device(device, net, torch.rand(16, 8), digital=digital)
    optimizer = advice.optimizer(net)
    net(torch.rand(4, 8)).square().mean().backward()
    optimizer.step()
    return advice, optimizer


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_of_pulses_gets_an_optimizer_that_steps(name):
    device = presets.get(name)
    if not isinstance(device, PulsedDevice):
        pytest.skip("not a pulse-count device")
    for digital in (True, False):
        advice, optimizer = stepped(device, digital=digital)
        assert isinstance(optimizer, InSitu) == digital
    said = str(advice)
    for word in ("states", "symmetry point", "signal to noise", "plain SGD", "proposed"):
        assert word in said
    assert f"lr {advice.lr:g}" in said


def test_what_is_proposed_fits_the_device():
    net = model()
    uneven = check_device(SOFT.replace(asymmetry=0.6), net)
    assert uneven.optimizer(net).held.cells().popitem()[1].layout == DifferentialPair()
    assert check_device(ConstantStep(**WINDOW), net, digital=False).rule == "PulsedSGD"
    assert "TikiTakaV2" in check_device(SOFT, net, digital=False).rule
    assert "AGAD" in check_device(ConstantStep(asymmetry=0.3), net, digital=False).rule
    mine = check_device(SOFT, net).optimizer(net, make=TikiTaka, rule=TikiTakaV2(columns=2))
    assert isinstance(mine, TikiTaka)
    assert mine.rule.columns == 2


def test_bad_input():
    with pytest.raises(ValueError, match="must have weight matrices"):
        check_device(SOFT, nn.LayerNorm(3))
    with pytest.raises(TypeError, match="device must be"):
        check_device(3, model())
    with pytest.raises(TypeError, match="inputs must be"):
        check_device(SOFT, model(), 3.0)
    with pytest.raises(ValueError, match="reach must be > 0"):
        sgd_floor(curvature=1.0, noise=1.0, lr=0.1, step=0.1, reach=0.0)


# ── during training ──────────────────────────────────────────────────────────────────────────


def stalls(make, steps=130):
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False)
    nn.init.zeros_(layer.weight)
    source = torch.Generator().manual_seed(1)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        optimizer = make(layer)
        for _ in range(steps):
            x = torch.randn(8, 4, generator=source)
            y = x @ torch.full((4, 3), 0.4) + 0.5 * torch.randn(8, 3, generator=source)
            optimizer.zero_grad()
            (0.5 * (layer(x) - y).square()).sum(1).mean().backward()
            optimizer.step()
    assert all(w.filename == __file__ for w in found)
    return [str(w.message) for w in found if "stalls" in str(w.message)]


def in_situ(rounding, lr):
    return lambda m: InSitu(torch.optim.SGD(m.parameters(), lr), SOFT, model=m, rounding=rounding)


def test_updates_below_half_a_step_are_named():
    found = stalls(in_situ("nearest", 2e-3))
    assert len(found) == 1
    assert "0 pulses a cell" in found[0]
    assert "threshold=1.0" in found[0]


def test_pulses_that_undo_each_other_are_named():
    lopsided = SOFT.replace(step=2e-6, asymmetry=-0.9)
    found = stalls(lambda m: PulsedSGD(m, 0.3, device=lopsided))
    assert len(found) == 1
    assert "undo each other" in found[0]


@pytest.mark.parametrize(
    "make",
    [
        in_situ("stochastic", 0.02),
        lambda m: PulsedSGD(m, 0.05, device=SOFT),
        lambda m: TikiTaka(m, 0.05, device=SOFT),
        lambda m: check_device(SOFT, m).optimizer(m),
    ],
    ids=["in situ", "pulsed", "tiki-taka", "advised"],
)
def test_training_that_works_is_left_alone(make):
    assert not stalls(make)


# ── models and devices of all kinds ──────────────────────────────────────────────────────────


def test_a_look_leaves_modes_and_chips_as_they_are():
    net = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    net[1].eval()
    before = [m.training for m in net.modules()]
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    x = torch.rand(16, 8)
    drawn = torch.get_rng_state()
    check_device(SOFT, net, x)
    assert [m.training for m in net.modules()] == before
    assert all(torch.equal(b, buffers[name]) for name, b in net.named_buffers())
    assert torch.equal(torch.get_rng_state(), drawn)
    noisy = mho.Hardware(effects=(mho.effects.ReadNoise(0.02),), adc=mho.ADC(bits=8))
    chip = mho.convert(model(), noisy)
    chip[0].eval()
    state = {name: value.clone() for name, value in chip.state_dict().items()}
    modes = [m.training for m in chip.modules()]
    found = check_device(SOFT, chip, torch.rand(16, 8))
    assert [m.training for m in chip.modules()] == modes
    after = chip.state_dict()
    for name, value in state.items():
        assert torch.equal(value.nan_to_num(), after[name].nan_to_num()), name
    assert found.lr == check_device(SOFT, model(), torch.rand(16, 8)).lr


class Called(nn.Module):
    """Calls a layer by names, and reads a table."""

    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, words):
        return self.layer(input=self.table(words))


def test_rates_of_tables_and_of_layers_called_by_name():
    net = Called()
    found = check_device(SOFT, net, torch.full((16,), 49))
    seen = float(net.table.weight[49].square().sum())
    assert found.lr == pytest.approx(min(4 / max(1.0, seen), 0.3), rel=0.3)
    net.layer.weight.data *= 0.1
    net.table.weight.data.fill_(3.0)
    assert check_device(SOFT, net, torch.full((16,), 49)).lr == pytest.approx(4 / 72, rel=0.3)


def test_frozen_weights_do_not_set_the_rate_but_fit_the_range():
    net = nn.Sequential(nn.Linear(400, 4), nn.Tanh(), nn.Linear(4, 3))
    net[0].weight.data.fill_(1.0)
    x = torch.ones(4, 400)
    assert check_device(SOFT, net, x).lr == pytest.approx(0.01)
    net[0].requires_grad_(False)
    found = check_device(SOFT, net, x)
    assert found.lr == pytest.approx(0.3)
    assert found.weight_range == (-1.5, 1.5)
    with pytest.raises(ValueError, match="that are trained"):
        check_device(SOFT, net.requires_grad_(False))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_precisions(dtype):
    net = model().to(dtype)
    advice = check_device(SOFT, net, torch.rand(16, 8, dtype=dtype))
    optimizer = advice.optimizer(net)
    net(torch.rand(4, 8, dtype=dtype)).float().square().mean().backward()
    optimizer.step()
    assert advice.lr == check_device(SOFT, model(), torch.rand(16, 8)).lr


def test_inputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="inputs must be finite"):
        check_device(SOFT, model(), torch.full((2, 8), math.nan))


@dataclass(frozen=True)
class Turned(ConstantStep):
    """Pulses of given signs, whatever their name."""

    set_sign: float = 1.0
    reset_sign: float = 1.0

    def change(self, g, up, cell):
        return super().change(g, up, cell) * torch.where(up, self.set_sign, self.reset_sign)

    def burst(self, g, counts, cell):
        return None


@pytest.mark.parametrize("digital", [True, False])
def test_set_pulses_that_lower_are_named_and_nothing_is_proposed(digital):
    net = model()
    advice = check_device(Turned(**WINDOW, set_sign=-1.0), net, digital=digital)
    assert advice.rule == "nothing"
    assert "set pulses lower the conductance" in str(advice)
    with pytest.raises(ValueError, match="no optimizer is proposed: set pulses lower"):
        advice.optimizer(net)


@pytest.mark.parametrize("digital", [True, False])
def test_reset_pulses_that_raise_want_pairs(digital):
    net = model()
    advice = check_device(Turned(**WINDOW, reset_sign=-1.0), net, digital=digital)
    assert "DifferentialPair" in advice.rule
    optimizer = advice.optimizer(net)
    net(torch.rand(4, 8)).square().mean().backward()
    optimizer.step()


def test_pulses_that_are_noise_are_named():
    advice = check_device(SOFT.replace(step=2e-7, c2c=100.0), model())
    assert advice.rule == "nothing"
    assert "pulses are noise" in str(advice)
    assert "pulses are noise" not in str(check_device(SOFT.replace(c2c=3.0), model()))


@pytest.mark.parametrize("device", [presets.get("tio2_strukov"), VTEAM(), Yakopcic()])
def test_voltage_driven_devices_get_an_optimizer_that_steps(device):
    for digital in (True, False):
        stepped(device, digital=digital)


@pytest.mark.parametrize(("name", "times"), [("fefet_3v5", 2.0), ("taox_hfox", 1.0)])
def test_few_states_are_added_up_to_at_twice_the_rate(name, times):
    torch.manual_seed(0)
    net, x = model(), torch.rand(16, 8)
    usual = check_device(presets.get(name), net, x, digital=False)
    added = check_device(presets.get(name), net, x)
    assert (added.numbers.states < 16) == (times > 1.0)
    assert added.lr == pytest.approx(times * usual.lr)
    assert added.optimizer(net).param_groups[0]["lr"] == added.lr  # what is said is what is taken
