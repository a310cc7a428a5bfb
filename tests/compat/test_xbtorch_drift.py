"""Whose cells are whose: drift, noise of programming, seeds; settings act when they are set."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from compat.nets import Net
from mho import chip
from mho.compat import xbtorch
from mho.compat.xbtorch.deployment import (
    Daffodil,
    SimpleFixedPoint,
    encode_multilevel_differential,
    map_random,
)
from mho.compat.xbtorch.patches import xbtorch_model
from mho.effects import PowerLawDrift

pytestmark = pytest.mark.filterwarnings("ignore:weights of many values")


def ternary(rows, cols):
    source = torch.Generator().manual_seed(5)
    return torch.randint(-1, 2, (rows, cols), generator=source) * 0.5


def deployed(accelerator, *weights):
    xbtorch.initialize(inference_accelerator=accelerator)
    model = Net(*(nn.Linear(w.shape[1], w.shape[0], bias=False) for w in weights))
    for layer, weight in zip(model.model, weights, strict=True):
        layer.weight.data = weight.clone()
    model = xbtorch_model(model)
    if accelerator.stateful:
        model.initialize_array_mappings()
    model.xb_eval()
    return model


def fixed_point(**options):
    given = {"adc_bits": 16, "dac_bits": 16, "xb_size": (120, 130), **options}
    return SimpleFixedPoint(**given)


@pytest.fixture(autouse=True)
def _session():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    xbtorch.initialize()


# ── whose cells ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize(
    ("options", "deviation"),
    [
        (
            {"retention_time": 10.0, "drift_coefficient": 0.05, "drift_variation": 0.02},
            50 * 10**-0.05 * math.log(10) * 0.02,
        ),
        # Half of a normal distribution: cells at g_min cannot be below it.
        ({"write_noise": 5.0}, 5 * math.sqrt(0.5 - 0.5 / math.pi)),
    ],
)
def test_every_cell_is_one_of_its_own(stateful, options, deviation):
    weight = torch.zeros(40, 50)
    weight[0, 0] = 1.0
    model = deployed(fixed_point(stateful=stateful, **options), weight, weight[:, :40])
    one, other = (layer._xb_read("weight")[1:, :40].flatten() for layer in model.model)
    assert float(one.std()) == pytest.approx(math.sqrt(2) * deviation, rel=0.08)
    for found in (one, other):
        assert float(found.mean()) == pytest.approx(0, abs=5 * deviation * (2 / len(found)) ** 0.5)
    correlation = float(torch.corrcoef(torch.stack((one, other)))[0, 1])
    assert abs(correlation) < 5 / math.sqrt(len(one))
    x = torch.randn(3, 50)
    assert torch.equal(model.model[0](x), model.model[0](x))


def test_drift_of_tensors_is_drawn_for_every_call():
    accelerator = fixed_point(stateful=False, drift_coefficient=0.05, drift_variation=0.1)
    accelerator.retention_time = 100.0
    cells = torch.full((200, 200), 60.0)
    torch.manual_seed(4)
    one, other = accelerator.apply_conductance_drift(cells), accelerator.read_chip_stateless(cells)
    together = torch.corrcoef(torch.stack((one.flatten(), other.flatten())))
    assert abs(float(together[0, 1])) < 5 / 200
    torch.manual_seed(4)
    assert torch.equal(one, accelerator.apply_conductance_drift(cells))
    assert bool((cells == 60.0).all())


def test_parts_of_a_chip_drift_as_its_cells():
    accelerator = fixed_point(drift_coefficient=0.05, drift_variation=0.1, retention_time=50.0)
    accelerator._chip.fill_(60.0)
    accelerator._chip[3, 4] = -1.0
    read = accelerator.read_chip(2, 20, 3, 30)
    part = accelerator._chip[2:22, 3:33]
    assert torch.equal(accelerator.apply_conductance_drift(part), read)
    assert float(read[1, 1]) == -1.0
    before = read.clone()
    accelerator.initialize_chip()
    accelerator._chip.fill_(60.0)
    assert not torch.equal(accelerator.read_chip(2, 20, 3, 30), before)


def test_reads_of_ones_own_find_the_same_cells_again():
    class Copying(SimpleFixedPoint):
        def read_chip(self, row, n_rows, col, n_cols, fast_mode=True):
            cells = self._chip[row : row + n_rows, col : col + n_cols].clone()
            return self.apply_conductance_drift(cells)

    options = {"drift_coefficient": 0.05, "drift_variation": 0.1, "retention_time": 50.0}
    weight = torch.zeros(40, 50)
    weight[0, 0] = 1.0
    model = deployed(Copying(16, 16, xb_size=(120, 130), **options), weight)
    read = model.model[0]._xb_read("weight")
    assert torch.equal(read, model.model[0]._xb_read("weight"))
    assert float(read[1:].std()) > 1.0  # both of a pair are cells of their own


@pytest.mark.parametrize("stateful", [True, False])
def test_drift_stays_physical(stateful):
    """The numbers of XBTorch's example: exponents far below zero do not raise a cell for ever."""
    accelerator = fixed_point(g_min=133, g_max=233, stateful=stateful, retention_time=100.0)
    accelerator.drift_t0, accelerator.drift_coefficient = 0.5, 0.05
    accelerator.drift_variation = 0.5
    cells = torch.full((100, 100), 200.0)
    if stateful:
        accelerator._chip[:100, :100] = cells
        read = accelerator.read_chip(0, 100, 0, 100)
    else:
        read = accelerator.apply_conductance_drift(cells)
    assert float(read.min()) >= 0
    assert float(read.max()) == 233.0
    below = (read < 233.0).double().mean()  # 200 (200)^-ν < 233
    limit = (0.05 + math.log(233 / 200) / math.log(200)) / 0.5
    expected = 0.5 * (1 + math.erf(limit / math.sqrt(2)))
    assert float(below) == pytest.approx(expected, abs=5 * 0.5 / 100)
    far = accelerator.apply_conductance_drift(torch.full((50,), 500.0))  # broken, say
    assert float(far.max()) <= 500.0


