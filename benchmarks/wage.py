"""The cost of training with few-bit numbers beside plain PyTorch, in one run. Prints JSON lines.

    python benchmarks/wage.py [--rounds 100] [--threads 1 2]

Ratios compare medians of interleaved rounds: one training step of an MLP 784-512-10, batch 128,
with plain SGD. The loss is the same in all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mho.periphery.formats import FLOAT8_E4M3, FLOAT8_E5M2, BlockFloat, FixedPoint
from mho.train.quantised.scheme import Formats, Scheme, quantise
from mho.train.quantised.wage import WAGE, initialise, sse
from timing import medians, options, report

FIXED = FixedPoint(8, 6)
SCHEMES: dict[str, Scheme | None] = {
    "plain": None,
    "WAGE 2-8-8-8": WAGE(2, 8, 8, 8),
    "WAGE 2-8-8-8, ceil": WAGE(2, 8, 8, 8, shift="ceil"),
    "fixed point 8": Formats(FIXED, FIXED, FixedPoint(8, 12), updates=FIXED.replace(clamp=False)),
    "float 8": Formats(FLOAT8_E4M3, FLOAT8_E4M3, FLOAT8_E5M2),
    "block float 8": Formats(BlockFloat(8, dim=0), BlockFloat(8, dim=0), BlockFloat(8)),
}


def step(scheme: Scheme | None, inputs: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    model: nn.Module = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    if isinstance(scheme, WAGE):
        initialise(model, scheme.weights)
    if scheme is not None:
        model = quantise(model, scheme)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    if scheme is not None:
        optimizer = scheme.optimizer(optimizer)

    def one() -> None:
        optimizer.zero_grad()
        sse(model(inputs), labels).backward()
        optimizer.step()

    return one


def main() -> None:
    given = options(__doc__, rounds=100, threads=[1])
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(128, 784, generator=source)
    labels = torch.randint(10, (128,), generator=source)
    for threads in given.threads:
        torch.set_num_threads(threads)
        work = {name: step(scheme, inputs, labels) for name, scheme in SCHEMES.items()}
        times = medians(work, given.rounds)
        for name, seconds in times.items():
            ratio = seconds / times["plain"]
            report("quantised step", scheme=name, milliseconds=1e3 * seconds, ratio=ratio)


if __name__ == "__main__":
    main()
