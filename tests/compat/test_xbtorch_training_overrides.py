"""Methods that users override are called wherever XBTorch called them: the side of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compat import overriding
from mho.compat import xbtorch
from mho.compat.xbtorch import devices, optim, quant
from mho.compat.xbtorch.decomposition import NMF, SBPCA, FullOuterProduct, FullSVD, TruncatedSVD
from mho.compat.xbtorch.decomposition.base import GenericDecomposition
from mho.compat.xbtorch.devices import utils
from mho.compat.xbtorch.devices.base import GenericDevice
from mho.compat.xbtorch.patches import xbtorch_model
from mho.compat.xbtorch.quant.wage_qtorch import WAGEQuantizer

LOW, HIGH = 3e-9, 38e-9


class Straight(GenericDevice):
    max_level = 1000

    def write(self, G, pulse, group_param_idx=None):
        step = (self.max_conductance - self.min_conductance) / self.max_level
        return (G + pulse * step).clamp(self.min_conductance, self.max_conductance)


class Halved(GenericDecomposition):
    def decompose(self, input, delta, gradient, group_param_idx):
        return gradient / 2


# Every class, how one is made, and by what each of its methods is called in one step of training on
# one matrix; "user": only by users, or by another method named.
WINDOW = {"weight_to_conductance": 1, "conductance_to_weight": 1, "gradient_to_pulse": 1}
GENERIC = {"write": 1, **WINDOW, "reset_cached_params": 0}
CURVE = {
    "get_param_A": 2,  # of set and of reset pulses
    "get_param_B": 2,
    "conductance_to_pulse": 1,
    "pulse_to_conductance": 1,
}
SETTERS = ("set_c2c_var", "set_d2d_var", "set_nonlinearity_set", "set_nonlinearity_reset")
ANALYTICAL = {**GENERIC, **CURVE, **dict.fromkeys(SETTERS, 0)}
DEVICES = {
    "GenericDevice": (Straight, (LOW, HIGH), GENERIC),
    "AnalyticalDevice": (
        devices.AnalyticalDevice,
        (LOW, HIGH, 0.1, 0.0, 2.4, -4.88, 100),
        ANALYTICAL,
    ),
    "AnalyticalIdeal": (devices.AnalyticalIdeal, (), ANALYTICAL),
    "AnalyticalReal": (devices.AnalyticalReal, (), ANALYTICAL),
    "TabularAnalyticalReal": (devices.TabularAnalyticalReal, (), GENERIC),
    "TabularCompactFeFETKriging": (
        devices.TabularCompactFeFETKriging,
        ("tab_vgs_0.9_sd_1",),
        GENERIC,
    ),
    "TabularExperimentalFemFETKriging": (
        devices.TabularExperimentalFemFETKriging,
        ("vg3",),
        GENERIC,
    ),
}
DECOMPOSITIONS = {
    "GenericDecomposition": Halved,
    "FullOuterProduct": FullOuterProduct,
    "FullSVD": FullSVD,
    "TruncatedSVD": TruncatedSVD,
    "SBPCA": SBPCA,
    "NMF": NMF,
}
ELSEWHERE = {  # tested below, each by itself
    "TabularDevice": "write",
    "XBParams": "initialize set_var get_var",
    "WAGEQuantizer": "forward",
    "SelectLastStep": "forward",
    "FixedPointQuantF": "forward backward",
}


@pytest.fixture(autouse=True)
def _session():
    xbtorch.initialize()
    torch.manual_seed(0)
    yield
    xbtorch.initialize()


def step(start=0.3, change=-0.2, **settings):
    """Take one step on one matrix and return it."""
    xbtorch.initialize(**settings)
    weight = nn.Parameter(torch.full((3, 4), start))
    optimizer = optim.SGD([weight], lr=1.0)
    weight.grad = torch.full_like(weight, -change)
    optimizer.step()
    return weight.detach()


def test_every_public_method_is_in_a_table():
    known = {f"{name}.{m}" for name, (_, _, calls) in DEVICES.items() for m in calls}
    known |= {f"{name}.decompose" for name in DECOMPOSITIONS}
    known |= {f"{name}.{m}" for name, methods in ELSEWHERE.items() for m in methods.split()}
    rooms = ("devices", "decomposition", "quant", "nn", "optim", "loss")
    ours = {
        name
        for module, names in overriding.api("xbtorch").items()
        for name, facts in names.items()
        if isinstance(facts, dict) and (module == "xbtorch" or module.split(".")[1] in rooms)
    }
    public = {m for m in overriding.public_methods("xbtorch") if m.split(".")[0] in ours}
    assert len(public) > 20
    assert public - known == set()


@pytest.mark.filterwarnings("ignore:the tables of")
@pytest.mark.parametrize("name", DEVICES)
def test_methods_of_devices_are_called(name):
    kind, args, expected = DEVICES[name]
    made, calls = overriding.counting(kind, *expected)
    found = step(device_type=made(*args))
    assert {m: calls[m] for m in expected} == expected
    assert float(found.mean()) < 0.3
    if name in ("GenericDevice", "AnalyticalDevice", "AnalyticalIdeal"):  # the path is no other
        xbtorch.initialize()
        torch.manual_seed(0)
        plain = step(device_type=kind(*args))
        assert float((found - plain).abs().max()) < 0.06  # spread, rounding of pulses


def test_a_device_may_ask_for_no_name_of_its_cells():
    class Plain(Straight):  # as the documents show a device
        def __init__(self):  # no super().__init__()
            self.min_conductance, self.max_conductance = 0, 1
            self.min_conductance_set, self.max_conductance_reset = 0, 1

        def write(self, G, pulse):
            return super().write(G, pulse)

    assert float(step(device_type=Plain()).mean()) == pytest.approx(0.1, abs=0.002)
    up, down = utils.sweep_conductance_full(Plain())
    np.testing.assert_allclose(up, np.linspace(0, 1, 1001), atol=1e-9)
    np.testing.assert_allclose(down, up[::-1], atol=1e-9)


@pytest.mark.parametrize("method", CURVE)
def test_one_method_of_the_curve_is_enough_and_its_values_count(method):
    args = (LOW, HIGH, 0.0, 0.0, 2.4, -4.88, 100)
    kind, calls = overriding.counting(devices.AnalyticalDevice, method)
    g = torch.linspace(4e-9, 37e-9, 20, dtype=torch.float64)
    pulses = torch.arange(20.0) - 9
    expected = devices.AnalyticalDevice(*args).write(g.clone(), pulses)
    torch.testing.assert_close(kind(*args).write(g.clone(), pulses), expected, rtol=1e-6, atol=0)
    assert calls[method] >= 1
    one = devices.AnalyticalDevice(*args)  # of an object alone, and with another value
    given = getattr(one, method)
    setattr(one, method, lambda *a: 1.1 * given(*a))
    assert not torch.allclose(one.write(g.clone(), pulses), expected, rtol=1e-3, atol=0)


def test_a_curve_of_ones_own_has_noise_of_its_pulses():
    class Line(devices.AnalyticalDevice):
        def pulse_to_conductance(self, xPulse, A, B):
            return self.min_conductance + xPulse * 1e-10

        def conductance_to_pulse(self, G, A, B):
            return (G - self.min_conductance) / 1e-10

    device = Line(LOW, HIGH, 0.0, 0.001, 0.0, 0.0, 350)
    g = torch.full((20000,), 20e-9, dtype=torch.float64)
    for count in (1, 16):
        change = device.write(g.clone(), torch.full((20000,), float(count))) - g
        one = 0.001 * (HIGH - LOW)
        assert float(change.mean()) == pytest.approx(count * 1e-10, abs=5 * one * count**0.5 / 141)
        assert float(change.std()) == pytest.approx(one * count**0.5, rel=0.03)
    assert torch.equal(device.write(g.clone(), torch.zeros(20000)), g)


def test_setters_forget_the_cells_through_the_method():
    kind, calls = overriding.counting(devices.AnalyticalDevice, "reset_cached_params")
    device = kind(LOW, HIGH, 0.1, 0.0, 2.4, -4.88, 100)
    device.write(torch.full((3,), 20e-9), torch.ones(3))
    assert set(device.params) == {(0, 0)}
    for number, name in enumerate(SETTERS):  # noise is of a cycle: cells stay
        getattr(device, name)(0.5)
        assert calls["reset_cached_params"] == number
        assert bool(device.params) == (number == 0)


def test_overridden_setters_and_reset_act_without_super():
    class Mine(devices.AnalyticalDevice):
        def reset_cached_params(self):
            self.params = {}

    device = Mine(LOW, HIGH, 1.0, 0.0, 2.4, -4.88, 100)
    g = torch.full((50,), 20e-9)
    first = device.write(g.clone(), torch.ones(50))
    assert torch.equal(first, device.write(g.clone(), torch.ones(50)))
    device.set_d2d_var(0.9)
    assert not torch.equal(first, device.write(g.clone(), torch.ones(50)))


def test_write_of_a_tabular_device_and_its_changed_tables(tmp_path):
    G, dG = np.linspace(0.0, 10.0, 5), np.linspace(-2.0, 2.0, 81)
    files = {}
    for way, mean in (("set", 0.5), ("reset", -0.5)):
        cdf = utils.construct_cdf(G, dG, np.full(5, mean), np.full(5, 0.01))
        for name, table in (("g", G), ("dg", dG), ("cdf", cdf)):
            files[f"{way}_{name}"] = tmp_path / f"{way}_{name}.txt"
            np.savetxt(files[f"{way}_{name}"], table)
    kind, calls = overriding.counting(devices.TabularDevice, "write")
    device = kind(**files, max_level=np.int64(20))
    step(device_type=device)
    assert calls["write"] == 1
    g = torch.full((400,), 5.0)
    assert float(device.write(g.clone(), torch.ones(400)).mean()) == pytest.approx(5.5, abs=0.01)
    device.set_dG *= 2.0  # what programs put there acts from the next write on
    assert float(device.write(g.clone(), torch.ones(400)).mean()) == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_decompose_is_called_for_matrices(name):
    kind, calls = overriding.counting(DECOMPOSITIONS[name], "decompose")
    xbtorch.initialize(decomposition_algorithm=kind())
    model = xbtorch_model(nn.Sequential(nn.Linear(4, 3)), replace_all=True)
    model(torch.ones(2, 4)).sum().backward()
    optim.SGD(model.parameters(), lr=0.1).step()
    assert calls["decompose"] == 1  # the bias is none


def test_parameters_of_the_session_go_through_the_methods(monkeypatch):
    calls = []
    for name in ("initialize", "get_var"):
        given = getattr(xbtorch.XBParams, name)

        def method(self, *args, _given=given, _name=name, **kwargs):
            calls.append(_name)
            return _given(self, *args, **kwargs)

        monkeypatch.setattr(xbtorch.XBParams, name, method)
    xbtorch.initialize(weight_range=(-2, 2))
    assert xbtorch.get_xbtorch_param("weight_range") == (-2, 2)
    assert calls == ["initialize", "get_var"]


def test_quantisers_between_layers_are_called():
    kind, calls = overriding.counting(WAGEQuantizer, "forward")
    xbtorch.initialize(wage_quantize=True, wage_params={"quantizer_act_error": kind})

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    model = xbtorch_model(Net())
    model.model(torch.ones(1, 4))
    assert calls["forward"] == 3  # before, after the activation, after all
    model.model[0].quantizer = lambda x: 0.0 * x
    assert not torch.equal(model.model[0](torch.ones(4)), torch.ones(4))
    select, calls = overriding.counting(xbtorch.nn.SelectLastStep, "forward")
    nn.Sequential(nn.RNN(2, 3, batch_first=True), select())(torch.ones(1, 4, 2))
    assert calls["forward"] == 1


def test_fixed_point_function_of_ones_own():
    class Twice(quant.FixedPointQuantF):
        @staticmethod
        def backward(ctx, *grad_output):
            return 2 * grad_output[0], None, None, None, None

    x = torch.tensor([0.3], requires_grad=True)
    y = Twice.apply(x, np.int64(3), np.int64(2))
    assert y.item() == 0.25
    y.backward()
    assert x.grad.item() == 2.0


def test_own_gradient_quantiser_is_called_for_every_parameter_and_moves_nothing_by_zeros():
    calls = []

    def zeros(x, lr):
        calls.append((tuple(x.shape), lr))
        return torch.zeros_like(x)

    for device in (None, devices.AnalyticalIdeal()):
        calls.clear()
        xbtorch.initialize(
            wage_quantize=True, wage_params={"quantizer_grad": zeros}, device_type=device
        )

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))

        model = xbtorch_model(Net())
        kept = [p.weight_acc.clone() for p in model.parameters()]
        optimizer = optim.SGD(model.parameters(), lr=8.0, momentum=0.9)
        (model.model(torch.randn(16, 8)) ** 2).sum().backward()
        optimizer.step()
        assert calls == [((4, 8), 8.0), ((4,), 8.0), ((2, 4), 8.0)]
        for p, q in zip(model.parameters(), kept, strict=True):
            assert torch.equal(getattr(p, "weight_acc", p).detach(), q.clamp(-0.5, 0.5)) or (
                p.dim() == 1
            )


@pytest.mark.parametrize("lr", [8.0, 0.1, torch.tensor(0.5), 0.0])
def test_own_gradient_quantiser_says_the_step(lr):
    weight = nn.Parameter(torch.zeros(2, 3))
    xbtorch.initialize(
        wage_quantize=True,
        wage_params={"wl_weight": -1, "quantizer_grad": lambda x, lr: 0.25 * x.sign() * bool(lr)},
    )
    optimizer = optim.SGD([weight], lr=lr)
    weight.grad = torch.full_like(weight, 3.0)
    optimizer.step()
    step = -0.25 if lr else 0.0
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, step), rtol=0, atol=1e-6)
    weight.grad = torch.full_like(weight, -3.0)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.zeros_like(weight), rtol=0, atol=1e-6)
