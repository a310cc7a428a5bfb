"""Which pulse a cell gets next, worked out by hand from what `WriteVerify` says of it."""

import pytest
import torch

from mho.programming import Pulses, WriteVerify
from mho.programming.controller import Controller

F64 = torch.float64
SET = Pulses(start=1.0, step=0.1, stop=2.0, width=1e-6)
RESET = Pulses(start=0.5, step=0.2, stop=1.5, width=1e-6)


def controller(target, tolerance=0.5, again=False, selected=None, noise=0.0, **fields):
    scheme = WriteVerify(**{"set": SET, "reset": RESET, "restart": 0.5, "refine": 0.5, **fields})
    aim = torch.tensor(target, dtype=F64)
    every = torch.ones_like(aim, dtype=torch.bool) if selected is None else torch.tensor(selected)
    return Controller(scheme, aim, torch.full_like(aim, tolerance), every, noise, again=again)


def orders(control, reads):
    """Signed amplitudes that one cell gets after each read, None where it gets no pulse."""
    for read in reads:
        given = control.next(torch.tensor([read], dtype=F64))
        sign = 1.0 if bool(given.up) else -1.0
        yield sign * float(given.amplitude) if bool(given.active) else None


def test_amplitudes_rise_fall_back_when_a_cell_overshoots_and_narrow():
    reads = [0.0, 2.0, 4.0, 12.0, 14.0, 8.0, *[8.0] * 10]
    found = list(orders(controller([10.0]), reads))
    # Up by 0.1 V; over: resets from their start, by half their step; over again: from half of the
    # height that had been reached, by a quarter of the step, for 8 pulses; then by twice that.
    expected = [1.0, 1.1, 1.2, -0.5, -0.6, 1.15, *(1.15 + 0.025 * k for k in range(1, 9))]
    expected += [expected[-1] + 0.05, expected[-1] + 0.1]
    assert found == pytest.approx(expected, rel=1e-12)


def test_resets_fall_back_too():
    reads = [20.0, 18.0, 16.0, 8.0, 12.0, 11.0]
    # The second fall-back: half of the 0.6 V reached, steps of a quarter of 0.2 V.
    expected = [-0.5, -0.7, -0.9, 1.0, -0.8, -0.85]
    assert list(orders(controller([10.0]), reads)) == pytest.approx(expected, rel=1e-12)


def test_a_step_doubles_no_further_than_the_step_and_no_amplitude_passes_the_last():
    found = list(orders(controller([10.0]), [0.1 * k for k in range(14)]))
    assert found == pytest.approx([min(1.0 + 0.1 * k, 2.0) for k in range(14)], rel=1e-12)


def test_plain_ispp_goes_on_where_it_left_only_within_a_direction():
    control = controller([10.0], restart=0.0, refine=1.0)
    found = list(orders(control, [0.0, 5.0, 15.0, 14.0, 8.0, 9.0]))
    assert found == pytest.approx([1.0, 1.1, -0.5, -0.7, 1.0, 1.1], rel=1e-12)


def test_trains_are_as_long_as_the_last_mean_step_promises():
    control = controller([10.0], train=64)
    counts = [
        int(control.next(torch.tensor([read], dtype=F64)).count)
        for read in (0.0, 1.0, 2.2, 4.6, 9.4)
    ]
    # 9/1 pulses, twice the last 2; 7.8/0.6, twice the last 4; 5.4/0.6, twice the last 8; 0.6/0.6.
    assert counts == [1, 2, 4, 8, 1]


@pytest.mark.parametrize(
    ("target", "reads", "wanted"),
    [
        (2.9, [0.0, 1.0], [1, 1]),  # 1.9 steps are left: one whole one
        (10.0, [20.0, 19.0, 17.0, 13.0], [-1, -2, -4, -3]),
        # Past the target by steps of 2 S, it turns round: one pulse, however many are promised.
        (10.0, [0.0, 2.0, 6.0, 12.0, 2.0], [1, 2, 2, -1, 1]),
        # Disturbed without a pulse of its own: its step is still that of its last train, 3.8 S.
        (10.0, [0.0, 2.0, 9.6, 9.0], [1, 2, None, 1]),
    ],
)
def test_trains_both_ways(target, reads, wanted):
    control = controller([target], train=64, again=True)
    for read, count in zip(reads, wanted, strict=True):
        given = control.next(torch.tensor([read], dtype=F64))
        signed = int(given.count) * (1 if bool(given.up) else -1)
        assert (signed if bool(given.active) else None) == count


def test_a_train_never_has_more_pulses_than_are_left():
    control = controller([100.0], train=64, max_pulses=9)
    reads = [torch.tensor([r], dtype=F64) for r in (0.0, 1.0, 3.0, 7.0, 9.0)]
    given = [control.next(read) for read in reads]
    assert [int(each.count) for each in given[:4]] == [1, 2, 4, 2]
    assert not bool(given[4].active)
    assert int(control.pulses) == 9


def test_accepted_cells_are_left_alone_or_judged_again():
    for again in (False, True):
        found = list(orders(controller([10.0], again=again), [0.0, 9.5, 9.0, 10.6]))
        wanted = [1.0, None, 1.1, -0.5] if again else [1.0, None, None, None]
        assert [f if f is None else pytest.approx(f) for f in wanted] == found


def test_a_cell_that_stands_at_the_last_amplitude_is_stuck():
    steep = Pulses(start=1.0, step=1.0, stop=2.0, width=1e-6)
    fields = {"set": steep, "reset": steep, "stuck_after": 3, "stuck_change": 0.5}
    # 1 V, then 2 V for as long as it takes: three that moved it by less than half a tolerance.
    reads = [1.0, 1.2, 1.2, 1.3, 1.3, 1.3]
    control = controller([10.0], **fields)
    assert list(orders(control, reads)) == [1.0, 2.0, 2.0, 2.0, None, None]
    assert control.stuck.tolist() == [True]
    assert control.pulses.tolist() == [4]
    # One that moved by more begins anew: at 2.0 from 1.2; at 2.1 three more have been tried.
    control = controller([10.0], **fields)
    found = list(orders(control, [1.0, 1.2, 1.2, 2.0, 2.1, 2.1, 2.1, 2.1]))
    assert found == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, None, None]
    # Noise of reads is no move, up to four of its standard deviations.
    control = controller([10.0], noise=0.3, **fields)
    assert list(orders(control, [1.0, 1.2, 1.2, 2.0, 2.1]))[-1] is None
    # Where any change counts, no change still is none.
    control = controller([10.0], **{**fields, "stuck_change": 0.0})
    assert list(orders(control, [1.0] * 6))[-2:] == [None, None]
    control = controller([10.0], on_stuck="keep", **fields)
    assert None not in list(orders(control, reads))


def test_only_selected_cells_get_pulses():
    control = controller([10.0, 10.0], selected=[True, False])
    assert control.next(torch.zeros(2, dtype=F64)).active.tolist() == [True, False]
