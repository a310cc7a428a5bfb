"""Amplifiers: what stands between a bit line's current and its converter, with their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mho.cells.spread import Spread, check, positive
from mho.core import checks, random
from mho.core.constants import constant
from mho.core.spec import Spec


class Lines(NamedTuple):
    """The amplifiers of a crossbar's tiles, one for each line that a converter reads.

    Attributes:
        gain: one, or ``[groups, tiles, lines]``.
        offset: likewise (A).
        tile: which of the tiles beside one another a line is of ``[lines]`` (int64).
        across: how many of these there are.
    """

    gain: Tensor
    offset: Tensor
    tile: Tensor
    across: int


class Lying(NamedTuple):
    """How the lines of one group lie on tiles.

    Attributes:
        down: tiles below one another.
        width: columns of one converter; lines are columns by converter.
        outputs: columns of one converter on a whole tile.
        converters: of an output.
        joined: whether all converters of an output are on one tile.
    """

    down: int
    width: int
    outputs: int
    converters: int
    joined: bool


@dataclass(frozen=True)
class Amplifier(Spec):
    """What a current (A) goes through on its way to a converter, tile by tile.

        z = gain_j · (1 + gain_noise · N_j(0, 1)) · i + offset_j
        i' = z / (1 + compression · |z|) + noise · N_j(0, 1) + shared_noise · N(0, 1)

    The S-shaped compression is that of AIHWKit's output stage (Rasch et al. 2021, doi
    10.1109/AICAS51828.2021.9458494). Every line that a converter reads has an amplifier of its
    own: where a pair of bit lines is subtracted before the converter, the pair has one.

    A number is the same for all lines. A `Spread` is drawn for every line of every tile when the
    chip is made (and afresh in training, as the cells are). On a `mho.chip.Chip` the lines are the
    chip's: they go by its seed and by where on it the crossbar lies (its regions, and their order
    of lines), whatever the model's seed; training sees these very lines. A tuple is what was
    measured on one array: a value for each of the bit lines of a tile (of each converter's, one
    after the other, where an output has several), the same on all tiles.

    Attributes:
        gain: factor on the current, > 0; a `Spread` without a lower bound is bounded by 0.
        offset: current added to it (A).
        compression: by what share a large current is compressed (1/A), >= 0: a current of
            ``1/compression`` comes out as half of it.
        noise: standard deviation of white noise (A), >= 0, of every line and conversion.
        shared_noise: the same of noise that all lines of a tile have in common at a conversion (A),
            >= 0: of a reference or a supply that moves.
        gain_noise: relative standard deviation of the gain, >= 0, from conversion to conversion.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    gain: float | Spread | tuple[float, ...] = 1.0
    offset: float | Spread | tuple[float, ...] = 0.0
    compression: float = 0.0
    noise: float = 0.0
    shared_noise: float = 0.0
    gain_noise: float = 0.0

    def __post_init__(self) -> None:
        for name, bounds in (("gain", {"above": 0.0}), ("offset", {})):
            value = getattr(self, name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            if isinstance(value, tuple):
                if not value:
                    raise ValueError(f"Amplifier {name} must not be empty: one value a bit line")
                for k, each in enumerate(value):
                    checks.number(f"Amplifier {name}[{k}]", each, **bounds)
            elif name == "gain":
                object.__setattr__(self, name, positive("Amplifier gain", value))
            else:
                check(f"Amplifier {name}", value)
        checks.number("Amplifier compression", self.compression, least=0.0)
        checks.number("Amplifier noise", self.noise, least=0.0)
        checks.number("Amplifier shared_noise", self.shared_noise, least=0.0)
        checks.number("Amplifier gain_noise", self.gain_noise, least=0.0)

    @property
    def ideal(self) -> bool:
        """Whether currents pass unchanged."""
        return self == type(self)()

    @property
    def noisy(self) -> bool:
        """Whether two conversions of one current differ."""
        return self.noise > 0.0 or self.shared_noise > 0.0 or self.gain_noise > 0.0

    @property
    def without_noise(self) -> Amplifier:
        """The same amplifier, two of whose conversions of one current never differ."""
        return self.replace(noise=0.0, shared_noise=0.0, gain_noise=0.0)

    @property
    def drawn(self) -> bool:
        """Whether lines differ by chance."""
        return isinstance(self.gain, Spread) or isinstance(self.offset, Spread)

    @property
    def per_line(self) -> dict[str, int]:
        """How many bit lines of a tile it names, by parameter that is a tuple."""
        both = {"gain": self.gain, "offset": self.offset}
        return {name: len(v) for name, v in both.items() if isinstance(v, tuple)}

    def lines(self, seed: int | None, groups: int, tiling: Lying, like: Tensor) -> Lines:
        """Return the amplifiers of all tiles.

        Args:
            seed: of the lines, as `mho.cells.population.Cells.lines_seed` says it; None draws from
                torch's own generator.
            groups: how many matrices lie side by side.
            tiling: how lines lie on tiles.
            like: gives dtype and device.
        """
        shape = (groups, tiling.down, tiling.converters * tiling.width)
        seeds = {
            name: None if seed is None else random.derive(seed, "amplifier", name)
            for name in ("gain", "offset")
        }
        line = torch.arange(shape[-1], device=like.device)
        beside = -(-tiling.width // tiling.outputs)
        array = 0 if tiling.joined else line // tiling.width * beside
        arrays = 1 if tiling.joined else tiling.converters
        return Lines(
            _spread_out(self.gain, seeds["gain"], shape, tiling.width, like),
            _spread_out(self.offset, seeds["offset"], shape, tiling.width, like),
            array + line % tiling.width // tiling.outputs,
            arrays * beside,
        )

    def amplify(
        self, parts: list[Tensor], lines: Lines, unit: Tensor | float, rng: Tensor | None
    ) -> list[Tensor]:
        """Return what converters are given.

        Args:
            parts: currents ``[groups, tiles, …, lines]`` in pieces that differ in their tiles.
            lines: as `lines` returns them.
            unit: of the currents (A), one or ``[lines]``.
            rng: stream for noise; None: torch's own generator.
        """
        tiles = [part.shape[1] for part in parts]
        gains, offsets = (_by_piece(value, tiles) for value in (lines.gain, lines.offset))
        return [
            self._noisy(
                self._passed(part, _beside(gain, part), _beside(offset, part) / unit, unit, rng),
                lines,
                unit,
                rng,
            )
            for part, gain, offset in zip(parts, gains, offsets, strict=True)
        ]

    def _passed(
        self,
        current: Tensor,
        gain: Tensor,
        offset: Tensor,
        unit: Tensor | float,
        rng: Tensor | None,
    ) -> Tensor:
        if self.gain_noise:
            gain = gain + gain * random.normal_like(current, rng) * self.gain_noise
        out = torch.addcmul(offset, gain, current)
        return out / (1.0 + self.compression * unit * out.abs()) if self.compression else out

    def _noisy(
        self, current: Tensor, lines: Lines, unit: Tensor | float, rng: Tensor | None
    ) -> Tensor:
        if self.noise:
            current = current + random.normal_like(current, rng) * (self.noise / unit)
        if self.shared_noise:
            drawn = random.normal_like(current[..., : lines.across], rng)
            current = current + drawn[..., lines.tile] * (self.shared_noise / unit)
        return current


def _spread_out(
    value: float | Spread | tuple[float, ...],
    seed: int | None,
    shape: tuple[int, int, int],
    width: int,
    like: Tensor,
) -> Tensor:
    if isinstance(value, Spread):
        source = None if seed is None else random.generator(seed)
        return value.sample(shape, source, dtype=like.dtype, device=like.device)
    if not isinstance(value, tuple):
        return like.new_full((1, 1, 1), value)
    # All tiles of all converters have the same bit lines.
    known = constant(value, like.dtype, like.device).view(shape[-1] // width, -1)
    line = torch.arange(width, device=like.device) % known.shape[1]
    return known[:, line].reshape(1, 1, -1)


def _by_piece(value: Tensor, tiles: list[int]) -> list[Tensor]:
    return list(value.split(tiles, dim=1)) if value.shape[1] > 1 else [value] * len(tiles)


def _beside(value: Tensor, part: Tensor) -> Tensor:
    """Lift ``[groups, tiles, lines]`` to the dimensions of ``[groups, tiles, …, lines]``."""
    between = [1] * (part.dim() - value.dim())
    return value.reshape(*value.shape[:2], *between, value.shape[-1])
