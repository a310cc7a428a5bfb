"""Deployment: chips, encodings, reads, committees, correction; against references of our own."""

from __future__ import annotations

import copy
import io
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from compat.nets import Net
from mho.compat import xbtorch
from mho.compat.xbtorch import deployment
from mho.compat.xbtorch.deployment import (
    ACCELERATOR_REGISTRY,
    Daffodil,
    GenericAccelerator,
    SimpleFixedPoint,
    _cells,
    correction,
    encode_LEA1,
    encode_LEA2,
    encode_MAO,
    encode_multilevel_differential,
    encode_simple_binary,
    map_random,
    mapping,
    metrics,
    register_accelerator,
)
from mho.compat.xbtorch.patches import xbtorch_model

# Layers are as torch draws them where their weights do not matter.
pytestmark = pytest.mark.filterwarnings("ignore:weights of many values")


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x))


def ternary(*shape):
    source = torch.Generator().manual_seed(5)
    return torch.randint(-1, 2, shape, generator=source).float() * 0.5


def deployed(model, accelerator, mode="avg", **options):
    xbtorch.initialize(inference_accelerator=accelerator)
    patched = xbtorch_model(model)
    patched.initialize_array_mappings(output_polling_mode=mode, **options)
    patched.xb_eval()
    return patched


def exact(accelerator):
    accelerator.DAC_quantize = lambda v: v
    accelerator.ADC_quantize = lambda v: v
    return accelerator


def small(**options):
    return SimpleFixedPoint(**{"xb_size": (60, 80), "adc_bits": 16, "dac_bits": 16, **options})


@pytest.fixture(autouse=True)
def _session():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: threads would only wait
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    xbtorch.initialize()


# ── the chip ─────────────────────────────────────────────────────────────────────────────────


def test_broken_cells_are_as_many_as_asked_for_and_keep_their_values():
    accelerator = small(stuck_percentage=0.2, read_noise=0)
    read = accelerator.read_chip(0, 60, 0, 80)
    broken = read != -1
    assert int(broken.sum()) == int(0.2 * 60 * 80)
    assert set(read[broken].tolist()) == {10.0, 500.0}
    indices, values = accelerator.defect_map
    assert torch.equal(accelerator._chip[indices], values)
    accelerator.map_weights_to_array(torch.ones(60, 40), [(0, 0)], [(0, 40)])
    assert torch.equal(accelerator._chip[indices], values)
    share = float((values == 500).float().mean())
    assert share == pytest.approx(0.5, abs=5 * 0.5 / len(values) ** 0.5)
    ideal = small(stuck_percentage=0.1, stuck_mode="ideal")
    assert set(ideal.defect_map[1].tolist()) == {50.0, 100.0}


def test_new_chips_differ_and_seeds_repeat():
    accelerator = small(stuck_percentage=0.1)
    first = accelerator._chip.clone()
    accelerator.initialize_chip()
    assert not torch.equal(first, accelerator._chip)
    torch.manual_seed(7)
    one = small(stuck_percentage=0.1)._chip
    torch.manual_seed(7)
    assert torch.equal(one, small(stuck_percentage=0.1)._chip)


def test_chips_need_not_be_square():
    accelerator = exact(SimpleFixedPoint(xb_size=(12, 200)))
    assert accelerator.get_xb_size() == (12, 200)
    assert tuple(accelerator._chip.shape) == (12, 200)
    model = deployed(Net(nn.Linear(90, 10, bias=False)), accelerator)
    model.model[0].weight.data = ternary(10, 90)
    model.initialize_array_mappings()
    x = torch.randn(5, 90)
    torch.testing.assert_close(model(x), x @ ternary(10, 90).T, rtol=1e-4, atol=1e-4)
    for places in model.get_array_mappings():
        for row, col in places["Gpos"] + places["Gneg"]:
            assert 0 <= row <= 12 - 10
            assert 0 <= col <= 200 - 90


def test_noise_of_reading_is_uniform_and_stays_outside_of_the_window():
    accelerator = small(read_noise=8.0, stuck_percentage=0.0)
    accelerator._chip.fill_(100.0)
    read = accelerator.read_chip(0, 60, 0, 80)
    assert float(read.max()) > 107
    assert float(read.min()) < 93
    assert float(read.std()) == pytest.approx(8 / 3**0.5, rel=0.05)
    assert not torch.equal(read, accelerator.read_chip(0, 60, 0, 80))
    accelerator._chip.fill_(-1.0)
    assert bool((accelerator.read_chip(0, 60, 0, 80) == -1).all())


def test_legacy_reads_are_clamped_to_the_window():
    for legacy, expected in ((False, {10.0, 100.0, 500.0}), (True, {50.0, 100.0})):
        accelerator = exact(small(stuck_percentage=0.2, legacy=legacy))
        accelerator._chip[accelerator._chip == -1] = 100.0
        assert set(accelerator.read_chip(0, 60, 0, 80).unique().tolist()) == expected
        layer = nn.Linear(20, 5, bias=False)
        layer.weight.data = torch.ones(5, 20)
        model = deployed(Net(layer), accelerator)
        matrix = model.model[0]._xb_read("weight")
        assert bool((matrix.abs() <= 50).all()) == legacy


