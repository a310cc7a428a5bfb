"""``crossbar.devices`` as the numpy array of objects that it was, over the crossbar's tensors."""

import copy
import gc
import pickle
import time
import weakref

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.crossbar.Crossbar import simulate_matmul

Crossbar, Memristor = memtorch.bh.crossbar.Crossbar, memtorch.bh.memristor.Memristor
VTEAM, Drift = memtorch.bh.memristor.VTEAM, memtorch.bh.memristor.LinearIonDrift


class Resistor(Memristor):
    """A user's own device that does not call the constructor of its base."""

    def __init__(self, r_on=1e2, r_off=1e4, time_series_resolution=1e-3, **kwargs):
        self.r_on, self.r_off = r_on, r_off
        self.time_series_resolution = time_series_resolution
        self.g = torch.tensor([1 / r_off])

    def simulate(self, voltage_signal, return_current=False):
        return [float(v) * float(self.g[0]) for v in voltage_signal]

    def set_conductance(self, conductance):
        self.g = np.array([conductance], np.float32)


@pytest.fixture(params=[None, (2, 3)])
def crossbar(request):
    torch.manual_seed(0)
    made = Crossbar(VTEAM, {}, (3, 4), request.param)
    made.write_conductance_matrix(torch.empty(3, 4).uniform_(2e-3, 1e-2))
    return made


def conductances(devices):
    return [device.g for device in devices.reshape(-1)]


def held(crossbar):
    return crossbar.conductance_matrix.flatten().tolist()


def device(g=4e-3, **parameters):
    made = VTEAM(**parameters)
    made.set_conductance(g)
    return made


def test_it_is_a_numpy_array_of_objects(crossbar):
    devices = crossbar.devices
    assert isinstance(devices, np.ndarray)
    assert devices.dtype == object
    assert devices.shape == tuple(crossbar.conductance_matrix.shape)
    assert devices.nbytes == 8 * devices.size
    assert devices is crossbar.devices
    assert devices.any()
    one = devices[0, 0] if devices.ndim == 2 else devices[0, 0, 0]
    assert devices.item(0) is devices.flat[0] is devices.ravel()[0] is one
    np.testing.assert_array_equal(
        np.vectorize(lambda d: d.g)(devices.T), crossbar.conductance_matrix.numpy().T
    )
    np.testing.assert_array_equal(
        crossbar.g_np(devices), crossbar.conductance_matrix.double().numpy()
    )
    for index, other in np.ndenumerate(devices):
        assert other.g == crossbar.conductance_matrix[index].item()
    for array in (np.asarray(devices), devices.copy(), devices.flatten(), devices.flat.copy()):
        assert [d.g for d in array.flat] == held(crossbar)
    assert sum(1 for row in devices for _ in row) == devices.shape[0] * devices.shape[1]
    low = np.vectorize(lambda d: d.g < 5e-3)(devices)
    assert type(low) is np.ndarray
    assert all(d.g < 5e-3 for d in devices[low])
    assert len(devices.flat) == devices.size
    assert next(devices.flat) is one


def test_devices_keep_their_identity_and_what_is_hung_on_them(crossbar):
    first = crossbar.devices.flat[0]
    first.label, first.finite_states = "mine", 7
    assert crossbar.devices.flat[0] is first
    for other in (copy.deepcopy(crossbar), pickle.loads(pickle.dumps(crossbar))):
        again = other.devices.flat[0]
        assert (again.label, again.finite_states) == ("mine", 7)
        again.set_conductance(1e-2)
        assert other.conductance_matrix.flatten()[0] == pytest.approx(1e-2)
        assert first.g != again.g


