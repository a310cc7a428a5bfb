"""What a training step by each published recipe costs beside the plain one, in one run.

    python benchmarks/recipes.py [--rounds 31] [--threads 1]

MLP 784-512-10, batch 128: gradients to zero, forward, backward, SGD, `Recipe.after_step`, on
phase-change cells with the recipe's converters. Prints one JSON line a recipe: median milliseconds
and the ratio to the plain step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

import mho
from mho.train import recipes
from timing import medians, options, report


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def step(recipe: recipes.Recipe | None, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    model: nn.Module = network()
    if recipe is not None:
        cells = mho.Hardware(device=mho.devices.PCM(), array=mho.Array(1024, 512))
        sample = x if recipe.ranges == "learned" else None
        model = recipe.prepare(model, recipe.hardware(cells), sample)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def one() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if recipe is not None:
            recipe.after_step(model)

    return one


def main() -> None:
    given = options(__doc__, rounds=31)
    x, y = torch.rand(128, 784), torch.randint(10, (128,))
    work = {"plain": step(None, x, y)}
    work |= {name: step(recipe, x, y) for name, recipe in recipes.RECIPES.items()}
    found = medians(work, given.rounds)
    for name, seconds in found.items():
        ratio = seconds / found["plain"]
        report(f"recipe {name}", milliseconds=round(1e3 * seconds, 2), ratio=round(ratio, 2))


if __name__ == "__main__":
    main()
