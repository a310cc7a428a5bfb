"""Programming one slice after the other: what one missed is handed to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.life import Drawn
from mho.cells.population import Cells
from mho.cells.programming import Programming, Site, Written, nearest
from mho.core import checks, random
from mho.encoding.redundant import LEA
from mho.programming.product import ProductDescent
from mho.programming.scheme import WriteVerify


@dataclass(frozen=True)
class Successive(Programming):
    """The cells of a weight one after the other, each making up for what those before it missed.

    Cells are programmed in the order of their part in the weight, ``|c|``, the largest first; of
    equal ones that with the least room in its window. After each turn the cells are read, and
    what they miss of ``Σ c G`` is added to the target of the next, as far as its window goes. So
    the error left is that of the last, least significant cell alone; broken cells are made up for
    on the way. With pairs of different significance (`mho.encoding.WeightedPairs`,
    `mho.encoding.BitSliced`) it gains most; of a plain differential pair the idle cell's error
    alone is made up for.

    Training takes the error of each cell for that of ``by``: more than what is left.

    Attributes:
        by: how the cells of one slice are programmed; None: the device's own way. Not
            `ProductDescent`, which looks at all slices, and not on passive arrays.
        read_noise: standard deviation of reading one written cell, as a part of the window, >= 0.

    Raises:
        TypeError, ValueError: if a parameter is refused, or with hardware whose encoding has one
            cell a weight or whose weights are no one sum of slices.

    Source: C. Mackin et al., Nature Communications 13, 3765 (2022), doi
    10.1038/s41467-022-31405-1, for the most and least significant pair; the order over any
    encoding is this package's own.
    """

    by: Programming | None = None
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.by is not None:
            checks.instance("by", self.by, Programming)
            if isinstance(self.by, (ProductDescent, Successive)):
                raise ValueError(
                    f"by must program cells one by one, which {type(self.by).__name__} does not"
                )
        checks.number("read_noise", self.read_noise, least=0.0, most=1e6)

    def check(self, device: Any) -> None:
        """Refuse a device that ``by`` refuses (TypeError, ValueError)."""
        self._of(device).check(device)

    def check_encoding(self, encoding: Any) -> None:
        """Refuse an encoding of one cell a weight, or whose weights are not one sum of slices.

        Raises:
            ValueError: if it is one.
        """
        name = type(encoding).__name__
        if encoding.slices < 2:
            raise ValueError(f"Successive needs two or more cells a weight, {name} has one")
        if isinstance(encoding, LEA) or getattr(encoding, "compared", False):
            how = "chooses copies column by column" if isinstance(encoding, LEA) else "has bits"
            raise ValueError(
                f"Successive needs an encoding whose weights are one sum of slices; {name} {how}"
            )

    def _of(self, device: Any) -> Programming:
        policy: Programming = device.programming if self.by is None else self.by
        return policy

    @property
    def says(self) -> str:
        """What is stored."""
        each = "as the device does" if self.by is None else self.by.says
        return f"slice after slice, each makes up for those before: {each}"

    @property
    def statistical(self) -> bool:
        """Training: whether the device's own statistics act."""
        return self.by is None or self.by.statistical

    @property
    def cell_by_cell(self) -> bool:
        """Training: as ``by``."""
        return self.by is not None and self.by.cell_by_cell

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """Training: as ``by``."""
        return nearest(target, drawn) if self.by is None else self.by.reached(target, drawn)

    def deviation(self, window: tuple[float, float]) -> float:
        """Training: as ``by``."""
        return 0.0 if self.by is None else self.by.deviation(window)

    def carry_out(self, cells: Cells, target: Tensor, site: Site | None) -> Written:
        """See `mho.programming.Programming.carry_out`."""
        shares = torch.tensor(_shares(site), dtype=target.dtype, device=target.device)
        policy, window = self._of(cells.spec), cells.spec.window
        if isinstance(policy, WriteVerify) and policy.access == "1R":
            raise ValueError(
                'Successive cannot write passive arrays (access "1R"): pulses in one turn would '
                "disturb the cells that have had theirs"
            )
        # Each turn draws from a stream of its own: what one draws does not depend on the others.
        seed = random.derive(*map(int, cells.rng.tolist()), "in turn")
        cells.rng[1] += 1
        flat = target.flatten(1)
        place = torch.arange(target.numel(), device=target.device).view(flat.shape)
        missing, turns = torch.zeros_like(flat[0]), []
        for turn, order in enumerate(_turns(flat, shares, window)):
            # [1, cells]: of every weight the one whose turn it is.
            share, aim = shares[order], flat.gather(0, order)
            now = place.gather(0, order).view(target.shape[1:])
            wanted = (aim + missing / share).where(share != 0, aim).clamp(*window)
            part = cells.gather(now)
            part.rng.copy_(random.stream(random.derive(seed, turn)))
            written = policy.carry_out(part, wanted.view(now.shape), _site_of(site, now, cells))
            cells.scatter(now, part)
            seen = part.g.flatten()
            if self.read_noise:
                source = random.generator(random.derive(seed, turn, "read"), seen.device)
                span = window[1] - window[0]
                seen = seen + self.read_noise * span * random.normal(seen, source)
            missing = missing + (share * (aim - seen)).squeeze(0)
            turns.append((now, written))
        cells.hold(cells.g)
        return _together(turns, target)


