"""MemTorch's programming of users' own devices, which are held and pulsed object by object."""

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.crossbar.Program import naive_program

R_OFF, R_ON = 1e4, 1e2


class Walking(memtorch.bh.memristor.Memristor):
    """A user's own device: a sample of 1 V moves it by ``step`` (S); it writes down what it saw."""

    polarity, step = 1.0, 1e-4
    floor = 0.0  # what it can do by itself ends here (S)

    def __init__(self, r_off=R_OFF, r_on=R_ON, time_series_resolution=1e-3, **kwargs):
        args = memtorch.bh.unpack_parameters(locals())
        super().__init__(args.r_off, args.r_on, args.time_series_resolution, 0, 0)
        self.g, self.seen = 1 / self.r_on, []

    def simulate(self, voltage_signal, return_current=False):
        signal = np.asarray(voltage_signal, dtype=float)
        self.seen.append(signal)
        moved = self.g + self.polarity * self.step * signal.sum()
        self.g = min(max(moved, 1 / self.r_off, self.floor), 1 / self.r_on)
        return signal * self.g if return_current else None

    def set_conductance(self, conductance):
        self.g = min(max(conductance, 1 / self.r_off), 1 / self.r_on)


class Turned(Walking):
    polarity = -1.0


class Caught(Walking):
    floor = 1 / R_ON  # no pulse takes it from its bound


def made(model, shape=(3, 4)):
    """A crossbar of ``[4, 3]`` devices at 2 mS, which have seen nothing."""
    crossbar = memtorch.bh.crossbar.Crossbar(model, {}, shape)
    crossbar.write_conductance_matrix(torch.full(shape, 2e-3))
    for device in crossbar.devices.flat:
        device.seen.clear()
    return crossbar


def trace(device):
    return [tuple(signal.tolist()) for signal in device.seen]


def test_a_device_gets_pulses_until_it_is_there():
    crossbar = made(Walking)
    options = {"rel_tol": 0.01, "simulate_neighbours": False}
    device = naive_program(crossbar, (1, 2), 2.5e-3, **options)
    assert trace(device) == [(1.0,)] * 5
    assert device.g == pytest.approx(2.5e-3)
    naive_program(crossbar, (1, 2), 2.2e-3, neg_voltage_level=-0.5, **options)
    assert trace(device)[5:] == [(-0.5,)] * 6
    assert sum(len(d.seen) for d in crossbar.devices.flat) == 11


def test_the_polarity_that_raises_a_device_is_found_by_a_pulse():
    crossbar = made(Turned)
    device = naive_program(crossbar, (0, 0), 2.5e-3, rel_tol=0.01, simulate_neighbours=False)
    assert trace(device) == [(1.0,)] + [(-1.0,)] * 6  # one the wrong way, and back
    assert device.g == pytest.approx(2.5e-3)


def test_a_device_carried_past_its_goal_is_turned_back_by_half_pulses():
    crossbar = made(Walking)
    options = {"rel_tol": 0.01, "simulate_neighbours": False, "pulse_duration": 8e-3}
    device = naive_program(crossbar, (0, 0), 2.5e-3, **options)
    # 2.0 + 0.8 = 2.8, − 0.4 = 2.4, + 0.2 = 2.6, − 0.1 = 2.5 (mS)
    assert trace(device) == [(1.0,) * 8, (-1.0,) * 4, (1.0,) * 2, (-1.0,)]
    assert device.g == pytest.approx(2.5e-3)


def test_neighbours_of_a_passive_array_see_half_of_every_pulse():
    crossbar = made(Walking)
    device = naive_program(crossbar, (1, 2), 2.5e-3, rel_tol=0.01)
    assert trace(device) == [(1.0,)] * 5
    for (row, column), other in np.ndenumerate(crossbar.devices):
        if (row, column) == (1, 2):
            continue
        beside = row == 1 or column == 2
        assert trace(other) == [(0.5,)] * (5 if beside else 0)
        assert other.g == pytest.approx(2.25e-3 if beside else 2e-3)


@pytest.mark.parametrize(("most", "end"), [(1e-3, 0.009), (1.0, 0.0075)])
def test_a_device_caught_at_its_bound_is_freed(most, end):
    """By at most ``force_adjustment``, and at most half the way to the goal."""
    crossbar = made(Caught)
    device = crossbar.devices[0][0]
    device.set_conductance(1 / R_ON)
    options = {"force_adjustment": most, "failure_iteration_threshold": 1}
    with pytest.warns(RuntimeWarning, match="1 device"):
        naive_program(crossbar, (0, 0), 0.005, simulate_neighbours=False, **options)
    assert device.g == pytest.approx(end)


@pytest.mark.parametrize(
    "options",
    [
        {"force_adjustment_pos_voltage_threshold": 9.0,
         "force_adjustment_neg_voltage_threshold": -9.0},  # no pulse frees
        {"failure_iteration_threshold": 0},
        {"timeout": -1.0},
    ],
)  # fmt: skip
def test_a_device_that_does_not_move_is_given_up_with_a_warning(options):
    crossbar = made(Caught)
    crossbar.devices[0][0].set_conductance(1 / R_ON)
    with pytest.warns(RuntimeWarning, match="1 device"):
        device = naive_program(crossbar, (0, 0), 0.005, simulate_neighbours=False, **options)
    assert device.g == pytest.approx(1 / R_ON)


def test_pulses_last_as_many_samples_as_they_say():
    crossbar = made(Walking)
    options = {"rel_tol": 0.01, "pulse_duration": 3e-3, "simulate_neighbours": False}
    device = naive_program(crossbar, (0, 1), 3.2e-3, **options)
    assert trace(device) == [(1.0,) * 3] * 4


def test_a_stuck_device_gets_no_pulse():
    crossbar = made(Walking)
    crossbar.stuck = torch.zeros(4, 3, dtype=torch.bool)
    crossbar.stuck[1, 2] = True
    naive_program(crossbar, (1, 2), 2.5e-3)
    assert not any(device.seen for device in crossbar.devices.flat)


def test_a_whole_crossbar_is_programmed_object_by_object():
    crossbar = made(Turned)
    wanted = torch.linspace(1e-3, 9e-3, 12).view(3, 4)
    crossbar.write_conductance_matrix(wanted, False, naive_program, {"rel_tol": 0.06,
                                      "simulate_neighbours": False})  # fmt: skip
    torch.testing.assert_close(crossbar.conductance_matrix, wanted.T, rtol=0.06, atol=0.0)
    held = torch.tensor([[d.g for d in row] for row in crossbar.devices])
    torch.testing.assert_close(crossbar.conductance_matrix, held.float(), rtol=1e-6, atol=0.0)
