"""Bit slicing: one weight over several cells of few levels each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.encoding.base import Encoding
from mho.encoding.differential import PLACES, pair, pairs_before_converters


@dataclass(frozen=True)
class BitSliced(Encoding):
    """Signed integers of ``bits`` bits, their magnitude cut into digits of ``bits_per_cell`` bits.

    Every digit is a differential pair subtracted in analog. Digits are added with their powers of
    two, ``weight = scale · Σ_k 2^(k·bits_per_cell) (G⁺[k] - G⁻[k])``: digitally after a conversion
    each, or in analog (as ratios of current mirrors or capacitors) before one conversion. The
    gradient is straight through.

    Attributes:
        scaling: which weight is the largest integer.
        bits: of the weight with its sign, >= 2.
        bits_per_cell: of one cell, >= 1.
        add: where digits are added: ``"digital"`` or ``"analog"``.
    """

    bits: int = 8
    bits_per_cell: int = 2
    add: str = "digital"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.integer("bits", self.bits, least=2, most=24)
        checks.integer("bits_per_cell", self.bits_per_cell, least=1, most=self.bits)
        checks.one_of("add", self.add, PLACES)

    @property
    def digits(self) -> int:
        """How many digits the magnitude has."""
        return math.ceil((self.bits - 1) / self.bits_per_cell)

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """Slices are ``+₀ -₀ +₁ -₁ …``, least digit first: of one converter a digit, or of one."""
        return pairs_before_converters(self._powers, self.add)

    @property
    def digital(self) -> tuple[float, ...]:
        """Powers of two of the digits, where these are added digitally."""
        return self._powers if self.add == "digital" else (1.0,)

    @property
    def _powers(self) -> tuple[float, ...]:
        return tuple(2.0 ** (k * self.bits_per_cell) for k in range(self.digits))

    @property
    def states(self) -> int:
        """As many as a digit has values."""
        return int(2**self.bits_per_cell)

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`."""
        top = 2 ** (self.bits - 1) - 1
        base = 2**self.bits_per_cell
        clipped, limit = self.fit(weight)
        unit = (g_max - g_min) / (base - 1)  # conductance of a digit's 1
        scale = limit / (top * unit)
        whole = torch.round(clipped.detach() / limit * top).to(torch.int64)
        power = torch.arange(self.digits, device=weight.device).view(-1, 1, 1) * self.bits_per_cell
        digit = ((whole.abs() >> power) & (base - 1)) * whole.sign()
        g = pair(digit.to(weight.dtype) * unit, g_min).transpose(0, 1).flatten(0, 1)
        return self.straight_through(g, clipped, scale), scale