def test_without_a_coefficient_nothing_drifts():
    with pytest.warns(UserWarning, match="drift_variation does not act"):
        accelerator = fixed_point(drift_variation=0.5, retention_time=10.0)
    cells = torch.full((5,), 60.0)
    assert torch.equal(accelerator.apply_conductance_drift(cells), cells)
    accelerator.drift_coefficient, accelerator.drift_t0 = 0.1, 20.0  # nothing before t0
    accelerator.drift_variation = 0.0
    assert torch.equal(accelerator.apply_conductance_drift(cells), cells)
    accelerator.drift_t0 = 1.0
    torch.testing.assert_close(
        accelerator.apply_conductance_drift(cells), cells * 10**-0.1, rtol=1e-6, atol=0.0
    )


# ── seeds ────────────────────────────────────────────────────────────────────────────────────


def every_time(accelerator, x):
    return deployed(accelerator(), ternary(8, 16))(x)


def patched(shared, model, x):
    return deployed(shared, ternary(8, 16))(x)


def new_chip(shared, model, x):
    shared.initialize_chip()
    if shared.stateful:
        model.initialize_array_mappings()
    return model(x)


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("way", [None, patched, new_chip])
def test_torchs_seed_governs_what_is_drawn(way, stateful):
    options = {"stateful": stateful, "write_noise": 8.0, "retention_time": 9.0}
    options |= {"drift_coefficient": 0.05, "drift_variation": 0.05}
    x = torch.ones(1, 16)
    shared = fixed_point(**options)
    model = deployed(shared, ternary(8, 16))
    found = []
    for seed in (0, 1, 2, 0):
        torch.manual_seed(seed)
        if way is None:
            found.append(every_time(lambda: fixed_point(**options), x))
        else:
            found.append(way(shared, model, x))
    if way is patched and stateful:
        return  # drift is the chip's, which was not drawn anew
    for one in range(3):
        assert not any(torch.equal(found[one], found[other]) for other in range(one))
    assert torch.equal(found[0], found[3])


