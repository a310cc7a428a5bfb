"""What programs written for XBTorch do in training: inner devices, seeds, copies, schedulers."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import mho.compat
from compat.overriding import api
from mho.compat import xbtorch
from mho.compat.xbtorch import devices, optim, quant
from mho.compat.xbtorch.decomposition import NMF, SBPCA, FullOuterProduct, FullSVD, TruncatedSVD
from mho.compat.xbtorch.devices import utils
from mho.compat.xbtorch.devices.base import GenericDevice
from mho.compat.xbtorch.patches import xbtorch_model
from mho.compat.xbtorch.quant import wage_qtorch

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
    torch.testing.assert_close(B, fresh.get_param_B(A), rtol=1e-9, atol=0.0)
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
    moved = one.write(turned, torch.ones(4, 3, dtype=torch.int64))
    torch.testing.assert_close(moved.T, one.write(square, 1), rtol=1e-5, atol=0.0)
    assert float(square.max() - square.min()) == 0.0
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


# ── star imports ─────────────────────────────────────────────────────────────────────────────

OWN = {  # beside what XBTorch's bring
    "xbtorch.decomposition": {"GenericDecomposition"},
    "xbtorch.devices": {"GenericDevice"},
}
ROOMS = ("decomposition", "devices", "loss", "nn", "optim", "quant")


def star(module):
    found = {"nn": nn}
    exec(f"from {module} import *", found)
    del found["__builtins__"]
    return found


def test_stars_do_not_rebind_what_a_program_has():
    mho.compat.install("xbtorch")
    try:
        for module in ("xbtorch", *(f"xbtorch.{room}" for room in (*ROOMS, "nn.nn", "patches"))):
            assert star(module)["nn"] is nn
        assert star("xbtorch.nn")["Linear"] is xbtorch.nn.Linear
    finally:
        mho.compat.uninstall("xbtorch")


def test_stars_bring_the_documented_names_and_no_others():
    modules = api("xbtorch")
    packages = {"xbtorch", "xbtorch.deployment", "xbtorch.patches"}
    mine = [m for m in modules if m in packages or m.split(".")[1:2] in [[r] for r in ROOMS]]
    assert len(mine) > 20
    mho.compat.install("xbtorch")
    try:
        for module in mine:
            found = set(star(module)) - {"nn"}
            assert found - OWN.get(module, set()) == set(modules[module]), module
    finally:
        mho.compat.uninstall("xbtorch")


# ── numbers, arrays and lists ────────────────────────────────────────────────────────────────


def test_curves_are_plotted_over_arrays():
    one, pulses = device(), np.arange(5)
    expected = LOW + 4e-8 * (1 - np.exp(-pulses / 200))
    found = one.pulse_to_conductance(pulses, 200.0, 4e-8)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    back = one.conductance_to_pulse(expected, np.float64(200), 4e-8)
    np.testing.assert_allclose(back, pulses, atol=1e-9)
    assert float(one.conductance_to_pulse(float(expected[3]), 200.0, 4e-8)) == pytest.approx(3)
    assert float(one.get_param_B(50.0)) == pytest.approx((HIGH - LOW) / (1 - np.exp(-2)))
    assert one.get_param_A([2.4, -4.88]).shape == (2,)


@pytest.mark.parametrize("kind", [float, np.float32, np.array, torch.tensor, lambda x: [x, x]])
def test_changes_and_roundings_of_any_kind(kind):
    assert set(utils.stochastic_round(kind(2.5)).ravel().tolist()) <= {2.0, 3.0}
    assert set(device().gradient_to_pulse(kind(0.05)).ravel().tolist()) <= {2.0, 3.0}


def test_nearest_of_any_kind():
    for axis in ([0, 1, 3], np.array([0.0, 1.0, 3.0]), torch.tensor([0, 1, 3])):
        assert int(utils.find_nearest(axis, 2.4)) == 2
        assert int(utils.find_nearest(axis, torch.tensor(0.6))) == 1
        assert utils.find_nearest(axis, np.array([0.4, 9.0])).tolist() == [0, 2]


def test_writes_of_any_kind():
    one = device(up=0.0, down=0.0)
    step, g = (HIGH - LOW) / LEVELS, torch.full((2, 3), 20e-9, dtype=torch.float64)
    for G, pulse in (
        (g.clone(), 5),
        (g.clone().numpy(), np.full((2, 3), 5)),
        (g[:1, :1].expand(2, 3), torch.tensor(5.0)),
        ([[20e-9] * 3] * 2, [5, 5, 5]),
        (20e-9, np.int64(5)),
    ):
        found = one.write(G, pulse, [0, 0])
        np.testing.assert_allclose(found, 20e-9 + 5 * step, rtol=1e-5)
    assert set(one.params) == {(0, 0), ((0, 0), ())}


def test_whole_floats_are_whole_numbers():
    gradient = torch.randn(6, 9)
    for two in (2.0, np.float64(2), np.int64(2), torch.tensor(2)):
        for algorithm in (SBPCA(two, two), NMF(two, max_iters=two), TruncatedSVD(two)):
            assert algorithm.rank == 2
            assert algorithm.decompose(None, None, gradient, 0).shape == (6, 9)
    for wrong in (2.5, "2", True, 0):
        with pytest.raises((TypeError, ValueError), match="rank"):
            SBPCA(wrong)
    x = torch.linspace(-1, 1, 9)
    assert equal([quant.fixed_point_quantize_wrapper(x, 4.0, 3.0)], [wage_qtorch.QW(x, 4)])
    assert equal([wage_qtorch.QG(x, 8.0, 1)], [wage_qtorch.QG(x, np.int64(8), np.float32(1))])
    xbtorch.initialize(wage_quantize=True, wage_params={"wl_weight": 4.0, "wl_error": np.int8(4)})
    steps(net(), optim.SGD(net().parameters(), lr=1.0))


# ── devices of one's own ─────────────────────────────────────────────────────────────────────


def test_the_generic_device_can_be_made_and_writes_nothing():
    generic = GenericDevice(1e-6, 2e-6)
    assert generic.params == {}
    with pytest.raises(NotImplementedError, match="must define write"):
        generic.write(torch.ones(1), torch.ones(1))


def test_data_sets_are_of_cells_apart():
    one = device(d2d=0.5)
    utils.synthesize_G_dG_dataset(one, num_points=50)
    assert one.params == {}
    assert one.param_A_set.shape == ()
    one.write(torch.full((2, 3), 20e-9), torch.ones(2, 3))
    A = one.param_A_set
    utils.synthesize_G_dG_dataset(one, set=False, num_points=50)
    assert one.param_A_set is A
    assert set(one.params) == {(0, 0)}


def test_data_sets_of_devices_that_know_single_cells_only():
    class Scalar(GenericDevice):
        max_level = 20

        def write(self, G, numPulse, group_param_idx=None):
            if numPulse > 0:
                return min(G + 0.05, torch.tensor(1.0))
            return max(G - 0.05, torch.tensor(0.0))

    points = utils.synthesize_G_dG_dataset(Scalar(0, 1), num_points=30)
    np.testing.assert_allclose(points[:, 1], np.minimum(0.05, 1 - points[:, 0]), atol=1e-6)


def test_tables_are_files_or_arrays(tmp_path):
    G, dG = np.linspace(0.0, 10.0, 5), np.linspace(-2.0, 2.0, 81)
    tables = []
    for mean in (-0.5, 0.5):
        tables += [G, dG, utils.construct_cdf(G, dG, np.full(5, mean), np.full(5, 0.2))]
    files = [tmp_path / f"{number}.txt" for number in range(6)]
    for file, table in zip(files, tables, strict=True):
        np.savetxt(file, table)
    found = []
    for given in (files, map(str, files), tables, map(torch.tensor, tables)):
        torch.manual_seed(3)
        one = devices.TabularDevice(*given, max_level=20)
        found.append(one.write(torch.full((50,), 5.0), torch.ones(50)))
        torch.testing.assert_close(found[0], found[-1])
    assert float(found[0].mean()) == pytest.approx(5.5, abs=0.15)


def test_more_pulses_than_ever_count_take_no_longer():
    for one in (device(c2c=0.001), device()):
        up = one.write(torch.full((40,), 20e-9), torch.full((40,), 1e12))
        assert float(up.min()) > HIGH - 0.02 * (HIGH - LOW)
        down = one.write(up, -(10**9))
        assert float(down.max()) < LOW + 0.02 * (HIGH - LOW)


def test_epsilon_is_the_least_deviation():
    source = np.random.default_rng(0)
    g = source.uniform(3e-9, 38e-9, 400)
    dg = 1e-10 + 3.5e-10 * source.normal(size=400)
    deviation = utils.get_kriging_profiles(g, dg, axis_size=9)[3]
    np.testing.assert_allclose(deviation, 3.5e-10, rtol=0.2)
    assert set(utils.get_kriging_profiles(g, dg, 9, 1e-9)[3]) == {1e-9}


# ── WAGE and decompositions ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_models_copied_alone_keep_the_weights_that_wage_keeps(copied):
    class Mine(nn.Linear):
        pass

    globals()["Mine"] = Mine  # pickle finds classes by name
    Mine.__qualname__ = "Mine"
    xbtorch.initialize(wage_quantize=True)
    model = net(nn.Linear(6, 8), nn.ReLU(), Mine(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=3.0)
    steps(model, optimizer)
    other = copied(model)
    found = steps(other, optim.SGD(other.parameters(), lr=3.0), seed=9)
    assert equal(found, steps(model, optimizer, seed=9))
    kept = [vars(p)["weight_acc"] for p in model.parameters()]
    assert equal(kept, [vars(p)["weight_acc"] for p in other.parameters()])
    assert all(
        a is not vars(p)["weight_acc"] for a, p in zip(kept, other.parameters(), strict=True)
    )


def test_without_bits_a_gradient_is_itself():
    params = {"wl_weight": -1, "wl_grad": -1, "wl_activation": -1, "wl_error": -1}
    xbtorch.initialize(wage_quantize=True, wage_params=params)
    weight = nn.Parameter(torch.zeros(3, 4))
    weight.grad = 0.1 * torch.randn(3, 4)
    optim.SGD([weight], lr=0.5).step()
    torch.testing.assert_close(weight.detach(), -0.5 * weight.grad)
    step = xbtorch.get_xbtorch_param("wage_params")["quantizer_grad"](weight.grad, 0.5)
    torch.testing.assert_close(step, 0.5 * weight.grad)


def test_factors_go_on_until_they_converge():
    gradient = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))

    def error(most):
        torch.manual_seed(1)
        found = NMF(7, max_iters=most).decompose(None, None, gradient, 0)
        return float((found - gradient).norm() / gradient.norm())

    assert error(2000) < 0.001 < 0.01 < error(50) < error(20)
    assert error(2000) == error(10**9)


def test_one_vector_without_a_batch_is_a_sample():
    xbtorch.initialize(decomposition_algorithm=FullOuterProduct())
    layer = xbtorch_model(nn.Sequential(nn.Linear(6, 3)), replace_all=True)
    before = layer[0].weight.detach().clone()
    layer(torch.randn(6)).square().sum().backward()
    optim.SGD(layer.parameters(), lr=1.0).step()
    torch.testing.assert_close(before - layer[0].weight.detach(), layer[0].weight.grad)


def test_samples_of_the_last_of_two_losses_are_not_taken_for_those_of_both():
    for seed in range(30):
        xbtorch.initialize(decomposition_algorithm=FullOuterProduct())
        torch.manual_seed(seed)
        layer = xbtorch_model(nn.Sequential(nn.Linear(6, 2, bias=False)), replace_all=True)
        weight, y = layer[0].weight, layer(torch.randn(20, 6))
        before = weight.detach().clone()
        (0.03 * y[:, 0]).sum().backward(retain_graph=True)
        y[:, 1].square().sum().backward()
        optim.SGD([weight], lr=1.0).step()
        torch.testing.assert_close(before - weight.detach(), weight.grad, rtol=1e-3, atol=1e-4)


def test_hooks_of_a_step_are_called_once():
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)  # torch hooks its class
    calls, weight = [], nn.Parameter(torch.zeros(2, 3))
    optimizer = optim.SGD([weight], lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    weight.grad = torch.ones(2, 3)
    optimizer.step()
    assert calls == ["before", "after"]
    torch.testing.assert_close(weight.detach(), torch.full((2, 3), -0.1))
