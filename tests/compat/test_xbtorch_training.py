"""Training on cells: optimizers, WAGE, decompositions, devices, against references of our own."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compat.nets import Net
from mho.compat import xbtorch
from mho.compat.xbtorch import devices, optim
from mho.compat.xbtorch.decomposition import (
    NMF,
    SBPCA,
    FullOuterProduct,
    FullSVD,
    GenericDecomposition,
    TruncatedSVD,
)
from mho.compat.xbtorch.devices import utils
from mho.compat.xbtorch.nn import utils as nn_utils
from mho.compat.xbtorch.patches import decorators, xbtorch_model
from mho.compat.xbtorch.quant import wage_init, wage_qtorch

FEFET = "tab_fefet_compact_vgs_0.9_sd_1"
pytestmark = pytest.mark.filterwarnings("ignore:the tables of")


def mlp(bias=True):
    torch.manual_seed(1)
    return Net(nn.Linear(6, 8, bias), nn.ReLU(), nn.Linear(8, 3, bias))


def blobs(count=300):
    source = torch.Generator().manual_seed(0)
    centres = 2.0 * torch.randn(3, 6, generator=source)
    label = torch.arange(count) % 3
    return centres[label] + torch.randn(count, 6, generator=source), label


def train(model, optimizer, steps=60):
    x, y = blobs()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return float((model(x).argmax(1) == y).double().mean())


@pytest.fixture(autouse=True)
def _session():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: threads would only wait
    xbtorch.initialize()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    xbtorch.initialize()


# ── settings ─────────────────────────────────────────────────────────────────────────────────


def test_nothing_survives_initialize():
    xbtorch.initialize(
        wage_quantize=True,
        device_type=devices.AnalyticalIdeal(),
        decomposition_algorithm=SBPCA(),
        weight_range=(-2, 2),
    )
    xbtorch.initialize()
    for name in ("device_type", "decomposition_algorithm", "inference_accelerator"):
        assert xbtorch.get_xbtorch_param(name) is None
    assert not xbtorch.get_xbtorch_param("wage_quantize")
    assert xbtorch.get_xbtorch_param("weight_range") == (-1, 1)
    assert xbtorch.get_xbtorch_param("wage_params") == {}
    assert xbtorch.get_xbtorch_param("no such key", 7) == 7


def test_one_instance_with_variables():
    params = xbtorch.XBParams()
    assert params is xbtorch.XBParams()
    params.set_var("mine", 3)
    assert xbtorch.get_xbtorch_param("mine") == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"decomposition_algorithm": 3},
        {"device_type": "reram"},
        {"device_type": devices.AnalyticalReal},
        {"inference_accelerator": object()},
        {"weight_range": (1, -1)},
        {"weight_range": (0, 1, 2)},
        {"weight_range": None},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(TypeError, match="Invalid"):
        xbtorch.initialize(**wrong)


def test_nothing_works_before_initialize():
    xbtorch.XBParams().set_var("initialized", False)
    with pytest.raises(RuntimeError, match="initialize"):
        xbtorch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="initialize"):
        xbtorch_model(mlp())
    with pytest.raises(RuntimeError, match="initialize"):
        optim.SGD(mlp().parameters(), lr=0.1)


# ── optimizers ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "lr"), [("SGD", 0.3), ("Adam", 0.05)])
def test_without_parts_an_optimizer_is_torchs(name, lr):
    ours, theirs = xbtorch_model(mlp()), mlp()
    optimizers = (
        getattr(optim, name)(ours.parameters(), lr=lr),
        getattr(torch.optim, name)(theirs.parameters(), lr=lr),
    )
    for model, optimizer in zip((ours, theirs), optimizers, strict=True):
        train(model, optimizer, 5)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-6)
    assert isinstance(optimizers[0], getattr(torch.optim, name))


class Exact(devices.GenericDevice):
    """Straight, without noise: a pulse is a 1/1000 of the range."""

    max_level = 1000

    def __init__(self):
        super().__init__(1e-6, 2e-6)
        self.seen = []

    def write(self, G, numPulse, group_param_idx=None):
        self.seen.append((group_param_idx, numPulse.clone()))
        step = (self.max_conductance - self.min_conductance) / self.max_level
        return (G + numPulse * step).clamp(self.min_conductance, self.max_conductance)


def test_learning_rate_acts_once_around_a_device_write():
    # One weight, gradient 0.25, lr 0.4: the step is -0.1, which is -50 pulses of 2/1000.
    device = Exact()
    xbtorch.initialize(device_type=device)
    weight = nn.Parameter(torch.tensor([[0.5]], dtype=torch.float64))
    optimizer = optim.SGD([weight], lr=0.4)
    weight.grad = torch.tensor([[0.25]], dtype=torch.float64)
    optimizer.step()
    assert device.seen[0][0] == (0, 0)
    assert abs(float(device.seen[0][1]) + 50) <= 1  # stochastic rounding
    assert weight.item() == pytest.approx(0.4, abs=0.0021)
    assert weight.grad.item() == 0.25  # the gradient is left alone


def test_weights_are_what_cells_hold():
    device = devices.AnalyticalReal()
    xbtorch.initialize(device_type=device)
    model = xbtorch_model(mlp())
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    train(model, optimizer, 3)
    for weight in model.parameters():
        low, high = device.min_conductance, device.max_conductance
        g = device.weight_to_conductance(weight.detach())
        assert bool((g >= low * (1 - 1e-6)).all())
        assert bool((g <= high * (1 + 1e-6)).all())


def test_zero_gradients_change_nothing_and_give_no_nan():
    for settings in ({"device_type": devices.AnalyticalReal()}, {"wage_quantize": True}):
        xbtorch.initialize(**settings)
        model = xbtorch_model(mlp())
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        train(model, optimizer, 1)
        before = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        for p, q in zip(model.parameters(), before, strict=True):
            assert torch.equal(p, q)


def test_bad_gradients_are_passed_by():
    xbtorch.initialize(device_type=devices.AnalyticalIdeal())
    model = xbtorch_model(mlp())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    first = next(model.parameters())
    before = first.detach().clone()
    first.grad = torch.full_like(first, float("nan"))
    with pytest.warns(UserWarning, match="not finite"):
        optimizer.step()
    assert torch.equal(first, before)


@pytest.mark.parametrize(
    ("settings", "lr", "least"),
    [
        ({"device_type": devices.AnalyticalIdeal()}, 0.3, 0.95),
        ({"device_type": FEFET}, 0.3, 0.6),
        ({"wage_quantize": True}, 8.0, 0.85),
        ({"wage_quantize": True, "device_type": devices.AnalyticalIdeal()}, 8.0, 0.85),
        ({"decomposition_algorithm": SBPCA(rank=2)}, 0.3, 0.9),
        ({"decomposition_algorithm": NMF(rank=2, streaming=True)}, 0.3, 0.9),
        ({"decomposition_algorithm": TruncatedSVD(rank=2)}, 0.3, 0.9),
        (
            {"decomposition_algorithm": SBPCA(2), "device_type": devices.AnalyticalIdeal()},
            0.3,
            0.9,
        ),
    ],
)
def test_networks_with_biases_learn(settings, lr, least):
    if settings.get("device_type") == FEFET:
        settings = {"device_type": devices.TabularCompactFeFETKriging(FEFET)}
    xbtorch.initialize(**settings)
    model = xbtorch_model(mlp(bias=True))
    assert train(model, optim.SGD(model.parameters(), lr=lr)) >= least


def test_only_sgd_and_adam():
    with pytest.raises(NotImplementedError, match="SGD and Adam"):
        decorators.xbtorch_optimizer(torch.optim.RMSprop)(mlp().parameters())


# ── WAGE ─────────────────────────────────────────────────────────────────────────────────────


def test_patching_with_wage_keeps_trained_weights():
    model = mlp()
    before = [p.detach().clone() for p in model.parameters()]
    xbtorch.initialize(wage_quantize=True)
    patched = xbtorch_model(model)
    for p, q in zip(patched.parameters(), before, strict=True):
        assert torch.equal(p, q)
    kinds = [type(m).__name__ for m in patched.model]
    wage = "WAGEQuantizer"
    assert kinds == [wage, "Linear", "ReLU", wage, "Linear", wage]


def test_wage_weights_are_ternary_after_a_step():
    xbtorch.initialize(wage_quantize=True)
    model = xbtorch_model(mlp())
    train(model, optim.SGD(model.parameters(), lr=8.0), 3)
    for p in (p for p in model.parameters() if p.dim() == 2):
        levels = p.detach().abs().unique()
        assert len(levels) <= 2
        scale = p.weight_scale if p.weight_scale > 1.8 else 1.0
        assert set(levels.tolist()) <= {0.0, 0.5 / scale}


def test_learning_rate_acts_once_on_biases_under_wage():
    xbtorch.initialize(wage_quantize=True)
    model = xbtorch_model(mlp())
    optimizer = optim.SGD(model.parameters(), lr=4.0)
    bias = model.model[1].bias
    before = bias.detach().clone()
    gradient = torch.randn(8)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    bias.grad = gradient.clone()
    optimizer.step()
    power = 2.0 ** torch.ceil(torch.log2(gradient.abs().max()))
    step = torch.round(4.0 * gradient / power) / 128
    torch.testing.assert_close(bias.detach(), before - step)
    assert torch.equal(bias.grad, gradient)


def test_weights_loaded_after_patching_are_where_training_goes_on():
    xbtorch.initialize(wage_quantize=True)
    model = xbtorch_model(mlp())
    optimizer = optim.SGD(model.parameters(), lr=8.0)
    train(model, optimizer, 2)
    loaded = []
    for p in model.parameters():
        value = torch.full_like(p, 0.5)
        p.data = value
        loaded.append(p)
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p in (p for p in loaded if p.dim() == 2):
        scale = p.weight_scale if p.weight_scale > 1.8 else 1.0
        torch.testing.assert_close(p.detach(), torch.full_like(p, 0.5 / scale))


def test_bits_of_minus_one_quantise_nothing():
    params = {"wl_weight": -1, "wl_grad": -1, "wl_activation": -1, "wl_error": -1}
    xbtorch.initialize(wage_quantize=True, wage_params=params)
    model = xbtorch_model(mlp())
    x, _ = blobs()
    torch.testing.assert_close(model(x), mlp()(x))
    assert train(model, optim.SGD(model.parameters(), lr=0.2)) > 0.9


def test_quantisers_of_ones_own():
    calls = []

    def mine(x, scale):
        calls.append(scale)
        return x.sign()

    xbtorch.initialize(wage_quantize=True, wage_params={"quantizer_weight": mine})
    model = xbtorch_model(mlp(bias=False))
    train(model, optim.SGD(model.parameters(), lr=8.0), 1)
    assert len(calls) == 2
    assert all(set(p.detach().unique().tolist()) <= {-1.0, 0.0, 1.0} for p in model.parameters())


def test_wage_functions_against_the_formulas():
    x = torch.tensor([0.3, -0.75, 0.1, 2.0, 0.0])
    # shift: by 2^ceil(log2 2) = 2
    torch.testing.assert_close(wage_qtorch.shift(x), x / 2)
    torch.testing.assert_close(wage_qtorch.C(x, 3), x.clamp(-0.75, 0.75))
    assert wage_qtorch.QW(x, 2).tolist() == [0.5, -0.5, 0.0, 0.5, 0.0]
    assert wage_qtorch.QW(x, 2, 4.0).tolist() == [0.125, -0.125, 0.0, 0.125, 0.0]
    expected = torch.round(8.0 * (x / 2) / 128 * 128) / 128
    torch.testing.assert_close(wage_qtorch.QG(x, 8, 8.0), expected)
    zeros = torch.zeros(4)
    assert torch.equal(wage_qtorch.shift(zeros), zeros)
    assert torch.equal(wage_qtorch.QG(zeros, 8, 8.0), zeros)


def test_wage_quantiser_rounds_errors_on_their_way_back():
    layer = wage_qtorch.WAGEQuantizer(3, 3)
    x = torch.tensor([0.3, 0.9, -0.2], requires_grad=True)
    y = layer(x)
    assert y.tolist() == [0.25, 0.75, -0.25]
    y.backward(torch.tensor([0.1, 1.0, 0.4]))
    # errors / 1, in steps of 1/4, none where the activation was clipped
    assert x.grad.tolist() == [0.0, 0.0, 0.5]


def test_initial_weights_of_wage():
    tensor = torch.empty(40, 25)
    wage_init.wage_init_(tensor, 2)
    limit = max(1.5 / 2, (6 / 25) ** 0.5)
    assert tensor.weight_scale == 2.0
    assert float(tensor.abs().max()) <= limit
    assert float(tensor.abs().max()) > 0.98 * limit
    wage_init.truncated_normal_(tensor, 1.0, 0.5)
    assert float((tensor - 1.0).abs().max()) <= 1.0
    assert float(tensor.mean()) == pytest.approx(1.0, abs=5 * 0.5 / 1000**0.5)
    with pytest.raises(ValueError, match="2 dimensions"):
        wage_init.wage_init_(torch.empty(3), 2)
    with pytest.raises(NotImplementedError):
        wage_init.wage_init_(tensor, 2, mode="fan_out")


# ── decompositions ───────────────────────────────────────────────────────────────────────────


def samples(batch=70, out=5, inputs=9):
    source = torch.Generator().manual_seed(3)
    x = torch.randn(batch, inputs, generator=source)
    d = torch.randn(batch, out, generator=source)
    return x, d, d.T @ x


def test_full_outer_product_is_the_sum_over_the_batch():
    x, d, g = samples()
    torch.testing.assert_close(
        FullOuterProduct().decompose(x, d, torch.zeros_like(g), (0, 0)), g, rtol=1e-4, atol=1e-4
    )


def test_singular_values():
    x, d, g = samples()
    torch.testing.assert_close(FullSVD().decompose(x, d, g, 0), g, rtol=1e-4, atol=1e-4)
    u, s, vh = np.linalg.svd(g.numpy())
    best = (u[:, :2] * s[:2]) @ vh[:2]
    found = TruncatedSVD(rank=2).decompose(x, d, g, 0)
    np.testing.assert_allclose(found.numpy(), best, atol=1e-3)
    torch.testing.assert_close(TruncatedSVD(rank=99).decompose(x, d, g, 0), g, rtol=1e-4, atol=1e-4)


def test_sbpca_of_a_rank_one_gradient_is_exact_also_at_first_and_with_remainders():
    source = torch.Generator().manual_seed(3)
    x = torch.randn(70, 1, generator=source) * torch.randn(9, generator=source)
    d = x[:, :1] * torch.randn(5, generator=source)
    algorithm = SBPCA(rank=1, sub_batch_size=32)  # 70 = 32 + 32 + 6
    found = algorithm.decompose(x, d, d.T @ x, (0, 0))
    error = float((found - d.T @ x).norm() / (d.T @ x).norm())
    assert error < 0.01  # an explosion at the first step, or 6 samples lost, would be more
    assert set(algorithm.info) == {"X", "sigma", "DELTA"}
    assert algorithm.info["X"][(0, 0)].shape == (9, 1)
    small = SBPCA(rank=1, sub_batch_size=32).decompose(x[:5], d[:5], d[:5].T @ x[:5], 0)
    torch.testing.assert_close(small, d[:5].T @ x[:5], rtol=0.01, atol=1e-3)


def test_streaming_nmf_goes_on_from_the_last_factors():
    x, d, g = samples()
    algorithm = NMF(rank=2, streaming=True, max_iters=1)
    errors = [float((algorithm.decompose(x, d, g, "a") - g).norm()) for _ in range(20)]
    assert errors[-1] < errors[0]
    first = {k: v["a"].clone() for k, v in algorithm.info.items()}
    algorithm.decompose(x, d, -g, "a")
    assert not torch.equal(algorithm.info["Wp"]["a"], first["Wp"])
    assert all(bool((v >= 0).all()) for v in first.values())
    with pytest.raises(RuntimeError, match="group_param_idx"):
        algorithm.decompose(x, d, g)


def test_decomposition_of_ones_own():
    class Half(GenericDecomposition):
        def decompose(self, input, delta, gradient, group_param_idx):
            torch.testing.assert_close(delta.T @ input, gradient, rtol=1e-4, atol=1e-5)
            return gradient / 2

    xbtorch.initialize(decomposition_algorithm=Half())
    model = xbtorch_model(Net(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 4, 3)))
    weights = [p for p in model.parameters() if p.dim() > 1]
    before = [p.detach().clone() for p in weights]
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    model(torch.randn(7, 1, 6, 6)).square().mean().backward()
    optimizer.step()
    for p, q in zip(weights, before, strict=True):
        torch.testing.assert_close(p.detach(), q - p.grad / 2)
    with pytest.raises(TypeError):
        GenericDecomposition()


def test_recurrent_layers_learn_with_decomposition_and_device():
    xbtorch.initialize(decomposition_algorithm=SBPCA(2), device_type=devices.AnalyticalIdeal())
    for kind in (xbtorch.nn.RNN, xbtorch.nn.LSTM):
        model = nn.Sequential(kind(3, 4, batch_first=True), xbtorch.nn.SelectLastStep())
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        x = torch.randn(5, 6, 3)
        losses = []
        for _ in range(15):
            optimizer.zero_grad()
            loss = (model(x) - 0.3).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]


# ── devices ──────────────────────────────────────────────────────────────────────────────────

PRESETS = [
    devices.AnalyticalIdeal,
    devices.AnalyticalReal,
    devices.TabularAnalyticalReal,
    lambda: devices.TabularCompactFeFETKriging(FEFET),
    lambda: devices.TabularCompactFeFETKriging("tab_fefet_compact_vgs_0.1_sd_15"),  # from 0 S
]


@pytest.mark.parametrize("make", PRESETS)
def test_presets_sweep_and_are_saved(make):
    device = make()
    up, down = utils.sweep_conductance_full(device)
    assert len(up) == len(down) == device.max_level + 1
    low, high = device.min_conductance, device.max_conductance
    assert low <= min(up[1:] + down[1:])
    assert max(up[1:] + down[1:]) <= high
    assert up[-1] > up[0] or low == 0.0  # at 0.1 V the compact model's cells do not leave 0
    assert down[-1] < down[0]
    copied = pickle.loads(pickle.dumps(copy.deepcopy(device)))
    assert copied.max_level == device.max_level


@pytest.mark.slow
def test_experimental_preset_is_constructed():
    device = devices.TabularExperimentalFemFETKriging("femfet_vg3")
    assert device.max_level == 50
    with pytest.raises(ValueError, match="name must end"):
        devices.TabularExperimentalFemFETKriging("femfet")


def test_analytical_device_follows_its_curve():
    device = devices.AnalyticalDevice(3e-9, 38e-9, 0.0, 0.0, 2.4, -4.88, 100)
    A = device.get_param_A(torch.tensor([2.4], dtype=torch.float64)) * 100
    B = device.get_param_B(A)
    pulses = torch.arange(101, dtype=torch.float64)
    curve = device.pulse_to_conductance(pulses, A, B)
    up, _ = utils.sweep_conductance_full(device)
    np.testing.assert_allclose(up, curve.numpy(), rtol=1e-4)
    assert float(curve[-1]) == pytest.approx(38e-9)
    torch.testing.assert_close(
        device.conductance_to_pulse(curve[:-1], A, B), pulses[:-1], rtol=1e-6, atol=1e-6
    )
    # The field's table: A/levels = 0.5 … for a label of 2.4 the greatest deviation is 0.07·√2·2.4.
    line = torch.linspace(3e-9, 38e-9, 101, dtype=torch.float64)
    deviation = float((curve - line).abs().max()) / 35e-9
    assert deviation == pytest.approx(0.07 * 2**0.5 * 2.4, rel=1e-3)


def test_reset_nonlinearity_counts_when_set_is_straight():
    bent = devices.AnalyticalDevice(3e-9, 38e-9, 0.0, 0.0, 0.0, -4.88, 100)
    assert bent.nonlinearity_reset == -4.88
    up, down = (np.array(trace) for trace in utils.sweep_conductance_full(bent))
    line = np.linspace(38e-9, 3e-9, 101)
    assert np.abs(up - line[::-1]).max() < 1e-12
    assert np.abs(down - line).max() / 35e-9 == pytest.approx(0.07 * 2**0.5 * 4.88, rel=1e-2)


def test_noise_and_spread_of_pulses():
    device = devices.AnalyticalDevice(3e-9, 38e-9, 0.0, 0.02, 0.0, 0.0, 100)
    g = torch.full((20000,), 20e-9, dtype=torch.float64)
    after = device.write(g.clone(), torch.ones(20000))
    deviation = float((after - g).std())
    assert deviation == pytest.approx(0.02 * 35e-9, rel=5 / (2 * 20000) ** 0.5)
    device.set_c2c_var(0.0)
    assert float((device.write(g.clone(), torch.ones(20000)) - g).std()) < 1e-15
    device.set_d2d_var(1.0)
    first = device.write(g.clone(), torch.ones(20000))
    assert float((first - g).std()) > 1e-12
    assert torch.equal(first, device.write(g.clone(), torch.ones(20000)))  # the same cells
    device.reset_cached_params()
    assert not torch.equal(first, device.write(g.clone(), torch.ones(20000)))


def test_write_returns_new_conductances_and_leaves_cells_without_pulses():
    device = devices.AnalyticalReal()
    g = torch.full((3,), 20e-9)
    out = device.write(g, torch.tensor([0.0, 1.0, -1.0]))
    assert torch.equal(g, torch.full((3,), 20e-9))
    assert torch.equal(out[0], g[0])
    assert float(out[1]) != float(out[2])


def test_tabular_device_from_files(tmp_path):
    G = np.linspace(0.0, 10.0, 5)
    dG = np.linspace(-2.0, 2.0, 81)
    files = {}
    for way, mean in (("set", 0.5), ("reset", -0.5)):
        cdf = utils.construct_cdf(G, dG, np.full(5, mean), np.full(5, 0.2))
        for name, table in (("g", G), ("dg", dG), ("cdf", cdf)):
            files[f"{way}_{name}"] = tmp_path / f"{way}_{name}.txt"
            np.savetxt(files[f"{way}_{name}"], table)
    device = devices.TabularDevice(**files, max_level=20)
    assert (device.min_conductance, device.max_conductance) == (0.0, 10.0)
    assert device.set_cdf.shape == (5, 81)
    g = torch.full((20000,), 5.0)
    change = device.write(g.clone(), torch.ones(20000)) - g
    assert float(change.mean()) == pytest.approx(0.5, abs=5 * 0.2 / 20000**0.5 + 1e-3)
    assert float(change.std()) == pytest.approx(0.2, rel=0.03)


def test_conversions():
    device = devices.AnalyticalIdeal()
    xbtorch.initialize(device_type=device, weight_range=(-2, 2))
    weight = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64)
    g = device.weight_to_conductance(weight)
    torch.testing.assert_close(
        g, torch.tensor([3e-9, 20.5e-9, 38e-9], dtype=torch.float64), rtol=1e-6, atol=0.0
    )
    torch.testing.assert_close(device.conductance_to_weight(g), weight)
    change = torch.full((40000,), 0.01)  # 1.25 pulses of 4/500
    pulses = device.gradient_to_pulse(change)
    assert set(pulses.unique().tolist()) == {1.0, 2.0}
    assert float(pulses.mean()) == pytest.approx(1.25, abs=5 * 0.433 / 200)


def test_wrong_bounds_are_refused():
    with pytest.raises(ValueError, match="missing"):
        Exact.__mro__[1].__init__(Exact.__new__(Exact), 1e-6)
    with pytest.raises(ValueError, match="lowest < highest"):
        devices.AnalyticalDevice(3e-9, 1e-9, 0, 0, 0, 0, 10)
    with pytest.raises(ValueError, match="name must end"):
        devices.TabularCompactFeFETKriging("vgs_7_sd_1")


def test_nearest_and_rounding():
    axis = torch.tensor([0.0, 1.0, 3.0])
    assert utils.find_nearest(axis, torch.tensor([0.4, 2.5, 9.0])).tolist() == [0, 2, 2]
    rows = torch.tensor([[0.0, 1.0, 3.0], [5.0, 6.0, 7.0]])
    assert utils.find_nearest_2d(rows, torch.tensor([2.9, 5.2])).tolist() == [2, 0]
    assert utils.find_nearest_2d(axis, [2.9, 0.2]).tolist() == [2, 0]
    drawn = utils.stochastic_round(torch.full((40000,), -0.3))
    assert float(drawn.mean()) == pytest.approx(-0.3, abs=5 * 0.46 / 200)


def test_data_set_of_pulses():
    device = devices.AnalyticalIdeal()
    points = utils.synthesize_G_dG_dataset(device, set=True, num_points=300)
    assert points.shape == (300, 2)
    step = np.minimum(35e-9 / 500, 38e-9 - points[:, 0])  # pulses end at the window
    np.testing.assert_allclose(points[:, 1], step, rtol=1e-4)
    points = utils.synthesize_G_dG_dataset(device, set=False, num_points=50)
    assert (points[:, 1] < 0).all()
    with pytest.raises(RuntimeError, match="min_delta_ratio"):
        utils.synthesize_G_dG_dataset(device, num_points=5, min_delta_ratio=1e6)


def test_kriging_profiles():
    source = np.random.default_rng(0)
    g = source.uniform(0.0, 1.0, 800)
    dg = 0.1 * (1 - g) + source.normal(size=800) * 0.02
    G, dG, mean, deviation = utils.get_kriging_profiles(g, dg, axis_size=20)
    np.testing.assert_allclose(mean, 0.1 * (1 - G), atol=0.009)
    np.testing.assert_allclose(deviation, 0.02, rtol=0.25)
    assert dG[-1] == -dG[0] == np.abs(dg).max()
    with pytest.warns(UserWarning, match="theta0"):
        utils.get_kriging_profiles(g, dg, axis_size=5, theta0=[1e-2])


# ── helpers ──────────────────────────────────────────────────────────────────────────────────


def test_loops_of_the_tutorials(capsys):
    x, y = blobs(90)
    data = [(x[i : i + 30], y[i : i + 30]) for i in range(0, 90, 30)]
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    reference = np.mean([nn.functional.cross_entropy(model(a), b).item() for a, b in data])
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = nn_utils.train_classifier(data, model, nn.CrossEntropyLoss(), idle, 0)
    assert loss == pytest.approx(reference, rel=1e-5)
    for epoch in range(20):
        nn_utils.train_classifier(
            data, model, nn.CrossEntropyLoss(), optimizer, epoch, 20, lr_decay_rate=0.9, log=True
        )
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * 0.9**20)
    accuracy, matrix = nn_utils.test_classifier(data, model, "cpu", compute_cm=True, log=True)
    assert matrix.sum() == 90
    assert accuracy == pytest.approx(100 * np.trace(matrix) / 90)
    nn_utils.print_num_unique_values(torch.tensor([1.0, 1.0, 2.0]))
    assert "different values: 2" in capsys.readouterr().out


def test_patched_models_are_copied_and_saved():
    xbtorch.initialize(wage_quantize=True, device_type=devices.AnalyticalIdeal())
    model = xbtorch_model(mlp())
    train(model, optim.SGD(model.parameters(), lr=8.0), 2)
    x, _ = blobs()
    other = copy.deepcopy(model)
    torch.testing.assert_close(other(x), model(x))
    train(other, optim.SGD(other.parameters(), lr=8.0), 2)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), model(x))
    fresh = xbtorch_model(mlp())
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh(x), model(x))


def test_sse():
    logits = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    label = torch.tensor([1, 0])
    assert float(xbtorch.nn.SSE(logits, label)) == pytest.approx(0.5 * (1 + 1 + 0.25))


TABLES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "xbtorch_tables"


@pytest.mark.skipif(not TABLES.is_dir(), reason=f"XBTorch's tables are not at {TABLES}")
def test_presets_read_xbtorchs_own_tables_where_they_are(monkeypatch):
    monkeypatch.setenv("MHO_XBTORCH_DATA", str(TABLES))
    device = devices.TabularCompactFeFETKriging(FEFET)
    monkeypatch.delenv("MHO_XBTORCH_DATA")
    modelled = devices.TabularCompactFeFETKriging(FEFET)
    assert device.max_level == modelled.max_level == 32
    parts = FEFET.split("_")
    name = f"Kriging_set{parts[-3]}V_{parts[-1]}_SD_axis_level_G.txt"
    levels = np.loadtxt(TABLES / "tabular" / "fefet" / name)
    assert np.allclose(device.set_G.numpy(), levels, rtol=1e-6)
    assert device.set_G.shape != modelled.set_G.shape or not torch.allclose(
        device.set_G, modelled.set_G
    )
