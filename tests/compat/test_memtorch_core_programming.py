"""MemTorch's programming routines on mho."""

import time

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.crossbar.Program import gen_programming_signal, naive_program

VTEAM, Drift = memtorch.bh.memristor.VTEAM, memtorch.bh.memristor.LinearIonDrift
DRIFT = {"time_series_resolution": 1e-3}


def crossbar(model=VTEAM, params=None, shape=(3, 4), tile_shape=None):
    made = memtorch.bh.crossbar.Crossbar(model, params or {}, shape, tile_shape)
    r_on, r_off = made.r_on_mean, made.r_off_mean
    made.write_conductance_matrix(1 / torch.empty(shape).uniform_(1.2 * r_on, 0.8 * r_off))
    return made


def test_a_signal_is_pulses_and_pauses():
    time, volts = gen_programming_signal(3, 4e-3, 2e-3, 1.5, 1e-3)
    np.testing.assert_allclose(volts, [1.5, 1.5, 1.5, 1.5, 0, 0] * 3)
    np.testing.assert_allclose(time, 1e-3 * np.arange(18))


@pytest.mark.parametrize("bad", [(1, 1.5e-3, 0), (1, 1e-3, 1e-4), (0, 1e-3, 0)])
def test_signals_that_do_not_fit_the_resolution_are_refused(bad):
    for error in (ValueError, AssertionError):
        with pytest.raises(error):
            gen_programming_signal(*bad, 1.0, 1e-3)


@pytest.mark.parametrize("model", [VTEAM, Drift])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_devices_are_programmed_whatever_their_polarity(model, part):
    """VTEAM sets under negative voltages and switches within a pulse: it is programmed, too."""
    torch.manual_seed(0)
    made = crossbar(model, DRIFT if model is Drift else {})
    before = made.conductance_matrix.clone()
    wanted = 1 / (made.r_on_mean + part * (made.r_off_mean - made.r_on_mean))
    device = naive_program(made, (1, 2), wanted, rel_tol=0.01, simulate_neighbours=False)
    assert device.g == pytest.approx(wanted, rel=0.0101)
    assert made.devices[1][2].g == device.g
    before[1, 2] = made.conductance_matrix[1, 2]
    assert torch.equal(made.conductance_matrix, before)
    made.devices = device  # as old programs do
    assert made.devices[1][2].g == device.g


def test_bursts_are_the_very_pulses_given_one_by_one():
    torch.manual_seed(1)
    made = crossbar(Drift, DRIFT)
    made.devices[0][0].set_conductance(1 / 9e3)
    wanted, pulse = 1 / 8.5e3, gen_programming_signal(1, 1e-3, 0, 1.0, 1e-3)[1]
    alone = Drift(**DRIFT)
    alone.set_conductance(1 / 9e3)
    pulses = 0
    while abs(alone.g - wanted) > 1e-3 * wanted:
        alone.simulate(pulse)
        pulses += 1
    device = naive_program(made, (0, 0), wanted, rel_tol=1e-3)
    assert pulses > 10
    assert device.g == pytest.approx(alone.g, rel=1e-5)


def test_half_of_a_pulse_is_on_the_neighbours_of_a_passive_array():
    torch.manual_seed(2)
    made = crossbar(shape=(5, 4))
    before = made.conductance_matrix.clone()
    naive_program(made, (1, 2), 1 / 400.0, rel_tol=0.05)
    moved = (made.conductance_matrix - before).abs() > 1e-6 * before
    expected = torch.zeros_like(moved)
    expected[1, :] = True
    expected[:, 2] = True
    assert not bool((moved & ~expected).any())
    assert int(moved.sum()) > 4
    alone = crossbar(shape=(5, 4))
    alone.conductance_matrix = before
    naive_program(alone, (1, 2), 1 / 400.0, rel_tol=0.05, simulate_neighbours=False)
    assert made.conductance_matrix[1, 2] == alone.conductance_matrix[1, 2]


def test_neighbours_below_their_thresholds_do_not_move():
    torch.manual_seed(3)
    made = crossbar(Drift, DRIFT)
    before = made.conductance_matrix.clone()
    naive_program(made, (1, 2), 1 / 8e3)
    before[1, 2] = made.conductance_matrix[1, 2]
    assert torch.equal(made.conductance_matrix, before)