def test_programming_noise_keeps_healthy_cells_in_the_window():
    accelerator = small(write_noise=5.0, g_min=50, g_max=150)
    accelerator.map_weights_to_array(torch.zeros(50, 40), [(0, 0)], [(0, 40)])
    cells = accelerator.read_chip(0, 50, 0, 80)
    assert float(cells.min()) == 50.0
    above = cells[cells > 50.0] - 50.0
    assert len(above) == pytest.approx(2000, abs=5 * 31)
    assert float(above.square().mean().sqrt()) == pytest.approx(5.0, rel=0.08)


def test_siemens_and_microsiemens_agree():
    x, weight = torch.randn(4, 20), ternary(6, 20)
    found = []
    for unit in (1.0, 1e-6):
        torch.manual_seed(3)
        accelerator = small(g_min=50 * unit, g_max=100 * unit, stuck_percentage=0.05)
        model = deployed(Net(nn.Linear(20, 6, bias=False)), accelerator)
        model.model[0].weight.data = weight
        model.initialize_array_mappings()
        found.append(model(x))
        assert float(accelerator.read_chip(0, 60, 0, 80).max()) == pytest.approx(500 * unit)
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)
    spec = small().to_mho()
    assert (spec.g_min, spec.g_max) == (pytest.approx(50e-6), pytest.approx(100e-6))
    assert small(g_min=50e-6, g_max=100e-6).to_mho().g_max == 100e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stuck_mode": "sometimes"}, "stuck_mode"),
        ({"input_encoding_scheme": "loud"}, "input_encoding_scheme"),
        ({"stuck_percentage": 0.1, "stateful": False}, "stateful"),
        ({"stuck_percentage": 1.5}, "stuck"),
        ({"g_min": 100, "g_max": 50}, "g_max"),
        ({"read_noise": -1}, "read_noise"),
        ({"adc_bits": 0}, "adc_bits"),
        ({"retention_time": 0.0}, "retention_time"),
        ({"xb_size": (0, 5)}, "xb_size"),
    ],
)
def test_wrong_accelerators_are_refused(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small(**wrong)


def test_reads_that_cannot_be():
    with pytest.raises(RuntimeError, match="stateful"):
        small(stateful=False).read_chip(0, 1, 0, 1)
    for kind in (NotImplementedError, ValueError):
        with pytest.raises(kind):
            small().read_chip(0, 1, 0, 1, fast_mode=False)


def test_retention():
    accelerator = small(drift_coefficient=0.1, retention_time=100.0, drift_t0=1.0)
    accelerator.stuck_percentage = 0.1
    accelerator.initialize_chip()
    accelerator.map_weights_to_array(torch.ones(60, 40), [(0, 0)], [(0, 40)])
    stuck, chip = accelerator.stuck_cells()
    read = accelerator.read_chip(0, 60, 0, 80)
    torch.testing.assert_close(read[~stuck], chip[~stuck] * 100**-0.1)
    assert torch.equal(read[stuck], chip[stuck])
    accelerator.drift_variation = 0.02
    read = accelerator.read_chip(0, 60, 0, 80)
    assert torch.equal(read, accelerator.read_chip(0, 60, 0, 80))  # ν is the cell's own
    assert torch.equal(read[5:9, 7:20], accelerator.read_chip(5, 4, 7, 13))
    nu = -(read[~stuck] / chip[~stuck]).log() / np.log(100.0)
    assert float(nu.mean()) == pytest.approx(0.1, abs=5 * 0.02 / len(nu) ** 0.5)
    assert float(nu.std()) == pytest.approx(0.02, rel=0.08)


def test_drawing_returns_what_was_read():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    accelerator = small(stuck_percentage=0.1)
    assert torch.equal(accelerator.plot_array(), accelerator._chip)
    part = accelerator.plot_array(2, 5, 3, 7, title="part")
    assert torch.equal(part, accelerator._chip[2:7, 3:10])
    assert small(stateful=False).plot_array() is None
    pyplot.close("all")


# ── places ───────────────────────────────────────────────────────────────────────────────────


def test_places_are_free_and_remembered():
    accelerator = small()
    taken = []
    for shape in ((20, 30), (20, 30), (10, 80), (7, 3)):
        found = map_random(accelerator, shape, beta=1, current_mappings=taken)
        assert taken[-1] == (found[0], shape)
    chip = torch.zeros(60, 80)
    for (row, col), (height, width) in taken:
        chip[row : row + height, col : col + width] += 1
    assert float(chip.max()) == 1
    assert float(chip.sum()) == 600 + 600 + 800 + 21
    full = []
    found = map_random(SimpleFixedPoint(xb_size=(4, 6)), (4, 2), beta=1, current_mappings=full)
    assert found[0][0] == 0


def test_a_chip_that_is_full_refuses():
    accelerator = small()
    with pytest.raises(ValueError, match="larger than the chip"):
        map_random(accelerator, (61, 3))
    with pytest.raises(ValueError, match="could not find a free place"):
        map_random(accelerator, (60, 80), beta=2)
    # One place is left, and it is found.
    taken = [((0, 0), (60, 70))]
    assert map_random(accelerator, (60, 10), current_mappings=taken) == [(0, 70)]


def test_default_lists_are_not_shared():
    accelerator = SimpleFixedPoint(xb_size=(30, 30))
    for _ in range(3):
        assert len(map_random(accelerator, (30, 30))) == 1
    model = deployed(Net(nn.Linear(28, 14, bias=False)), accelerator)
    for _ in range(3):
        model.initialize_array_mappings()
    assert mapping.NOWHERE == []


def test_overlap():
    assert mapping.check_overlap((0, 0), (2, 2), (1, 1), (2, 2))
    assert not mapping.check_overlap((0, 0), (2, 2), (3, 3), (2, 2))
    assert not mapping.check_overlap((0, 0), (2, 2), (0, 2), (2, 2))


def test_members_of_a_committee_share_a_chip():
    accelerator = exact(SimpleFixedPoint(xb_size=(40, 40)))
    taken = []
    members = []
    for seed in range(3):
        torch.manual_seed(seed)
        xbtorch.initialize(inference_accelerator=accelerator)
        member = xbtorch_model(Net(nn.Linear(8, 3, bias=False)))
        member.model[0].weight.data = ternary(3, 8) * (seed + 1)
        member.initialize_array_mappings(existing_mappings=taken)
        member.xb_eval()
        members.append(member)
    assert len(taken) == 6
    x = torch.randn(5, 8)
    for seed, member in enumerate(members):
        torch.testing.assert_close(member(x), x @ (ternary(3, 8) * (seed + 1)).T)


# ── encodings ────────────────────────────────────────────────────────────────────────────────


def test_simple_binary():
    weight = torch.tensor([[0.5, -0.5, 0.0005, 0.0, -3.0]])
    for unit in (1.0, 1e-6):
        accelerator = small(g_min=50 * unit, g_max=100 * unit)
        positive, negative = encode_simple_binary(accelerator, weight, [(0, 0)] * 2, [(0, 0)] * 2)
        assert len(positive) == len(negative) == 2
        expected = torch.tensor([[100.0, 50, 50, 50, 50]]) * unit
        torch.testing.assert_close(positive[0], expected, rtol=1e-6, atol=0)
        expected = torch.tensor([[50.0, 100, 50, 50, 100]]) * unit
        torch.testing.assert_close(negative[1], expected, rtol=1e-6, atol=0)
    positive, _ = encode_simple_binary(small(), weight, additional_args={"zero_tol": 1e-4})
    assert positive[0][0, 2] == 100


def test_multilevel():
    weight = torch.tensor([[-1.0, -0.4, 0.0, 0.4, 1.0]])
    for bits, expected in ((2, [-1, -1 / 3, 0, 1 / 3, 1]), (8, weight[0].tolist())):
        args = {"bits": bits, "zero_tol": 0.0}
        positive, negative = encode_multilevel_differential(small(), weight, additional_args=args)
        found = (positive[0] - negative[0]) / 50
        torch.testing.assert_close(found, torch.tensor([expected]))
    accelerator = small(weight_encoding_args={"bits": 2, "zero_tol": 0.0})
    accelerator.map_weights_to_array(weight, pos_idxs=[(0, 0)], neg_idxs=[(1, 0)])
    found = (accelerator._chip[0:1, 0:5] - accelerator._chip[1:2, 0:5]) / 50
    torch.testing.assert_close(found, torch.tensor([[-1, -1 / 3, 0, 1 / 3, 1.0]]))


def naive_masks(accelerator, matrices, places, alpha):
    # Row by row: the alpha copies with the least squared error, by what is broken under them.
    stuck, chip = accelerator.stuck_cells()
    mask = torch.zeros(len(places), len(matrices[0]))
    for row in range(len(matrices[0])):
        errors = []
        for matrix, (r, c) in zip(matrices, places, strict=True):
            width = matrix.shape[1]
            broken, read = stuck[r + row, c : c + width], chip[r + row, c : c + width]
            errors.append(float(torch.where(broken, read - matrix[row], 0.0).square().sum()))
        for best in sorted(range(len(places)), key=lambda k: errors[k])[:alpha]:
            mask[best, row] = 1
    return mask


def test_lea1_keeps_the_best_rows():
    accelerator = small(stuck_percentage=0.1)
    weight = ternary(12, 15)
    positive = [(0, 0), (0, 20), (0, 40)]
    negative = [(20, 0), (20, 20), (20, 40)]
    found = encode_LEA1(accelerator, weight, positive, negative, {"alpha": 2, "beta": 3})
    for matrices, places, mask in ((found[0], positive, found[2]), (found[1], negative, found[3])):
        assert torch.equal(mask, naive_masks(accelerator, matrices, places, 2))
        assert bool((mask.sum(0) == 2).all())
    everything = encode_LEA1(accelerator, weight, positive, negative, {"alpha": 3, "beta": 3})
    assert bool((everything[2] == 1).all())
    for wrong in ({"beta": 3}, {"alpha": 4, "beta": 3}, {"alpha": 1, "beta": 2}):
        with pytest.raises(ValueError, match=r"alpha|beta"):
            encode_LEA1(accelerator, weight, positive, negative, wrong)


def errors_on_chip(accelerator, weight, positive, negative, add):
    stuck, chip = accelerator.stuck_cells()
    rows, cols = weight.shape
    total = 0
    for sign, matrices, places in ((1, *positive), (-1, *negative)):
        for matrix, (r, c) in zip(matrices, places, strict=True):
            broken = stuck[r : r + rows, c : c + cols]
            real = torch.where(broken, chip[r : r + rows, c : c + cols], matrix)
            total = total + sign * real
    total = total if add else total / len(positive[1])
    return (total / 50 - weight / 0.5).abs()


@pytest.mark.parametrize(("encode", "add"), [(encode_LEA2, False), (encode_MAO, True)])
def test_healthy_cells_make_up_for_broken_ones(encode, add):
    accelerator = small(stuck_percentage=0.15, stuck_mode="ideal")
    weight = ternary(12, 15)
    positive = [(0, 0), (0, 20), (0, 40)]
    negative = [(20, 0), (20, 20), (20, 40)]
    found = encode(accelerator, weight, positive, negative)
    error = errors_on_chip(accelerator, weight, (found[0], positive), (found[1], negative), add)
    # Of healthy cells of two states every sum between both ends can be had: in units of the window
    stuck, chip = accelerator.stuck_cells()
    low = high = torch.zeros(12, 15)
    for sign, places in ((1, positive), (-1, negative)):
        for r, c in places:
            read = (chip[r : r + 12, c : c + 15] - 50) / 50
            broken = stuck[r : r + 12, c : c + 15]
            low = low + torch.where(broken, sign * read, min(sign, 0))
            high = high + torch.where(broken, sign * read, max(sign, 0))
    wanted = weight / 0.5 * (1 if add else 3)
    best = torch.maximum(low - wanted, wanted - high).clamp(min=0) / (1 if add else 3)
    torch.testing.assert_close(error, best, rtol=0, atol=1e-5)
    assert float(best.max()) > 0 or add
    # Without broken cells nothing needs to be made up for.
    clean = encode(small(), weight, positive, negative)
    zero = errors_on_chip(small(), weight, (clean[0], positive), (clean[1], negative), add)
    assert float(zero.max()) < 1e-6
    assert set(torch.stack(found[0]).unique().tolist()) == {50.0, 100.0}


def test_copies_hold_what_one_cell_cannot(capsys):
    weight = torch.tensor([[1.0, 1 / 3, -2 / 3]])
    places = [(0, 0), (0, 10), (0, 20)], [(20, 0), (20, 10), (20, 20)]
    positive, negative, *_ = encode_LEA2(small(), weight, *places, log=True)
    found = (torch.stack(positive).mean(0) - torch.stack(negative).mean(0)) / 50
    torch.testing.assert_close(found, weight, rtol=1e-4, atol=1e-4)
    assert "after adjustment" in capsys.readouterr().out
    with pytest.raises(ValueError, match="as many"):
        encode_MAO(small(), weight, [(0, 0)], [])
    assert deployment.weight_encoding.quantize_to_nearest(77.0, 50.0, 50.0, 2) == 100.0
    assert deployment.weight_encoding.quantize_to_nearest(990.0, 50.0, 50.0, 2) == 100.0


# ── converters ───────────────────────────────────────────────────────────────────────────────


def naive_fixed_point(x, bits):
    limit = float(x.abs().max()) or 1.0
    top = 2 ** (bits - 1)
    return torch.clamp(torch.round(x / limit * top), 1 - top, top - 1) / top * limit


@pytest.mark.parametrize("converter", ["DAC_quantize", "ADC_quantize"])
def test_every_vector_has_a_range_of_its_own(converter):
    convert = getattr(small(adc_bits=5, dac_bits=5), converter)
    x = torch.randn(3, 4, 9)
    x[1, 2] *= 100
    x[0, 0] = 0
    x[2, 1] = -x[2, 1].abs()
    found = convert(x)
    for index in np.ndindex(3, 4):
        expected = naive_fixed_point(x[index], 5)
        torch.testing.assert_close(found[index], expected, rtol=1e-5, atol=0.0)
    assert bool((found[0, 0] == 0).all())
    assert torch.equal(convert(x[0, 1]), found[0, 1])
    legacy = getattr(small(adc_bits=5, dac_bits=5, legacy=True), converter)
    torch.testing.assert_close(legacy(x), naive_fixed_point(x, 5))


def test_bit_serial_inputs_are_the_same_sum():
    accelerator = small(input_encoding_scheme="linear", dac_bits=6)
    x = torch.randn(5, 7)
    slices = accelerator.DAC_quantize(x)
    assert len(slices) == 6
    total = sum(2**b * s for b, s in enumerate(slices)) / 63
    limit = x.abs().amax(-1, keepdim=True)
    torch.testing.assert_close(total, (x / limit * 63).round() / 63 * limit)
    accelerator.ADC_quantize = lambda v: v
    model = deployed(Net(nn.Linear(7, 4, bias=False)), accelerator)
    model.model[0].weight.data = ternary(4, 7)
    model.initialize_array_mappings()
    torch.testing.assert_close(model(x), total @ ternary(4, 7).T, rtol=1e-4, atol=1e-5)


def test_daffodil_is_constructed_and_computes():
    board = Daffodil()
    assert (board.g_min, board.g_max, board.read_noise, board.write_noise) == (50, 100, 10, 10)
    volts = torch.linspace(-0.3, 0.3, 101)
    quantised = board.DAC_quantize(volts)
    assert float((quantised - volts).abs().max()) <= 0.5 * 5 / 4096 * 1.001
    torch.testing.assert_close(board.DAC_quantize(-volts), -quantised)
    registers = torch.arange(0, 4096.0)
    assert torch.equal(board.dac_invertvout(board.dac_calcvout(registers)), registers)
    torch.testing.assert_close(
        board.adc_invert_voltage(board.adc_predict_voltage(registers)), registers
    )
    step = 2.5 / 4096 / 500 * 1e6  # µA: a converter's step through the stage's feedback
    current = torch.linspace(-1000, 4000, 301)  # what is between 2.5 V and 0 V, about 2 V
    assert float((board.ADC_quantize(current) - current).abs().max()) <= 0.5 * step * 1.001
    far = board.ADC_quantize(torch.tensor([-1e7, 1e7]))  # clipped, no error
    assert far.tolist() == pytest.approx([-1000.0, 4000.0], rel=1e-3)
    for method, value in (("dac_calcvout", -1.0), ("adc_invert_voltage", 3.0)):
        with pytest.raises(ValueError, match=r"register"):
            getattr(board, method)(torch.tensor([value]))
    assert type(board.to_mho()).__name__ == "Daffodil"
    model = deployed(Net(nn.Linear(400, 10, bias=False)), board)
    model.model[0].weight.data = ternary(10, 400)
    model.initialize_array_mappings()
    x = torch.randn(50, 400)
    found, ideal = model(x), x @ ternary(10, 400).T
    assert float(torch.corrcoef(torch.stack((found.flatten(), ideal.flatten())))[0, 1]) > 0.9


def test_accelerators_of_ones_own():
    @register_accelerator("Mine")
    class Mine(GenericAccelerator):
        def __init__(self):
            super().__init__(50, 100, 0.3, 0, 0, xb_size=(20, 20))

        def DAC_quantize(self, vector):  # noqa: N802
            return vector.sign() * 0.3

        def ADC_quantize(self, vector):  # noqa: N802
            return vector

    assert ACCELERATOR_REGISTRY["Mine"] is Mine
    assert {"Generic", "SimpleFixedPoint", "Daffodil"} <= set(ACCELERATOR_REGISTRY)
    model = deployed(Net(nn.Linear(6, 3, bias=False)), Mine())
    model.model[0].weight.data = ternary(3, 6)
    model.initialize_array_mappings()
    x = torch.randn(4, 6)
    torch.testing.assert_close(model(x), x.sign() @ (ternary(3, 6) / 0.5).T)
    del ACCELERATOR_REGISTRY["Mine"]
    base = GenericAccelerator(50, 100, 0.3, 0, 0, xb_size=(20, 20))  # a chip without converters
    base.map_weights_to_array(ternary(3, 6), pos_idxs=[(0, 0)], neg_idxs=[(5, 0)])
    assert float(base.read_chip(0, 3, 0, 6).max()) == 100
    for method in (base.DAC_quantize, base.ADC_quantize):
        with pytest.raises(NotImplementedError, match="must define"):
            method(x)


# ── models on chips ──────────────────────────────────────────────────────────────────────────


def test_a_deployed_model_computes_what_its_cells_say():
    accelerator = exact(small(stuck_percentage=0.05))
    model = deployed(Net(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)), accelerator)
    for k in (0, 2):
        model.model[k].weight.data = ternary(*model.model[k].weight.shape)
    model.initialize_array_mappings()
    x = torch.randn(6, 20)

    def layer(k, y):
        linear, places = model.model[k], model.get_array_mappings()[k // 2]
        (r, c), (s, d) = places["Gpos"][0], places["Gneg"][0]
        out, inputs = linear.weight.shape
        chip = accelerator._chip
        difference = chip[r : r + out, c : c + inputs] - chip[s : s + out, d : d + inputs]
        return y @ (difference / 50 * 0.5).T + linear.bias

    torch.testing.assert_close(model(x), layer(2, layer(0, x).relu()), rtol=1e-4, atol=1e-4)
    model.xb_eval(enable=False)
    assert not model.xb_forward
    digital = model.model[2](model.model[0](x).relu())
    torch.testing.assert_close(model(x), digital)
    model.xb_eval()
    before = model(x)
    accelerator._chip.mul_(1.1)  # poked: reads follow
    assert not torch.allclose(model(x), before)


@pytest.mark.parametrize("mode", ["avg", "sum", "reduced_avg"])
def test_copies_are_polled(mode):
    accelerator = exact(
        small(
            stuck_percentage=0.1,
            weight_encoding_scheme=encode_LEA1,
            xb_mapping_scheme=partial(map_random, beta=3),
        )
    )
    model = deployed(
        Net(nn.Linear(12, 5, bias=False)),
        accelerator,
        mode,
        additional_args={"alpha": 2, "beta": 3},
    )
    found = model.get_array_mappings()[0]
    masks = model.model[0]._array_mappings
    total = 0
    for sign, side, mask in ((1, "Gpos", "maskpos"), (-1, "Gneg", "maskneg")):
        assert len(found[side]) == 3
        cells = [accelerator._chip[r : r + 5, c : c + 12] for r, c in found[side]]
        share = {
            "avg": torch.full((3, 5), 1 / 3),
            "sum": torch.ones(3, 5),
            "reduced_avg": masks[mask].squeeze(1) / 2,
        }[mode]
        total = total + sign * torch.einsum("ko,koi->oi", share, torch.stack(cells))
    x = torch.randn(4, 12)
    weight = total / 50 * model.model[0].weight.abs().max()
    torch.testing.assert_close(model(x), x @ weight.T, rtol=1e-4, atol=1e-4)


def test_layer_ensembles_help():
    x = torch.randn(40, 30)
    weight = ternary(12, 30)
    error = {}
    for copies, kept in ((1, 1), (3, 2)):
        found = []
        for seed in range(8):
            torch.manual_seed(seed)
            accelerator = small(
                xb_size=(90, 90),
                stuck_percentage=0.1,
                weight_encoding_scheme=encode_LEA1,
                xb_mapping_scheme=partial(map_random, beta=copies),
            )
            model = Net(nn.Linear(30, 12, bias=False))
            model.model[0].weight.data = weight.clone()
            args = {"alpha": kept, "beta": copies}
            model = deployed(model, accelerator, "reduced_avg", additional_args=args)
            found.append(float((model(x) - x @ weight.T).square().mean().sqrt()))
        error[copies] = np.mean(found)
    assert error[3] < 0.7 * error[1]


def test_read_noise_has_the_variance_of_many_cells():
    accelerator = exact(small(xb_size=(100, 500), read_noise=6.0))
    model = deployed(Net(nn.Linear(400, 20, bias=False)), accelerator)
    model.model[0].weight.data = ternary(20, 400)
    model.initialize_array_mappings()
    x = torch.randn(300, 400)
    error = model(x) - x @ ternary(20, 400).T
    assert not torch.equal(model(x), model(x))
    # per output: Σ v² · 2 · a²/3, with v = x · 0.3 · 0.5, divided by (50 · 0.3)²
    expected = x.square().sum(1).sqrt() * 0.5 * (2 * 6.0**2 / 3) ** 0.5 / 50
    ratio = (error / expected[:, None]).flatten()
    assert float(ratio.mean()) == pytest.approx(0.0, abs=5 / len(ratio) ** 0.5)
    assert float(ratio.std()) == pytest.approx(1.0, abs=5 / (2 * len(ratio)) ** 0.5)
    # and the same as reading every cell
    row, col = model.get_array_mappings()[0]["Gpos"][0]
    reads = torch.stack([accelerator.read_chip(row, 20, col, 400) for _ in range(300)])
    assert float(reads.var(0).mean()) == pytest.approx(6.0**2 / 3, rel=0.05)


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_layers_without_positive_weights(sign):
    model = deployed(Net(nn.Linear(6, 3, bias=False)), small())
    weight = torch.full((3, 6), 0.7 * sign)
    model.model[0].weight.data = weight
    model.initialize_array_mappings()
    x = torch.randn(4, 6)
    torch.testing.assert_close(model(x), x @ weight.T, rtol=1e-3, atol=2e-3)
    zeros = model(torch.zeros(2, 6))
    assert torch.equal(zeros, torch.zeros(2, 3))
    error, _ = deployment.compute_error(model)
    assert error[0][0] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"stride": 2, "padding": 1, "dilation": 2}])
