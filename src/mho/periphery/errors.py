"""Errors of converters as a chip has them, line by line, and what a conversion makes of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import random
from mho.core.constants import constant
from mho.periphery import quantize
from mho.periphery.code_table import CodeTable


class Errors(NamedTuple):
    """The converters of a crossbar's tiles, as every line sees its own.

    Attributes:
        gain: ``[groups, tiles, lines]``, or 1 where all are alike.
        offset: likewise (steps).
        noise: standard deviation of thermal noise (steps).
        jitter: of the square root of the magnitude (steps).
        table: what codes begin where; None where transitions are ideal.
        levels: lowest and highest code.
        even: whether all gains are 1 and all offsets 0.
    """

    gain: Tensor
    offset: Tensor
    noise: float
    jitter: float
    table: CodeTable | None
    levels: tuple[int, int]
    even: bool = False

    @property
    def noisy(self) -> bool:
        """Whether conversions draw."""
        return bool(self.noise or self.jitter)

    @property
    def draws(self) -> int:
        """How often a stream is drawn from in one conversion."""
        return int(self.noise > 0.0) + int(self.jitter > 0.0)

    def by_part(self, parts: list[Tensor]) -> list[Errors]:
        """Return those of currents ``[groups, tiles, …, lines]`` in pieces that differ in tiles."""
        found, start = [], 0
        for part in parts:
            found.append(self.of_tiles(start, start + part.shape[1]))
            start += part.shape[1]
        return found

    def of_tiles(self, start: int, stop: int) -> Errors:
        """Return those of some tiles."""
        table = self.table
        if table is not None:
            table = table._replace(first=_part(table.first, start, stop))
        return self._replace(
            gain=_part(self.gain, start, stop),
            offset=_part(self.offset, start, stop),
            table=table,
        )

    def of_lines(self, lines: slice) -> Errors:
        """Return those of some lines."""
        table = self.table
        if table is not None:
            table = table._replace(first=_lines(table.first, lines))
        return self._replace(
            gain=_lines(self.gain, lines), offset=_lines(self.offset, lines), table=table
        )

    def codes(self, current: Tensor, rng: Tensor | None, *, fresh: bool = True) -> Tensor:
        """Convert currents to integer codes.

        Args:
            current: in steps, ``[groups, tiles, …, lines]``, or without tiles where these are of
                one. For more than one bit.
            rng: stream for noise; None: torch's own generator.
            fresh: whether ``current`` may be overwritten where no gradient is needed.

        Returns:
            Integer-valued; the gradient is straight through, and zero where clipped.
        """
        seen = self.seen(current, rng, fresh=fresh)
        low, high = self.levels
        if self.table is None:
            return quantize.to_grid(seen, low, high, fresh=fresh or seen is not current)
        first = _beside(self.table.first, seen)
        with torch.no_grad():
            hard = self.table.look_up(seen.detach(), first).clamp_(low, high)
        if not (torch.is_grad_enabled() and seen.requires_grad):
            return hard
        return quantize.straight_through(hard, seen.clamp(low - 0.5, high + 0.5))

    def seen(self, current: Tensor, rng: Tensor | None, *, fresh: bool = True) -> Tensor:
        """Return currents (steps) as the transitions see them: with gain, offset and noise."""
        gain, offset = _beside(self.gain, current), _beside(self.offset, current)
        own = fresh and not _follows(current, gain, offset)
        if self.even:
            out = current
        elif own:
            out = torch.addcmul(offset, gain, current, out=current)
        else:
            out = torch.addcmul(offset, gain, current)
        if self.jitter:
            size = out.detach().abs().sqrt_()
            out = out + random.normal_like(out, rng) * size * self.jitter
        if self.noise:
            drawn = random.normal_like(out, rng)
            out = out.add_(drawn, alpha=self.noise) if own else out.add(drawn, alpha=self.noise)
        return out

    def signs(self, current: Tensor, limit: Tensor, rng: Tensor | None) -> Tensor:
        """Convert currents (A) by one comparator each: ``±limit``."""
        seen = self.seen(quantize.over(current, limit), rng)
        return quantize.sign_ste(seen, constant(1.0, seen.dtype, seen.device)) * limit


def _follows(*values: Tensor) -> bool:
    """Whether gradients, torch's transforms or its compiler follow what is done to tensors.

    The compiler writes into no memory that is not in order, as currents of images are not.
    """
    if torch.compiler.is_compiling():
        return True
    gradients = torch.is_grad_enabled() and any(value.requires_grad for value in values)
    return gradients or quantize._transforming()


def _part(value: Tensor, start: int, stop: int) -> Tensor:
    return value[:, start:stop] if value.shape[1] > 1 else value


def _lines(value: Tensor, lines: slice) -> Tensor:
    return value[..., lines] if value.shape[-1] > 1 else value


def _beside(value: Tensor, part: Tensor) -> Tensor:
    """Lift ``[groups, tiles, lines]`` to the dimensions of ``[groups, tiles, …, lines]``."""
    if part.dim() <= value.dim():
        return value
    return value.reshape(*value.shape[:2], *[1] * (part.dim() - 3), value.shape[-1])
