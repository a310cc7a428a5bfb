"""Ranges: what the drivers and converters of a crossbar are set to, as it is now.

In come the inputs of a read. Out go these inputs as the drivers' range lets them pass, the input
magnitude that becomes the largest voltage, and the full scale of the converters: from a spec, from
calibration, as they are learned, or from the inputs themselves.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mho.core.modes import settled
from mho.core.sharded import whole
from mho.crossbar import readout
from mho.crossbar.input_range import limited
from mho.periphery import quantize

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


class Ranges:
    """The ranges of a crossbar's drivers and converters, and what drivers make of inputs.

    Args:
        crossbar: whose they are.

    Attributes:
        fixed: whether one input range is known before a read, from the spec or calibration.
        ruled: whether the input range is learned by a rule, which looks at the inputs.
        lift: by what inputs are multiplied before anything else where their range is known to be so
            tiny, or so huge, that numbers would underflow or overflow; else None.
    """

    @settled
    def __init__(self, crossbar: Crossbar) -> None:
        self.hardware, self.drive = crossbar.hardware, crossbar.hardware.drive
        held: Any = crossbar._buffers
        self.input_range: Tensor = held["input_range"]
        self.adc_range: Tensor = held["adc_range"]
        self._rule = crossbar.range_rule
        self.ruled = self._rule is not None
        # The very dict, where torch.func.functional_call and FSDP put another parameter.
        self._crossbar, self._learned = crossbar, crossbar._parameters
        away = held["scale"].is_meta  # then nothing is calibrated, and nothing can be looked at
        follows = self.drive.range in ("per_call", "per_vector")
        known_input = math.nan if away or self.ruled else float(self.input_range)
        calibrated = self.ruled or not math.isnan(known_input)
        self._calibrated = calibrated and not follows
        self.fixed = self._calibrated or not isinstance(self.drive.range, str)
        self.lift = None if away else self._lifted_by(known_input)
        known = None if away or _unknown(self.adc_range) else self.adc_range
        rows = min(crossbar.rows, self.hardware.array.rows)
        limit = readout.full_scale(self.hardware, known, rows)
        if isinstance(limit, (int, float)):
            limit = self.adc_range.new_tensor(limit)
        self._full_scale = limit
        self._adc_calibrated = limit is not None and limit is self.adc_range

    def _lifted_by(self, calibrated: float) -> float | None:
        chosen = self.drive.range
        if not self.fixed or self.ruled or chosen in ("per_call", "per_vector"):
            return None
        least, lift, _ = quantize.lifting(self.input_range.dtype)
        known = calibrated if isinstance(chosen, str) else chosen
        if known > 1.0 / least:
            return 1.0 / lift
        return lift if known < least else None

    @property
    def shift(self) -> Tensor | None:
        """What learned ranges have moved by, see `Correction`; None unless ranges are learned."""
        found = self._learned["range_shift"]
        return None if found is None else whole(found)

    # ── drivers ──────────────────────────────────────────────────────────────────────────────

    def lifted(self, x: Tensor) -> Tensor:
        """Return inputs in units in which nothing underflows or overflows."""
        return x if self.lift is None else x * self.lift

    def limit(self, x: Tensor, dims: int | tuple[int, ...]) -> Tensor | float:
        """Return the input magnitude that becomes the largest voltage.

        Args:
            x: inputs, `lifted`; looked at only where the range follows them.
            dims: those of one vector.

        Returns:
            One for all, or one for each vector, its dimensions kept.
        """
        chosen = self.drive.range
        if not isinstance(chosen, str):
            return chosen if self.lift is None else chosen * self.lift
        if not self._calibrated:
            return self.drive.measure(x, dims)
        known = self.lifted(self.input_range)
        shift = self.shift
        return known if shift is None else known * shift[0].exp()

    def limited(
        self, x: Tensor, dims: int | tuple[int, ...], *, training: bool = False
    ) -> tuple[Tensor, Tensor | float]:
        """Return inputs, `lifted`, as the drivers' range lets them pass, and the `limit`.

        Args:
            x: inputs.
            dims: those of one vector.
            training: whether this is a training read, of which a rule learns.
        """
        if self._rule is None:
            return x, self.limit(x, dims)
        learned, batches = self._crossbar.learned_range, self._crossbar.range_batches
        pending = self._crossbar.range_pending
        if learned is None or batches is None or pending is None:
            return x, self.limit(x, dims)
        return limited(self._rule, x, learned, batches, pending, training=training)

    @property
    def by_vector(self) -> bool:
        """Whether what drivers do to an input depends on the rest of its vector."""
        return not self.fixed and self.drive.range != "per_call"

    def driven(self, x: Tensor, *, training: bool = False) -> Tensor:
        """Return inputs as the drivers deliver them (quantised), in the inputs' own units.

        Args:
            x: inputs, any shape.
            training: whether this is a training read.
        """
        if self.drive.ideal:
            return x
        wide = self.lifted(self.wide(x))
        driven = self.drive.quantise(*self.limited(wide, -1, training=training))
        return (driven if self.lift is None else driven / self.lift).to(x.dtype)

    def voltages(self, x: Tensor) -> Tensor:
        """Return what ``x [vectors, groups · rows]`` puts on the word lines (V)."""
        drive = self.drive
        level = drive.to_levels(*self.limited(self.lifted(self.wide(x)), -1))
        if drive.serial:
            level = drive.planes(level)[0].flatten(0, 1)
        return level.sign() * drive.v_max if drive.pulses else level * drive.v_step

    def lasting(self, x: Tensor) -> Tensor | None:
        """Return for which share of ``t_pulse`` the `voltages` of pulses last; None of others."""
        drive = self.drive
        if drive.pulses is None:
            return None
        level = drive.to_levels(*self.limited(self.lifted(self.wide(x)), -1))
        if drive.serial:
            level = drive.planes(level)[0].flatten(0, 1)
        return level.abs() / drive.top

    def wide(self, x: Tensor) -> Tensor:
        """Return floating inputs in the cells' dtype."""
        return x.to(self.adc_range.dtype) if x.is_floating_point() else x

    # ── converters ───────────────────────────────────────────────────────────────────────────

    def full_scale(self) -> Tensor | None:
        """Return the converters' full scale (A), ``[converters]`` or ``[]``; None: measured."""
        shift = self.shift if self._adc_calibrated else None
        if shift is None:
            return self._full_scale
        return self.adc_range * shift[1:].exp()

    def refuse_fixed(self) -> None:
        """Refuse to learn ranges where none is calibrated or can move; warn of one that cannot.

        Raises:
            ValueError: if there is nothing to learn.
        """
        known = self._calibrated and self.drive.range == "calibrated"
        adc = self.hardware.adc if self._adc_calibrated else None
        if not known and adc is None:
            raise ValueError(
                "no converter range is calibrated: call mho.calibrate first (and leave range "
                "at 'calibrated')"
            )
        if adc is not None and not adc.learnable:
            stays = f"the range of {adc} cannot be learned: its step is a power of two, which has "
            stays += "no gradient"
            if not known:
                raise ValueError(stays)
            warnings.warn(f"{stays}; it stays as calibrated", UserWarning, stacklevel=4)


def _unknown(values: Tensor) -> bool:
    """Whether some of a few values are not known (NaN)."""
    return math.isnan(float(values)) if values.numel() == 1 else bool(values.isnan().any())