@pytest.mark.parametrize("stateful", [True, False])
def test_switching_deployment_off_and_on_keeps_the_cells(stateful):
    accelerator = fixed_point(stateful=stateful, write_noise=8.0)
    model, x = deployed(accelerator, ternary(8, 16)), torch.randn(3, 16)
    expected = model(x)
    for enable in (False, True):
        model.xb_eval(enable)
    assert torch.equal(model(x), expected)
    accelerator.initialize_chip()
    if stateful:
        model.initialize_array_mappings()
    assert not torch.equal(model(x), expected)


def test_read_noise_follows_torchs_seed():
    for stateful in (True, False):
        model = deployed(fixed_point(stateful=stateful, read_noise=5.0), ternary(8, 16))
        x = torch.randn(4, 16)
        torch.manual_seed(3)
        first, second = model(x), model(x)
        assert not torch.equal(first, second)
        torch.manual_seed(3)
        assert torch.equal(first, model(x))


def test_explicit_seeds_are_kept():
    x = torch.ones(1, 16)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        accelerator = fixed_point(stateful=False, write_noise=8.0, programming_seed=np.int64(4))
        assert accelerator.programming_seed == 4
        model = deployed(accelerator, ternary(8, 16))
        found.append(model(x))
        model.xb_eval()
        accelerator.initialize_chip()
        assert torch.equal(model(x), found[0])
    other = deployed(fixed_point(stateful=False, write_noise=8.0), ternary(8, 16))
    sibling = deployed(other.model[0].inference_accelerator, ternary(8, 16))
    assert not torch.equal(other(x), sibling(x))
    before = sibling(x)
    other.reprogram_xb(4)
    assert torch.equal(other(x), found[0])
    other.xb_eval(False)
    other.xb_eval()
    assert torch.equal(other(x), found[0])
    assert torch.equal(sibling(x), before)
    sibling.model[0].inference_accelerator.programming_seed = np.int64(4)
    assert torch.equal(sibling(x), found[0])


def test_cells_are_those_of_the_seed_asked_for():
    accelerator = fixed_point(stateful=False, write_noise=8.0)
    weight = torch.zeros(20, 20)
    (one,), (other,) = accelerator.map_weights_to_array_stateless(weight)
    (again,), _ = accelerator.map_weights_to_array_stateless(weight)
    assert not torch.equal(one, other)
    assert not torch.equal(one, again)
    accelerator.programming_seed = 3
    first, second = (accelerator.map_weights_to_array_stateless(weight)[0][0] for _ in range(2))
    assert torch.equal(first, second)


# ── settings ─────────────────────────────────────────────────────────────────────────────────


def spread(accelerator, layer_shape, beta=1, current_mappings=[]):  # noqa: B006
    return map_random(accelerator, layer_shape, 2, current_mappings)


