"""Which significances of several pairs a weight leave the least error, found by programming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks, durations
from mho.core.durations import Duration
from mho.core.text import table
from mho.crossbar.crossbar import Crossbar
from mho.encoding.weighted_pairs import WeightedPairs
from mho.hardware import Hardware

RATIOS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


@dataclass(frozen=True)
class Significances:
    """What `best_significances` returns; print it.

    Attributes:
        best: those of the least error.
        tried: all candidates.
        errors: of the weights, root mean square over all chips, as a part of the largest weight.
        spread: standard deviation of that over chips (0 for one chip).
    """

    best: tuple[float, ...]
    tried: tuple[tuple[float, ...], ...]
    errors: tuple[float, ...]
    spread: tuple[float, ...]

    def __str__(self) -> str:
        rows = [
            (
                " : ".join(f"{s:.4g}" for s in candidate),
                f"{error:.3%}",
                f"{spread:.2%}",
                "least" if candidate == self.best else "",
            )
            for candidate, error, spread in zip(self.tried, self.errors, self.spread, strict=True)
        ]
        return table(("significances", "rms error of the largest weight", "± chips", ""), rows)


def best_significances(
    hardware: Hardware,
    weight: Tensor,
    *,
    pairs: int = 2,
    candidates: Sequence[Sequence[float]] | None = None,
    seconds: Duration = 0.0,
    chips: int = 3,
    seed: int = 0,
) -> Significances:
    """Find the significances of several pairs that leave the least error of programmed weights.

    Every candidate is programmed as the hardware says (its device, its policy, its effects) on the
    same chips' seeds. What is best depends on the policy most of all: with open-loop writes errors
    of pairs add up, and equal pairs average them best; where each pair makes up for the one before
    (`Successive`) unequal ones do.

    Args:
        hardware: as it will be used; of its encoding a `WeightedPairs` gives scaling, levels and
            the place of addition, any other its scaling alone.
        weight: ``[rows, cols]``, finite: a layer's, or random ones of the expected distribution.
        pairs: of every weight, >= 1, where no candidates are given: ``1 : r : r² …`` is then tried
            for r from 1 to 24.
        candidates: significances to try.
        seconds: time after programming at which the error is taken (s), >= 0.
        chips: fabricated and programmed for each, >= 1.
        seed: of the first chip.

    Raises:
        TypeError, ValueError: if an argument is refused.

    Source: C. Mackin et al., Nature Communications 13, 3765 (2022), doi
    10.1038/s41467-022-31405-1, who optimise the factor between two pairs.
    """
    checks.instance("hardware", hardware, Hardware)
    checks.instance("weight", weight, Tensor)
    if weight.dim() != 2 or not weight.numel():
        raise ValueError(f"weight must be [rows, cols], not empty, got {tuple(weight.shape)}")
    checks.finite("weight", weight)
    checks.integer("chips", chips)
    checks.integer("pairs", pairs)
    seconds = durations.seconds("seconds", seconds, least=0.0)
    given = candidates
    if given is None:
        given = [[r**k for k in range(pairs)] for r in (RATIOS if pairs > 1 else RATIOS[:1])]
    if not given:
        raise ValueError("candidates must be one or more tuples of significances, got none")
    encodings = [_encoding(hardware, each) for each in given]
    found = torch.tensor(
        [
            [_error(hardware.replace(encoding=e), weight, seconds, seed + i) for i in range(chips)]
            for e in encodings
        ],
        dtype=torch.float64,
    )
    errors = found.square().mean(1).sqrt()
    spread = found.std(1) if chips > 1 else torch.zeros(len(found))
    tried = tuple(e.significances for e in encodings)
    best = tried[int(errors.argmin())]
    return Significances(best, tried, tuple(errors.tolist()), tuple(spread.tolist()))


def _encoding(hardware: Hardware, significances: Sequence[float]) -> WeightedPairs:
    encoding = hardware.encoding
    if isinstance(encoding, WeightedPairs):
        return encoding.replace(significances=tuple(significances))
    return WeightedPairs(scaling=encoding.scaling, significances=tuple(significances))


def _error(hardware: Hardware, weight: Tensor, seconds: float, seed: int) -> float:
    rows, cols = weight.shape
    crossbar = Crossbar(rows, cols, hardware, seed=seed).to(weight.device)
    crossbar.program(weight.detach())
    if seconds:
        crossbar.age(seconds)
    missed = crossbar.weight.double() - weight.detach().double()
    size = float(weight.abs().max()) or 1.0
    return float(missed.square().mean().sqrt()) / size