def test_convolutions_on_the_crossbar(options):
    layer = nn.Conv2d(4, 6, 3, **options)
    layer.weight.data = ternary(*layer.weight.shape)
    reference = copy.deepcopy(layer)
    accelerator = SimpleFixedPoint(xb_size=(40, 90), adc_bits=20, dac_bits=20)
    model = deployed(Net(layer, nn.ReLU(), nn.Flatten()), accelerator)
    x = torch.randn(3, 4, 9, 8)
    torch.testing.assert_close(model.model[0](x), reference(x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model.model[0](x[0]), reference(x)[0], rtol=1e-3, atol=1e-3)
    assert model(x).shape[0] == 3


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}]
)
def test_recurrent_layers_on_the_crossbar(kind, options):
    layer = kind(5, 4, **options)
    for name, p in layer.named_parameters():
        if name.startswith("weight"):
            p.data = ternary(*p.shape)
    reference = copy.deepcopy(layer)
    accelerator = SimpleFixedPoint(xb_size=(120, 120), adc_bits=20, dac_bits=20)
    model = deployed(Net(layer), accelerator)
    x = torch.randn(3, 6, 5)
    packed = pack_sequence([x[0, :2], x[1], x[2, :4]], enforce_sorted=False)
    for given in (x, x[0], packed):
        found, expected = model(given), reference(given)
        if given is packed:
            found, expected = ((y.data, state) for y, state in (found, expected))
        torch.testing.assert_close(found[0], expected[0], rtol=1e-3, atol=1e-3)
        states = zip(
            found[1] if kind is nn.LSTM else [found[1]],
            expected[1] if kind is nn.LSTM else [expected[1]],
            strict=True,
        )
        for one, other in states:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_deployed_models_have_gradients_of_their_inputs():
    model = deployed(Net(nn.Linear(6, 3)), small())
    x = torch.randn(4, 6, requires_grad=True)
    model(x).sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad.abs().sum()) > 0