# Of every setting another value; and what it needs to act.
DRIFTING = {"retention_time": 30.0, "drift_coefficient": 0.1, "drift_variation": 0.05}
OTHER = {
    "adc_bits": (3, {}),
    "dac_bits": (3, {}),
    "g_min": (20, {}),
    "g_max": (150, {}),
    "v_read": (0.2, {}),
    "read_noise": (4.0, {}),
    "write_noise": (4.0, {}),
    "stateful": (False, {}),
    "xb_size": ((60, 70), {}),
    "stuck_percentage": (0.3, {}),
    "stuck_mode": ("ideal", {"stuck_percentage": 0.3}),
    "input_encoding_scheme": ("linear", {}),
    "xb_mapping_scheme": (spread, {}),
    "weight_encoding_scheme": (encode_multilevel_differential, {}),
    "retention_time": (40.0, DRIFTING),
    "drift_coefficient": (0.2, DRIFTING),
    "drift_t0": (2.0, DRIFTING),
    "drift_variation": (0.1, DRIFTING),
    "device": ("meta", {}),
    "programming_seed": (7, {"stateful": False, "write_noise": 3.0}),
    "weight_encoding_args": ({"bits": 3}, {}),
    "legacy": (True, {"stuck_percentage": 0.3}),
}
OF_DAFFODIL = [
    name for name in OTHER if name not in ("adc_bits", "dac_bits", "stateful", "xb_size")
]
OF_DAFFODIL.remove("weight_encoding_scheme")


def observed(accelerator):
    """Return what is drawn, driven, sensed and computed."""
    torch.manual_seed(11)
    accelerator.initialize_chip()
    currents, convert = [], accelerator.ADC_quantize
    accelerator.ADC_quantize = lambda current: currents.append(current) or convert(current)
    weight = torch.linspace(-1, 1, 8 * 16).reshape(8, 16)
    model = deployed(accelerator, weight)
    output = model(torch.linspace(-1, 1, 48).reshape(3, 16))
    del accelerator.ADC_quantize
    places = [len(place) for found in model.get_array_mappings() for place in found.values()]
    return accelerator.get_xb_size(), places, output.tolist(), currents[0].tolist()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SimpleFixedPoint, name) for name in OTHER] + [(Daffodil, name) for name in OF_DAFFODIL],
)
@pytest.mark.parametrize("later", [False, True])
def test_every_setting_acts_given_or_set(kind, name, later):
    value, needed = OTHER[name]
    base = {"read_noise": 0, "write_noise": 0}
    if kind is SimpleFixedPoint:
        base |= {"adc_bits": 8, "dac_bits": 8, "xb_size": (50, 60)}
    elif "stateful" in needed:
        needed = {**needed, "drift_coefficient": 0.1, "drift_variation": 0.1, "retention_time": 9}
        del needed["stateful"]
    given = {**base, **needed}
    if name == "device":
        assert kind(**given, device=value)._chip.device.type == "meta"
        return
    plain = kind(**given)
    expected = observed(plain)
    assert expected == observed(plain)
    if later:
        setattr(plain, name, value)
        found = observed(plain)
    else:
        found = observed(kind(**{**given, name: value}))
    assert found != expected


def test_settings_act_at_the_next_read():
    accelerator = fixed_point(stateful=False)
    model = deployed(accelerator, ternary(8, 16))
    x = torch.randn(4, 16)
    outputs = [model(x)]
    steps = [
        {"adc_bits": np.int64(3)},
        {"read_noise": np.float32(3.0)},
        {"read_noise": 0, "retention_time": np.float64(5.0), "drift_coefficient": 0.1},
        {"drift_coefficient": torch.tensor(0.3)},
        {"g_min": np.float32(60)},
        {"weight_encoding_args": {"bits": 2, "zero_tol": 0.7}},
        {"write_noise": torch.tensor(5.0)},
    ]
    for step in steps:
        for name, value in step.items():
            setattr(accelerator, name, value)
        outputs.append(model(x))
    for one, found in enumerate(outputs):
        assert not any(torch.equal(found, other) for other in outputs[:one])
    chip_of = fixed_point(stuck_mode="ideal", stuck_percentage=0.2)
    chip_of.stuck_percentage = np.float32(0.5)
    chip_of.stuck_low = 70.0
    chip_of.xb_size = np.array([30, 40])
    chip_of.initialize_chip()
    assert chip_of.get_xb_size() == (30, 40)
    assert len(chip_of.defect_map[1]) == 600
    assert set(chip_of.defect_map[1].tolist()) == {70.0, 100.0}
    chip_of.stuck_mode = "real"
    chip_of.initialize_chip()
    assert set(chip_of.defect_map[1].tolist()) == {10.0, 500.0}


