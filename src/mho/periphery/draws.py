"""What fabrication draws for circuits at the lines: amplifiers, converters, drivers.

Each quantity has a stream of its own, keyed by its name, from the seed of the chip's lines
(`mho.cells.population.Cells.lines_seed`): the same chip has the same circuits, in any precision and
on any device. Without a seed, as in training, draws are torch's own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.cells.spread import Spread
from mho.core import random


class Draws(NamedTuple):
    """Where the parameters of circuits come from.

    Attributes:
        seed: of the chip's lines; None draws from torch's own generator.
        kind: which circuits these are, so that others draw apart.
        like: gives dtype and device.
    """

    seed: int | None
    kind: str
    like: Tensor

    def normal(self, name: str, *shape: int) -> Tensor:
        """Draw standard normals; of a chip's own circuits in double precision, on the CPU first."""
        if self.seed is None:
            return random.normal_like(self.like.new_empty(shape), None)
        source = random.generator(random.derive(self.seed, self.kind, name))
        drawn = torch.randn(shape, generator=source, dtype=torch.float64, device="cpu")
        return drawn.to(self.like.device)

    def spread(self, name: str, value: float | Spread, shape: tuple[int, ...]) -> Tensor:
        """Return a parameter of circuits: drawn where it is spread, else one number ``[1, …]``."""
        like = self.like
        if not isinstance(value, Spread):
            return like.new_full((1,) * len(shape), value)
        if self.seed is None:
            return value.sample(shape, None, dtype=like.dtype, device=like.device)
        source = random.generator(random.derive(self.seed, self.kind, name))
        return value.sample(shape, source, dtype=like.dtype).to(like.device)
