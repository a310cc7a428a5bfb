"""ADC: bit-line currents to digital partial sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mho.core import checks
from mho.core.spec import Spec, derived
from mho.periphery import quantize
from mho.periphery.converters.base import Architecture
from mho.periphery.errors import Errors

METHODS = ("uniform", "linear", "log", "minmax", "log_minmax", "tanh")
RANGES = ("calibrated", "per_vector", "per_call", "full_scale")
_GRIDS = ("uniform", "linear")
_FOUND = ("calibrated", "per_vector", "per_call")
_LEAST, _MOST = 1e-24, 1e6  # A, beyond which no current of any crossbar lies
NO_CURRENT = 1e-30  # A, the range of no current at all: a single bit has no zero


@dataclass(frozen=True)
class ADC(Spec):
    """Converters at the bit lines; every tile's currents are converted, then added digitally.

    Methods: ``"uniform"`` has ``2^bits - 1`` symmetric levels over ``±range`` (zero is one);
    ``"linear"`` is two's-complement fixed point whose step is a power of two; ``"log"`` and
    ``"tanh"`` are companded (fine near zero); ``"minmax"`` and ``"log_minmax"`` span the
    smallest to the largest current of each vector, or of each call where the range is per call.

    Attributes:
        bits: resolution, >= 1; one bit is the sign.
        range: the current (A) at full scale: 1e-24 … 1e6; ``"calibrated"`` (by `mho.calibrate`;
            until then as per vector); ``"per_vector"`` (the largest that each input vector causes
            in each converter, over all tiles and lines); ``"per_call"`` (the largest of each call,
            so that samples depend on their batch); or ``"full_scale"`` (the worst case: all inputs
            and all cells of a tile at their largest).
        method: see above.
        percentile: of ``|I|`` that calibration takes as the range, in (0, 100]; None takes the
            range with the smallest squared error of the converted currents.
        decades: dynamic range of the ``"log"`` method below full scale, > 0; not for others.
        architecture: how converters are built, with their errors (`mho.periphery.converters`), for
            methods ``"uniform"`` and ``"linear"``; None are ideal ones.
        rest: where no current lies in the span, in [0, 1): 0.5 is its middle, 0 its lowest code (a
            one-sided converter, for currents of one sign). ``range`` is the largest current
            upwards; downwards it reaches to ``-range · rest / (1 - rest)``, all ``2^bits`` codes
            are used, and what lies outside clips. Other than 0.5 for method ``"uniform"`` of two
            bits or more, without errors of an architecture.
        columns_per_adc: neighbouring lines of an array that one converter reads in turn, >= 1: they
            have its errors. Lines count as converters see them: a pair that is subtracted before
            is one.

    Raises:
        ValueError: if a value is outside its range.
    """

    said: ClassVar[tuple[str, ...]] = ("bits",)

    bits: int = 8
    range: str | float = "calibrated"
    method: str = "uniform"
    percentile: float | None = None
    decades: float = 3.0
    architecture: Architecture | None = None
    columns_per_adc: int = 1
    rest: float = 0.5

    def __post_init__(self) -> None:
        checks.integer("ADC bits", self.bits, most=24)
        checks.one_of("ADC method", self.method, METHODS)
        checks.number("ADC decades", self.decades, above=0.0)
        if self.method != "log" and self.decades != type(self).decades:
            raise ValueError(
                f"ADC decades are those of method 'log', got {self.decades!r} for {self.method!r}"
            )
        if isinstance(self.range, str):
            checks.one_of("ADC range", self.range, RANGES)
        else:
            checks.number("ADC range", self.range, above=0.0)
            checks.number("ADC range", self.range, least=_LEAST, most=_MOST)
        if not self.ranged and self.range not in _FOUND:
            raise ValueError(
                f"ADC method {self.method!r} finds min–max ranges by itself: range must be "
                f"'per_vector' or 'per_call', got {self.range!r}"
            )
        quantize.check_percentile("ADC", self.percentile, self.range)
        self._check_architecture()
        self._check_rest()
        self.errs  # noqa: B018 (worked out now: a graph that is compiled could not)

    def _check_rest(self) -> None:
        checks.number("ADC rest", self.rest, least=0.0)
        if self.rest == 0.5:
            return
        if self.method != "uniform" or self.bits == 1 or self.errs:
            raise ValueError(
                "ADC rest other than 0.5 is for method 'uniform', two bits or more, and no errors "
                f"of an architecture, got rest={self.rest!r}"
            )
        if self.levels[1] < 1:
            raise ValueError(
                f"ADC rest must leave a code above it, got {self.rest!r} of {self.bits} bits"
            )

    def _check_architecture(self) -> None:
        checks.integer("ADC columns_per_adc", self.columns_per_adc)
        built = self.architecture
        if built is not None:
            checks.instance("ADC architecture", built, Architecture)
            if self.method not in _GRIDS or (self.bits == 1 and self.method != "uniform"):
                raise ValueError(
                    "ADC architecture is for methods 'uniform' and 'linear' (one bit: 'uniform'), "
                    f"got method={self.method!r}, bits={self.bits}"
                )
            built.check_bits(self.bits)
        if self.columns_per_adc > 1 and (
            built is None or (built.clock is None and not built.drawn)
        ):
            raise ValueError(
                f"ADC columns_per_adc={self.columns_per_adc} changes nothing without an "
                "architecture whose converters differ, or that has a clock"
            )

    @derived
    def errs(self) -> bool:
        """Whether converters have errors."""
        return self.architecture is not None and not self.architecture.ideal

    @property
    def trims(self) -> bool:
        """Whether converters have errors that a trim may take away: not of single comparators."""
        return self.errs and self.bits > 1

    @property
    def noisy(self) -> bool:
        """Whether two conversions of one current may differ."""
        return self.architecture is not None and self.architecture.noisy

    @property
    def without_noise(self) -> ADC:
        """The same converters, two of whose conversions of one current never differ."""
        built = self.architecture
        return self if built is None else self.replace(architecture=built.without_noise)

    @property
    def conversion_time(self) -> float | None:
        """Time (s) of one conversion; None where the architecture does not know it."""
        return None if self.architecture is None else self.architecture.conversion_time(self.bits)

    @property
    def read_time(self) -> float | None:
        """Time (s) until all lines of a converter are converted; None where it is not known."""
        each = self.conversion_time
        return None if each is None else each * self.columns_per_adc

    @derived
    def on_grid(self) -> bool:
        """Whether the output is an integer times one step (so the step can be folded away)."""
        return self.method in _GRIDS and self.bits > 1

    @property
    def ranged(self) -> bool:
        """Whether the method needs a range at all (min–max methods find their own)."""
        return "minmax" not in self.method

    @property
    def learnable(self) -> bool:
        """Whether the output has a gradient in the range."""
        return self.ranged and self.method != "linear"

    @derived
    def levels(self) -> tuple[int, int]:
        """The lowest and the highest integer level."""
        low, high = quantize.levels(self.bits)
        if self.rest != 0.5:
            low = -round(self.rest * (2**self.bits - 1))
            return low, 2**self.bits - 1 + low
        return low - (self.method == "linear"), high

    def step(self, limit: Tensor) -> Tensor:
        """Return the current (A) of one level for a full scale ``limit`` (A)."""
        if self.method == "linear":
            return quantize.power_of_two_step(limit, self.bits)
        return limit / self.levels[1]

    def in_steps(self, current: Tensor, limit: Tensor) -> Tensor:
        """Return currents (A) in units of one step; arguments are those of `convert`."""
        return quantize.over(current, self.step(limit), fresh=True)

    def to_levels(self, current: Tensor) -> Tensor:
        """Convert currents given in units of one step to integer levels (grid methods only).

        ``current`` is overwritten where no gradient is needed.
        """
        return quantize.to_grid(current, *self.levels, fresh=True)

    def measure(
        self,
        currents: list[Tensor],
        *,
        converters: int = 1,
        planes: int = 1,
        most: Tensor | None = None,
        spread: bool = True,
    ) -> Tensor:
        """Return the range that currents ask for by themselves.

        Args:
            currents: of all tiles (A), ``[groups, tiles, planes · vectors, …, lines]`` in pieces
                that differ in their tiles. Lines of one converter are neighbours.
            converters: how many there are.
            planes: how many bit planes of one input vector are converted one by one.
            most: the largest magnitude where these are some currents of a call whose largest is
                known; for the logarithmic min–max method.
            spread: whether there is one value for each current's plane and line; else it broadcasts
                to currents ``[groups, tiles, planes, vectors, …, converters, lines]``.

        Returns:
            The largest magnitude: of the whole call where the policy is per call; else of every
            vector and converter, over groups, tiles, planes and lines. It broadcasts to
            ``currents``. Min–max methods get two ends ``[2, …]``: the smallest and the largest
            current, or (logarithmic) magnitude above zero.
        """
        split = [
            piece.detach().unflatten(-1, (converters, -1)).unflatten(2, (planes, -1))
            for piece in currents
        ]
        if self.range == "per_call":
            if not split[0].numel():
                ones = split[0].new_ones(1)
                return ones if self.ranged else torch.stack((-ones, ones))
            over = tuple(range(split[0].dim()))
        else:
            over = (0, 1, 2, -1)
        ends = self._ends(split, over, most)
        if spread:
            ends = [_spread(end, planes, split[0].shape[-1]) for end in ends]
        return ends[0] if self.ranged else torch.stack(ends)

    def _ends(
        self, currents: list[Tensor], over: tuple[int, ...], known: Tensor | None
    ) -> list[Tensor]:
        def largest(pieces: list[Tensor]) -> Tensor:
            # Over all groups first: whole lines at once.
            pieces = [p.amax(0, keepdim=True) if len(p) > 1 else p for p in pieces]
            found = torch.stack([piece.amax(over, keepdim=True) for piece in pieces])
            return found.amax(0)

        if self.method == "minmax":
            return [-largest([-piece for piece in currents]), largest(currents)]
        sizes = [piece.abs() for piece in currents]
        most = quantize.instead_of_zero(largest(sizes), NO_CURRENT) if known is None else known
        if self.ranged:
            return [most]
        rounding = rounding_of(most)
        return [-largest([-torch.where(s > rounding, s, most) for s in sizes]), most]

    def convert_by(
        self, errors: Errors, current: Tensor, limit: Tensor, rng: Tensor | None
    ) -> Tensor:
        """As `convert`, by converters with errors.

        Args:
            errors: of the lines.
            current: see `convert`.
            limit: see `convert`.
            rng: stream for their noise; None: torch's own generator.
        """
        if self.bits == 1:
            return errors.signs(current, limit, rng)
        return errors.codes(self.in_steps(current, limit), rng) * self.step(limit)

    def convert(self, current: Tensor, limit: Tensor) -> Tensor:
        """Convert currents (A), by any method.

        Args:
            current: any shape; overwritten where no gradient is needed.
            limit: full scale (A), broadcast to ``current``; the two ends for min–max methods, as
                `measure` returns them.
        """
        if self.method == "minmax":
            return quantize.min_max(current, self.bits, *limit)
        if self.method == "log_minmax":
            return quantize.companded_log(current, self.bits, *limit)
        if self.method == "log":
            return quantize.companded_log(current, self.bits, limit * 10**-self.decades, limit)
        if self.method == "tanh":
            return quantize.companded_tanh(current, self.bits, limit)
        if self.bits == 1:
            return quantize.sign_ste(current, limit)
        return self.to_levels(self.in_steps(current, limit)) * self.step(limit)


def rounding_of(most: Tensor) -> Tensor:
    """Return the magnitude up to which rounding, not a current, is left where currents cancel.

    Products of some hundred rows leave up to some ten units in the last place of the largest
    current ``most``; which of them, depends on how the products are cut.
    """
    return most * (_LEFT * torch.finfo(most.dtype).eps)


_LEFT = 64


def _spread(value: Tensor, planes: int, lines: int) -> Tensor:
    """Undo the splitting of planes and lines: from one value for all to one for each."""
    if value.shape[-2] > 1:  # converters differ
        value = value.expand(*value.shape[:-1], lines)
    if value.shape[3] > 1:  # vectors differ
        value = value.expand(-1, -1, planes, *[-1] * (value.dim() - 3))
    return value.flatten(2, 3).flatten(-2)
