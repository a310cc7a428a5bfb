"""MemTorch's crossbars on mho: tensors, live views of them, reads, users' own devices."""

import copy
import pickle

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.crossbar.Crossbar import (
    Crossbar,
    Scheme,
    init_crossbar,
    simulate_matmul,
)
from mho.compat.memtorch.bh.crossbar.Program import naive_program
from mho.compat.memtorch.bh.Quantize import quantize
from mho.compat.memtorch.map.Parameter import naive_map

VTEAM, DataDriven = memtorch.bh.memristor.VTEAM, memtorch.bh.memristor.Data_Driven
Normal = torch.distributions.Normal


class Ohmic(memtorch.bh.memristor.Memristor):
    """A user's own device, written as MemTorch asks: a resistor that remembers nothing."""

    reads = 0

    def __init__(self, r_off=1e4, r_on=1e2, time_series_resolution=1e-3, bend=0.0, **kwargs):
        args = memtorch.bh.unpack_parameters(locals())
        super().__init__(args.r_off, args.r_on, args.time_series_resolution, 0, 0)
        self.g, self.bend = 1 / self.r_on, args.bend

    def simulate(self, voltage_signal, return_current=False):
        currents = [self.g * (float(v) + self.bend * float(v) ** 3) for v in voltage_signal]
        self.g *= 1.01  # reads of the old system moved devices
        return np.array(currents) if return_current else None

    def set_conductance(self, conductance):
        self.g = min(max(conductance, 1 / self.r_off), 1 / self.r_on)


def whole(crossbar):
    """The matrix behind tiles, by hand."""
    if crossbar.tile_shape is None:
        return crossbar.conductance_matrix
    (height, width), (high, wide) = crossbar.tile_shape, crossbar.tiles_map.shape
    out = torch.zeros(high * height, wide * width)
    for i in range(high):
        for j in range(wide):
            tile = crossbar.conductance_matrix[int(crossbar.tiles_map[i, j])]
            out[i * height : (i + 1) * height, j * width : (j + 1) * width] = tile
    return out[: crossbar.rows, : crossbar.columns]


@pytest.mark.parametrize("tile_shape", [None, (4, 4), (3, 5), (128, 128)])
@pytest.mark.parametrize("shape", [(6, 10), (6, 2, 5), (6, 5, 1, 2), (6, 5, 2, 1, 1)])
def test_writes_put_outputs_in_columns_within_the_window(shape, tile_shape):
    torch.manual_seed(0)
    crossbar = Crossbar(VTEAM, {"r_on": 1e2, "r_off": 1e4}, shape, tile_shape)
    g = torch.empty(shape).uniform_(1e-5, 2e-2)
    crossbar.write_conductance_matrix(g)
    assert (crossbar.rows, crossbar.columns) == (10, 6)
    expected = g.reshape(6, 10).T.clamp(1e-4, 1e-2)
    torch.testing.assert_close(whole(crossbar), expected, rtol=1e-6, atol=0)
    assert int(crossbar.used.sum()) == 60
    assert float(crossbar.conductance_matrix[~crossbar.used].abs().sum()) == 0.0
    assert crossbar.max_abs_conductance == crossbar.conductance_matrix.max()


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_devices_are_live_views(tile_shape):
    torch.manual_seed(0)
    crossbar = Crossbar(VTEAM, {"r_on": 1e2, "r_off": 1e4}, (6, 10), tile_shape)
    crossbar.write_conductance_matrix(torch.empty(6, 10).uniform_(1e-4, 1e-2))
    index = (2, 1) if tile_shape is None else (3, 1, 2)
    device = crossbar.devices[index]
    chained = crossbar.devices
    for i in index:
        chained = chained[i]
    assert isinstance(device, VTEAM)
    device.set_conductance(5e-4)
    assert crossbar.conductance_matrix[index] == pytest.approx(5e-4)
    assert chained.g == device.g == 5e-4  # exact, beside the tensor in single precision
    crossbar.conductance_matrix[index] = 7e-4
    assert device.g == pytest.approx(7e-4)
    crossbar.update(from_devices=True, parallelize=True)
    crossbar.update(from_devices=False)
    assert device.g == pytest.approx(7e-4)
    device.simulate(np.full(3, 0.1))
    assert device.g < 7e-4
    assert crossbar.conductance_matrix[index].item() == np.float32(device.g)
    device.r_on = 250.0
    assert device.r_on == 250.0
    assert crossbar.parameter("r_on")[index] == 250.0
    assert int((crossbar.parameter("r_on") == 100.0).sum()) == crossbar.devices.size - 1
    device.set_conductance(1.0)
    assert device.g == pytest.approx(1 / 250.0)


