"""DAC: digital inputs to word-line voltages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.core.constants import constant
from mho.core.spec import Spec, derived
from mho.periphery import quantize
from mho.periphery.drivers import DriverErrors

MODES = ("amplitude", "bit_serial")
CODES = ("sign_magnitude", "twos_complement")
RANGES = ("calibrated", "per_vector", "per_call")
_MEASURED = ("per_vector", "per_call")


@dataclass(frozen=True)
class DAC(Spec):
    """Word-line drivers. An input ``x`` in ``±range`` becomes a voltage in ``±v_max``.

    *Amplitude* drivers put ``x`` on the line at once, with ``2^bits - 1`` symmetric
    levels (``2^bits`` where unsigned). *Bit-serial*
    drivers need only on and off: they send one bit after the other, each at full ``v_max``, and
    the partial results are added with their powers of two.

    Attributes:
        bits: resolution, >= 1; None is an ideal driver.
        v_max: voltage of a full-scale input (V), > 0.
        mode: ``"amplitude"`` or ``"bit_serial"``.
        range: the input magnitude that becomes ``v_max``: a number; ``"calibrated"`` (from
            `mho.calibrate`; until then as per vector); ``"per_vector"`` (the largest of each input
            vector: of a convolution each patch, of a recurrent layer each time step); or
            ``"per_call"`` (the largest of each call, so that samples depend on their batch).
        signed: False uses all levels for non-negative inputs, and negative ones become 0.
        percentile: of ``|x|`` that calibration takes as the range, in (0, 100]; None takes the
            range with the smallest squared error of the quantised inputs.
        code: bit-serial signs: ``"sign_magnitude"`` or ``"twos_complement"``.
        converts_once: bit-serial: the partial currents are weighted and summed before one
            conversion, instead of one conversion per bit.
        errors: mismatch and nonlinearity of the drivers; None are exact ones. For cells whose
            current is ``g · v``.

    Raises:
        ValueError: if a value is outside its range.
    """

    bits: int | None = None
    v_max: float = 0.2
    mode: str = "amplitude"
    range: str | float = "calibrated"
    signed: bool = True
    percentile: float | None = None
    code: str = "sign_magnitude"
    converts_once: bool = False
    errors: DriverErrors | None = None

    def __post_init__(self) -> None:
        if self.bits is not None:
            checks.integer("DAC bits", self.bits, most=24)
        checks.number("DAC v_max", self.v_max, above=0.0)
        checks.one_of("DAC mode", self.mode, MODES)
        checks.one_of("DAC code", self.code, CODES)
        if isinstance(self.range, str):
            checks.one_of("DAC range", self.range, RANGES)
        else:
            checks.number("DAC range", self.range, above=0.0)
        quantize.check_percentile("DAC", self.percentile, self.range)
        for name in ("code", "converts_once"):
            value = getattr(self, name)
            if self.mode == "amplitude" and value != getattr(type(self), name):
                raise ValueError(
                    f"DAC {name} is for mode 'bit_serial', got {value!r} for amplitude"
                )
        if self.mode == "bit_serial" and self.bits is None:
            raise ValueError("DAC bits must be given for mode='bit_serial', got None")
        if self.code == "twos_complement" and self.signed and self.bits == 1:
            raise ValueError("DAC bits must be >= 2 for signed two's complement, got 1")
        if self.errors is not None:
            checks.instance("DAC errors", self.errors, DriverErrors)
            self.errors.check(self.bits, self.mode, self.levels)

    @property
    def curved(self) -> bool:
        """Whether levels are unevenly spaced."""
        return self.errors is not None and self.errors.curved

    @property
    def errs(self) -> bool:
        """Whether drivers have errors."""
        return self.errors is not None and self.errors.acts

    @property
    def ideal(self) -> bool:
        """Whether inputs pass unchanged."""
        return self.bits is None

    @derived
    def levels(self) -> tuple[int, int]:
        """The lowest and the highest integer level."""
        return quantize.levels(self.bits or 1, signed=self.signed)

    @derived
    def step_per_range(self) -> float:
        """Size of one input level, as a fraction of the range (1 for an ideal driver)."""
        if self.bits is None:
            return 1.0
        return 1.0 / self.levels[1]

    @derived
    def v_step(self) -> float:
        """Voltage (V) of one level on the line: ``v_max`` itself for one-bit pulses."""
        return self.v_max if self.mode == "bit_serial" else self.v_max * self.step_per_range

    @property
    def planes_sent(self) -> int:
        """How often the lines are driven for one input: once, or once a bit plane."""
        return 1 if self.mode == "amplitude" else self._planes(self.bits or 1)

    @derived
    def plane_weights(self) -> tuple[float, ...]:
        """What each bit plane counts in the digital sum, least first."""
        count = self.planes_sent
        signs = [1.0] * (count - 1) + [-1.0 if self._twos else 1.0]
        return tuple(sign * 2.0**k for k, sign in enumerate(signs))

    def bits_of(self, level: Tensor) -> Iterator[Tensor]:
        """Yield the bit planes of integer levels one after the other, least first.

        As `planes`, without gradients and without holding them all: what is yielded may be
        overwritten.

        Args:
            level: integer levels ``[...]``.
        """
        whole = level.to(self._whole)
        sign = whole.sign() if self.signed and not self._twos else None
        whole = whole if sign is None else whole.abs_()
        for k in range(self.planes_sent):
            whole = whole.bitwise_right_shift_(1) if k else whole
            bit = whole & 1
            yield (bit if sign is None else bit.mul_(sign)).to(level.dtype)

    @derived
    def _whole(self) -> torch.dtype:
        """The narrowest integers that hold all levels: passes over them are the quickest."""
        widest = max(-self.levels[0], self.levels[1])
        kinds = (torch.int8, torch.int16, torch.int32)
        return next(kind for kind in kinds if widest <= torch.iinfo(kind).max)

    @derived
    def _twos(self) -> bool:
        return self.signed and self.code == "twos_complement"

    def _planes(self, bits: int) -> int:
        twos = self._twos
        return bits if twos or not self.signed else max(bits - 1, 1)

    def to_levels(self, x: Tensor, limit: Tensor | float) -> Tensor:
        """Return inputs in units of one level (integers, or ``x / limit`` for an ideal driver).

        Args:
            x: inputs, any shape.
            limit: the input magnitude that becomes ``v_max``.
        """
        level = self._even_levels(x, limit)
        if self.errors is None or not self.errors.curved:
            return level
        return self.errors.bent(level, self.levels)

    def _even_levels(self, x: Tensor, limit: Tensor | float) -> Tensor:
        if self.bits is None:
            return quantize.over(x, limit)
        high = self.levels[1]
        if self.bits == 1 and self.signed:
            return quantize.sign_ste(quantize.over(x, limit), 1.0)
        if isinstance(limit, Tensor) and not limit.dim() and self.range not in _MEASURED:
            # One range known beforehand, that readers keep from being tiny: a single pass.
            return self.to_grid(x * (high / limit).clamp_max(torch.finfo(x.dtype).max))
        return self.to_grid(quantize.in_steps(x, limit, high))

    def to_grid(self, level: Tensor) -> Tensor:
        """Round and clip inputs in units of one level; they may be overwritten.

        For more than one signed bit.
        """
        return quantize.to_grid(level, *self.levels, fresh=True)

    def steps_in(self, limit: Tensor | float) -> Tensor | float:
        """Return by what inputs are multiplied to be in units of one level (bits given)."""
        return self.levels[1] / limit

    def quantise(self, x: Tensor, limit: Tensor | float) -> Tensor:
        """Return inputs as they are delivered, in their own units; arguments as of `to_levels`."""
        return self.to_levels(x, limit) * (limit * self.step_per_range)

    def measure(self, x: Tensor, dims: int | tuple[int, ...] = -1) -> Tensor:
        """Return the range that inputs ask for by themselves.

        Args:
            x: inputs, any shape.
            dims: those of one input vector.

        Returns:
            ``[]``, the largest magnitude of the call, where the policy is per call; else that of
            each vector, its dimensions kept. Of a vector of zeros it is next to nothing, as a
            single bit has no zero.
        """
        if self.range == "per_call":
            return quantize.magnitude(x)
        # Not torch's norm, nor fresh memory: both are many times slower.
        x = x.detach()
        largest = torch.maximum(x.amax(dims, keepdim=True), -x.amin(dims, keepdim=True))
        return quantize.instead_of_zero(largest, torch.finfo(x.dtype).eps)

    def planes(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Split integer levels into one-bit planes, sent one after the other.

        Args:
            level: integer levels ``[...]``.

        Returns:
            Planes ``[planes, ...]`` of values in {-1, 0, 1} (sign–magnitude) or {0, 1} (two's
            complement), and their weights ``[bits]``; ``Σ weight · plane = level``. Gradients
            are shared out so that they sum to those of ``level`` itself.
        """
        if self.bits is None:
            raise ValueError("an ideal driver has no bit planes")
        twos = self._twos
        weight = constant(self.plane_weights, level.dtype, level.device)
        power = torch.arange(len(weight), device=level.device)
        whole = level.detach().to(torch.int64)
        power = power.view(-1, *[1] * level.dim())
        if twos:  # the same bits of a number that is not negative: ONNX shifts those alone alike
            whole = torch.where(whole < 0, whole + 2 ** len(weight), whole)
            plane = _bit(whole, power).to(level.dtype)
        else:
            plane = _bit(whole.abs(), power).to(level.dtype) * whole.sign().to(level.dtype)
        share = weight / weight.square().sum()
        carry = (level - level.detach()) * share.view(-1, *[1] * level.dim())
        return plane + carry, weight


def _bit(whole: Tensor, power: Tensor) -> Tensor:
    # By these names, which ONNX knows; the operators of Python have others.
    return torch.bitwise_and(torch.bitwise_right_shift(whole, power), 1)
