"""DAC: digital inputs to word-line voltages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import checks
from mho.core.constants import constant
from mho.core.spec import Spec, derived
from mho.periphery import quantize
from mho.periphery.drivers import DriverErrors
from mho.periphery.pulses import PulseWidth

MODES = ("amplitude", "bit_serial", "pulse_width")
CODES = ("sign_magnitude", "twos_complement")
RANGES = ("calibrated", "per_vector", "per_call")
_MEASURED = ("per_vector", "per_call")


@dataclass(frozen=True)
class DAC(Spec):
    """Word-line drivers. An input ``x`` in ``±range`` becomes a voltage in ``±v_max``.

    *Amplitude* drivers put ``x`` on the line at once, with ``2^bits - 1`` symmetric
    levels (``2^bits`` where unsigned). *Bit-serial*
    drivers need only on and off: they send one bit after the other, each at full ``v_max``, and
    the partial results are added with their powers of two. *Pulse-width* drivers hold ``±v_max``
    for a time in proportion to ``|x|``, and charges are converted: see `PulseWidth`.

    Attributes:
        bits: resolution, >= 1; None is an ideal driver.
        v_max: voltage of a full-scale input (V), > 0.
        mode: ``"amplitude"``, ``"bit_serial"`` or ``"pulse_width"``.
        range: the input magnitude that becomes ``v_max``: a number; ``"calibrated"`` (from
            `mho.calibrate`; until then as per vector); ``"per_vector"`` (the largest of each input
            vector: of a convolution each patch, of a recurrent layer each time step); or
            ``"per_call"`` (the largest of each call, so that samples depend on their batch).
        signed: False uses all levels for non-negative inputs, and negative ones become 0.
        percentile: of ``|x|`` that calibration takes as the range, in (0, 100]; None takes the
            range with the smallest squared error of the quantised inputs.
        code: bit-serial signs: ``"sign_magnitude"`` or ``"twos_complement"``.
        converts_once: bit-serial, and pulse-width in several pulses: the partial currents (or
            charges) are weighted and summed before one conversion, instead of one for each.
        pulses: pulse-width: how long pulses are, and what else there is to them; None in other
            modes, and `PulseWidth()` where pulse-width drivers are given none.
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
    pulses: PulseWidth | None = None
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
        self._check_pulses()
        for name in ("code", "converts_once"):
            value, unused = getattr(self, name), self.mode == "amplitude"
            if name == "code" and self.mode == "pulse_width":
                unused = True
            if unused and value != getattr(type(self), name):
                raise ValueError(
                    f"DAC {name} is for mode 'bit_serial', got {value!r} for {self.mode}"
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

    def _check_pulses(self) -> None:
        """Give pulse-width drivers pulses, and refuse what does not go together."""
        pulses = self.pulses
        if self.mode != "pulse_width":
            if pulses is not None:
                raise ValueError(f"DAC pulses are for mode 'pulse_width', got mode {self.mode!r}")
            return
        if pulses is None:
            pulses = PulseWidth()
            object.__setattr__(self, "pulses", pulses)
        checks.instance("DAC pulses", pulses, PulseWidth)
        if pulses.signs == "two_phase" and not self.signed:
            raise ValueError("PulseWidth signs='two_phase' needs signed inputs, got signed=False")
        wanted = None if self.bits is None else self._planes(self.bits)
        if pulses.split and sum(pulses.split) != wanted:
            raise ValueError(
                f"PulseWidth split must add up to the {wanted} bits of an input's magnitude, got "
                f"{pulses.split!r} for bits={self.bits!r}"
            )
        if self.converts_once and len(self._sent) == 1:
            raise ValueError("DAC converts_once needs several pulses an input (split, two_phase)")
        if self.converts_once and pulses.split and pulses.full_charge is not None:
            raise ValueError(
                "PulseWidth full_charge is of one pulse's charge: with split pulses that are added "
                "before one conversion (converts_once=True) it must be None"
            )

    @property
    def ideal(self) -> bool:
        """Whether inputs pass unchanged."""
        return self.bits is None

    @property
    def exact(self) -> DAC:
        """Drivers with the same range and voltage that put any input on the line as it is."""
        return DAC(v_max=self.v_max, range=self.range, signed=self.signed)

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
        """Voltage (V) of one level on the line: ``v_max`` itself for one-bit pulses.

        Of pulse-width drivers its mean over the longest pulse.
        """
        return self.v_max * (1.0 / self.top)

    @derived
    def top(self) -> int:
        """The largest level of one drive of the lines."""
        if self.mode == "bit_serial" or self.bits is None:
            return 1
        split = () if self.pulses is None else self.pulses.split
        return 2 ** max(split) - 1 if split else self.levels[1]

    @derived
    def serial(self) -> bool:
        """Whether an input is sent in parts, whose results are added by weight."""
        return self.mode == "bit_serial" or (self.mode == "pulse_width" and self.planes_sent > 1)

    @derived
    def joint_step(self) -> float:
        """By what the parts of a serial input, each by its weight, add up to the whole range."""
        return self.step_per_range * self.top

    @derived
    def proportional(self) -> bool:
        """Whether a line's voltage, averaged over a drive, is in proportion to its level."""
        return self.pulses is None or self.pulses.exact

    @property
    def jitters(self) -> bool:
        """Whether pulses differ from read to read."""
        return self.pulses is not None and self.pulses.jitter > 0.0

    @derived
    def planes_sent(self) -> int:
        """How often the lines are driven for one input: once, or once a plane (part)."""
        if self.mode == "pulse_width":
            return len(self._sent)
        return 1 if self.mode == "amplitude" else self._planes(self.bits or 1)

    @property
    def drive_times(self) -> tuple[float, ...]:
        """How long the lines are driven for each plane (s); () unless pulses have lengths."""
        if self.pulses is None:
            return ()
        one = self.pulses.t_pulse / self.top
        split = self.pulses.split
        return tuple(one * ((2**part.bits - 1) if split else self.top) for part in self._sent)

    @derived
    def _sent(self) -> tuple[_Part, ...]:
        """The pulses that one input is sent in."""
        pulses = self.pulses or PulseWidth()
        starts = list(accumulate(pulses.split, initial=0))[:-1]
        parts = [_Part(0, *part) for part in zip(starts, pulses.split, strict=True)]
        parts = parts or [_Part(0, 0, 0)]
        if pulses.signs == "bipolar":
            return tuple(parts)
        return tuple(part._replace(sign=sign) for sign in (1, -1) for part in parts)

    @derived
    def plane_weights(self) -> tuple[float, ...]:
        """What each plane counts in the digital sum, least first."""
        if self.mode == "pulse_width":
            return tuple((part.sign or 1) * 2.0**part.shift for part in self._sent)
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
        yield from (bits.to(level.dtype) for bits in self._bits_of(level))

    def put_bits_of(self, level: Tensor, room: Tensor) -> None:
        """Write all bit planes of integer levels, as `bits_of` yields them.

        Args:
            level: integer levels ``[groups, ...]``.
            room: where they are written, ``[groups, planes, ...]``.
        """
        for plane, bits in zip(room.unbind(1), self._bits_of(level), strict=True):
            plane.copy_(bits)

    def _bits_of(self, level: Tensor) -> Iterator[Tensor]:
        if self.mode == "pulse_width":
            yield from (_pulse(level, part) for part in self._sent)
            return
        whole = level.to(self._whole)
        sign = whole.sign() if self.signed and not self._twos else None
        whole = whole if sign is None else whole.abs_()
        for k in range(self.planes_sent):
            whole = whole.bitwise_right_shift_(1) if k else whole
            bit = whole & 1
            yield bit if sign is None else bit.mul_(sign)

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
            complement), of pulses the level of each; and their weights ``[planes]``;
            ``Σ weight · plane = level``. Gradients are shared out so that they sum to those of
            ``level`` itself.
        """
        if self.mode == "pulse_width":
            sent = torch.stack([_pulse(level.detach(), part) for part in self._sent])
            return self._carrying(sent, level)
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
        return self._carrying(plane, level)

    def _carrying(self, plane: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Give planes the gradients of the levels, and return their weights too."""
        weight = constant(self.plane_weights, level.dtype, level.device)
        share = weight / weight.square().sum()
        carry = (level - level.detach()) * share.view(-1, *[1] * level.dim())
        return plane + carry, weight


class _Part(NamedTuple):
    """One of the pulses that an input is sent in.

    Attributes:
        sign: of the inputs that it sends; 0 for both.
        shift: lowest bit of their magnitude.
        bits: how many of them; 0 for the whole magnitude.
    """

    sign: int
    shift: int
    bits: int


def _pulse(level: Tensor, part: _Part) -> Tensor:
    """Return the levels that one part sends of an input's levels."""
    if part.sign:
        level = (level if part.sign > 0 else -level).clamp(min=0)
    if not part.bits:
        return level
    whole = level.abs().to(torch.int32)
    field = torch.bitwise_and(torch.bitwise_right_shift(whole, part.shift), 2**part.bits - 1)
    return field.to(level.dtype) * level.sign()


def _bit(whole: Tensor, power: Tensor) -> Tensor:
    # By these names, which ONNX knows; the operators of Python have others.
    return torch.bitwise_and(torch.bitwise_right_shift(whole, power), 1)
