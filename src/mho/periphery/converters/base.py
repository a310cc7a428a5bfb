"""What every architecture of converters has: gain, offset, noise, nonlinearity and a clock.

A converter of ``b`` bits has ``2^b - 1`` transitions between its codes ``-2^(b-1) … 2^(b-1) - 1``.
An ideal one has them half a step below each code: at ``k - 1/2``. Currents are here in steps, and
*full scale* is ``2^(b-1)`` steps. A symmetric converter (``ADC(method="uniform")``) does not use
its lowest code.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mho.cells.spread import Spread, check, positive
from mho.core import checks
from mho.core.spec import Spec, derived
from mho.periphery.draws import Draws

MOST_BITS = 14
"""Bits up to which transitions are simulated one by one."""


@dataclass(frozen=True, kw_only=True)
class Architecture(Spec):
    """How an ADC is built, with its errors. This base is one of which only the common ones count.

        code = first k whose transition is not passed by
               (gain · i + offset · full scale + noise · full scale · N(0, 1)) / step

    A number is the same for all converters; a `Spread` is drawn for each converter when the chip is
    made, kept with it, and drawn afresh at every read in training, as the cells are.

    Attributes:
        gain: factor on the current, > 0; a `Spread` without a lower bound is bounded by 0.
        offset: added to the current, of full scale.
        noise: thermal noise: standard deviation, of full scale, >= 0, drawn at every conversion.
        inl: coefficients ``a2, a3, …`` of a smooth nonlinearity of all converters, of full scale:
            ``u + a2 u² + a3 u³ + …`` for ``u`` in ±1; it must rise.
        clock: periods of the architecture's elementary step in a second (Hz), >= 1 kHz; None where
            the time of a conversion is not known.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    per_array: ClassVar[bool] = False
    """Whether all converters of an array share one set of transitions."""

    compares: ClassVar[bool] = True
    """Whether one bit of it is a comparator."""

    gain: float | Spread = 1.0
    offset: float | Spread = 0.0
    noise: float = 0.0
    inl: tuple[float, ...] = ()
    clock: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "gain", positive(f"{name} gain", self.gain))
        check(f"{name} offset", self.offset)
        checks.number(f"{name} noise", self.noise, least=0.0)
        checks.instance(f"{name} inl", self.inl, (tuple, list))
        for k, each in enumerate(self.inl):
            checks.number(f"{name} inl[{k}]", each)
        object.__setattr__(self, "inl", tuple(float(each) for each in self.inl))
        u = torch.linspace(-1.0, 1.0, 2001, dtype=torch.float64)
        if float(slope_of(u, self.inl).min()) <= 0.0:
            raise ValueError(f"{name} inl must leave a curve that rises over ±1, got {self.inl!r}")
        if self.clock is not None:
            checks.number(f"{name} clock", self.clock, above=0.0)
            if self.clock < _SLOWEST:
                raise ValueError(
                    f"{name} clock must be >= {_SLOWEST:g} Hz (SI units: 1 GHz is 1e9), got "
                    f"{self.clock!r}"
                )
            if self.cycles(8) is None:
                raise ValueError(f"{name} has no known number of steps: clock must be None")

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def cycles(self, bits: int) -> int | None:
        """Return how many periods of the clock one conversion occupies the converter."""
        return None

    def conversion_time(self, bits: int) -> float | None:
        """Return the time (s) from one conversion to the next; None where it is not known."""
        count = self.cycles(bits)
        return None if self.clock is None or count is None else count / self.clock

    def latency(self, bits: int) -> float | None:
        """Return the time (s) from a sample to its code; more than the above in a pipeline."""
        return self.conversion_time(bits)

    # ── errors ───────────────────────────────────────────────────────────────────────────────

    @derived
    def ideal(self) -> bool:
        """Whether codes are those of an ideal converter."""
        own = (field for field in dataclasses.fields(self) if field.name != "clock")
        return all(getattr(self, field.name) == field.default for field in own)

    @property
    def noisy(self) -> bool:
        """Whether two conversions of one current may differ."""
        return self.noise > 0.0

    @property
    def without_noise(self) -> Architecture:
        """The same converters, two of whose conversions of one current never differ."""
        return self.replace(noise=0.0)

    @property
    def drawn(self) -> bool:
        """Whether converters differ by chance."""
        return isinstance(self.gain, Spread) or isinstance(self.offset, Spread)

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return not self.inl

    def check_bits(self, bits: int) -> None:
        """Refuse a resolution that this architecture cannot have (ValueError)."""
        name = type(self).__name__
        if not self.linear and not 2 <= bits <= MOST_BITS:
            raise ValueError(
                f"{name} with errors of single codes needs ADC bits in 2 … {MOST_BITS}, got {bits}"
            )
        if bits == 1 and not (self.compares and self.gain == 1.0):
            raise ValueError(
                "ADC bits=1 is one comparator, and looks at the sign alone: architecture must be "
                f"Flash(…), or Architecture(…) with gain=1.0, got {self}"
            )

    def own_offset(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw what comparators and the like add to the offsets (steps), ``[count]``; or None."""
        return None

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        return None

    def bent(self, transitions: Tensor) -> Tensor:
        """Return transitions (steps) of a converter that has the nonlinearity ``inl`` before it."""
        full = (transitions.shape[-1] + 1) / 2
        wanted = transitions / full
        u = wanted.clone()
        for _ in range(_NEWTON if self.inl else 0):
            u = u - (curve_of(u, self.inl) - wanted) / slope_of(u, self.inl).clamp_min(_LEAST)
            u = u.clamp(-_BEYOND, _BEYOND)
        return u * full


_NEWTON = 12
_SLOWEST = 1e3  # Hz, below the slowest crystals: a prefix is missing
_LEAST = 1e-3
_BEYOND = 2.0


def curve_of(u: Tensor, inl: tuple[float, ...]) -> Tensor:
    """Return ``u + a2 u² + a3 u³ + …``."""
    total = torch.zeros_like(u)
    for each in reversed(inl):
        total = total * u + each
    return u + total * u.square()


def slope_of(u: Tensor, inl: tuple[float, ...]) -> Tensor:
    """Return the derivative of `curve_of`."""
    total = torch.zeros_like(u)
    for power, each in reversed(list(enumerate(inl, start=2))):
        total = total * u + power * each
    return 1.0 + total * u


def ideal_transitions(bits: int, like: Tensor) -> Tensor:
    """Return the transitions of an ideal converter (steps), ``[2^bits - 1]``."""
    count = torch.arange(1, 2**bits, dtype=like.dtype, device=like.device)
    return count - (2 ** (bits - 1) + 0.5)