@pytest.mark.parametrize("tile_shape", [None, (2, 3)])
def test_whole_crossbars_are_programmed_at_once(tile_shape):
    torch.manual_seed(4)
    made = memtorch.bh.crossbar.Crossbar(Drift, DRIFT, (5, 7), tile_shape)
    wanted = 1 / torch.empty(5, 7).uniform_(3e3, 13e3)
    made.write_conductance_matrix(wanted, False, naive_program, {"rel_tol": 0.02})
    exact = memtorch.bh.crossbar.Crossbar(Drift, DRIFT, (5, 7), tile_shape)
    exact.write_conductance_matrix(wanted)
    error = made.conductance_matrix / exact.conductance_matrix - 1
    assert float(error[made.used].abs().max()) <= 0.0201
    assert float(error[made.used].abs().max()) > 0.0


def test_a_users_routine_is_called_cell_by_cell():
    calls = []

    def routine(crossbar, point, conductance, gain=1.0):
        calls.append(point)
        crossbar.devices[point].set_conductance(gain * conductance)
        return crossbar.devices

    made = memtorch.bh.crossbar.Crossbar(VTEAM, {}, (3, 5), (2, 2))
    wanted = torch.empty(3, 5).uniform_(2e-3, 8e-3)
    made.write_conductance_matrix(wanted, False, routine, {"gain": 2.0})
    assert len(calls) == len(set(calls)) == 15
    whole = made.conductance_matrix[made.tiles_map.long()].transpose(1, 2).reshape(6, 4)
    torch.testing.assert_close(whole[:5, :3], 2 * wanted.T)


def test_what_cannot_be_reached_is_given_up_with_a_warning():
    torch.manual_seed(5)
    made = crossbar(memtorch.bh.memristor.Stanford_PKU)  # 1 V cannot widen its gap
    made.devices[0][0].set_conductance(1e-3)
    with pytest.warns(RuntimeWarning, match="1 device"):
        naive_program(made, (0, 0), 1e-4)


def test_pulses_on_noisy_devices_take_no_longer_than_others():
    """At this resolution the noise of one pulse is far wider than the range."""
    torch.manual_seed(7)
    made = crossbar(memtorch.bh.memristor.Stanford_PKU, {"model_switch": 1})
    before, start = made.conductance_matrix.clone(), time.process_time()
    options = {"failure_iteration_threshold": 10, "simulate_neighbours": False, "rel_tol": 1e-6}
    with pytest.warns(RuntimeWarning, match="1 device"):
        naive_program(made, (1, 2), 1e-3, **options)
    assert time.process_time() - start < 1.0
    assert (made.conductance_matrix != before).nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("step", [1e-4, 1.0])
def test_devices_stuck_at_a_bound_are_freed_but_not_thrown_past_their_goal(step):
    made = crossbar(memtorch.bh.memristor.Stanford_PKU)  # 1 V cannot widen its gap
    bound, goal = 1 / made.r_on_mean, 0.5 / made.r_on_mean
    off = {"pos": 9.0, "neg": -9.0}
    never = {f"force_adjustment_{k}_voltage_threshold": v for k, v in off.items()}
    for options, moved in ((never, False), ({}, True)):
        made.devices[0][0].set_conductance(bound)
        with pytest.warns(RuntimeWarning, match="1 device"):
            naive_program(made, (0, 0), goal, force_adjustment=step, **options)
        g = made.devices[0][0].g
        assert (g < bound * (1 - 1e-6)) == moved
        assert g > goal


def test_stuck_cells_are_not_programmed():
    made = crossbar()
    made.stuck = torch.zeros(4, 3, dtype=torch.bool)
    made.stuck[0, 0] = True
    before = made.conductance_matrix[0, 0].item()
    made.devices[0][0].set_conductance(1e-3)
    made.write_conductance_matrix(torch.full((3, 4), 2e-3))
    assert made.conductance_matrix[0, 0].item() == before
    assert made.conductance_matrix[1, 1].item() == pytest.approx(2e-3)


@pytest.mark.parametrize("conductance", [-1, 1.0, 1e-6, float("nan")])
def test_conductances_outside_of_the_window_are_refused(conductance):
    with pytest.raises(AssertionError, match="conductance"):
        naive_program(crossbar(), (0, 0), conductance)
    with pytest.raises(ValueError, match="pulse_duration"):
        naive_program(crossbar(Drift, DRIFT), (0, 0), 1e-3, pulse_duration=1.5e-3)
