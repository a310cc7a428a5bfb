"""Redundant encodings: several copies of every weight, so that broken cells matter less.

All of them are another combination ``c`` of more slices, ``weight = scale · Σ_s c[s] · G[s]``:

    Redundant             the mean of all copies
    LEA                   per output, the mean of its best copies (layer-ensemble averaging)
    InnerFaultTolerance   healthy cells make up for broken ones, so that the sum meets the target

The last two look at the broken cells, which are taken to be known exactly (a read-out of the chip
finds them), whenever an array is programmed; see `Encoding.suit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mho.core import checks
from mho.core.constants import constant
from mho.encoding.base import Encoding, Scaling
from mho.encoding.differential import PLACES, Differential
from mho.encoding.make_up import make_up, nearest_sum

RANKS = ("error", "defects")
_MOST = 65_536  # copies: each is an array of its own, and a row of the combination


@dataclass(frozen=True)
class Redundant(Encoding):
    """``copies`` of every weight, averaged: ``weight = mean_k base(G[k])``.

    Slices are those of the base encoding, copy after copy. Plain averaging: broken cells are not
    looked at.

    Attributes:
        scaling: that of ``base``.
        base: how one copy of a weight is encoded.
        copies: how many copies of a weight there are, >= 1.
        add: where copies are added: ``"digital"``, after a conversion each, or ``"analog"``, as
            currents before one converter.
    """

    scaling: Scaling = field(init=False, default=Scaling())
    base: Encoding = field(default_factory=Differential)
    copies: int = 3
    add: str = "digital"

    def __post_init__(self) -> None:
        name = type(self).__name__
        checks.instance(f"{name} base", self.base, Encoding)
        if isinstance(self.base, Redundant):
            raise ValueError(f"{name} base must not be redundant itself, got {self.base}")
        if getattr(self.base, "compared", False):
            raise ValueError(
                f"{name} base must not be compared: bits of copies are not sums of currents"
            )
        checks.integer(f"{name} copies", self.copies, most=_MOST)
        checks.one_of(f"{name} add", self.add, PLACES)
        object.__setattr__(self, "scaling", self.base.scaling)

    @property
    def carriers(self) -> int:
        """Copies that carry the weight where no cell is broken: what the sum is divided by."""
        return self.copies

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """The base encoding's rows, once for every copy; or side by side in one."""
        if self.add == "analog":
            return tuple(row * self.copies for row in self.base.analog)
        zero = (0.0,) * self.base.slices
        return tuple(
            zero * copy + row + zero * (self.copies - copy - 1)
            for copy in range(self.copies)
            for row in self.base.analog
        )

    @property
    def digital(self) -> tuple[float, ...]:
        """Those of the base encoding, divided by the copies that carry the weight."""
        one = tuple(d / self.carriers for d in self.base.digital)
        return one if self.add == "analog" else one * self.copies

    @property
    def states(self) -> int | None:
        """Those of the base encoding."""
        return self.base.states

    def physical_cols(self, cols: int) -> int:
        """Those of the base encoding."""
        return self.base.physical_cols(cols)

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`: the same in every copy."""
        g, scale = self.base.encode(weight, g_min, g_max)
        return g.repeat(self.copies, 1, 1), scale

    def outputs(self, result: Tensor) -> Tensor:
        """Those of the base encoding."""
        return self.base.outputs(result)

    def drive_columns(self, x: Tensor) -> Tensor:
        """As the base encoding."""
        return self.base.drive_columns(x)

    def by_copy(self, cells: Tensor) -> Tensor:
        """View ``[slices, …]`` as ``[copies, slices of one, …]``."""
        return cells.unflatten(0, (self.copies, -1))


@dataclass(frozen=True)
class LEA(Redundant):
    """Layer-ensemble averaging: per output, the mean of the ``best`` of its ``copies``.

    For output ``j``, copies are ranked by how far their broken cells carry them from the target,
    and only the best are added, ``weight_j = (1/β) Σ_{k in best β} base(G[k])_j``. With
    ``best = copies`` and without ``tuned`` it is plain averaging.

    The paper calls ``copies`` α and ``best`` β, and says *row* for an output: its matrices are
    ``[outputs, inputs]``. Here arrays are ``[inputs, outputs]``, so its rows are our columns (bit
    lines). Other texts swap the letters: α rows kept out of β.

    Attributes:
        best: how many copies are averaged, 1 … ``copies``; None chooses for every output the
            number whose mean has the least error.
        tuned: LEA-2: first the healthy cells of each copy are set so that they make up for the
            broken ones of the same weight (the other cell of a differential pair), see
            `mho.encoding.make_up.nearest_sum`.
        rank: what is least in the best copies: ``"error"``, the squared error of the column's
            weights, or ``"defects"``, the number of its broken cells.

    Source: O. Yousuf et al., 2025, doi 10.1038/s41467-025-56319-6. Choosing ``best`` per output
    and ranking by error are this package's own.
    """

    defect_aware: ClassVar[bool] = True

    best: int | None = None
    tuned: bool = False
    rank: str = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("LEA rank", self.rank, RANKS)
        if self.best is not None:
            checks.integer("LEA best", self.best)
            if self.best > self.copies:
                raise ValueError(
                    f"LEA best must be <= copies, got best={self.best} of copies={self.copies}: "
                    "copies are all there are (the paper's α), best those averaged (its β)"
                )
        elif self.rank == "defects":
            raise ValueError(
                "LEA rank='defects' does not tell how many copies to average: set best"
            )
        if self.add == "analog":
            raise ValueError("LEA chooses copies after conversion: add must be 'digital'")

    def suit(
        self,
        target: Tensor,
        stuck: Tensor | None,
        stuck_g: Tensor | None,
        groups: int,
        g_min: float,
        g_max: float,
    ) -> tuple[Tensor, Tensor | None]:
        """See `Encoding.suit`."""
        if stuck is None or stuck_g is None:
            stuck, stuck_g = torch.zeros_like(target, dtype=torch.bool), target
        suited = target
        if self.tuned:
            with torch.no_grad():
                aim, mask, value = (
                    self.by_copy(x).transpose(0, 1) for x in (target, stuck, stuck_g)
                )
                window = (g_min, g_max)
                new = nearest_sum(aim, mask, value, self.base.combination, window, self.states)
            suited = target + (new.transpose(0, 1).flatten(0, 1) - target).detach()
        with torch.no_grad():
            shares = self._shares(suited, target, stuck, stuck_g, groups)
        return suited, self._by_converter(shares)

    def _shares(
        self, suited: Tensor, target: Tensor, stuck: Tensor, stuck_g: Tensor, groups: int
    ) -> Tensor:
        """Share of every copy in every output, ``[groups, copies, cols]``; they add up to 1."""
        if self.best == self.copies:
            cols = self.outputs(target[0, :1]).shape[-1]
            return target.new_full((groups, self.copies, cols), 1.0 / self.copies)
        if self.rank == "defects":
            badness = self._defects(stuck, groups)
            order = badness.argsort(dim=1, stable=True)
            shares = torch.zeros_like(badness)
        else:
            missed = torch.where(stuck, stuck_g, suited) - target
            error = self._errors(missed, groups)
            order = error.square().sum(2).argsort(dim=1, stable=True)
            shares = torch.zeros_like(order, dtype=target.dtype)
            if self.best is None:
                return shares.scatter_(1, order, self._chosen(error, order))
        return shares.scatter_(1, order[:, : self.best], 1.0 / float(self.best or 1))

    def _errors(self, missed: Tensor, groups: int) -> Tensor:
        """Error of every copy's weights, ``[groups, copies, rows, cols]`` (S)."""
        cells = self.by_copy(missed).transpose(0, 1)  # [slices, copies, groups · rows, cols]
        error = self.base.assemble(self.base.converted(cells.flatten(1, 2)))
        return error.unflatten(0, (self.copies, groups, -1)).transpose(0, 1)

    def _defects(self, stuck: Tensor, groups: int) -> Tensor:
        """Broken cells of every copy's columns, ``[groups, copies, cols]``."""
        split = self.by_copy(stuck).unflatten(2, (groups, -1))
        count = split.to(torch.float32).sum((1, 3)).transpose(0, 1)
        return self.base.touched(count)

    def _chosen(self, error: Tensor, order: Tensor) -> Tensor:
        """Shares, by rank, of the number of best copies whose mean has the least error."""
        ranked = error.gather(1, order.unsqueeze(2).expand_as(error))
        number = torch.arange(1, self.copies + 1, device=error.device)
        of_mean = ranked.cumsum(1).square().sum(2) / number.view(1, -1, 1) ** 2
        # Of equally good numbers the largest: more copies average more noise away.
        best = self.copies - of_mean.flip(1).argmin(1, keepdim=True)
        return (number.view(1, -1, 1) <= best).to(error.dtype) / best

    def _by_converter(self, shares: Tensor) -> Tensor:
        one = constant(self.base.digital, shares.dtype, shares.device)
        return (shares.unsqueeze(2) * one.view(1, 1, -1, 1)).flatten(1, 2)


@dataclass(frozen=True)
class InnerFaultTolerance(Redundant):
    """Redundant cells adjusted so that their sum meets the target.

    ``weight = (scale / strength) Σ_k base(G[k])``: without broken cells ``strength`` copies carry
    the weight and the others rest in reserve. Broken cells leave a gap to the target; the healthy
    cells of the weight close as much of it as their windows and their states can, see
    `mho.encoding.make_up.nearest_sum`. With ``copies=1`` the digits of one weight make up for each
    other. Errors of independent cells add up, so reserve costs noise: the sum of all copies is as
    noisy as ``√copies / strength`` cells.

    Attributes:
        strength: copies that carry the weight, 1 … ``copies``.
        foresight: whether all broken cells are known before the first is written. Without it
            cells are written copy after copy, and what a broken one does is known only to those
            written after it; a weight's error may then grow.

    Source: W. Huangfu et al., 2017 (mapping with inner fault tolerance, cell after cell);
    ``strength``, ``foresight`` and the search for the nearest sum are this package's own.
    """

    defect_aware: ClassVar[bool] = True

    strength: int = 1
    foresight: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.integer("InnerFaultTolerance strength", self.strength)
        if self.strength > self.copies:
            raise ValueError(
                f"InnerFaultTolerance strength must be <= copies = {self.copies}, "
                f"got {self.strength}"
            )

    @property
    def carriers(self) -> int:
        """See `strength`."""
        return self.strength

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`: carriers, then copies in reserve, which stand for zero."""
        g, scale = self.base.encode(weight, g_min, g_max)
        rest, _ = self.base.encode(torch.zeros_like(weight.detach()), g_min, g_max)
        reserve = rest.repeat(self.copies - self.strength, 1, 1)
        return torch.cat((g.repeat(self.strength, 1, 1), reserve)), scale

    def suit(
        self,
        target: Tensor,
        stuck: Tensor | None,
        stuck_g: Tensor | None,
        groups: int,
        g_min: float,
        g_max: float,
    ) -> tuple[Tensor, Tensor | None]:
        """See `Encoding.suit`; converters keep their weights."""
        if stuck is None or stuck_g is None:
            return target, None
        with torch.no_grad():
            weights, window = self.base.combination * self.copies, (g_min, g_max)
            if self.foresight:
                new = nearest_sum(target, stuck, stuck_g, weights, window, self.states)
            else:
                new = make_up(target, stuck, stuck_g, weights, window, self.states, foresight=False)
        return target + (new - target).detach(), None