def test_deployed_models_are_copied_and_saved():
    model = deployed(Net(nn.Linear(6, 3)), small(xb_size=(20, 20)))
    x = torch.randn(4, 6)
    other = copy.deepcopy(model)
    torch.testing.assert_close(other(x), model(x))
    other.xb_eval(False)
    assert model.xb_forward
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), model(x))


def test_methods_exist_only_with_an_accelerator():
    model = Net(nn.Linear(6, 3))
    xbtorch.initialize(inference_accelerator=small())
    assert hasattr(xbtorch_model(model), "xb_eval")
    xbtorch.initialize()
    patched = xbtorch_model(model)
    assert not hasattr(patched, "xb_eval")
    assert patched is model
    xbtorch.initialize(inference_accelerator=small())
    again = xbtorch_model(model)
    again.xb_eval()
    with pytest.raises(ValueError, match="initialize_array_mappings"):
        again(torch.randn(2, 6))
    with pytest.raises(ValueError, match="output_polling_mode"):
        again.initialize_array_mappings(output_polling_mode="median")
    with pytest.raises(RuntimeError, match="replace_all"):
        xbtorch_model(Nested())


def test_unknown_layers_are_reported(capsys):
    xbtorch.initialize()
    model = xbtorch_model(Net(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout()))
    out = capsys.readouterr().out
    assert "BatchNorm1d" in out
    assert "Dropout" not in out
    assert isinstance(model.model[0], xbtorch.nn.Linear)


