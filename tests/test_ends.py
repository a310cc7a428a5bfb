"""Gradients at the very ends of ranges, where the largest weights and inputs stand."""

import pytest
import torch
from torch.distributions import Normal

from mho import DAC, Hardware, convert
from mho.cells.spread import Spread
from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.map.Parameter import naive_map
from mho.core import derivatives
from mho.crossbar import expansion
from mho.devices import MTJ, VTEAM, LinearDevice
from mho.effects import FiniteStates
from mho.encoding import Binary, Ternary
from mho.periphery import quantize

F64 = torch.float64
AT = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], dtype=F64)
INSIDE = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0], dtype=F64)


def gradient(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@pytest.mark.parametrize("end", [1.0, torch.tensor(1.0, dtype=F64), torch.ones(7, dtype=F64)])
def test_a_clipped_value_has_its_gradient_at_both_ends(end):
    def clipped(x):
        return derivatives.clip(x, -end, end)

    x = AT.clone()
    assert torch.equal(clipped(x), x.clamp(-1.0, 1.0))
    assert torch.equal(clipped(x.requires_grad_()), x.clamp(-1.0, 1.0))
    assert torch.equal(gradient(clipped, AT), INSIDE)
    assert torch.equal(
        torch.func.vmap(torch.func.grad(lambda x: clipped(x).sum()))(AT.expand(2, 7)),
        INSIDE.expand(2, 7),
    )
    assert torch.equal(torch.func.jvp(clipped, (AT,), (torch.ones_like(AT),))[1], INSIDE)
    assert clipped(torch.tensor(float("nan"), requires_grad=True)).isnan().all()


def test_one_end_may_be_open():
    below, above = (derivatives.clip(AT, *ends) for ends in ((None, 1.0), (-1.0, None)))
    assert torch.equal(below, AT.clamp(max=1.0))
    assert torch.equal(above, AT.clamp(min=-1.0))
    assert torch.equal(gradient(lambda x: derivatives.clip(x, None, 1.0), AT), (AT <= 1.0).double())
    assert torch.equal(gradient(lambda x: derivatives.clip(x, 0.0, None), AT), (AT >= 0.0).double())


@pytest.mark.parametrize(
    "device",
    [
        LinearDevice(g_min=1e-5, g_max=1e-4),
        LinearDevice(g_min=1e-5, g_max=Spread(Normal(1e-4, 1e-5), low=2e-5)),
        VTEAM(),
        MTJ(),
        MTJ(g_parallel=Spread(Normal(7e-5, 3e-6), low=1e-5)),
    ],
    ids=lambda device: f"{type(device).__name__}{'-spread' * bool(device.spreads())}",
)
def test_cells_asked_for_the_ends_they_reach_pass_the_gradient(device):
    cells = device.fabricate((3, 4), seed=1, dtype=F64)
    drawn = cells.parameters_drawn()
    ends = [device.reach(torch.full((3, 4), g, dtype=F64), drawn) for g in (0.0, 1.0)]
    for end in ends:
        assert torch.equal(gradient(lambda g: device.reach(g, drawn), end), torch.ones_like(end))


@pytest.mark.parametrize("encoding", [Binary(), Ternary()])
def test_training_for_cells_of_two_states_has_the_whole_gradient(encoding):
    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 3, bias=False, dtype=F64)
    x = torch.rand(5, 4, dtype=F64)
    found = []
    # Told to be at one end or at the other, ohmic cells of the same window do the same.
    device = MTJ(v_half=None)
    for same in (device, LinearDevice(*device.window)):
        model = convert(linear, Hardware(device=same, encoding=encoding)).train()
        found.append(torch.autograd.grad(model(x).sum(), model.weight)[0])
    assert torch.allclose(*found, rtol=1e-6)


def test_currents_that_do_not_separate_have_the_slope_inside_at_full_drive():
    hardware = Hardware(device=MTJ(v_half=0.3), dac=DAC(bits=8))
    top = float(hardware.drive.levels[1])
    level = torch.tensor([top, -top], dtype=F64)

    def driven(level):
        return expansion.driven(level.view(1, 1, -1), hardware)

    nearer = level * (1.0 - 1e-6)
    slope = (driven(level) - driven(nearer)).flatten() / (level - nearer).repeat_interleave(2)
    rows = torch.autograd.functional.jacobian(lambda x: driven(x).flatten(), level).sum(-1)
    assert torch.allclose(rows, slope, rtol=1e-5)


def test_states_and_grids_pass_the_gradient_of_their_ends():
    class Window:
        g_min, g_max, g_range = -1.0, 1.0, 2.0

    one = torch.ones((), dtype=F64)
    for rounded in (
        lambda x: FiniteStates(4).program(x, Window),
        lambda x: quantize.sign_ste(x, one),
        lambda x: quantize.companded_log(x, 4, 0.1 * one, one),
    ):
        assert torch.equal(gradient(rounded, AT), INSIDE)
    # d/dx artanh(tanh x) = 1 wherever the level is the value itself.
    ends = gradient(
        lambda x: quantize.companded_tanh(x, 4, one), torch.tensor([-1.0, 1.0]).double()
    )
    assert torch.allclose(ends, torch.ones(2, dtype=F64))


def test_weights_mapped_as_memtorch_does_have_the_whole_gradient():
    weight = torch.tensor([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0], dtype=F64)
    for scheme, scale in ((Scheme.DoubleColumn, 1.0), (Scheme.SingleColumn, 0.5)):

        def combined(weight, scheme=scheme):
            found = naive_map(weight, 1e3, 1e4, scheme)
            return found[0] - found[1] if scheme is Scheme.DoubleColumn else found

        expected = torch.full_like(weight, scale * (1e-3 - 1e-4) / 2.0)
        assert torch.allclose(gradient(combined, weight), expected)
