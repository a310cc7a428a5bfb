"""Refused calls of the older APIs' objects say what was wrong, and leave every cell as it was."""

import pytest
import torch
from torch import nn

from mho.compat import memtorch
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar

MODEL = memtorch.bh.memristor.VTEAM
BAD = (
    None, "3", -1, float("nan"), float("inf"), True, 1j, object(), (), {}, ["a"], nn.ReLU(),
    torch.ones(7), torch.full((2, 3), float("nan")), torch.ones(2, 3, dtype=torch.complex64),
)  # fmt: skip


def crossbar():
    torch.manual_seed(0)
    return Crossbar(MODEL, {}, (3, 2))


def layer():
    torch.manual_seed(0)
    return memtorch.mn.Linear(nn.Linear(3, 2), MODEL, {}, verbose=False)


def conductances(it):
    if isinstance(it, Crossbar):
        return [it.conductance_matrix.clone(), it.max_abs_conductance.clone()]
    if isinstance(it, nn.Module):
        held = [one.conductance_matrix.clone() for one in it.crossbars]
        return [*held, *(p.detach().clone() for p in it.parameters())]
    return [torch.tensor(it.g, dtype=torch.float64)]


CALLS = {
    "device set_conductance": (MODEL, lambda it, bad: it.set_conductance(bad)),
    "device simulate": (MODEL, lambda it, bad: it.simulate(bad)),
    "device g": (MODEL, lambda it, bad: setattr(it, "g", bad)),
    "crossbar write": (crossbar, lambda it, bad: it.write_conductance_matrix(bad)),
    "crossbar matrix": (crossbar, lambda it, bad: setattr(it, "conductance_matrix", bad)),
    "crossbar devices": (crossbar, lambda it, bad: setattr(it, "devices", bad)),
    "layer forward": (layer, lambda it, bad: it(bad)),
    "layer tune": (layer, lambda it, bad: it.tune(bad)),
    "layer load": (layer, lambda it, bad: it.load_state_dict(bad)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_call_changes_no_cell(name):
    make, call = CALLS[name]
    it, refused = make(), 0
    before = conductances(it)
    for bad in BAD:
        try:
            call(it, bad)
        except (TypeError, ValueError, RuntimeError):
            refused += 1
        else:
            it = make()
            before = conductances(it)
        assert all(map(torch.equal, before, conductances(it))), bad
    assert refused
