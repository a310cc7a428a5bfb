"""Tiles against plain matrix products, passive crossbars against Kirchhoff's laws written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.crossbar.Passive import solve_passive
from mho.compat.memtorch.bh.crossbar.Tile import (
    Tile,
    gen_tiles,
    tile_matmul,
    tile_matmul_row,
    tiled_inference,
)
from mho.compat.memtorch.bh.Quantize import quant_methods, quantize


def kirchhoff(g, word, bit, r_source, r_line):
    """Node voltages of a crossbar by dense nodal analysis: ``(currents, cell voltages)``."""
    m, n = g.shape
    matrix, driven = np.zeros((2 * m * n, 2 * m * n)), np.zeros(2 * m * n)

    def top(i, j):
        return i * n + j

    def bottom(i, j):
        return m * n + i * n + j

    def join(a, b, conductance):
        matrix[a, a] += conductance
        matrix[b, b] += conductance
        matrix[a, b] -= conductance
        matrix[b, a] -= conductance

    for i in range(m):
        for j in range(n):
            join(top(i, j), bottom(i, j), g[i, j])
            if j + 1 < n:
                join(top(i, j), top(i, j + 1), 1 / r_line)
            if i + 1 < m:
                join(bottom(i, j), bottom(i + 1, j), 1 / r_line)
        matrix[top(i, 0), top(i, 0)] += 1 / r_source
        driven[top(i, 0)] += word[i] / r_source
    for j in range(n):
        matrix[bottom(m - 1, j), bottom(m - 1, j)] += 1 / r_source
        driven[bottom(m - 1, j)] += bit[j] / r_source
    v = np.linalg.solve(matrix, driven)
    cells = (v[: m * n] - v[m * n :]).reshape(m, n)
    return (cells * g).sum(0), cells


def conductances(*shape):
    return 1 / torch.empty(*shape, dtype=torch.float64).uniform_(1e3, 1e5)


sides = st.integers(1, 9)


@given(rows=st.integers(1, 20), columns=st.integers(1, 20), high=sides, wide=sides)
def test_tiles_hold_the_matrix_and_zeros(rows, columns, high, wide):
    matrix = torch.rand(rows, columns)
    tiles, numbers = gen_tiles(matrix, (high, wide))
    shape = math.ceil(rows / high), math.ceil(columns / wide)
    assert tiles.shape == (shape[0] * shape[1], high, wide)
    assert numbers.shape == shape
    for i in range(shape[0]):
        for j in range(shape[1]):
            piece = matrix[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
            expected = torch.zeros(high, wide)
            expected[: piece.shape[0], : piece.shape[1]] = piece
            assert torch.equal(tiles[int(numbers[i][j])], expected)


@given(patches=st.integers(1, 6), features=st.integers(1, 20), high=sides, wide=sides)
def test_input_tiles_run_along_the_rows(patches, features, high, wide):
    matrix = torch.rand(patches, features)
    tiles, numbers = gen_tiles(matrix, (high, wide), input=True)
    count = math.ceil(features / high)
    assert tiles.shape == (count, patches, high)
    assert numbers.shape == (count,)
    whole = torch.cat([tiles[int(k)] for k in numbers], dim=1)
    assert torch.equal(whole[:, :features], matrix)
    assert not whole[:, features:].any()


@given(
    patches=st.integers(1, 5),
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    high=sides,
    wide=sides,
    bindings=st.booleans(),
)
def test_tiled_products_are_products(patches, rows, columns, high, wide, bindings):
    a, b = torch.randn(patches, rows).double(), torch.randn(rows, columns).double()
    at, am = gen_tiles(a, (high, wide), input=True, use_bindings=bindings)
    bt, bm = gen_tiles(b, (high, wide), use_bindings=bindings)
    found = tile_matmul(at, am, a.shape, bt, bm, b.shape, use_bindings=bindings)
    torch.testing.assert_close(found, a @ b)
    assert found.shape == (patches, columns)
    row = tile_matmul_row(at[:, 0], am, bt, bm, b.shape)
    torch.testing.assert_close(row, (a @ b)[0])


@pytest.mark.parametrize("method", quant_methods)
def test_every_tile_and_row_is_converted_by_itself(method):
    a, b = torch.randn(3, 10).double(), torch.randn(10, 7).double()
    at, am = gen_tiles(a, (4, 3), input=True)
    bt, bm = gen_tiles(b, (4, 3))
    found = tile_matmul(
        at, am, a.shape, bt, bm, b.shape,
        ADC_resolution=4, ADC_overflow_rate=0.1, quant_method=method,
    )  # fmt: skip
    expected = torch.zeros(3, 7).double()
    for row in range(3):
        for i in range(3):
            for j in range(3):
                currents = (at[i, row] @ bt[int(bm[i, j])])[: 7 - 3 * j]
                converted = quantize(currents, 4, overflow_rate=0.1, quant_method=method)
                expected[row, j * 3 : j * 3 + 3] += converted
    torch.testing.assert_close(found, expected)


def test_one_sample_does_not_change_anothers_conversion():
    a, b = torch.randn(2, 10), torch.randn(10, 7)
    bt, bm = gen_tiles(b, (4, 3))

    def read(inputs):
        at, am = gen_tiles(inputs, (4, 3), input=True)
        return tile_matmul(
            at, am, inputs.shape, bt, bm, b.shape, ADC_resolution=5, quant_method="linear"
        )

    torch.testing.assert_close(read(a)[:1], read(a[:1]))


@pytest.mark.parametrize("r_source", [0.5, 20.0])
@pytest.mark.parametrize("r_line", [0.2, 5.0])
def test_passive_crossbars_obey_kirchhoff(r_source, r_line):
    g = conductances(6, 5)
    word, bit = torch.randn(3, 6).double(), torch.randn(3, 5).double()
    currents = solve_passive(g, word, bit, r_source, r_line, n_input_batches=3)
    voltages = solve_passive(
        g, word, bit, r_source, r_line, n_input_batches=3, det_readout_currents=False
    )
    for k in range(3):
        expected = kirchhoff(g.numpy(), word[k].numpy(), bit[k].numpy(), r_source, r_line)
        np.testing.assert_allclose(currents[k], expected[0], rtol=1e-9)
        np.testing.assert_allclose(voltages[k], expected[1], rtol=1e-9, atol=1e-12)
        one = solve_passive(g, word[k], bit[k], r_source, r_line)
        np.testing.assert_allclose(one, expected[0], rtol=1e-9)


def test_zero_resistances_are_exact():
    g, word = conductances(6, 5), torch.randn(6).double()
    zero = torch.zeros(5)
    torch.testing.assert_close(
        solve_passive(g, word, zero, 0.0, 0.0), word @ g, rtol=1e-6, atol=0.0
    )
    for r_source, r_line in ((0.0, 2.0), (2.0, 0.0)):
        near = kirchhoff(
            g.numpy(), word.numpy(), zero.numpy(), max(r_source, 1e-7), max(r_line, 1e-7)
        )
        found = solve_passive(g, word, zero, r_source, r_line)
        np.testing.assert_allclose(found, near[0], rtol=1e-6)


def test_differences_of_arrays_are_refused():
    g = conductances(4, 3) - conductances(4, 3)
    with pytest.raises(AssertionError, match="difference"):
        solve_passive(g, torch.zeros(4), torch.zeros(3), 1.0, 1.0)


class Layer:
    """As much of a double-column layer as tiled inference asks for."""

    def __init__(self, positive, negative, tile_shape, quant_method=None):
        self.tile_shape, self.quant_method = tile_shape, quant_method
        self.source_resistance, self.line_resistance = 3.0, 1.5
        self.ADC_resolution, self.ADC_overflow_rate = 6, 0.0
        self.crossbars = [Stored(g, tile_shape) for g in (positive, negative)]

    def crossbar_operation(self, crossbars, operation):
        return operation(crossbars[0]) - operation(crossbars[1])


class Stored:
    def __init__(self, g, tile_shape):
        self.rows, self.columns = g.shape
        self.conductance_matrix, self.tiles_map = gen_tiles(g, tile_shape)


def test_passive_layers_solve_two_arrays_not_their_difference():
    positive, negative = conductances(8, 6), conductances(8, 6)
    layer = Layer(positive, negative, (4, 3))
    v = torch.randn(2, 8).double()
    expected = np.zeros((2, 6))
    for k in range(2):
        for i in range(0, 8, 4):
            for j in range(0, 6, 3):
                for sign, g in ((1, positive), (-1, negative)):
                    tile = g[i : i + 4, j : j + 3].numpy()
                    found = kirchhoff(tile, v[k, i : i + 4].numpy(), np.zeros(3), 3.0, 1.5)[0]
                    expected[k, j : j + 3] += sign * found
    np.testing.assert_allclose(tiled_inference(v, layer, transistor=False), expected, rtol=1e-9)
    ideal = tiled_inference(v, layer, transistor=True)
    torch.testing.assert_close(ideal, v @ (positive - negative))


def memristive(tile_shape, **kwargs):
    digital = torch.nn.Linear(10, 7)
    params = {"r_on": 1e3, "r_off": 1e5}
    layer = memtorch.mn.Linear(
        digital, memtorch.bh.memristor.VTEAM, params, tile_shape=tile_shape, verbose=False, **kwargs
    )
    layer.forward_legacy_enabled = False
    return layer


@pytest.mark.parametrize("tile_shape", [None, (6, 4)])
@pytest.mark.parametrize(("r_source", "r_line"), [(2.0, 1.0), (0.0, 1.0), (2.0, 0.0), (0.0, 0.0)])
def test_passive_layers_read_both_arrays_at_any_resistance(tile_shape, r_source, r_line):
    layer = memristive(
        tile_shape, transistor=False, source_resistance=r_source, line_resistance=r_line
    )
    v = torch.randn(3, 10)
    found = (layer(v) - layer.bias).double().numpy()
    expected = np.zeros((3, 7))
    height, width = tile_shape or (10, 7)
    for sign, crossbar in zip((1, -1), layer.crossbars, strict=True):
        whole = crossbar.conductance_matrix.double()
        for i in range(0, 10, height):
            for j in range(0, 7, width):
                number = (
                    0 if tile_shape is None else int(crossbar.tiles_map[i // height, j // width])
                )
                tile = (whole if tile_shape is None else whole[number]).numpy()
                for k in range(3):
                    word = np.zeros(height)
                    part = v[k, i : i + height].double().numpy()
                    word[: len(part)] = part
                    lines = max(r_source, 1e-7), max(r_line, 1e-7)
                    currents = kirchhoff(tile, word, np.zeros(width), *lines)[0]
                    expected[k, j : j + width] += sign * currents[: 7 - j]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("method", [*quant_methods, None])
def test_tiled_inference_is_what_a_layer_does(method):
    bits = None if method is None else 5
    layer = memristive((6, 4), ADC_resolution=bits, quant_method=method)
    v = torch.randn(3, 10)
    found = tiled_inference(v, layer, transistor=True)
    torch.testing.assert_close(found, layer(v) - layer.bias, rtol=1e-3, atol=1e-6)


def test_tile_matmul_of_passive_tiles():
    g, v = conductances(4, 3), torch.randn(2, 4).double()
    vt, vm = gen_tiles(v, (4, 3), input=True)
    gt, gm = gen_tiles(g, (4, 3))
    found = tile_matmul(vt, vm, v.shape, gt, gm, g.shape, 3.0, 1.5, transistor=False)
    for k in range(2):
        expected = kirchhoff(g.numpy(), v[k].numpy(), np.zeros(3), 3.0, 1.5)[0]
        np.testing.assert_allclose(found[k], expected, rtol=1e-9)
    with pytest.raises(ValueError, match="source_resistance"):
        tile_matmul(vt, vm, v.shape, gt, gm, g.shape, transistor=False)


def test_a_tile_takes_arrays():
    tile = Tile((4, 3))
    assert tile.array.shape == (4, 3)
    tile.update_array(torch.ones(2, 2))
    assert tile.array.sum() == 4
    tile.update_array(np.full((3, 1), 2.0))
    assert tile.array[0].tolist() == [2.0, 1.0, 0.0]
    patches = Tile((4, 3), patch_num=5)
    assert patches.array.shape == (5, 4)
    patches.update_array(torch.ones(5, 4))
    assert patches.array.sum() == 20
    with pytest.raises(ValueError, match="fit"):
        tile.update_array(torch.ones(5, 3))


def test_shapes_that_do_not_fit_are_refused():
    at, am = gen_tiles(torch.rand(2, 8), (4, 3), input=True)
    bt, bm = gen_tiles(torch.rand(8, 6), (4, 3))
    with pytest.raises(AssertionError, match="tiles"):
        tile_matmul(at[0], am, (2, 8), bt, bm, (8, 6))
    with pytest.raises(AssertionError, match="product"):
        tile_matmul(at, am, (2, 8), bt, bm, (7, 6))
    with pytest.raises(AssertionError, match="maps"):
        tile_matmul(at, am[:1], (2, 8), bt, bm, (8, 6))
    with pytest.raises(AssertionError, match="ADC_resolution"):
        tile_matmul(at, am, (2, 8), bt, bm, (8, 6), quant_method="linear", ADC_resolution=0)
    with pytest.raises(AssertionError, match="tile_shape"):
        gen_tiles(torch.rand(2, 8), (0, 3))


@pytest.mark.parametrize("tile_shape", [None, (8, 4), (32, 16)])
@pytest.mark.parametrize("scheme", list(memtorch.bh.Scheme))
def test_reads_in_place_are_those_that_keep_gradients(tile_shape, scheme):
    """Shorter last tiles included: 21 rows and 10 columns."""
    torch.manual_seed(0)
    layer = memtorch.mn.Linear(
        torch.nn.Linear(21, 10),
        memtorch.bh.memristor.VTEAM,
        {},
        scheme=scheme,
        tile_shape=tile_shape,
        ADC_resolution=5,
        quant_method="linear",
        verbose=False,
    )
    x = torch.randn(7, 21)
    with torch.no_grad():
        found = layer(x)
    x.requires_grad_()
    graded = layer(x)
    assert torch.equal(found, graded.detach())
    graded.sum().backward()
    assert bool((x.grad != 0).all())
