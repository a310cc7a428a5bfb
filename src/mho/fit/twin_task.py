"""What a search for a twin is given, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.fit.twin_model import Array, State
from mho.fit.twin_solve import Solved

GAIN, OFFSET, CELLS = 0, 1, 2  # own parameters of a line: its gain, its offset, its cells


@dataclass(frozen=True)
class Task:
    """What is measured, and what is looked for.

    Attributes:
        array: the array.
        v: ``f(v) [reads, rows]``.
        y: outputs ``[reads, lines]`` (A).
        start: first guess; what is not free stays as it is there.
        free: names of what is free.
        wires: names of the resistances that are.
        rate: of false ones among suspicious cells.
    """

    array: Array
    v: Tensor
    y: Tensor
    start: State
    free: frozenset[str]
    wires: tuple[str, ...]
    rate: float

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the shared parameters."""
        return self.wires + (("compression",) if "nonlinearity" in self.free else ())


@dataclass(frozen=True)
class Noise:
    """Variance of reads: ``known + cells · shape + amplifier``.

    Attributes:
        relative_to: of the cells' noise: ``"range"`` or ``"value"``; ``"gain"`` where gains vary.
        tau: of these (relative, squared), and of the amplifiers (A²).
        covariance: of these two.
        likelihood: its logarithm, up to a constant.
        variance: ``[reads, lines]`` (A²).
    """

    relative_to: str
    tau: Tensor
    covariance: Tensor
    likelihood: float
    variance: Tensor


@dataclass(frozen=True)
class Random:
    """Sizes of what is drawn from normal distributions: programming errors, and lines' common part.

    Attributes:
        relative_to: of programming errors: ``"range"`` or ``"value"``.
        reference: what they are relative to ``[lines, rows]`` (S).
        programming: their relative standard deviation; 0 where cells are as given.
        together: standard deviation of what lines of one read have in common (A); 0 for nothing.
        of_cells: how many programming errors the data determine.
        of_reads: how many of the common parts.
    """

    relative_to: str
    reference: Tensor
    programming: float
    together: float
    of_cells: float = 0.0
    of_reads: float = 0.0

    def precision(self, drawn: Tensor, cells: Tensor) -> Tensor:
        """Return one over the variance of what is drawn ``[lines, 2 + cells]``, else 0."""
        size = (self.programming * self.reference.gather(1, cells)).clamp_min(1e-300)
        whole = torch.nn.functional.pad(size, (CELLS, 0), value=1.0)
        return torch.where(drawn, whole.pow(-2), 0.0)

    def near(self, other: Random) -> bool:
        """Whether sizes are the same to a hundredth."""
        pairs = ((self.programming, other.programming), (self.together, other.together))
        return all(abs(one - two) <= 1e-2 * two for one, two in pairs)


@dataclass(frozen=True)
class Found:
    """Where the search ended.

    Attributes:
        state: the estimate.
        solved: step and covariance there.
        noise: of the reads.
        cells: rows of the cells among the own parameters ``[lines, cells]``.
        fitted: which own parameters were looked for ``[lines, 2 + cells]``.
        odd: the suspicious cells ``[lines, rows]``.
        random: sizes of what is drawn.
        evidence: logarithm of the likelihood, up to a constant.
    """

    state: State
    solved: Solved
    noise: Noise
    cells: Tensor
    fitted: Tensor
    odd: Tensor
    random: Random
    evidence: float