def test_views_pass_for_an_array_of_objects():
    torch.manual_seed(0)
    crossbar = Crossbar(VTEAM, {}, (6, 10), (4, 3))
    crossbar.write_conductance_matrix(torch.empty(6, 10).uniform_(1e-3, 2e-2))
    devices = crossbar.devices
    assert devices.shape == (6, 4, 3) == tuple(crossbar.conductance_matrix.shape)
    assert (devices.ndim, devices.size, len(devices), len(devices[0][0])) == (3, 72, 6, 3)
    np.testing.assert_array_equal(
        np.vectorize(lambda d: d.g)(devices), crossbar.conductance_matrix.double().numpy()
    )
    np.testing.assert_array_equal(np.vectorize(lambda d: d.r_off)(devices), np.full((6, 4, 3), 1e3))
    assert [d.g for d in devices.flat] == crossbar.conductance_matrix.flatten().tolist()
    assert [d.g for d in devices[-1][1]] == crossbar.conductance_matrix[5, 1].tolist()
    assert devices[:, 0, 1].shape == (6,)
    assert devices[2:4, 0, 1][1].g == crossbar.conductance_matrix[3, 0, 1].item()
    with pytest.raises(IndexError):
        devices[6]
    other = VTEAM(r_on=70.0)
    other.set_conductance(4e-3)
    devices[1, 2, 0] = other
    assert (devices[1, 2, 0].g, devices[1, 2, 0].r_on) == (pytest.approx(4e-3), 70.0)
    crossbar.devices = np.asarray(devices)
    with pytest.raises(ValueError, match="shape"):
        crossbar.devices = np.empty((2, 2), dtype=object)


def test_copies_are_independent_and_keep_their_views():
    crossbar = Crossbar(VTEAM, {}, (3, 4))
    view = crossbar.devices[0][0]
    for other in (copy.deepcopy(crossbar), pickle.loads(pickle.dumps(crossbar))):
        view.set_conductance(5e-3)
        assert other.devices[0][0].g == pytest.approx(1e-3)
        other.devices[0][0].set_conductance(7e-3)
        assert view.g == pytest.approx(5e-3)


def test_stochastic_parameters_are_drawn_per_cell_and_their_means_kept():
    spread = memtorch.bh.StochasticParameter(Normal, loc=100.0, scale=5.0, min=1.0)
    torch.manual_seed(1)
    crossbar = Crossbar(VTEAM, {"r_on": spread, "r_off": 2e3}, (80, 100), (64, 64))
    r_on = crossbar.parameters["r_on"]
    n = r_on.numel()
    assert abs(float(r_on.mean()) - 100) < 4 * 5 / n**0.5
    assert abs(float(r_on.std()) - 5) < 4 * 5 / (2 * n) ** 0.5
    assert (crossbar.r_on_mean, crossbar.r_off_mean) == (100.0, 2e3)
    crossbar.write_conductance_matrix(torch.ones(80, 100))
    torch.testing.assert_close(
        crossbar.conductance_matrix[crossbar.used], 1 / r_on[crossbar.used], rtol=1e-6, atol=0.0
    )
    torch.manual_seed(1)
    again = Crossbar(VTEAM, {"r_on": spread, "r_off": 2e3}, (80, 100), (64, 64))
    assert torch.equal(again.parameters["r_on"], r_on)