@pytest.mark.parametrize("make", [np.float32, np.float64, np.array, torch.tensor])
def test_numbers_of_any_kind(make):
    whole = {np.float32: np.int64, np.float64: np.int32}.get(make, make)
    numbers = {"g_min": 50.0, "g_max": 100.0, "v_read": 0.3, "read_noise": 1.0, "write_noise": 1.0}
    numbers |= {"stuck_percentage": 0.1, "retention_time": 3.0, "drift_coefficient": 0.1}
    numbers |= {"drift_t0": 1.0, "drift_variation": 0.01}
    accelerator = SimpleFixedPoint(
        adc_bits=whole(8),
        dac_bits=whole(8),
        xb_size=np.array([40, 50]),
        programming_seed=whole(3),
        **{name: make(value) for name, value in numbers.items()},
    )
    assert accelerator.name.startswith("stateful_True_cols_40_row_50_stuck_0.1")
    model = deployed(accelerator, ternary(8, 16))
    assert model(torch.randn(2, 16)).shape == (2, 8)
    places = np.array([3, 4])
    assert accelerator.read_chip(places[0], 5, places[1], np.int64(6)).shape == (5, 6)
    assert len(map_random(accelerator, np.array([3, 4]), beta=whole(2))) == 2
    assert accelerator.to_mho().rows == 50
    with pytest.raises(TypeError, match="adc_bits"):
        SimpleFixedPoint(adc_bits=2.5)
    assert SimpleFixedPoint(adc_bits=8.0, xb_size=(5, 5)).adc_bits == 8
    assert fixed_point(adc_bits=32, dac_bits=30, stateful=False).to_mho().adc_bits is None


# ── Daffodil ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scale", [0.5, 0.02, 3.0])
@pytest.mark.parametrize("inputs", ["instant", "linear"])
def test_the_default_board_computes(scale, inputs):
    board = Daffodil(read_noise=0, write_noise=0, input_encoding_scheme=inputs)
    weight = ternary(8, 64) * 2 * scale
    x = torch.rand(64, 64, requires_grad=True)
    x = x * 2 - 1
    found, exact = deployed(board, weight)(x), x @ weight.T
    assert float((found - exact).detach().norm() / exact.detach().norm()) < 0.03
    (gradient,) = torch.autograd.grad(found.sum(), x)
    expected = weight.sum(0).expand_as(gradient)
    torch.testing.assert_close(gradient, expected, rtol=0.1, atol=0.1 * float(expected.abs().max()))


def test_the_boards_numbers_are_mhos():
    board = Daffodil(read_noise=0, write_noise=0)
    assert board.adc_vref == chip.Daffodil.v_adc
    registers = torch.tensor([0.0, 1.0])
    step = float(board.dac_calcvout(registers).diff())
    assert step == pytest.approx(chip.Daffodil.dac_step, rel=1e-3)
    assert board.dac_n == chip.Daffodil.adc_bits
    micro, si = (
        float(Daffodil(50 * u, 100 * u).ADC_quantize(torch.tensor(77 * u))) / u for u in (1.0, 1e-6)
    )
    assert micro == pytest.approx(si, rel=1e-4)
    assert micro == pytest.approx(77.0, abs=0.6 * 2.5 / 4096 / 500 * 1e6)


def test_the_way_to_mho_keeps_drift():
    old = fixed_point(drift_coefficient=0.1, drift_variation=0.02, drift_t0=2.0, retention_time=1e4)
    with pytest.warns(UserWarning, match=r"mho\.age\(model, 10000\) lets retention_time pass"):
        spec = old.to_mho()
    assert spec.retention == PowerLawDrift(0.1, 0.02, 2.0)
    assert spec.retention in spec.hardware().effects
    assert fixed_point().to_mho().retention is None
