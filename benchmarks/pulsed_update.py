"""The rank-one pulsed update beside a plain training step, in one run.

    python benchmarks/pulsed_update.py [--rounds 15] [--threads 1]

An MLP 784-512-10, batches of 128, cross entropy, learning rate 0.1: forward, backward and update.
Prints one JSON object a line: milliseconds of processor time (medians, interleaved), the ratio to
the plain step, and what the pulses were like. ``levels`` are the pulses across a cell's window:
the finer the step, the longer the trains.
"""

import statistics
import time

import torch
from torch import nn
from torch.distributions import Normal

from mho.devices import ConstantStep, ExponentialDevice, SoftBoundsDevice, Spread
from mho.train.on_cells.coincidence import ExpectedPulses, StochasticPulses
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.tiki_taka import AGAD, TikiTaka, TikiTakaV1, TikiTakaV2
from timing import options, report

BATCH, LR = 128, 0.1
WINDOW = {"g_min": 1e-6, "g_max": 101e-6}


def soft(levels, **more):
    return SoftBoundsDevice(**WINDOW, step=100e-6 / levels, **more)


def noisy(levels):
    asymmetry = Spread(Normal(0.0, 0.1), low=-1.0, high=1.0)
    return soft(levels, asymmetry=asymmetry, d2d=0.3, c2c=0.3)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def cases():
    """Name, and what makes the optimizer of a model."""
    devices = {
        "constant step, 1000 levels": ConstantStep(**WINDOW, step=100e-9),
        "soft bounds, 1000 levels": soft(1000),
        "soft bounds, d2d and c2c, 1000 levels": noisy(1000),
        "soft bounds, d2d and c2c, 100 levels": noisy(100),
        "soft bounds, 10000 levels": soft(10_000),
        "exponential, c2c, 1000 levels": ExponentialDevice(
            nonlinearity_set=2.4, nonlinearity_reset=-4.88, c2c=0.002, levels=1000
        ),
    }
    yield "plain", lambda m: torch.optim.SGD(m.parameters(), lr=LR)
    for name, device in devices.items():
        yield name, lambda m, d=device: PulsedSGD(m, LR, device=d)
    yield (
        "soft bounds, 1000 levels, all trains of 31 slots",
        lambda m: PulsedSGD(
            m, LR, device=soft(1000), update=StochasticPulses(bl=31, adaptive=False)
        ),
    )
    yield (
        "soft bounds, 1000 levels, expected pulses",
        lambda m: PulsedSGD(m, LR, device=soft(1000), update=ExpectedPulses()),
    )
    for rule in (TikiTakaV1(columns=8), TikiTakaV2(columns=8), AGAD(columns=8)):
        yield (
            f"soft bounds, 1000 levels, {type(rule).__name__}, 8 columns a step",
            lambda m, r=rule: TikiTaka(m, LR, device=soft(1000, asymmetry=0.1), rule=r),
        )


def stepper(make):
    source = torch.Generator().manual_seed(0)
    x = torch.rand(8, BATCH, 784, generator=source)
    y = torch.randint(10, (8, BATCH), generator=source)
    model = network()
    optimizer = make(model)
    turn = iter(range(10**9))

    def step():
        k = next(turn) % 8
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[k]), y[k]).backward()
        optimizer.step()

    return step, optimizer


def pulses(optimizer):
    if not isinstance(optimizer, (PulsedSGD, TikiTaka)):
        return None
    return sum(int(writes.sum()) for writes in optimizer.pulses().values())


def main():
    given = options(__doc__, rounds=15)
    work = {name: stepper(make) for name, make in cases()}
    for step, _ in work.values():
        for _ in range(3):
            step()
    seconds = {name: [] for name in work}
    first = {name: pulses(optimizer) for name, (_, optimizer) in work.items()}
    for _ in range(given.rounds):
        for name, (step, _) in work.items():
            step()  # a timed step follows an untimed one of its kind: caches are its own
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, (_, optimizer) in work.items():
        extra = {}
        if first[name] is not None:
            moved = pulses(optimizer) - first[name]
            extra["pulses_per_step"] = round(moved / (2 * given.rounds), 1)
        report(
            f"pulsed_update: {name}",
            ms=round(1e3 * medians[name], 2),
            ratio=round(medians[name] / medians["plain"], 2),
            **extra,
        )


if __name__ == "__main__":
    main()
