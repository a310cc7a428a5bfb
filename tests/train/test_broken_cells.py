"""Broken cells in training, found as few places among weights: what chips hold, and sums."""

import math

import pytest
import torch

from mho import Crossbar, Hardware
from mho.devices import LinearDevice
from mho.effects import StuckAt, WriteNoise
from mho.encoding import Differential, Scaling, SingleColumn
from mho.train import NoiseInjection

SIGMAS = 5.0
G_MIN, G_MAX = 2e-5, 1e-4  # no cell comes near 0 S, where what is stored ends
WINDOW = G_MAX - G_MIN
NOISE = 0.02
LOW, HIGH = 0.1, 0.2
DEVICE = LinearDevice(G_MIN, G_MAX)
EFFECTS = (StuckAt(low=LOW, high=HIGH), WriteNoise(NOISE))


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def read(crossbar: Crossbar, weight: torch.Tensor) -> torch.Tensor:
    eye = torch.eye(crossbar.rows).repeat(1, crossbar.groups)
    read = crossbar.read_through(eye, weight)
    return read.unflatten(1, (crossbar.groups, -1)).transpose(0, 1).flatten(0, 1)


def moments(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of what a pair holds, from each cell's own, in units of the weight."""
    share = weight / weight.abs().max()
    mean = torch.zeros_like(weight)
    variance = torch.zeros_like(weight)
    for sign in (1.0, -1.0):
        target = (sign * share).clamp(min=0.0)  # in the window, from 0 to 1
        first = HIGH + (1 - LOW - HIGH) * target
        second = HIGH + (1 - LOW - HIGH) * (target.square() + NOISE**2)
        mean += sign * first
        variance += second - first.square()
    return mean * weight.abs().max(), variance * weight.abs().max() ** 2


@pytest.mark.parametrize("turned", [False, True], ids=["as stored", "torch weight, turned"])
def test_mean_and_variance_are_those_of_pairs_with_broken_cells(turned):
    weight = seeded(12, 9)
    weight = weight.T.contiguous().T if turned else weight
    crossbar = Crossbar(12, 9, Hardware(device=DEVICE, effects=EFFECTS))
    torch.manual_seed(1)
    count = 4000
    seen = torch.stack([read(crossbar, weight) for _ in range(count)]).double()
    mean, variance = moments(weight.double())
    error = (seen.mean(0) - mean) / (variance / count).sqrt()
    assert float(error.abs().max()) < SIGMAS
    fourth = (seen - mean).pow(4).mean(0)
    spread = ((fourth - variance.square()) / count).sqrt()
    assert float(((seen.var(0) - variance) / spread).abs().max()) < SIGMAS


def test_training_reads_are_as_those_of_fabricated_chips():
    weight = seeded(40, 30)
    hardware = Hardware(device=DEVICE, effects=EFFECTS)
    crossbar = Crossbar(40, 30, hardware)
    torch.manual_seed(2)
    trained, stored = [], []
    for seed in range(60):
        trained.append(read(crossbar, weight) - weight)
        chip = Crossbar(40, 30, hardware, seed=seed)
        chip.program(weight)
        stored.append(chip.weight - weight)
    ours, theirs = torch.stack(trained).double(), torch.stack(stored).double()
    for power in (1, 2, 4):
        a, b = ours.pow(power).flatten(), theirs.pow(power).flatten()
        error = math.sqrt(float(a.var()) / a.numel() + float(b.var()) / b.numel())
        assert abs(float(a.mean() - b.mean())) < SIGMAS * error


def test_a_pair_that_is_broken_altogether_has_neither_noise_nor_gradient():
    effects = (StuckAt(high=1.0, g_high=3e-5), WriteNoise(NOISE))
    crossbar = Crossbar(7, 5, Hardware(device=DEVICE, effects=effects))
    weight = seeded(7, 5).requires_grad_()
    seen = read(crossbar, weight)
    assert torch.allclose(seen, torch.zeros(7, 5), atol=1e-6)
    seen.sum().backward()
    assert torch.allclose(weight.grad, torch.zeros(7, 5), atol=1e-6)


@pytest.mark.parametrize(
    "encoding",
    [
        Differential(),
        Differential(Scaling(per_column=True)),
        Differential(Scaling(percentile=80.0)),
        Differential(subtract="digital"),
        SingleColumn(),
    ],
    ids=str,
)
@pytest.mark.parametrize("turned", [False, True], ids=["as stored", "torch weight, turned"])
@pytest.mark.parametrize("groups", [1, 3])
def test_own_broken_cells_are_where_the_chip_has_them(encoding, turned, groups):
    effects = (StuckAt(low=LOW, high=HIGH, g_high=7e-5),)
    hardware = Hardware(device=DEVICE, encoding=encoding, effects=effects)
    crossbar = Crossbar(11, 6, hardware, groups=groups, seed=3)
    crossbar.inject_noise(NoiseInjection(own_cells=True))
    weight = seeded(groups * 11, 6)
    weight = weight.T.contiguous().T if turned else weight
    crossbar.program(weight)
    assert torch.allclose(read(crossbar, weight), crossbar.weight, atol=1e-5)


def test_gradients_pass_by_the_broken_cells():
    hardware = Hardware(device=DEVICE, effects=(StuckAt(low=LOW, high=HIGH), WriteNoise(NOISE)))
    crossbar = Crossbar(30, 20, hardware, seed=4)
    crossbar.inject_noise(NoiseInjection(own_cells=True))
    weight = seeded(30, 20).requires_grad_()
    read(crossbar, weight).sum().backward()
    positive, negative = crossbar.stuck
    carried = torch.where(weight.detach() > 0, ~positive, ~negative)  # by the cell that is not idle
    assert torch.allclose(weight.grad, carried.float(), atol=1e-5)


def test_effects_that_say_nothing_of_single_cells_break_none():
    hardware = Hardware(device=DEVICE, effects=(StuckAt(), WriteNoise(0.0)))
    crossbar = Crossbar(6, 4, hardware)
    weight = seeded(6, 4)
    assert torch.allclose(read(crossbar, weight), weight, atol=1e-6)
