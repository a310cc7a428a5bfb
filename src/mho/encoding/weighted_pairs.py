"""Several differential pairs a weight, each with a significance of its own."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from mho.core import checks
from mho.core.constants import constant
from mho.encoding.base import Encoding
from mho.encoding.differential import PLACES, pair, pairs_before_converters
from mho.encoding.make_up import in_units

_MOST = 2**12  # whole weights that a table of digits has


@dataclass(frozen=True)
class WeightedPairs(Encoding):
    """``weight = scale · Σ_k s[k] (G⁺[k] - G⁻[k])`` with significances ``s`` of one's own.

    Cells of any conductance: every pair carries the same part of its range, so that each has room
    to take up errors of the others (`mho.programming.Successive`), and noise that grows with the
    conductance is least. Cells of few ``levels``: the weight is rounded to the nearest sum that
    the pairs can have; of the digits that give it, those with the least squared current. Digits
    of one weight may differ in sign (6 = 7 - 1); the gradient is then straight through.

    Attributes:
        scaling: which weight fills the range of all pairs.
        significances: one a pair, all > 0, in any order: (1, 4, 16) are digits of two bits, (1, 3,
            7) uneven ones.
        levels: evenly spaced conductances of a cell, >= 2; None for any conductance.
        add: where pairs are added: ``"digital"``, after one conversion each, or ``"analog"``,
            with their significances as ratios of currents, before one conversion.

    Raises:
        ValueError: if a value is refused; with ``levels`` significances must be whole multiples of
            one unit, of at most 4,096 sums.

    Source: C. Mackin et al., Nature Communications 13, 3765 (2022), doi
    10.1038/s41467-022-31405-1, for pairs of a most and a least significance.
    """

    significances: tuple[float, ...] = (1.0, 4.0)
    levels: int | None = None
    add: str = "digital"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("significances", self.significances, (tuple, list))
        object.__setattr__(self, "significances", tuple(self.significances))
        if not self.significances:
            raise ValueError("significances must be one or more numbers > 0, got none")
        for value in self.significances:
            checks.number("every significance", value, above=0.0)
        checks.one_of("add", self.add, PLACES)
        if self.levels is None:
            return
        checks.integer("levels", self.levels, least=2)
        whole = in_units(self.significances)
        if whole is None or sum(whole[1]) * (self.levels - 1) > _MOST:
            raise ValueError(
                "significances of cells with levels must be whole multiples of one unit, of at "
                f"most {_MOST:,} sums, got {self.significances} with {self.levels} levels"
            )

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """Slices are ``+₀ -₀ +₁ -₁ …``: of one converter a pair, or of one for all."""
        return pairs_before_converters(self.significances, self.add)

    @property
    def digital(self) -> tuple[float, ...]:
        """The significances, where pairs are added digitally."""
        return self.significances if self.add == "digital" else (1.0,)

    @property
    def states(self) -> int | None:
        """See `levels`."""
        return self.levels

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`."""
        clipped, limit = self.fit(weight)
        span = g_max - g_min
        scale = limit / (sum(self.significances) * span)
        if self.levels is None:
            half = pair(clipped / limit * span, g_min)
            return half.repeat(len(self.significances), 1, 1), scale
        _, counts = in_units(self.significances) or (1.0, ())
        table = constant(_digits(counts, self.levels), weight.dtype, weight.device)
        part = (clipped.detach() / limit).clamp(-1.0, 1.0)
        sums = (part.abs() * (len(table) - 1)).round().long()
        digit = table[sums].movedim(-1, 0) * part.sign()
        step = span / (self.levels - 1)
        g = pair(digit * step, g_min).transpose(0, 1).flatten(0, 1)
        return self.straight_through(g, clipped, scale), scale

    def each(self, weight: Tensor, scale: Tensor, g_min: float, g_max: float) -> Tensor | None:
        """See `Encoding.each`."""
        if self.levels is not None:
            return None
        half = pair(weight / (scale * sum(self.significances)), g_min)
        return half.repeat(len(self.significances), 1)


@lru_cache(maxsize=64)
def _digits(counts: tuple[int, ...], levels: int) -> tuple[tuple[float, ...], ...]:
    """Return the digits ``[sums][pairs]`` nearest to every sum 0 … most, by least squared current.

    A table grows pair by pair: the least ``Σ (count · digit)²`` of every sum.
    """
    most = sum(counts) * (levels - 1)
    cost: dict[int, int] = {0: 0}
    found: dict[int, tuple[int, ...]] = {0: ()}
    for count in counts:
        tried: dict[int, tuple[int, tuple[int, ...]]] = {}
        for total, price in cost.items():
            for digit in range(1 - levels, levels):
                new, now = total + count * digit, price + (count * digit) ** 2
                if new not in tried or now < tried[new][0]:
                    tried[new] = (now, (*found[total], digit))
        cost = {total: price for total, (price, _) in tried.items()}
        found = {total: digits for total, (_, digits) in tried.items()}
    reached = sorted(total for total in found if total >= 0)
    nearest = []
    for total in range(most + 1):
        after = min(bisect_left(reached, total), len(reached) - 1)
        near = min(reached[max(after - 1, 0) : after + 1], key=lambda r: abs(r - total))
        nearest.append(tuple(map(float, found[near])))
    return tuple(nearest)
