"""What a low-rank gradient costs: a training step with each decomposition, beside the plain step.

MLP 784-512-10, batch 128, both weights' gradients decomposed and replaced in every step. Inputs and
labels are random, which makes for the flattest spectra: the hardest case for iterations. Those
that stream samples pay for `capture`, too. Prints one JSON line per decomposition.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from mho.decomposition import (
    NMF,
    Decomposition,
    FullOuterProduct,
    FullSVD,
    StreamingBatchPCA,
    TruncatedSVD,
    capture,
)
from timing import medians, options, report

BATCH = 128


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def training_step(decomposition: Decomposition | None) -> Callable[[], None]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.randn(BATCH, 784), torch.randint(10, (BATCH,))
    samples = capture(model) if decomposition is not None and decomposition.streams else None
    weights = [p for p in model.parameters() if p.dim() > 1]

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for key, weight in enumerate(weights if decomposition is not None else ()):
            found = samples.of(weight) if samples is not None else None
            weight.grad = decomposition.decompose(*(found or (None, None)), weight.grad, key)
        if samples is not None:
            samples.clear()
        optimizer.step()

    return step


def main() -> None:
    given = options(
        __doc__,
        rounds=15,
        full={"action": "store_true", "help": "time the whole SVD as well (slow)"},
    )
    decompositions: list[Decomposition] = [
        FullOuterProduct(),
        *(TruncatedSVD(rank) for rank in (1, 4, 10)),
        *(StreamingBatchPCA(rank) for rank in (1, 4, 10)),
        *(NMF(rank) for rank in (1, 4, 10)),
        NMF(4, streaming=True, iterations=5),
    ]
    if given.full:
        decompositions.append(FullSVD())
    work = {"plain": training_step(None)}
    work |= {repr(d): training_step(d) for d in decompositions}
    times = medians(work, given.rounds, warm_up=2)
    for name, seconds in times.items():
        ratio = seconds / times["plain"]
        report("decomposition", step=name, ms=round(1e3 * seconds, 3), ratio=round(ratio, 2))


if __name__ == "__main__":
    main()
