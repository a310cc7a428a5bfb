"""Converters and level grids against formulas written out in numpy."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.compat.memtorch.bh.crossbar.Tile import gen_tiles, tile_matmul
from mho.compat.memtorch.bh.Quantize import quant_methods, quantize

currents = torch.randn(40, 7) * 1e-4


def test_the_methods_are_those_documented():
    assert quant_methods == ["linear", "log", "log_minmax", "minmax", "tanh"]


@pytest.mark.parametrize("bits", [2, 4, 8, 10])
@pytest.mark.parametrize("overflow_rate", [0.0, 0.01, 0.3, 1.0])
def test_linear_is_fixed_point_of_a_power_of_two(bits, overflow_rate):
    x = torch.randn(13, 11, dtype=torch.float64)
    sizes = np.sort(np.abs(x.numpy()).ravel())[::-1]
    largest = sizes[min(int(overflow_rate * sizes.size + 0.5), sizes.size - 1)]
    step = 2.0 ** (1 - bits + math.ceil(math.log2(largest)))
    levels = np.clip(np.floor(x.numpy() / step + 0.5), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    found = quantize(x, bits, overflow_rate=overflow_rate, quant_method="linear")
    np.testing.assert_allclose(found.numpy(), levels * step, rtol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5, 100])
def test_levels_are_the_nearest_of_a_linspace(count):
    x = torch.rand(30, 4, dtype=torch.float64) * 3 - 1
    levels = np.linspace(x.min().item(), x.max().item(), count)
    nearest = levels[np.abs(x.numpy()[..., None] - levels).argmin(-1)]
    np.testing.assert_allclose(quantize(x, count).numpy(), nearest, rtol=1e-12, atol=1e-12)


def test_levels_between_given_bounds_per_element():
    x = torch.rand(50, dtype=torch.float64)
    low, high = torch.rand(50, dtype=torch.float64) * 0.3, 0.6 + torch.rand(50).double() * 0.3
    found = quantize(x, 4, min=low, max=high)
    for k in range(50):
        levels = np.linspace(low[k].item(), high[k].item(), 4)
        assert found[k] == pytest.approx(levels[np.abs(levels - float(x[k])).argmin()], rel=1e-12)


def test_integer_bounds_and_clipping():
    x = torch.tensor([-3.0, 0.2, 0.9, 7.0])
    assert quantize(x, 2, min=0, max=1).tolist() == [0.0, 0.0, 1.0, 1.0]
    found = quantize(x, 8, quant_method="linear", min=-1, max=1)
    assert found.min() == -1.0
    assert found.max() == pytest.approx(1.0, abs=2**-7)


def test_one_level_is_the_mean():
    x = torch.rand(20)
    assert torch.allclose(quantize(x, 1), x.mean().expand(20))


@pytest.mark.parametrize("method", quant_methods)
def test_every_method_nears_its_input_with_more_bits(method):
    # Companding in the logarithm resolves three decades below full scale.
    x = currents[currents.abs() > 2e-3 * currents.abs().max()]
    errors = []
    for bits in (3, 6, 9, 12):
        found = quantize(x, bits, quant_method=method)
        errors.append(float((found - x).norm() / x.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("method", quant_methods)
@pytest.mark.parametrize("bits", [1, 2, 8])
@given(exponent=st.integers(-20, 3))
def test_units_do_not_matter(method, bits, exponent):
    # The logarithm of amperes has no meaning: the old converter took it, and returned signs.
    x = torch.tensor([-1.3, -0.4, 0.0, 0.06, 0.7, 1.1], dtype=torch.float64)
    scaled = quantize(x * 2.0**exponent, bits, quant_method=method)
    plain = quantize(x, bits, quant_method=method)
    torch.testing.assert_close(scaled, plain * 2.0**exponent, rtol=1e-9, atol=0.0)


def test_the_log_converter_returns_currents_not_signs():
    found = quantize(currents, 8, quant_method="log")
    assert found.abs().max() == pytest.approx(float(currents.abs().max()), rel=1e-3)
    assert len(found.unique()) > 50
    big = currents.abs() > 2e-3 * currents.abs().max()
    # 126 magnitudes over three decades: half a step is 2.8 %.
    relative = ((found - currents) / currents)[big].abs()
    assert relative.max() < 0.029


@pytest.mark.parametrize("method", quant_methods)
def test_one_bit_is_two_values(method):
    found = quantize(currents, 1, quant_method=method)
    assert len(found.unique()) == 2
    peak = float(currents.abs().max())
    if method == "minmax":
        ends = [float(currents.min()), float(currents.max())]
        assert found.unique().tolist() == pytest.approx(ends, rel=1e-5)
    else:
        assert found.unique().tolist() == pytest.approx([-peak, peak], rel=1e-5)
        assert torch.equal(found < 0, currents < 0)


def test_one_bit_converters_in_tiles_do_not_raise():
    a, b = torch.rand(3, 20), torch.rand(20, 9)
    at, am = gen_tiles(a, (8, 4), input=True)
    bt, bm = gen_tiles(b, (8, 4))
    for method in quant_methods:
        found = tile_matmul(at, am, a.shape, bt, bm, b.shape, ADC_resolution=1, quant_method=method)
        assert torch.isfinite(found).all()
        assert found.shape == (3, 9)


def test_the_original_is_left_or_overwritten():
    x = torch.rand(6, 6)
    before = copy.deepcopy(x)
    for method in [*quant_methods, None]:
        quantize(x, 3, quant_method=method)
        assert torch.equal(x, before)
    found = quantize(x, 3, quant_method="linear", override_original=True)
    assert found is x
    assert not torch.equal(x, before)


def test_a_constant_and_a_zero_tensor():
    for method in quant_methods:
        assert not quantize(torch.zeros(5), 8, quant_method=method).any()
    assert torch.equal(quantize(torch.full((5,), 0.3), 7), torch.full((5,), 0.3))
    assert torch.allclose(
        quantize(torch.full((5,), 0.3), 8, quant_method="minmax"), torch.tensor(0.3)
    )
    # 0.3 is 76.8 steps of 2^-8: constants are converted like anything else.
    found = quantize(torch.full((5,), 0.3), 8, quant_method="linear")
    assert torch.equal(found, torch.full((5,), 77 / 256))


def test_numbers_of_numpy_are_numbers():
    x = torch.rand(9)
    for method in ("linear", None):
        found = quantize(x, np.int64(5), quant_method=method)
        assert torch.equal(found, quantize(x, 5, quant_method=method))


def test_gradients_pass_straight_through():
    x = torch.rand(9, requires_grad=True)
    quantize(x, 8, quant_method="minmax").sum().backward()
    assert torch.equal(x.grad, torch.ones(9))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"quant": 0}, "quant"),
        ({"quant": 2.5}, "quant"),
        ({"quant": 4, "overflow_rate": 1.5}, "overflow_rate"),
        ({"quant": 4, "quant_method": "cubic"}, "quant_method"),
        ({"quant": 4, "min": torch.zeros(3)}, "min"),
    ],
)
def test_refusals_are_both_kinds_of_errors(arguments, named):
    for kind in (ValueError, AssertionError):
        with pytest.raises(kind, match=named):
            quantize(torch.rand(4), **arguments)
    for wrong in ([1.0, 2.0], torch.ones(3, dtype=torch.complex64)):
        with pytest.raises(TypeError, match="tensor"):
            quantize(wrong, 4)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool])
@pytest.mark.parametrize("method", [*quant_methods, None])
def test_whole_numbers_become_floating_point(dtype, method):
    x = torch.tensor([0, 1, 1, 0, 3, 9, 7]).to(dtype)
    found = quantize(x, 3, quant_method=method)
    assert found.dtype == torch.get_default_dtype()
    assert torch.equal(found, quantize(x.float(), 3, quant_method=method))
    with pytest.raises(TypeError, match="override_original"):
        quantize(x, 3, quant_method=method, override_original=True)


def test_numpys_arrays_and_numbers():
    values = np.random.default_rng(0).normal(size=(4, 3))
    x = torch.from_numpy(values)
    arguments = {"overflow_rate": np.float32(0.25), "min": np.float64(-1), "max": np.array(0.5)}
    for method in (*quant_methods, None):
        plain = quantize(x, 4, 0.25, method, -1.0, 0.5)
        assert torch.equal(quantize(values, np.int32(4), quant_method=method, **arguments), plain)
    bounds = np.full((4, 3), 0.5)
    assert torch.equal(quantize(values, 4, max=bounds), quantize(x, 4, max=0.5))
    written = values.copy()
    found = quantize(written, 4, quant_method="linear", override_original=True)
    assert np.array_equal(written, found.numpy())
    for none in (np.nan, np.inf, torch.tensor(float("nan"))):
        assert torch.equal(quantize(x, 4, max=none), quantize(x, 4))


def test_halves_become_the_upper_level():
    # floor(x / step + 1/2), where the step is 1 for three bits and a full scale of 4.
    x = torch.tensor([-4.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    wanted = [-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    assert quantize(x, 3, quant_method="linear").tolist() == wanted
    assert quantize(x, 9, min=-4, max=4).tolist() == wanted
    eight = torch.tensor([0.0, 0.5, 1.5, 2.5, 7.0])
    assert quantize(eight, 3, quant_method="minmax").tolist() == [0.0, 1.0, 2.0, 3.0, 7.0]
    # and in the tiles of a layer, whose currents are converted in place
    inputs, cells = torch.eye(7).unsqueeze(0), x.view(1, 7, 1).expand(1, 7, 2).contiguous()
    cells = torch.stack((cells[0, :, 0], torch.full((7,), 4.0)), -1)[None]
    maps = torch.zeros(1), torch.zeros(1, 1)
    found = tile_matmul(
        inputs, maps[0], (7, 7), cells, maps[1], (7, 2), ADC_resolution=3, quant_method="linear"
    )
    assert found[:, 0].tolist() == wanted


def test_zero_is_a_bound_like_any_other():
    x = torch.tensor([-2.0, 0.1, 2.0])
    assert quantize(x, 4, quant_method="linear", min=0.0).tolist() == [0.0, 0.0, 1.75]
    assert quantize(x, 3, min=0.0).tolist() == [0.0, 0.0, 2.0]
    assert quantize(x, 1, quant_method="linear").tolist() == [-2.0, 2.0, 2.0]
    assert quantize(torch.zeros(2), 1, quant_method="linear", max=3.0).tolist() == [3.0, 3.0]
