"""Every accepted setting changes something, or is refused, or warned of."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from mho.compat import xbtorch
from mho.compat.xbtorch import devices, optim, quant
from mho.compat.xbtorch.decomposition import NMF, SBPCA, TruncatedSVD
from mho.compat.xbtorch.deployment import SimpleFixedPoint
from mho.compat.xbtorch.devices import utils
from mho.compat.xbtorch.devices.base import GenericDevice
from mho.compat.xbtorch.patches import xbtorch_model
from mho.compat.xbtorch.quant import wage_init, wage_qtorch

LOW, HIGH = 3e-9, 38e-9


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.model(x)


@pytest.fixture(autouse=True)
def _session():
    xbtorch.initialize()
    yield
    xbtorch.initialize()


def trained(lr=8.0, steps=2, **settings):
    """Return outputs and weights of a small network after some steps in a session."""
    torch.manual_seed(0)
    net, x = Net(), torch.randn(20, 6)
    xbtorch.initialize(**settings)
    model = xbtorch_model(net)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    return torch.cat(
        [model(x).detach().flatten(), *(p.detach().flatten() for p in net.parameters())]
    )


def differ(one, other):
    return one.shape != other.shape or not torch.equal(one, other)


# ── initialize ───────────────────────────────────────────────────────────────────────────────

SESSION = {
    "decomposition_algorithm": ({}, {"decomposition_algorithm": TruncatedSVD(1)}),
    "device_type": ({}, {"device_type": devices.AnalyticalIdeal()}),
    "weight_range": (
        {"device_type": devices.AnalyticalIdeal()},
        {"device_type": devices.AnalyticalIdeal(), "weight_range": (-0.2, 0.2)},
    ),
    "wage_quantize": ({}, {"wage_quantize": True}),
    "wage_params": (
        {"wage_quantize": True},
        {"wage_quantize": True, "wage_params": {"wl_grad": 3}},
    ),
}


@pytest.mark.parametrize("name", SESSION)
def test_settings_of_a_session_change_training(name):
    one, other = SESSION[name]
    lr = 8.0 if "wage_quantize" in one else 0.01
    assert differ(trained(lr, **one), trained(lr, **other))
    assert not differ(trained(lr, **one), trained(lr, **one))


def test_the_other_settings_of_a_session():
    tested = {*SESSION, "pytorch_device", "inference_accelerator", "self"}
    assert set(inspect.signature(xbtorch.XBParams.initialize).parameters) == tested
    xbtorch.initialize(inference_accelerator=SimpleFixedPoint())
    assert hasattr(xbtorch_model(Net()), "xb_eval")
    xbtorch.initialize(pytorch_device="meta")
    places = []

    class Watching(GenericDevice):
        max_level = 1

        def write(self, G, numPulse, group_param_idx=None):
            places.append((G.device.type, numPulse.device.type))
            return torch.zeros_like(G, device="cpu")

    utils.sweep_conductance_full(Watching(1, 2))
    assert set(places) == {("meta", "meta")}
    for wrong in ("nowhere", 1.5, object()):
        with pytest.raises(TypeError, match="Invalid pytorch device"):
            xbtorch.initialize(pytorch_device=wrong)
    xbtorch.initialize(pytorch_device=torch.device("cpu"))
    xbtorch.initialize(pytorch_device=None)


# ── WAGE ─────────────────────────────────────────────────────────────────────────────────────

WAGE = {
    "wl_weight": 3,
    "wl_activation": 3,
    "wl_grad": 4,
    "wl_error": 3,
    "rounding_weight": "stochastic",
    "rounding_activation": "stochastic",
    "rounding_grad": "stochastic",
    "rounding_error": "stochastic",
    "quantizer_weight": lambda x, scale: x.sign(),
    "quantizer_grad": lambda x, lr: 0.01 * x.sign(),
    "grad_clip": lambda x: x.clamp(-0.1, 0.1),
    "quantizer_act_error": lambda bits_A, bits_E: nn.Identity(),
}


@pytest.mark.parametrize("key", WAGE)
def test_parameters_of_wage_change_training(key):
    assert differ(
        trained(wage_quantize=True), trained(wage_quantize=True, wage_params={key: WAGE[key]})
    )


def test_all_parameters_of_wage_are_tested():
    xbtorch.initialize(wage_quantize=True)
    assert set(xbtorch.get_xbtorch_param("wage_params")) == set(WAGE)


@pytest.mark.parametrize(
    ("params", "idle"),
    [
        ({"bits": 3}, "bits"),
        ({"quantizer_weight": torch.sign, "rounding_weight": "stochastic"}, "rounding_weight"),
        ({"quantizer_grad": torch.sign, "wl_grad": 4}, "wl_grad"),
        ({"quantizer_grad": torch.sign, "rounding_grad": "stochastic"}, "rounding_grad"),
        ({"quantizer_act_error": nn.Identity, "rounding_error": "stochastic"}, "rounding_error"),
    ],
)
def test_parameters_of_wage_without_meaning_are_warned_of(params, idle):
    with pytest.warns(UserWarning, match=f"no meaning for {idle}"):
        xbtorch.initialize(wage_quantize=True, wage_params=params)


def test_parameters_of_wage_without_wage_are_warned_of(recwarn):
    with pytest.warns(UserWarning, match="without wage_quantize"):
        xbtorch.initialize(wage_params={"wl_grad": 4})
    recwarn.clear()
    defaults = dict(xbtorch.XBParams._wage_defaults)
    xbtorch.initialize(
        wage_quantize=True, wage_params={**defaults, "quantizer_grad": wage_qtorch.QG}
    )
    assert not recwarn  # what is at its default says nothing


@pytest.mark.parametrize("wrong", [{"wl_weight": 0}, {"wl_grad": 2.5}, {"rounding_error": "up"}])
def test_what_is_no_width_or_rounding_is_refused(wrong):
    with pytest.raises((TypeError, ValueError)):
        xbtorch.initialize(wage_quantize=True, wage_params=wrong)


def test_a_quantiser_of_ones_own_that_is_wages_is_wages():
    for name, own in {
        "quantizer_grad": lambda x, lr: wage_qtorch.QG(x, 8, lr),
        "quantizer_weight": lambda x, scale: wage_qtorch.QW(x, 2, scale),
        "grad_clip": lambda x: wage_qtorch.C(x, 2),
        "quantizer_act_error": wage_qtorch.WAGEQuantizer,
    }.items():
        found = trained(wage_quantize=True, wage_params={name: own})
        assert not differ(found, trained(wage_quantize=True)), name


def test_one_bit_with_a_quantiser_of_ones_own():
    params = {"wl_weight": 1, "quantizer_weight": lambda x, scale: x.sign()}
    assert differ(trained(wage_quantize=True, wage_params=params), trained(wage_quantize=True))


# ── devices ──────────────────────────────────────────────────────────────────────────────────


def answer(device):
    torch.manual_seed(1)
    g = torch.linspace(5e-9, 30e-9, 12, dtype=torch.float64)
    pulse = torch.tensor([3.0, -3.0] * 6)
    low = device.weight_to_conductance(torch.zeros(1, dtype=torch.float64))
    return torch.cat((device.write(g, pulse), low, device.gradient_to_pulse(torch.ones(1) * 1.1)))


@pytest.mark.parametrize(
    "other",
    [
        {"min_conductance": 4e-9},
        {"max_conductance": 40e-9},
        {"d2d_var": 0.1},
        {"c2c_var": 0.1},
        {"nonlinearity_set": 1.0},
        {"nonlinearity_reset": -1.0},
        {"max_level": 90},
    ],
    ids=lambda other: next(iter(other)),
)
def test_arguments_of_analytical_devices_count(other):
    values = {
        "min_conductance": LOW,
        "max_conductance": HIGH,
        "d2d_var": 0.0,
        "c2c_var": 0.0,
        "nonlinearity_set": 2.4,
        "nonlinearity_reset": -4.88,
        "max_level": 100,
    }
    first = answer(devices.AnalyticalDevice(**values))
    assert differ(first, answer(devices.AnalyticalDevice(**{**values, **other})))
    device = devices.AnalyticalDevice(**values)
    answer(device)
    setattr(device, *next(iter(other.items())))  # programs also just set it
    assert differ(first, answer(device))


@pytest.mark.parametrize("changed", range(6))
def test_bounds_of_a_generic_device_count(changed):
    class Mine(GenericDevice):
        def write(self, G, pulse):
            return G

    values = [None, None, 1.0, 2.0, 8.0, 9.0]
    if changed < 2:
        given = [1, 10, *values[2:]]
        given[changed] += 1
        assert vars(Mine(*given)) != vars(Mine(1, 10, *values[2:]))
    else:
        given = list(values)
        given[changed] += 0.5
        assert vars(Mine(*given)) != vars(Mine(*values))
    assert Mine(1, np.int64(10)).max_conductance == 10.0
    assert Mine(1, 10).params == {}


@pytest.mark.parametrize("changed", ["set", "reset", "max_level", "g"])
def test_files_of_a_tabular_device_count(changed, tmp_path):
    def made(set_mean=2e-9, reset_mean=-2e-9, max_level=20, high=40e-9):
        g, dg = np.linspace(0.0, high, 5), np.linspace(-9e-9, 9e-9, 81)
        files = {}
        for way, mean in (("set", set_mean), ("reset", reset_mean)):
            cdf = utils.construct_cdf(g, dg, np.full(5, mean), np.full(5, 1e-11))
            for name, table in (("g", g), ("dg", dg), ("cdf", cdf)):
                files[f"{way}_{name}"] = tmp_path / f"{way}_{name}.txt"
                np.savetxt(files[f"{way}_{name}"], table)
        return devices.TabularDevice(**files, max_level=max_level)

    other = {
        "set": {"set_mean": 3e-9},
        "reset": {"reset_mean": -3e-9},
        "max_level": {"max_level": 40},
        "g": {"high": 50e-9},
    }[changed]
    assert differ(answer(made()), answer(made(**other)))


def test_names_of_presets_count(monkeypatch):
    monkeypatch.delenv("MHO_XBTORCH_DATA", raising=False)
    found = []
    for name in ("a_vgs_0.9_sd_1", "a_vgs_0.9_sd_15"):
        with pytest.warns(UserWarning, match=r"read voltage is not 0\.9 V"):
            device = devices.TabularCompactFeFETKriging(name)
        torch.manual_seed(0)
        g = torch.full((500,), float(device.min_conductance + device.max_conductance) / 2)
        found.append(device.write(g, torch.ones(500)))
    assert differ(*found)


# ── decompositions and quantisers ────────────────────────────────────────────────────────────


def decomposed(algorithm, times=2):
    source = torch.Generator().manual_seed(3)
    x, d = torch.randn(70, 9, generator=source), torch.randn(70, 5, generator=source)
    torch.manual_seed(0)
    for _ in range(times):
        found = algorithm.decompose(x, d, d.T @ x, (0, 0))
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TruncatedSVD(1), TruncatedSVD(2)),
        (SBPCA(1), SBPCA(2)),
        (SBPCA(1, sub_batch_size=8), SBPCA(1, sub_batch_size=16)),
        (NMF(1), NMF(2)),
        (NMF(2, max_iters=2), NMF(2, streaming=True, max_iters=2)),
        (NMF(2, max_iters=1), NMF(2, max_iters=5)),
    ],
)
def test_arguments_of_decompositions_count(one, other):
    assert differ(decomposed(one), decomposed(other))
    other_rank = TruncatedSVD(1)
    other_rank.rank = 2
    assert not differ(decomposed(other_rank), decomposed(TruncatedSVD(2)))


def test_arguments_of_quantisers_count():
    x = torch.linspace(-1.2, 1.2, 101)

    def both(**kw):
        given = x.clone().requires_grad_()
        torch.manual_seed(0)
        layer = wage_qtorch.WAGEQuantizer(**{"bits_A": 4, "bits_E": 4, **kw})
        y = layer(given)
        y.backward(x)
        assert layer.quantizer is not None
        return torch.cat((y.detach(), given.grad))

    for kw in ({"bits_A": 3}, {"bits_E": 3}, {"A_mode": "stochastic"}, {"E_mode": "stochastic"}):
        assert differ(both(), both(**kw))

    def rounded(wl=4, fl=3, **kw):
        torch.manual_seed(0)
        return quant.fixed_point_quantize_wrapper(x, wl, fl, **kw)

    for kw in ({"wl": 5}, {"fl": 2}, {"symmetric": False}, {"rounding": "stochastic"}):
        assert differ(rounded(), rounded(**kw))
    number = wage_qtorch.WAGEQuantizer(4, -1).activate_number
    assert (number.wl, number.fl) == (4, 3)
    assert quant.get_range_fixed_point(number) == (-0.875, 0.875)


def test_the_edge_of_wages_mask_passes():
    # What lies at the end of the range was not clipped: its error comes through.
    x = torch.tensor([-0.75, 0.75, 0.7501], requires_grad=True)
    wage_qtorch.WAGEQuantizer(3, -1)(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]


# ── numbers of NumPy, and tensors of one entry ───────────────────────────────────────────────

KINDS = [np.float32, np.float64, lambda v: torch.tensor(float(v)), lambda v: np.array(v)]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_may_be_numpys_or_tensors(kind):
    whole = (lambda v: torch.tensor(int(v))) if kind is KINDS[2] else np.int64
    device = devices.AnalyticalDevice(
        kind(LOW), kind(HIGH), kind(0.1), kind(0.01), kind(2.0), kind(-2.0), whole(100)
    )
    device.set_c2c_var(kind(0.0))
    device.set_d2d_var(kind(0.0))
    device.set_nonlinearity_set(kind(1.0))
    device.set_nonlinearity_reset(kind(-1.0))
    utils.sweep_conductance_full(device)
    for algorithm in (
        SBPCA(whole(2), whole(16)),
        NMF(whole(2), True, whole(9)),
        TruncatedSVD(whole(2)),
    ):
        assert decomposed(algorithm).shape == (5, 9)
    xbtorch.initialize(
        device_type=device,
        weight_range=np.array([-1, 1]) if kind is not KINDS[2] else torch.tensor([-1.0, 1.0]),
        wage_quantize=True,
        wage_params={f"wl_{part}": whole(4) for part in ("weight", "activation", "grad", "error")},
    )
    assert xbtorch.get_xbtorch_param("weight_range") == (-1, 1)
    model = xbtorch_model(Net())
    model(torch.randn(4, 6)).sum().backward()
    optim.SGD(model.parameters(), lr=float(kind(2.0))).step()
    tensor = torch.empty(4, 5)
    wage_init.wage_init_(tensor, whole(2), kind(2.0))
    wage_init.truncated_normal_(tensor, kind(0.0), kind(1.0))
    assert quant.fixed_point_quantize_wrapper(tensor, whole(3), whole(2)).shape == (4, 5)
    assert wage_qtorch.QW(tensor, whole(2), kind(2.0)).shape == (4, 5)
    assert wage_qtorch.QG(tensor, whole(8), kind(2.0)).shape == (4, 5)
    assert wage_qtorch.C(tensor, whole(2)).abs().max() <= 0.5