def test_cells_whose_resistances_cross_are_drawn_again():
    on = memtorch.bh.StochasticParameter(Normal, loc=100.0, scale=30.0, min=1.0)
    off = memtorch.bh.StochasticParameter(Normal, loc=150.0, scale=30.0, min=1.0)
    crossbar = Crossbar(VTEAM, {"r_on": on, "r_off": off}, (30, 30))
    assert bool((crossbar.parameter("r_on") < crossbar.parameter("r_off")).all())
    with pytest.warns(UserWarning, match="r_on"):
        turned = Crossbar(VTEAM, {"r_on": 300.0, "r_off": 100.0}, (3, 3))
    assert (turned.r_on_mean, turned.r_off_mean) == (100.0, 300.0)


def test_random_initial_conductances_are_uniform_in_the_window():
    torch.manual_seed(2)
    crossbar = Crossbar(VTEAM, {}, (90, 100), None, random_crossbar_init=True)
    part = (crossbar.conductance_matrix - 1e-3) / (2e-2 - 1e-3)
    assert abs(float(part.mean()) - 0.5) < 4 * 12**-0.5 / 9000**0.5
    assert float(part.min()) >= 0.0
    assert float(part.max()) <= 1.0
    assert torch.equal(Crossbar(VTEAM, {}, (2, 3)).conductance_matrix, torch.full((3, 2), 1e-3))


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_reads_are_ohms_and_kirchhoffs_laws(tile_shape):
    torch.manual_seed(3)
    crossbar = Crossbar(DataDriven, {}, (6, 10), tile_shape)
    crossbar.write_conductance_matrix(1 / torch.empty(6, 10).uniform_(2e3, 1.5e4))
    v = torch.empty(5, 10).uniform_(-1, 1)
    g = whole(crossbar)
    before = crossbar.conductance_matrix.clone()
    torch.testing.assert_close(simulate_matmul(v, crossbar), v @ g, rtol=1e-6, atol=0.0)
    static = torch.zeros(5, 6)
    for row in range(10):
        for column in range(6):
            device = DataDriven()
            device.set_conductance(float(g[row, column]))
            static[:, column] += torch.tensor([device.current(float(x)) for x in v[:, row]])
    torch.testing.assert_close(simulate_matmul(v, crossbar, nl=False), static, rtol=1e-5, atol=0)
    assert torch.equal(crossbar.conductance_matrix, before)
    bounded = simulate_matmul(v, crossbar, max_input_voltage=0.3)
    torch.testing.assert_close(bounded, v.clamp(-0.3, 0.3) @ g, rtol=1e-6, atol=0.0)
    assert torch.equal(simulate_matmul(v, crossbar.devices), simulate_matmul(v, crossbar))
    with pytest.raises(ValueError, match="input"):
        simulate_matmul(v[:, :3], crossbar)


@pytest.mark.parametrize("method", ["linear", "log", "minmax", "tanh"])
def test_each_tile_converts_each_vector(method):
    torch.manual_seed(4)
    crossbar = Crossbar(VTEAM, {}, (6, 10), (4, 3))
    crossbar.write_conductance_matrix(1 / torch.empty(6, 10).uniform_(60, 900))
    v = torch.empty(5, 10).uniform_(-1, 1)
    found = simulate_matmul(
        v,
        crossbar,
        tiles_map=crossbar.tiles_map,
        crossbar_shape=(10, 6),
        ADC_resolution=6,
        quant_method=method,
    )
    expected = torch.zeros(5, 6)
    padded = torch.nn.functional.pad(v, (0, 2))
    for n in range(5):
        for i in range(3):
            for j in range(2):
                tile = crossbar.conductance_matrix[int(crossbar.tiles_map[i, j])]
                current = padded[n, 4 * i : 4 * i + 4] @ tile
                expected[n, 3 * j : 3 * j + 3] += quantize(current, 6, 0.0, method)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    with pytest.raises(AssertionError, match="ADC_resolution"):
        simulate_matmul(v, crossbar, ADC_resolution=0, quant_method=method)
    unconverted = simulate_matmul(v, crossbar, ADC_resolution=None, quant_method=method)
    assert torch.equal(unconverted, simulate_matmul(v, crossbar))


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_init_crossbar_joins_what_it_mapped(scheme, tile_shape):
    torch.manual_seed(5)
    weights = torch.randn(6, 10)
    crossbars, operation = init_crossbar(
        weights, VTEAM, {"r_on": 100, "r_off": 1e4}, True, naive_map, None, {}, None, scheme,
        tile_shape,
    )  # fmt: skip
    assert len(crossbars) == scheme.value
    joined = pickle.loads(pickle.dumps(operation))(crossbars, lambda c: c.conductance_matrix)
    assert float(joined[~crossbars[0].used].abs().sum()) == 0.0
    carrier = copy.deepcopy(crossbars[0])
    carrier.conductance_matrix = joined
    half = 2.0 if scheme is Scheme.SingleColumn else 1.0
    unit = (1e-2 - 1e-4) / weights.abs().max() / half
    torch.testing.assert_close(whole(carrier), unit * weights.T, rtol=1e-4, atol=1e-8)


