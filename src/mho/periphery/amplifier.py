"""Amplifiers: what stands between a bit line's current and its converter, with their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mho.cells.spread import Spread, check, not_negative, positive
from mho.core import checks, derivatives, random
from mho.core.constants import constant
from mho.core.spec import Spec
from mho.periphery.draws import Draws


class Lines(NamedTuple):
    """The amplifiers of a crossbar's tiles, one for each line that a converter reads.

    Attributes:
        gain: one, or ``[groups, tiles, lines]``.
        offset: likewise (A).
        compression: likewise (1/A); None where it is one number.
        noise: likewise (A); None where it is one number.
        tile: which of the tiles beside one another a line is of ``[lines]`` (int64).
        across: how many of these there are.
    """

    gain: Tensor
    offset: Tensor
    tile: Tensor
    across: int
    compression: Tensor | None = None
    noise: Tensor | None = None


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
        s = z / (1 + compression_j · |z|), within ±saturation
        i' = s + noise_j · N_j(0, 1) + shared_noise · N(0, 1)

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
            ``1/compression`` comes out as half of it. A `Spread` is drawn for every line.
        noise: standard deviation of white noise (A), >= 0, of every line and conversion. A `Spread`
            is drawn for every line.
        shared_noise: the same of noise that all lines of a tile have in common at a conversion (A),
            >= 0: of a reference or a supply that moves.
        gain_noise: relative standard deviation of the gain, >= 0, from conversion to conversion.
        saturation: the largest current that comes out (A), > 0, before noise; None for no limit.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    gain: float | Spread | tuple[float, ...] = 1.0
    offset: float | Spread | tuple[float, ...] = 0.0
    compression: float | Spread = 0.0
    noise: float | Spread = 0.0
    shared_noise: float = 0.0
    gain_noise: float = 0.0
    saturation: float | None = None

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
        for name in ("compression", "noise"):
            object.__setattr__(self, name, not_negative(f"Amplifier {name}", getattr(self, name)))
        checks.number("Amplifier shared_noise", self.shared_noise, least=0.0)
        checks.number("Amplifier gain_noise", self.gain_noise, least=0.0)
        if self.saturation is not None:
            checks.number("Amplifier saturation", self.saturation, above=0.0)

    @property
    def ideal(self) -> bool:
        """Whether currents pass unchanged."""
        return self == type(self)()

    @property
    def noisy(self) -> bool:
        """Whether two conversions of one current differ."""
        return self.noise != 0.0 or self.shared_noise > 0.0 or self.gain_noise > 0.0

    @property
    def without_noise(self) -> Amplifier:
        """The same amplifier, two of whose conversions of one current never differ."""
        return self.replace(noise=0.0, shared_noise=0.0, gain_noise=0.0)

    @property
    def drawn(self) -> bool:
        """Whether lines differ by chance."""
        each = (self.gain, self.offset, self.compression, self.noise)
        return any(isinstance(value, Spread) for value in each)

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
        draws = Draws(seed, "amplifier", like)
        more = {
            name: draws.spread(name, value, shape) if isinstance(value, Spread) else None
            for name, value in (("compression", self.compression), ("noise", self.noise))
        }
        line = torch.arange(shape[-1], device=like.device)
        beside = -(-tiling.width // tiling.outputs)
        array = 0 if tiling.joined else line // tiling.width * beside
        arrays = 1 if tiling.joined else tiling.converters
        return Lines(
            _spread_out(self.gain, "gain", draws, shape, tiling.width),
            _spread_out(self.offset, "offset", draws, shape, tiling.width),
            array + line % tiling.width // tiling.outputs,
            arrays * beside,
            **more,
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
        gains, offsets, compressions, noises = (
            [None] * len(tiles) if value is None else _by_piece(value, tiles)
            for value in (lines.gain, lines.offset, lines.compression, lines.noise)
        )
        found = []
        for part, *own in zip(parts, gains, offsets, compressions, noises, strict=True):
            gain, offset, compression, noise = (
                None if value is None else _beside(value, part) for value in own
            )
            assert gain is not None
            assert offset is not None
            passed = self._passed(part, gain, offset / unit, compression, unit, rng)
            found.append(self._noisy(passed, noise, lines, unit, rng))
        return found

    def _passed(
        self,
        current: Tensor,
        gain: Tensor,
        offset: Tensor,
        compression: Tensor | None,
        unit: Tensor | float,
        rng: Tensor | None,
    ) -> Tensor:
        if self.gain_noise:
            gain = gain + gain * random.normal_like(current, rng) * self.gain_noise
        out = torch.addcmul(offset, gain, current)
        if self.compression != 0.0:
            share: Any = self.compression if compression is None else compression
            out = out / (1.0 + share * unit * out.abs())
        if self.saturation is None:
            return out
        most = self.saturation / unit
        return derivatives.clip(out, -most, most)

    def _noisy(
        self,
        current: Tensor,
        noise: Tensor | None,
        lines: Lines,
        unit: Tensor | float,
        rng: Tensor | None,
    ) -> Tensor:
        if self.noise != 0.0:
            size: Any = self.noise if noise is None else noise
            current = current + random.normal_like(current, rng) * (size / unit)
        if self.shared_noise:
            drawn = random.normal_like(current[..., : lines.across], rng)
            current = current + drawn[..., lines.tile] * (self.shared_noise / unit)
        return current


def _spread_out(
    value: float | Spread | tuple[float, ...],
    name: str,
    draws: Draws,
    shape: tuple[int, int, int],
    width: int,
) -> Tensor:
    if not isinstance(value, tuple):
        return draws.spread(name, value, shape)
    # All tiles of all converters have the same bit lines.
    like = draws.like
    known = constant(value, like.dtype, like.device).view(shape[-1] // width, -1)
    line = torch.arange(width, device=like.device) % known.shape[1]
    return known[:, line].reshape(1, 1, -1)


def _by_piece(value: Tensor, tiles: list[int]) -> list[Tensor]:
    return list(value.split(tiles, dim=1)) if value.shape[1] > 1 else [value] * len(tiles)


def _beside(value: Tensor, part: Tensor) -> Tensor:
    """Lift ``[groups, tiles, lines]`` to the dimensions of ``[groups, tiles, …, lines]``."""
    between = [1] * (part.dim() - value.dim())
    return value.reshape(*value.shape[:2], *between, value.shape[-1])
