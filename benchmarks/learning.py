"""What learning on hardware costs: one training step of each sort beside the plain one, in one run.

    python benchmarks/learning.py [--rounds 31] [--threads 1]

MLP 784-512-10, batch 128: gradients to zero, forward, backward, update. Prints one JSON line a
sort: median milliseconds and the ratio to the plain step. The scripts ``in_situ``,
``decomposition``, ``wage`` and ``pulsed_update`` go into each by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

import decomposition
import wage
from mho import ADC, DAC, Hardware, effects
from mho.decomposition import NMF, StreamingBatchPCA, TruncatedSVD
from mho.devices import ConstantStep, ExponentialDevice, SoftBoundsDevice, presets
from mho.train import (
    WAGE,
    InSitu,
    MultiTileResidual,
    NoiseInjection,
    PulsedSGD,
    Recipe,
    TikiTaka,
    TileSGD,
)
from timing import medians, options, report

WINDOW = {"g_min": 1e-6, "g_max": 101e-6, "step": 100e-9}
FEW = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=25e-6)
REAL = {"nonlinearity_set": 2.4, "nonlinearity_reset": -4.88, "c2c": 0.035}
NOISY = Hardware(dac=DAC(bits=8), adc=ADC(bits=8), effects=(effects.WriteNoise(0.02),))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def step(
    make: Callable[[nn.Module], torch.optim.Optimizer], x: torch.Tensor, y: torch.Tensor
) -> Callable[[], None]:
    model = network()
    optimizer = make(model)

    def one() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return one


def noise_aware(x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    recipe = Recipe(injection=NoiseInjection(noise=1.5), ranges="calibrated", clip=2.5)
    analog = recipe.prepare(network(), NOISY, x)
    optimizer = torch.optim.SGD(analog.parameters(), lr=0.1)

    def one() -> None:
        optimizer.zero_grad()
        F.cross_entropy(analog(x), y).backward()
        optimizer.step()

    return one


def residual(device: SoftBoundsDevice) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: TileSGD(model, 0.1, device=device, rule=MultiTileResidual(tiles=4))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def main() -> None:
    given = options(__doc__, rounds=31)
    source = torch.Generator().manual_seed(0)
    # As sparse as handwritten digits.
    x = torch.rand(128, 784, generator=source) * (torch.rand(128, 784, generator=source) < 0.2)
    y = torch.randint(10, (128,), generator=source)
    ideal, real = ExponentialDevice(), ExponentialDevice(**REAL)
    fefet = presets.get("fefet_3v0")
    work = {
        "plain": step(sgd, x, y),
        "in situ, exponential ideal": step(lambda m: InSitu(sgd(m), ideal), x, y),
        "in situ, exponential real": step(lambda m: InSitu(sgd(m), real), x, y),
        "in situ, tabular": step(lambda m: InSitu(sgd(m), fefet), x, y),
        "WAGE 2-8-8-8": wage.step(WAGE(2, 8, 8, 8), x, y),
        "truncated SVD, rank 4": decomposition.training_step(TruncatedSVD(4)),
        "streaming batch PCA, rank 4": decomposition.training_step(StreamingBatchPCA(4)),
        "NMF, rank 4": decomposition.training_step(NMF(4)),
        "noise-aware, converters": noise_aware(x, y),
        "rank-one pulses, constant step": step(
            lambda m: PulsedSGD(m, 0.1, device=ConstantStep(**WINDOW)), x, y
        ),
        "rank-one pulses, soft bounds": step(
            lambda m: PulsedSGD(m, 0.1, device=SoftBoundsDevice(**WINDOW)), x, y
        ),
        "multi-tile residual, 4 tiles, soft bounds": step(
            residual(SoftBoundsDevice(**WINDOW)), x, y
        ),
        "multi-tile residual, 4 tiles of 4 states": step(residual(FEW), x, y),
        "Tiki-Taka v2, soft bounds": step(
            lambda m: TikiTaka(m, 0.1, device=SoftBoundsDevice(**WINDOW)), x, y
        ),
    }
    times = medians(work, given.rounds, warm_up=3)
    for name, seconds in times.items():
        ratio = seconds / times["plain"]
        report("learning", step=name, ms=round(1e3 * seconds, 2), ratio=round(ratio, 2))


if __name__ == "__main__":
    main()