def test_naive_map_keeps_signs_in_a_single_column_and_the_proportion_asked_for():
    weight = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    single = naive_map(weight, 100.0, 1e4, Scheme.SingleColumn)
    torch.testing.assert_close(single, torch.linspace(1e-4, 1e-2, 5))
    positive, negative = naive_map(weight, 100.0, 1e4, Scheme.DoubleColumn)
    torch.testing.assert_close(positive - negative, weight * (1e-2 - 1e-4) / 2)
    assert float(positive.min()) == pytest.approx(1e-4)
    wide = torch.arange(1.0, 101.0)
    kept = naive_map(wide, 100.0, 1e4, Scheme.DoubleColumn, p_l=0.9)[0]
    assert int((kept >= 1e-2 * (1 - 1e-6)).sum()) == 11  # the 90th and those beyond
    assert torch.equal(
        naive_map(wide, 100.0, 1e4, Scheme.SingleColumn, 1.0),
        naive_map(wide, 100.0, 1e4, Scheme.SingleColumn),
    )
    zeros = naive_map(torch.zeros(3), 100.0, 1e4, Scheme.DoubleColumn)
    assert torch.equal(zeros[0], zeros[1])
    for bad in ({"p_l": 1.5}, {"scheme": "double"}, {"r_on": 1e5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            naive_map(**{"weight": weight, "r_on": 1e2, "r_off": 1e4, "scheme": Scheme(1), **bad})


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_users_own_devices_work_object_by_object(tile_shape):
    torch.manual_seed(6)
    crossbar = Crossbar(Ohmic, {"r_off": 5e3, "bend": 0.5}, (6, 10), tile_shape)
    assert crossbar.per_device
    assert (crossbar.r_on_mean, crossbar.r_off_mean) == (100.0, 5e3)
    g = torch.empty(6, 10).uniform_(1e-4, 2e-2)
    crossbar.write_conductance_matrix(g)
    torch.testing.assert_close(whole(crossbar), g.T.clamp(2e-4, 1e-2), rtol=1e-6, atol=0.0)
    used = crossbar.used.numpy()
    held = np.vectorize(lambda d: d.g)(crossbar.devices)
    np.testing.assert_allclose(held[used], crossbar.conductance_matrix.numpy()[used], rtol=1e-6)
    index = (1,) * crossbar.devices.ndim
    crossbar.devices[index].set_conductance(3e-3)
    crossbar.update(from_devices=True)
    assert crossbar.conductance_matrix[index] == pytest.approx(3e-3)
    v = torch.empty(2, 10).uniform_(-1, 1)
    expected = (v + 0.5 * v**3) @ whole(crossbar)
    torch.testing.assert_close(simulate_matmul(v, crossbar, nl=False), expected)
    torch.testing.assert_close(simulate_matmul(v, crossbar, nl=False), expected)  # no trace left
    torch.testing.assert_close(simulate_matmul(v, crossbar), v @ whole(crossbar))
    again = copy.deepcopy(crossbar)
    assert again.devices[index] is not crossbar.devices[index]


def test_tensors_change_their_type_and_are_restored():
    spread = memtorch.bh.StochasticParameter(Normal, loc=100.0, scale=5.0, min=1.0)
    crossbar = Crossbar(VTEAM, {"r_on": spread}, (3, 4), (2, 2))
    crossbar.stuck = torch.zeros(crossbar.devices.shape, dtype=torch.bool)
    crossbar.to(torch.float64)
    assert crossbar.conductance_matrix.dtype == torch.float64
    assert crossbar.parameters["r_on"].dtype == torch.float64
    crossbar.write_conductance_matrix(torch.full((3, 4), 3e-3, dtype=torch.float64))
    assert crossbar.devices.flat[0].g == 3e-3
    plain = Crossbar(VTEAM, {"r_on": 70.0}, (3, 4), (2, 2))
    crossbar.restore(plain.state())
    assert crossbar.parameters["r_on"] == 70.0
    plain.stuck = torch.zeros(plain.devices.shape, dtype=torch.bool)
    crossbar.restore(plain.state())
    plain.stuck[0, 0, 0] = True
    assert not bool(crossbar.stuck.any())


def test_stuck_cells_of_a_users_own_class_stay():
    crossbar = Crossbar(Ohmic, {}, (2, 3))
    crossbar.write_conductance_matrix(torch.full((2, 3), 2e-3))
    crossbar.stuck = torch.zeros(3, 2, dtype=torch.bool)
    crossbar.stuck[0, 0] = True
    naive_program(crossbar, (0, 0), 5e-3)
    crossbar.devices[0][1].set_conductance(4e-3)
    crossbar.devices[0][0].set_conductance(4e-3)
    crossbar.update(from_devices=True)
    assert crossbar.conductance_matrix[0].tolist() == pytest.approx([2e-3, 4e-3])


def test_a_subclass_of_a_model_is_held_object_by_object():
    class Sticky(VTEAM):
        def set_conductance(self, conductance):
            super().set_conductance(round(conductance, 3))

    crossbar = Crossbar(Sticky, {}, (2, 3))
    crossbar.write_conductance_matrix(torch.full((2, 3), 0.00449))
    assert [d.g for d in crossbar.devices.flat] == pytest.approx([0.004] * 6)


def test_what_is_not_used_is_said():
    with pytest.warns(UserWarning, match="colour"):
        Crossbar(VTEAM, {"colour": 1}, (2, 3))
    for shape in ((3,), (1, 2, 3, 4, 5, 6)):
        with pytest.raises(ValueError, match="shape"):
            Crossbar(VTEAM, {}, shape)
    crossbar = Crossbar(VTEAM, {}, (2, 3))
    for wrong in (torch.ones(3, 2), torch.full((2, 3), float("nan"))):
        with pytest.raises(ValueError, match="conductance_matrix"):
            crossbar.write_conductance_matrix(wrong)
    with pytest.raises(ValueError, match="conductance_matrix"):
        crossbar.conductance_matrix = torch.ones(2, 3)


def test_names_are_where_they_are_documented():
    assert memtorch.bh.crossbar.Crossbar is Crossbar is memtorch.bh.crossbar.Crossbar.Crossbar
    assert memtorch.bh.Scheme is memtorch.bh.crossbar.Scheme is Scheme
    assert memtorch.bh.crossbar.Crossbar.init_crossbar is init_crossbar
    assert [s.name for s in Scheme] == ["SingleColumn", "DoubleColumn"]
    assert (Scheme.SingleColumn.value, Scheme.DoubleColumn.value) == (1, 2)
    assert memtorch.bh.memristor.VTEAM.VTEAM is VTEAM
    assert "cpu" in memtorch.__version__
    assert memtorch.__version__.startswith("1.1.6")


@pytest.mark.parametrize("tile_shape", [None, (2, 3)])
def test_a_single_vector_is_read(tile_shape):
    crossbar = Crossbar(memtorch.bh.memristor.VTEAM, {}, (4, 3), tile_shape)
    x = torch.rand(3)
    alone = simulate_matmul(x, crossbar, ADC_resolution=6, quant_method="linear")
    beside = simulate_matmul(x[None], crossbar, ADC_resolution=6, quant_method="linear")
    assert alone.shape == (4,)
    assert torch.equal(alone, beside[0])
    assert crossbar.device == crossbar.conductance_matrix.device