def _turns(target: Tensor, shares: Tensor, window: tuple[float, float]) -> Iterator[Tensor]:
    """Yield which slice of every weight is next, ``[1, weights]``.

    The largest part in the weight first; of cells with equal parts the one with the least room
    (the idle cell of a pair), so that the last can go both ways.
    """
    room = torch.minimum(target - window[0], window[1] - target)
    sizes = shares.abs()
    for size in sizes.unique(sorted=True).flip(0):
        equal = (sizes == size).nonzero().squeeze(1)
        yield from equal[room[equal].argsort(dim=0, stable=True)].split(1)


def _shares(site: Site | None) -> tuple[float, ...]:
    if site is None or site.combination is None:
        raise ValueError(
            "Successive programs the cells of a crossbar, which belong to weights; a population "
            "by itself has none: program it by the policy in `by`"
        )
    return site.combination


def _site_of(site: Site | None, now: Tensor, cells: Cells) -> Site:
    """Where the cells lie whose turn it is: the arrays they are in, without all others."""
    assert site is not None
    inverse = torch.full((cells.g.numel(),), -1, dtype=torch.int64, device=now.device)
    inverse[now.flatten()] = torch.arange(now.numel(), device=now.device)
    arrays = site.arrays().to(now.device)
    kept = torch.where(arrays >= 0, inverse[arrays.clamp(min=0)], -1)
    used = (kept >= 0).flatten(1).any(1)
    return dataclasses.replace(Site.alone(now), arrays=lambda: kept[used], name=site.name)


def _together(turns: list[tuple[Tensor, Written]], like: Tensor) -> Written:
    """One account of all turns: pulses and failures in their places, time and energy added."""

    def placed(values: list[Any]) -> Tensor:
        whole = torch.zeros(like.numel(), dtype=torch.as_tensor(values[0]).dtype)
        whole = whole.to(like.device)
        for (now, _), value in zip(turns, values, strict=True):
            whole[now.flatten()] = torch.as_tensor(value).to(whole).expand(now.shape).flatten()
        return whole.view(like.shape)

    def added(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    written = [each for _, each in turns]
    looked = all(each.failed is not None for each in written)
    return Written(
        placed([each.pulses for each in written]),
        added([each.seconds for each in written]),
        added([each.energy for each in written]),
        placed([each.failed for each in written]) if looked else None,
        tuple(each.report for each in written),
    )
