"""Oscillator-based converters: a current sets a frequency, and periods are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mho.cells.spread import Spread, not_negative
from mho.core import checks
from mho.periphery.converters.base import Architecture, ideal_transitions
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Oscillator(Architecture):
    """A current-controlled oscillator and a counter, for each sign one.

        count = u / (1 + compression · |u|),    u = current / full scale

    and periods jitter independently: of ``n`` counts the standard deviation is ``jitter · √n``.
    (As in the 64-core chip of Le Gallo et al. 2023, doi 10.1038/s41928-023-01010-1, and its core,
    Khaddam-Aljameh et al. 2022, doi 10.1109/JSSC.2022.3140414; the law of compression is the
    simplest saturating one, not a fit to these.)

    Attributes:
        compression: share by which full scale is counted short, >= 0; a `Spread` is drawn for each
            converter.
        jitter: relative standard deviation of one period, >= 0.
    """

    compares: ClassVar[bool] = False

    compression: float | Spread = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        value = not_negative("Oscillator compression", self.compression)
        object.__setattr__(self, "compression", value)
        checks.number("Oscillator jitter", self.jitter, least=0.0)
        super().__post_init__()

    def cycles(self, bits: int) -> int:
        """As many periods (of an oscillator at full scale) as there are counts of one sign."""
        return int(2 ** (bits - 1))

    @property
    def noisy(self) -> bool:
        """Whether two conversions of one current may differ."""
        return super().noisy or self.jitter > 0.0

    @property
    def without_noise(self) -> Oscillator:
        """The same converters, two of whose conversions of one current never differ."""
        return self.replace(noise=0.0, jitter=0.0)

    @property
    def drawn(self) -> bool:
        """Whether converters differ by chance."""
        return super().drawn or isinstance(self.compression, Spread)

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return super().linear and self.compression == 0.0

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        if self.compression == 0.0:
            return None
        each = draws.spread("compression", self.compression, (count,)).unsqueeze(1)
        full = 2 ** (bits - 1)
        wanted = ideal_transitions(bits, each) / full
        # The inverse of the law; what is compressed below a count is never reached.
        left = (1.0 - each * wanted.abs()).clamp_min(torch.finfo(each.dtype).eps)
        return (wanted / left * full).expand(count, -1)
