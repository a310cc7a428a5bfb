"""What programs written for XBTorch do in training: inner devices, seeds, copies, schedulers."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from mho.compat import xbtorch
from mho.compat.xbtorch import devices, optim
from mho.compat.xbtorch.decomposition import SBPCA, FullOuterProduct, FullSVD
from mho.compat.xbtorch.devices import utils
from mho.compat.xbtorch.devices.base import GenericDevice
from mho.compat.xbtorch.patches import xbtorch_model

LOW, HIGH, LEVELS = 3e-9, 38e-9, 100
CURVES = ("param_A_set", "param_A_reset", "param_B_set", "param_B_reset")


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.model = nn.Sequential(
            *(layers or (nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)))
        )

    def forward(self, x):
        return self.model(x)


def net(*layers):
    torch.manual_seed(1)
    return xbtorch_model(Net(*layers))


def steps(model, optimizer, count=3, seed=5):
    torch.manual_seed(seed)
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(20, 6)).square().sum().backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def device(d2d=0.0, c2c=0.0, up=2.4, down=-4.88):
    return devices.AnalyticalDevice(LOW, HIGH, d2d, c2c, up, down, LEVELS)


@pytest.fixture(autouse=True)
def _session():
    xbtorch.initialize()
    torch.manual_seed(0)
    yield
    xbtorch.initialize()


# ── inner devices and what is written of cells ───────────────────────────────────────────────


@pytest.mark.parametrize(
    "make", [devices.AnalyticalIdeal, devices.AnalyticalReal, devices.TabularAnalyticalReal]
)
def test_presets_are_opened_by_their_inner_device(make):
    preset = make()
    assert preset._device is preset
    assert copy.deepcopy(preset)._device is not preset
    preset._device = "mine"  # a subclass may keep something of its own there
    assert preset._device == "mine"


def test_parameters_of_curves_are_nominal_at_first_and_then_the_cells():
    fresh = device(d2d=0.5)
    assert all(getattr(fresh, name).shape == () for name in CURVES)
    assert float(fresh.param_A_set) == pytest.approx(float(fresh.get_param_A(2.4)) * LEVELS)
    assert float(fresh.param_A_reset) < 0
    g = torch.full((4, 5), 20e-9, dtype=torch.float64)
    one = fresh.write(g.clone(), torch.ones(4, 5), (0, 1))
    assert all(getattr(fresh, name).shape == (4, 5) for name in CURVES)
    assert fresh.param_A_set.unique().numel() == 20
    A, B = fresh.param_A_set, fresh.param_B_set
    place = fresh.conductance_to_pulse(g, A, B)
    torch.testing.assert_close(fresh.pulse_to_conductance(place + 1, A, B), one, rtol=1e-9, atol=0)
    torch.testing.assert_close(B, fresh.get_param_B(A))
    assert fresh.params[(0, 1)]["param_A_set"] is A
    fresh.set_nonlinearity_set(1.0)  # new cells: the nominal one again
    assert fresh.param_A_set.shape == ()
    with pytest.raises(AttributeError, match="param_C"):
        _ = fresh.param_C


def test_cells_of_other_shapes_have_parameters_of_their_own():
    one = device(d2d=1.0)
    g = torch.full((50,), 20e-9)
    first = one.write(g.clone(), torch.ones(50))
    utils.sweep_conductance_full(one)  # a single cell of the same name
    assert torch.equal(first, one.write(g.clone(), torch.ones(50)))


# ── pulses ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 10, 40])
def test_noise_of_pulses_in_one_write_adds_up(count):
    # XBTorch left one pulse's noise, however many there were.
    g = torch.full((20000,), 20e-9, dtype=torch.float64)
    after = device(c2c=0.005, up=0.0, down=0.0).write(g, torch.full((20000,), float(count)))
    expected = 0.005 * (HIGH - LOW) * count**0.5
    assert float(after.std()) == pytest.approx(expected, rel=5 / (2 * 20000) ** 0.5 + 0.01)


def test_fractions_of_pulses():
    g = torch.full((4000,), 20e-9, dtype=torch.float64)
    line = device(up=0.0, down=0.0)
    half = (line.write(g.clone(), torch.full((4000,), 0.5)) - g) / ((HIGH - LOW) / LEVELS)
    torch.testing.assert_close(half, torch.full_like(g, 0.5), rtol=1e-2, atol=0)
    table = devices.TabularAnalyticalReal()
    whole = float((table.write(g.clone(), torch.ones(4000)) - g).mean())
    part = float((table.write(g.clone(), torch.full((4000,), 0.25)) - g).mean())
    assert part == pytest.approx(0.25 * whole, rel=0.2 + 5 * 1.2e-9 / 4000**0.5 / abs(whole))


def test_pulses_of_other_kinds_and_shapes():
    one = device()
    up = one.write(torch.tensor(20e-9), torch.arange(5))
    assert up.shape == (5,)
    assert bool((up.diff() > 0).all())
    square = torch.full((3, 4), 20e-9)
    turned = square.T
    assert one.write(turned, torch.ones(4, 3, dtype=torch.int64)) is turned
    torch.testing.assert_close(square, one.write(torch.full((3, 4), 20e-9), 1))
    assert torch.equal(one.write(square.clone(), np.zeros((3, 4))), square)


# ── seeds, copies, resuming ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [lambda: device(0.2, 0.02), devices.TabularAnalyticalReal])
def test_torchs_seed_governs_cells_and_every_write(make):
    def writes():
        torch.manual_seed(3)
        return one.write(torch.full((30,), 20e-9), torch.ones(30))

    found = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        one = make()
        found.append(one.write(torch.full((30,), 20e-9), torch.ones(30)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(writes(), writes())  # also in the middle of a device's life


def test_torchs_seed_governs_where_streaming_decompositions_start():
    gradient = torch.randn(6, 9)

    def found(seed):
        torch.manual_seed(seed)
        return SBPCA(2).decompose(None, None, gradient, 0)

    assert torch.equal(found(1), found(1))
    assert not torch.equal(found(1), found(2))


@pytest.mark.parametrize(
    "make", [lambda: device(0.2, 0.02), devices.TabularAnalyticalReal, lambda: SBPCA(2)]
)
def test_written_devices_are_copied_and_saved(make):
    one = make()
    settings = {"device_type": one} if isinstance(one, GenericDevice) else {}
    settings = settings or {"decomposition_algorithm": one}
    xbtorch.initialize(**settings)
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    steps(model, optimizer)
    pair = copy.deepcopy((model, optimizer))
    file = io.BytesIO()
    torch.save((model, optimizer), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    pickled = pickle.loads(pickle.dumps((model, optimizer)))
    xbtorch.initialize()  # copies are of the session they were made in
    expected = steps(model, optimizer, seed=9)
    for other in (pair, loaded, pickled):
        assert equal(expected, steps(*other, seed=9))


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("wage", [False, True])
def test_training_is_resumed_exactly_from_state_dicts(kind, wage):
    def session():
        xbtorch.initialize(wage_quantize=wage, device_type=device(c2c=0.01))
        model = net()
        return model, getattr(optim, kind)(model.parameters(), lr=4.0 if wage else 0.01)

    model, optimizer = session()
    steps(model, optimizer)
    states = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    expected = steps(model, optimizer, seed=9)
    model, optimizer = session()
    model.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    assert equal(expected, steps(model, optimizer, seed=9))


# ── loops ────────────────────────────────────────────────────────────────────────────────────


def test_schedulers_act():
    xbtorch.initialize(device_type=device(up=0.0, down=0.0))
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.0)
    first = steps(model, optimizer, 1)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert equal(first, steps(model, optimizer, 1))


def test_steps_that_diverge_are_at_most_the_whole_range():
    seen = []

    class Watched(devices.AnalyticalDevice):
        def write(self, G, numPulse, group_param_idx=(0, 0)):
            seen.append(numPulse.abs().max().item())
            return super().write(G, numPulse, group_param_idx)

    xbtorch.initialize(device_type=Watched(LOW, HIGH, 0.0, 0.01, 2.4, -4.88, LEVELS))
    model = net()
    steps(model, optim.SGD(model.parameters(), lr=1e9), 2)
    assert max(seen) == LEVELS
    assert all(float(p.detach().abs().max()) <= 1.0 for p in model.parameters())


def test_groups_are_added_and_have_rates_of_their_own():
    xbtorch.initialize(device_type=device(up=0.0, down=0.0))
    model = net()
    optimizer = optim.SGD(model.model[0].parameters(), lr=0.0)
    optimizer.add_param_group({"params": model.model[2].parameters(), "lr": 0.05})
    before = [p.detach().clone() for p in model.parameters()]
    after = steps(model, optimizer, 1)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False]
    assert set(xbtorch.get_xbtorch_param("device_type").params) == {(0, 0), (0, 1), (1, 0)}


@pytest.mark.parametrize("settings", [{}, {"wage_quantize": True}])
def test_closures_zeroed_gradients_and_frozen_layers(settings):
    xbtorch.initialize(device_type=device(), **settings)
    model = net()
    first, last = (m for m in model.modules() if isinstance(m, nn.Linear))
    first.requires_grad_(False)
    optimizer = optim.SGD(model.parameters(), lr=8.0 if settings else 0.1)
    frozen, x = first.weight.clone(), torch.randn(20, 6)
    moving = last.weight.detach().clone()

    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = model(x).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(4)]
    assert losses[-1] < losses[0]
    assert torch.equal(first.weight, frozen)
    assert not torch.equal(last.weight, moving)
    optimizer.zero_grad(set_to_none=False)
    assert float(last.weight.grad.abs().max()) == 0.0


def test_double_precision_convolutions_and_recurrence():
    for settings in ({}, {"decomposition_algorithm": SBPCA(2)}):
        xbtorch.initialize(device_type=devices.AnalyticalIdeal(), **settings)
        conv = net(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)).double()
        recurrent = net(nn.LSTM(3, 4, batch_first=True), xbtorch.nn.SelectLastStep()).double()
        for model, x in ((conv, torch.randn(6, 1, 6, 6)), (recurrent, torch.randn(6, 5, 3))):
            optimizer = optim.SGD(model.parameters(), lr=0.2)
            losses = []
            for _ in range(12):
                optimizer.zero_grad()
                loss = (model(x.double()) - 0.2).square().mean()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            assert losses[-1] < losses[0]
            assert all(p.dtype == torch.float64 for p in model.parameters())


@pytest.mark.parametrize("algorithm", [FullOuterProduct(), FullSVD()])
def test_decompositions_follow_clipped_and_accumulated_gradients(algorithm):
    xbtorch.initialize(decomposition_algorithm=algorithm)
    for passes, most in ((1, 0.5), (2, None), (2, 0.5)):
        model = net(nn.Linear(6, 8, bias=False))
        weight = model.model[0].weight
        optimizer, before = optim.SGD(model.parameters(), lr=1.0), weight.detach().clone()
        for _ in range(passes):
            model(torch.randn(20, 6)).square().sum().backward()
        if most is not None:
            nn.utils.clip_grad_norm_(model.parameters(), most)
        optimizer.step()
        change = before - weight.detach()
        assert float((change - weight.grad).norm() / weight.grad.norm()) < 1e-4


def test_noise_is_changed_in_a_loop_and_sessions_follow_one_another():
    one = device(c2c=0.1)
    for width in (4, 8):  # a sweep: the same device, other models
        for noise in (0.1, 0.0):
            one.set_c2c_var(noise)
            xbtorch.initialize(device_type=one)
            model = net(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))
            found = [steps(model, optim.SGD(model.parameters(), lr=0.0), 1) for _ in range(2)]
            assert equal(*found)  # no pulse, no noise
            steps(model, optim.SGD(model.parameters(), lr=0.01))
    one.set_c2c_var(0.0)
    g = torch.full((500,), 20e-9)
    assert one.write(g.clone(), torch.ones(500)).unique().numel() == 1
    one.c2c_var = 0.1
    assert one.write(g.clone(), torch.ones(500)).unique().numel() > 400


def test_two_models_of_two_sessions_learn_side_by_side():
    xbtorch.initialize(device_type=device(up=0.0, down=0.0))
    first = net()
    one = optim.SGD(first.parameters(), lr=0.01)
    xbtorch.initialize(wage_quantize=True)
    second = net()
    other = optim.SGD(second.parameters(), lr=8.0)
    steps(first, one)
    steps(second, other)
    assert first.model[0].weight.unique().numel() > 10
    assert second.model[1].weight.unique().numel() <= 3