WAYS = {
    "item": lambda a, d: a.__setitem__((0,) * a.ndim, d),
    "flat": lambda a, d: a.flat.__setitem__(0, d),
    "slice of one": lambda a, d: a.__setitem__((slice(0, 1),) * a.ndim, d),
    "chained": lambda a, d: a[0].__setitem__((0,) * (a.ndim - 1), d),
    "transposed": lambda a, d: a.T.__setitem__((0,) * a.ndim, d),
    "reshaped": lambda a, d: a.reshape(-1).__setitem__(0, d),
    "mask": lambda a, d: a.__setitem__(np.arange(a.size).reshape(a.shape) == 0, d),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_assigned_device_becomes_the_cell(crossbar, way):
    before, old, new = held(crossbar), crossbar.devices.flat[0], device(r_on=70.0)
    WAYS[way](crossbar.devices, new)
    assert crossbar.devices.flat[0] is new
    assert held(crossbar) == [pytest.approx(4e-3), *before[1:]]
    assert crossbar.parameter("r_on").flatten().tolist() == [70.0] + [50.0] * (len(before) - 1)
    new.set_conductance(1.0)
    assert held(crossbar)[0] == pytest.approx(1 / 70)
    old.set_conductance(3e-3)  # a device of its own from now on
    assert held(crossbar)[0] == pytest.approx(1 / 70)
    assert old.g == 3e-3


def test_devices_are_exchanged(crossbar):
    before = held(crossbar)
    flat = crossbar.devices.reshape(-1)
    flat[0], flat[1] = flat[1], flat[0]
    assert held(crossbar) == [before[1], before[0], *before[2:]]
    crossbar.devices[...] = crossbar.devices[..., ::-1]
    assert torch.equal(
        crossbar.conductance_matrix.flip(-1).flatten(),
        torch.tensor([before[1], before[0], *before[2:]]),
    )
    flat.fill(device(6e-3))
    assert held(crossbar) == [pytest.approx(6e-3)] * flat.size
    flat[0].set_conductance(1e-3)
    assert held(crossbar)[1] == pytest.approx(6e-3)


def test_copies_are_arrays_like_any_other(crossbar):
    before = held(crossbar)
    taken = crossbar.devices.copy()
    taken[...] = device()
    crossbar.devices.flatten()[0] = device()
    assert held(crossbar) == before
    for other in (copy.deepcopy(crossbar.devices), pickle.loads(pickle.dumps(crossbar.devices))):
        assert conductances(other) == before
        other.flat[0].set_conductance(1e-2)
        other[...] = device()
    alone = copy.deepcopy(crossbar.devices.flat[0])
    alone.r_on, alone.g = 60.0, 9e-3
    assert held(crossbar) == before
    with pytest.raises(ValueError, match="read-only"):  # never silently beside the tensors
        np.copyto(crossbar.devices, taken)


def test_new_arrays_of_devices_are_taken(crossbar):
    given = np.empty(crossbar.devices.shape, dtype=object)
    for k, index in enumerate(np.ndindex(given.shape)):
        given[index] = device(2e-3 + 1e-4 * k)
    crossbar.devices = given
    np.testing.assert_allclose(held(crossbar), 2e-3 + 1e-4 * np.arange(given.size), rtol=1e-6)
    assert crossbar.devices.flat[3] is given.flat[3]
    crossbar.devices = crossbar.devices.tolist()
    crossbar.devices = given.flat[0]
    np.testing.assert_allclose(held(crossbar), 2e-3 + 1e-4 * np.arange(given.size), rtol=1e-6)
    with pytest.raises(ValueError, match="shape"):
        crossbar.devices = given[0]


@pytest.mark.parametrize("other", [Resistor, Drift])
def test_a_device_of_another_kind_makes_all_cells_objects(crossbar, other):
    before, view = held(crossbar), crossbar.devices.flat[1]
    with pytest.raises(ValueError, match="Memristor"):
        crossbar.devices.flat[0] = None
    assert not crossbar.per_device
    new = other()
    new.set_conductance(5e-3)
    crossbar.devices.flat[0] = new
    assert crossbar.per_device
    assert crossbar.devices.flat[0] is new
    assert crossbar.devices.flat[1] is view
    assert held(crossbar) == [pytest.approx(5e-3), *before[1:]]
    view.set_conductance(8e-3)
    crossbar.update(from_devices=True)
    g = crossbar.conductance_matrix
    assert g.flatten()[1] == pytest.approx(8e-3)
    if crossbar.tile_shape is None:
        v = torch.rand(2, 4)
        torch.testing.assert_close(simulate_matmul(v, crossbar), v @ g, rtol=1e-6, atol=0.0)
    crossbar.write_conductance_matrix(torch.full((3, 4), 3e-3))
    torch.testing.assert_close(
        crossbar.conductance_matrix[crossbar.used], torch.full((12,), 3e-3), rtol=1e-6, atol=0
    )


def test_equations_follow_parameters_however_they_are_changed():
    crossbar = Crossbar(memtorch.bh.memristor.Data_Driven, {}, (2, 3))
    first, second = crossbar.devices[0][0], crossbar.devices[0][1]
    v = torch.tensor([0.3], dtype=torch.float64)

    def agree():
        return [
            d.current(0.3) == pytest.approx(d.g * d.a_p * np.sinh(d.b_p * 0.3), rel=1e-6)
            for d in (first, second)
        ]

    assert crossbar.transfer(v) == pytest.approx(0.24 * np.sinh(0.9))
    crossbar.parameters["b_p"] = 2.0
    assert all(agree())
    assert crossbar.transfer(v) == pytest.approx(0.24 * np.sinh(0.6))
    first.b_p = 1.0
    assert all(agree())
    assert second.b_p == 2.0
    crossbar.parameters["b_p"].mul_(1.5)
    assert all(agree())
    assert (first.b_p, second.b_p) == (1.5, 3.0)
    crossbar.parameters["b_p"].data.mul_(0.5)  # which torch does not count
    assert all(agree())
    assert crossbar.transfer(v) != pytest.approx(0.24 * np.sinh(0.6))
    crossbar.conductance_matrix.data = torch.full((3, 2), 1e-4)
    crossbar.update(from_devices=False)
    assert crossbar.devices[0][0].g == pytest.approx(1e-4)
    assert all(agree())


@pytest.mark.parametrize("tile_shape", [None, (2, 3)])
def test_crossbars_are_freed_and_their_devices_live_on(tile_shape):
    made = Crossbar(VTEAM, {"r_on": 60.0}, (3, 4), tile_shape)
    device = made.devices.flat[1]
    device.set_conductance(3e-3)
    layer = memtorch.mn.Linear(torch.nn.Linear(4, 3), VTEAM, {}, verbose=False)
    assert layer.crossbars[0].devices.size == 12
    seen = [weakref.ref(thing) for thing in (made, *layer.crossbars)]
    del made, layer
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3
    assert (device.g, device.r_on) == (3e-3, 60.0)
    device.r_on = 70.0
    device.simulate([-0.3])
    assert device.g > 3e-3


def test_a_cells_conductance_is_exact(crossbar):
    first = crossbar.devices.flat[0]
    first.set_conductance(3e-3)
    assert first.g == 3e-3
    assert held(crossbar)[0] == np.float32(3e-3)
    for other in (copy.deepcopy(crossbar), pickle.loads(pickle.dumps(crossbar))):
        assert other.devices.flat[0].g == 3e-3
    for _ in range(100):
        first.set_conductance(first.g + 1e-12)
    assert first.g == pytest.approx(3e-3 + 1e-10, rel=1e-12)
    crossbar.conductance_matrix.mul_(2.0)
    assert first.g == 2 * np.float32(first.g / 2)


def test_layers_read_what_single_cells_were_written():
    layer = memtorch.mn.Linear(torch.nn.Linear(4, 3), VTEAM, {}, verbose=False)
    x = torch.rand(2, 4)
    before = layer(x)
    layer.crossbars[0].devices[0][0].set_conductance(2e-2)
    layer.crossbars[0].devices[0][0].set_conductance(1.5e-2)
    assert bool(((layer(x) - before)[:, 0].abs() > 0).all())
    torch.testing.assert_close(layer(x)[:, 1:], before[:, 1:])


def test_tensors_that_numpy_cannot_share_and_other_strides(crossbar):
    wide = crossbar.conductance_matrix.double().mT.contiguous().mT
    crossbar.conductance_matrix = wide
    crossbar.devices.flat[1].set_conductance(1.25e-3)
    assert crossbar.conductance_matrix.flatten()[1] == 1.25e-3
    crossbar.conductance_matrix = wide.bfloat16()
    crossbar.devices.flat[1].set_conductance(2e-3)
    assert crossbar.devices.flat[1].g == pytest.approx(2e-3, rel=1e-2)
    crossbar.to(torch.float32)
    crossbar.device = torch.device("cpu")
    assert crossbar.devices.flat[1].g == pytest.approx(2e-3, rel=1e-2)


@pytest.mark.parametrize("spread", [False, True])
def test_many_small_steps_are_not_rounded_away(spread):
    loc = memtorch.bh.StochasticParameter(torch.distributions.Normal, loc=1e3, scale=10.0)
    torch.manual_seed(1)
    crossbar = Crossbar(VTEAM, {"r_off": loc if spread else 1e3, "k_off": 2e-6}, (2, 2))
    cell = crossbar.devices[0][0]
    cell.set_conductance(5e-3)
    alone = copy.deepcopy(cell)
    for _ in range(1000):
        cell.simulate([0.021])
    alone.simulate(np.full(1000, 0.021))
    # Each step changes the conductance by less than half a unit in the last place of float32.
    assert abs(alone.g / 5e-3 - 1) < 1000 * 3e-8
    assert cell.g == pytest.approx(alone.g, rel=1e-7)
    assert cell.x == pytest.approx(alone.x, rel=1e-12)
    assert cell.g < float(np.float32(5e-3))


def test_large_crossbars_make_their_devices_quickly():
    crossbar = Crossbar(VTEAM, {}, (256, 256))
    assert crossbar._objects is None  # nothing is made before it is asked for
    start = time.process_time()
    assert crossbar.devices.shape == (256, 256)
    assert time.process_time() - start < 0.3
    assert gc.isenabled()


def test_reads_take_devices_alone(crossbar):
    v = torch.rand(2, 4)
    options = {"tiles_map": crossbar.tiles_map, "crossbar_shape": (4, 3)}
    expected = simulate_matmul(v, crossbar)
    assert torch.equal(simulate_matmul(v, crossbar.devices, **options), expected)
    own = Crossbar(Resistor, {}, (3, 4), crossbar.tile_shape)
    own.write_conductance_matrix(torch.empty(3, 4).uniform_(1e-3, 1e-2))
    for nl in (True, False):
        found = simulate_matmul(v, own.devices, nl=nl, **options)
        torch.testing.assert_close(found, simulate_matmul(v, own))


def test_padding_and_cells_without_conductance_answer(crossbar):
    crossbar.conductance_matrix.zero_()
    device = crossbar.devices.flat[0]
    assert (device.current(0.1), device.get_resistance()) == (0.0, float("inf"))
    assert device.x == pytest.approx(device.d)
    device.simulate([-0.25] * 5)
    assert device.g > 1e-3


def test_crossbars_made_and_used_in_inference_mode():
    spread = memtorch.bh.StochasticParameter(torch.distributions.Normal, loc=50.0, scale=1.0)
    with torch.inference_mode():
        crossbar = Crossbar(VTEAM, {"r_on": spread}, (3, 4))
    device = crossbar.devices[0][0]
    before = device.g
    device.simulate([0.1, -0.3])
    assert device.g != before
    assert crossbar.conductance_matrix[0, 0].item() == np.float32(device.g)