# ── models without a chip ────────────────────────────────────────────────────────────────────


def stateless(**options):
    return SimpleFixedPoint(
        **{
            "stateful": False,
            "adc_bits": 16,
            "dac_bits": 16,
            "weight_encoding_args": {"bits": 8, "zero_tol": 0.0},
            **options,
        }
    )


def patched_anywhere(model, accelerator, **options):
    xbtorch.initialize(inference_accelerator=accelerator)
    patched = xbtorch_model(model, replace_all=True, **options)
    patched.xb_eval()
    return patched


def test_layers_anywhere_are_replaced_but_for_excluded_ones():
    model = patched_anywhere(Nested(), stateless(), exclude=["head"])
    assert isinstance(model.body[0], xbtorch.nn.Linear)
    assert type(model.head) is nn.Linear
    x = torch.randn(5, 4)
    reference = copy.deepcopy(model)
    reference.xb_eval(False)
    torch.testing.assert_close(model(x), reference(x), rtol=0, atol=0.05)
    with pytest.raises(ValueError, match="stateless"):
        model.initialize_array_mappings()


def test_programming_noise_is_a_chips_own():
    accelerator = exact(stateless(write_noise=4.0, programming_seed=90))
    model = patched_anywhere(Nested(), accelerator)
    model.head.weight.data = torch.randn(3, 4)
    layers = [m for m in model.modules() if hasattr(m, "_xb_programming_seed")]
    assert [m._xb_programming_seed for m in layers] == [90, 91]
    x = torch.randn(5, 4)
    state = torch.get_rng_state()
    first = model(x)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, model(x))
    model.reprogram_xb(7)
    other = model(x)
    assert not torch.equal(first, other)
    model.reprogram_xb(90)
    assert torch.equal(first, model(x))
    arrays = [
        accelerator.map_weights_to_array_stateless(torch.ones(4, 4), programming_seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(arrays[0][0][0], arrays[1][0][0])
    assert not torch.equal(arrays[0][0][0], arrays[2][0][0])
    with torch.no_grad():
        model.head.weight.data.mul_(-1.0)  # in place: reads follow
    assert not torch.equal(first, model(x))


def test_noise_of_reading_and_drift_without_a_chip():
    accelerator = exact(stateless(read_noise=5.0))
    model = patched_anywhere(Nested(), accelerator)
    x = torch.randn(5, 4)
    assert not torch.equal(model(x), model(x))
    accelerator.read_noise = 0
    fresh = model(x)
    accelerator.drift_coefficient, accelerator.retention_time = 0.2, 1e3
    assert not torch.allclose(model(x), fresh)
    cells = torch.full((3, 4), 80.0)
    torch.testing.assert_close(accelerator.read_chip_stateless(cells), cells * 1e3**-0.2)


def test_no_two_arrays_without_a_chip_drift_alike():
    """Polarities, and layers of one shape, are cells of their own."""
    torch.manual_seed(0)
    digital = nn.Sequential(nn.Linear(40, 40, bias=False), nn.Linear(40, 40, bias=False))
    accelerator = stateless(retention_time=10.0, drift_coefficient=0.05, drift_variation=0.02)
    model = patched_anywhere(digital, accelerator)
    with torch.no_grad():
        for layer in model:
            layer.weight.zero_()[0, 0] = 1.0  # pairs of (g_min, g_min), but for one
    first, second = (layer._xb_read("weight")[1:] for layer in model)
    assert not torch.equal(first, second)
    # g_min (t/t0)^-ν: the difference of two cells has the deviation g_min ln(10) σ √2, nearly.
    g_min, count = float(accelerator.g_min), first.numel()
    expected = g_min * 10**-0.05 * math.log(10.0) * 0.02 * math.sqrt(2.0)
    for found in (first, second):
        assert abs(float(found.std()) / expected - 1.0) < 5.0 / math.sqrt(2.0 * count) + 0.01
    together = torch.stack((first.flatten(), second.flatten()))
    assert abs(float(torch.corrcoef(together)[0, 1])) < 5.0 / math.sqrt(count)
    assert torch.equal(first, model[0]._xb_read("weight")[1:])


def test_scale_is_the_largest_magnitude():
    model = Nested()
    model.body = nn.Identity()
    model.head = nn.Linear(2, 1, bias=False)
    model.head.weight.data = torch.tensor([[-2.0, 1.0]])
    accelerator = stateless(weight_encoding_args={"bits": 2, "zero_tol": 0.0})
    model = patched_anywhere(model, accelerator)
    # two bits: 1/2 becomes 2/3, so the weights are -2 and 4/3
    torch.testing.assert_close(model(torch.ones(1, 2)), torch.tensor([[-2 / 3]]), rtol=0, atol=1e-3)


# ── metrics, committees, correction ──────────────────────────────────────────────────────────


def test_mapping_errors():
    accelerator = exact(small(stuck_percentage=0.1))
    model = deployed(Net(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)), accelerator)
    for k in (0, 2):
        model.model[k].weight.data = ternary(*model.model[k].weight.shape)
    model.initialize_array_mappings()
    errors, matrices = deployment.compute_error(model)
    assert len(errors) == len(matrices) == 2
    for error, [[mapped, ideal]] in zip(errors, matrices, strict=True):
        expected = 100 * np.linalg.norm(mapped - ideal) / np.linalg.norm(ideal)
        assert error[0] == pytest.approx(expected)
    places = model.get_array_mappings()[0]
    weight = model.model[0].weight.data
    found, _ = metrics.error_mapping(accelerator, weight, places["Gpos"], places["Gneg"])
    assert found[0] == pytest.approx(errors[0][0], rel=1e-5)
    ones = np.full((2, 2), 100.0)
    found, [[mapped, _]] = metrics.error_mapping(
        accelerator, torch.ones(2, 2), pos_matrices=[ones], neg_matrices=[ones / 2]
    )
    assert found[0] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(mapped, 1.0)
    for options, largest in (({}, 1e-3), ({"write_noise": 5.0}, 100.0)):  # without a chip, too
        free = patched_anywhere(Net(nn.Linear(20, 8)), stateless(**options))
        [[error]], [[[mapped, ideal]]] = deployment.compute_error(free)
        assert 0 < error < max(largest, 1.0)
        assert mapped.shape == ideal.shape == (8, 20)


def test_committees():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(50, 1, 2, 3, generator=source)
    y = torch.arange(50) % 3
    members = [nn.Linear(6, 3) for _ in range(3)]
    data = [(x[:20], y[:20]), (x[20:], y[20:])]
    mean = sum(m(x.flatten(1)) for m in members) / 3
    expected = 100 * float((mean.argmax(1) == y).double().mean())
    assert deployment.test_committee(data, members, "cpu") == pytest.approx(expected)
    alone = 100 * float((members[0](x.flatten(1)).argmax(1) == y).double().mean())
    assert deployment.test_committee(data, [members[0]], "cpu") == pytest.approx(alone)
    assert deployment.test_committee(data, members[0], "cpu") == pytest.approx(alone)
    assert deployment.test_committee(data, nn.Sequential(members[0]), "cpu") == alone
    with pytest.raises(ValueError, match="at least one"):
        deployment.test_committee(data, [], "cpu")
    images = nn.Sequential(nn.Conv2d(1, 3, (2, 3)), nn.Flatten())
    assert 0 <= deployment.test_committee(data, images, "cpu") <= 100


def test_codewords():
    confusion = np.array([[50, 9, 0, 1], [8, 50, 1, 0], [0, 1, 50, 0], [0, 0, 2, 50]])
    numbers, code = correction.dnn_favorable_searching_code(confusion, 8)
    assert sorted(numbers) == [0, 1, 2, 3]
    apart = (code[:, None] != code[None]).sum(-1) + 99 * torch.eye(4, dtype=torch.int64)
    assert int(apart.min()) >= 3
    for k, number in numbers.items():
        assert f"{number:08b}" == "".join(str(int(b)) for b in code[k])
    wrong = code.clone()
    wrong[:, 5] = 1 - wrong[:, 5]  # one wrong bit does no harm
    assert correction.variable_length_decode(wrong * 0.8 + 0.1, code).tolist() == [0, 1, 2, 3]


def test_collaborative_classifiers_learn():
    source = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(4, 6, generator=source)
    y = torch.arange(240) % 4
    x = centres[y] + torch.randn(240, 6, generator=source)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 40, shuffle=True)
    xbtorch.initialize()
    model = xbtorch_model(Net(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)))
    _, code = correction.dnn_favorable_searching_code(np.ones((4, 4)), 7)
    correction.add_collaborative_logistic_classifiers(model, 7, idx=-1)
    assert model.collaborative_classifier is model.model[-1]
    assert model.collaborative_classifier.significance.shape == (7,)
    loss = correction.CollaborativeLoss(code, model)
    output = torch.tensor([[0.9, 0.2, 0.8, 0.3, 0.6, 0.7, 0.1]])
    entropy = nn.functional.binary_cross_entropy(output, code[:1])
    apart = float(((output > 0.5) != (code[:1] > 0.5)).sum())
    assert float(loss(output, torch.tensor([0]))) == pytest.approx(
        0.9 * float(entropy) + 0.1 * apart, rel=1e-5
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(15):
        deployment.train_collaborative(model, loader, optimizer, loss, code, "cpu")
    assert deployment.test_collaborative(model, loader, code, "cpu") > 0.9
    with pytest.raises(ValueError, match="list of layers"):
        correction.add_collaborative_logistic_classifiers(nn.Linear(2, 2), 7)


def test_choosing_cells():
    source = torch.Generator().manual_seed(0)
    for count in (0, 1, 37, 100):
        chosen = _cells.choose(100, count, source)
        assert len(chosen.unique()) == len(chosen) == count
    counts = torch.zeros(50)
    for _ in range(400):
        counts[_cells.choose(50, 10, source)] += 1
    assert float((counts - 80).abs().max()) < 5 * (400 * 0.2 * 0.8) ** 0.5
