"""Monte Carlo over chips: one converted model, made many times."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mho.core import checks
from mho.model.crossbars import layers
from mho.model.lifecycle import fabricate
from mho.runs.work import torch_threads
from mho.study.seeds import listed


def over_chips(
    analog: nn.Module,
    evaluate: Callable[[nn.Module], float | Tensor | Sequence[float]],
    seeds: Sequence[int],
    *,
    workers: int = 1,
    label: str | None = None,
) -> Tensor:
    """Make one chip per seed, each programmed with the model's weights, and evaluate every one.

    Each chip is a copy of the model as given, with cells of its own: ``evaluate`` may calibrate,
    age or train it freely, and neither the model nor the other chips notice. Chip ``s`` is the
    same chip whatever other seeds there are, so two studies with the same seeds compare chip by
    chip. Gradients are not tracked unless ``evaluate`` turns them on.

    Chips are made one by one in a plain loop, not as a batch dimension: what happens to a chip
    (its read noise, its calibration) draws from its own stream of randomness and depends on its
    own values, which ``torch.func.vmap`` cannot express. So only ``workers`` chips are in memory
    at a time. Several workers are threads that compute with one core each, which for small models
    is faster than all cores on one chip; the chips are the same.

    Args:
        analog: a converted model; it is not changed.
        evaluate: from a chip to a number, or to several (a sequence, or a tensor of any shape).
        seeds: one chip each, at least one.
        workers: how many chips are made at once; ``evaluate`` must then bear being called from
            several threads, each with a chip of its own.
        label: names a progress bar (shown on terminals only); None shows none.

    Returns:
        What ``evaluate`` gave, ``[chips, ...]``, in float64.

    Raises:
        TypeError, ValueError: if the model has no crossbars, there is no seed, one is refused, or
            the evaluations differ in shape.
    """
    layers(analog)  # refuses a model without crossbars
    workers = checks.integer("workers", workers)
    seeds = listed(seeds)

    @torch.no_grad()
    def one(seed: int) -> Tensor:
        chip = copy.deepcopy(analog)
        fabricate(chip, seed)
        return torch.as_tensor(evaluate(chip), dtype=torch.float64).detach().cpu()

    # tqdm's None means: only on a terminal.
    with tqdm(total=len(seeds), desc=label, disable=label is None or None, unit="chip") as bar:
        found: list[Tensor] = []
        for value in _map(one, seeds, workers):
            if found and value.shape != found[0].shape:
                raise ValueError(
                    "evaluate must return one shape for all chips, got "
                    f"{list(found[0].shape)} and {list(value.shape)}"
                )
            found.append(value)
            bar.update()
    return torch.stack(found)


def _map(one: Callable[[int], Tensor], seeds: Sequence[int], workers: int) -> Iterator[Tensor]:
    if workers == 1:
        yield from map(one, seeds)
        return
    with torch_threads(1), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, seeds)


