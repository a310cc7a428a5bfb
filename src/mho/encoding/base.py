"""Encoding: weights to conductances and back.

With ideal periphery every encoding is one equation,

    weight = scale · Σ_s c[s] · G[s]

with ``G [slices, rows, cols]`` in siemens and the *combination* ``c``. The combination has two
parts, because hardware has two places to add: ``analog [converters, slices]`` is what flows
together before an ADC, ``digital [converters]`` what is added after it; ``c = digital @ analog``.
Encodings that know broken cells (`mho.encoding.redundant`) may weigh converters per column.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.core import checks, derivatives
from mho.core.constants import constant
from mho.core.precision import exactly
from mho.core.spec import Spec


@dataclass(frozen=True)
class Scaling(Spec):
    """Which weight becomes the largest conductance difference.

    Attributes:
        percentile: of ``|weight|``, in (0, 100]; 100 is the maximum. Larger weights are clipped.
        per_column: one scale per output column instead of one per layer.
    """

    percentile: float = 100.0
    per_column: bool = False

    def __post_init__(self) -> None:
        checks.number("percentile", self.percentile, above=0.0, most=100.0)

    def limit(self, weight: Tensor) -> Tensor:
        """Return the weight magnitude that fills the range: ``[]`` or ``[cols]``, all > 0."""
        weight = weight.detach()
        limit = self._largest(weight)
        if self.percentile < 100.0:
            rank = self._rank(weight.abs())
            limit = torch.where(rank > 0, rank, limit)
        # Weights that are all zero need no range; any positive one serves them. That of weights
        # next to nothing is one whose inverse, squared in units of currents, is still a number.
        least = 2.0**-400 if limit.dtype == torch.float64 else 2.0**-50
        return torch.where(limit > 0, limit.clamp_min(least), torch.ones_like(limit))

    def _largest(self, weight: Tensor) -> Tensor:
        # Two reductions are cheaper than writing down every magnitude.
        if self.per_column:
            return torch.maximum(weight.amax(0), -weight.amin(0))
        return torch.maximum(weight.amax(), -weight.amin())

    def _rank(self, magnitude: Tensor) -> Tensor:
        # kthvalue, not quantile: it has no limit of size.
        if not self.per_column:
            magnitude = magnitude.flatten()
        count = magnitude.shape[0]
        rank = min(max(round(self.percentile / 100.0 * count), 1), count)
        return magnitude.kthvalue(rank, dim=0).values


@dataclass(frozen=True)
class Encoding(Spec):
    """Base of all encodings: how one weight is spread over cells.

    A subclass gives ``analog``, ``digital`` and `encode`; everything else follows.

    Attributes:
        scaling: which weight fills the conductance range.

    Class attributes:
        defect_aware: whether `suit` does something: whether broken cells, once known, change
            what is written to the others or how results are added.
        states: how many evenly spaced conductances a cell is asked to hold; None for any.
    """

    defect_aware: ClassVar[bool] = False

    scaling: Scaling = Scaling()

    def __post_init__(self) -> None:
        if not isinstance(self.scaling, Scaling):
            raise TypeError(self._misplaced())

    def _misplaced(self) -> str:
        """Say that what came first is no scaling, and how to write what was meant."""
        kind = type(self).__name__
        own = [f.name for f in fields(self) if f.init and f.name != "scaling"]
        remedy = f": name what it is, {kind}({own[0]}=…)" if own else ""
        return f"scaling must be Scaling, got {checks.said(self.scaling)}{remedy}"

    def refuse(self, hardware: Any) -> None:
        """Refuse hardware in which this encoding cannot be (ValueError).

        Args:
            hardware: the `mho.Hardware` that is being made of it.
        """

    def fit(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights clipped to the range, and its limit ``[]`` or ``[cols]``."""
        limit = self.scaling.limit(weight)
        if self.scaling.percentile == 100.0:  # nothing to clip
            return weight, limit
        return derivatives.clip(weight, -limit, limit), limit

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """What flows together before each converter: ``[converters][slices]``."""
        raise NotImplementedError

    @property
    def digital(self) -> tuple[float, ...]:
        """Weights of the converters' results in the digital sum: ``[converters]``."""
        return (1.0,) * self.converters

    @property
    def states(self) -> int | None:
        """How many evenly spaced conductances a cell is asked to hold; None for any."""
        return None

    @property
    def slices(self) -> int:
        """How many cells (or physical columns) one weight takes."""
        return len(self.analog[0])

    @property
    def converters(self) -> int:
        """How many conversions one output takes."""
        return len(self.analog)

    @property
    def combination(self) -> tuple[float, ...]:
        """The combination ``c [slices]``: ``weight = scale · Σ_s c[s] · G[s]``."""
        return tuple(
            sum(d * row[s] for d, row in zip(self.digital, self.analog, strict=True))
            for s in range(self.slices)
        )

    def physical_cols(self, cols: int) -> int:
        """Columns of the array that ``cols`` outputs take in each slice."""
        return cols

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """Return target conductances and the scale.

        Args:
            weight: ``[rows, cols]``, finite.
            g_min: lowest conductance used (S).
            g_max: highest conductance used (S).

        Returns:
            ``G [slices, rows, physical_cols]`` (S), differentiable in ``weight`` (straight
            through where it is rounded), and ``scale`` (1/S), ``[]`` or ``[cols]``.
        """
        raise NotImplementedError

    def suit(
        self,
        target: Tensor,
        stuck: Tensor | None,
        stuck_g: Tensor | None,
        groups: int,
        g_min: float,
        g_max: float,
    ) -> tuple[Tensor, Tensor | None]:
        """Make the best of broken cells that are known; called only if ``defect_aware``.

        Args:
            target: conductances `encode` asks for, ``[slices, groups · rows, physical cols]`` (S).
            stuck: mask of the broken cells, shaped like ``target``; None for none.
            stuck_g: what they read (S), where the mask is true.
            groups: how many matrices lie side by side in the rows.
            g_min: lowest conductance used (S).
            g_max: highest conductance used (S).

        Returns:
            The conductances to write instead (S), and the weights of the converters' results per
            column, ``[groups, converters, cols]``, in place of ``digital``; None keeps those.
        """
        return target, None

    def ideal(
        self, weight: Tensor, g_min: float, g_max: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what converters see of perfect cells, without going through the cells.

        Returns:
            ``matrix [rows, lines]``, the scale, and ``siemens``, ``[]`` or ``[cols]``: converters
            see ``matrix · siemens``, and ``siemens = 1 / scale``; or None where ``matrix`` is in
            siemens already.
        """
        g, scale = self.encode(weight, g_min, g_max)
        return self.converted(g), scale, None

    def each(self, weight: Tensor, scale: Tensor, g_min: float, g_max: float) -> Tensor | None:
        """As `encode`, of a few weights out of a matrix whose scale is known.

        Args:
            weight: ``[count]``, clipped to the range.
            scale: ``[]`` or ``[count]`` (1/S).
            g_min: lowest conductance used (S).
            g_max: highest conductance used (S).

        Returns:
            Target conductances ``[slices, count]`` (S), differentiable; None of an encoding that
            looks at more than the weight itself.
        """
        return None

    def converted(self, g: Tensor) -> Tensor:
        """Return what each converter sees, side by side: ``[rows, converters · physical_cols]``.

        Args:
            g: ``[slices, rows, physical_cols]`` (S).
        """
        analog = self.analog
        if len(analog) == 1 and analog[0] == (1.0, -1.0):  # the common case, in one pass
            positive, negative = g.unbind(0)
            return positive - negative
        matrix = constant(analog, g.dtype, g.device)
        return exact_einsum("ks,src->rkc", matrix, g).reshape(g.shape[1], -1)

    def converted_variance(self, variance: Tensor) -> Tensor:
        """As `converted`, for the variances of independent cells: coefficients are squared."""
        matrix = constant(self.analog, variance.dtype, variance.device)
        found = exact_einsum("ks,src->rkc", matrix.square(), variance)
        return found.reshape(variance.shape[1], -1)

    def outputs(self, result: Tensor) -> Tensor:
        """Return the outputs ``[…, cols]`` in one converter's results ``[…, physical_cols]``."""
        return result

    def touched(self, count: Tensor) -> Tensor:
        """Return how many of the counted cells bear on each output: ``[…, cols]``.

        Args:
            count: of each column, ``[…, physical_cols]``.
        """
        return count

    def assemble(self, result: Tensor, digital: Tensor | None = None) -> Tensor:
        """Add the converters' results digitally.

        Args:
            result: ``[…, converters · physical_cols]``.
            digital: weights per column, ``[groups, converters, cols]``, in place of the
                encoding's own; the first dimension of ``result`` is then ``groups``.

        Returns:
            ``[…, cols]``.
        """
        if digital is None and self.digital == (1.0,):
            return self.outputs(result)
        parts = self.outputs(result.unflatten(-1, (self.converters, -1)))
        if digital is not None:
            return exact_einsum("g...kc,gkc->g...c", parts, digital)
        weights = constant(self.digital, result.dtype, result.device)
        return exact_einsum("...kc,k->...c", parts, weights)

    def drive_columns(self, x: Tensor) -> Tensor:
        """Spread inputs of a transposed read over the physical columns: the adjoint of `assemble`.

        Args:
            x: ``[…, cols]``.

        Returns:
            ``[…, physical_cols]``.
        """
        return x

    def decode(self, g: Tensor, scale: Tensor, digital: Tensor | None = None) -> Tensor:
        """Return the weights ``[rows, cols]`` that conductances stand for.

        Args:
            g: ``[slices, rows, physical_cols]`` (S).
            scale: ``[]`` or ``[cols]`` (1/S).
            digital: see `assemble`; rows are then ``groups · rows``.
        """
        if digital is None:
            return self.assemble(self.converted(g)) * scale
        matrix = self.converted(g).unflatten(0, (len(digital), -1))
        return self.assemble(matrix, digital).flatten(0, 1) * scale

    def full_scale(self, g_min: float, g_max: float) -> float:
        """Largest magnitude of conductance (S) that one cell position adds before a converter."""

        def worst(row: tuple[float, ...]) -> float:
            high = sum(a * (g_max if a > 0 else g_min) for a in row)
            low = sum(a * (g_min if a > 0 else g_max) for a in row)
            return max(abs(high), abs(low))

        return max(worst(row) for row in self.analog)

    def straight_through(self, g: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        """Give rounded conductances the gradient of an exact encoding.

        The gradient of each slice is its share of ``c``, so that the decoded weight has
        derivative 1 with respect to the weight asked for.

        Args:
            g: ``[slices, rows, cols]`` (S), no gradient.
            weight: ``[rows, cols]``, already clipped to the range.
            scale: as returned by `encode`.
        """
        if not (weight.requires_grad or derivatives.forward_mode()):
            return g
        c = constant(self.combination, g.dtype, g.device)
        share = (c / c.square().sum()).view(-1, 1, 1)
        return g + share * ((weight - weight.detach()) / scale)


def exact_einsum(equation: str, *operands: Tensor) -> Tensor:
    """``torch.einsum`` in the operands' own precision, whatever ``torch.autocast`` says.

    What the cells stand for, and sums of converted levels, must not be rounded to eight bits.
    """
    with exactly(operands[0].device):
        return torch.einsum(equation, *operands)
