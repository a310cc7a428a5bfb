"""Reader: how one crossbar is read, with all that reads need kept ready.

In come inputs, out go outputs. What the inputs become is `mho.crossbar.ranges`' part, what they
meet `mho.crossbar.view`'s, and how many currents are worked out at once `mho.crossbar.read`'s.

Made anew at every change of the crossbar; it never changes the crossbar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.cells.population import Cells
from mho.core import checks
from mho.core.modes import settled
from mho.core.precision import exactly, handed_out, plain
from mho.core.spec import work_out
from mho.crossbar import blocks, read
from mho.crossbar.blocks import Vectors
from mho.crossbar.correction import corrects
from mho.crossbar.floating import floats
from mho.crossbar.half_kept import saved_as
from mho.crossbar.measured import Measured, measured_of
from mho.crossbar.plan import Plan, plan_of
from mho.crossbar.ranges import Ranges
from mho.crossbar.read import Multiply
from mho.crossbar.readout import Readout
from mho.crossbar.transpose import read_transposed
from mho.crossbar.view import View, laid_out

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


class Reader:
    """How a crossbar, as it is now, is read.

    Args:
        crossbar: what is read.
        ahead: whether what reads of the stored cells need is worked out now, where it is cheap;
            else when first asked for.

    Attributes:
        ranges: of drivers and converters.
        view: what reads see.
        memory: what a read may take beside its inputs and outputs (bytes).
        collapsed: whether a read is one product, or goes tile by tile.
        corrected: whether outputs of the stored cells are corrected.
    """

    # What is kept of the stored cells: what reads see of them,
    _stored: Readout | None
    # that in half precision, in its place,
    _cast: Readout | None
    # weights as torch lays them,
    _turned: Tensor | None
    # and the plan of a read, where it is known whether there is one.
    _plan: tuple[Plan | None] | None
    # or of one whose ranges are measured.
    _measured: tuple[Measured | None] | None

    @settled
    def __init__(self, crossbar: Crossbar, *, ahead: bool = True) -> None:
        hardware = crossbar.hardware
        if crossbar.quiet and hardware.amplifier is not None:
            hardware = hardware.replace(amplifier=hardware.amplifier.without_noise)
        if crossbar.quiet and hardware.drive.pulses is not None:
            quiet = hardware.drive.pulses.without_noise
            hardware = hardware.replace(dac=hardware.drive.replace(pulses=quiet))
        if crossbar.quiet and hardware.adc is not None and hardware.adc.noisy:
            hardware = hardware.replace(adc=hardware.adc.without_noise)
        self.hardware, self.groups = hardware, crossbar.groups
        self.rows, self.outputs = crossbar.rows, crossbar.groups * crossbar.cols
        self.cells, self.scale = crossbar.cells, crossbar.scale
        self.limited, self.observed = crossbar.limited, crossbar.observed
        self.ranges = Ranges(crossbar)
        self.view = View(crossbar, hardware, self.ranges)
        self.collapsed = self.view.collapsed
        self._undriven = hardware.drive.ideal
        work_out(hardware, hardware.device, hardware.array.wires, hardware.drive)
        if hardware.adc is not None:
            work_out(hardware.adc, *filter(None, (hardware.adc.architecture,)))
        self.rest()
        self._correct_as(crossbar)
        if ahead and not self.scale.is_meta:
            self.prepare()

    def _correct_as(self, crossbar: Crossbar) -> None:
        self._gain, self._offset = gain, offset = crossbar.gain, crossbar.offset
        away = self.scale.is_meta  # nothing can be looked at
        self.corrected = not away and corrects(gain, offset)

    @settled
    def with_ranges(self, crossbar: Crossbar) -> Reader:
        """Return how a crossbar is read that is watched, and of which only ranges have changed.

        What this reader found its cells to show is kept: while it is watched no range is in it.
        """
        twin = Reader.__new__(Reader)
        vars(twin).update(vars(self))
        twin.ranges = Ranges(crossbar)
        twin.view = self.view.with_ranges(twin.ranges)
        twin._cast = twin._turned = twin._plan = None
        twin._measured = twin._again(self._measured)
        if crossbar.gain is not self._gain or crossbar.offset is not self._offset:
            twin._correct_as(crossbar)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # Plans have views of the cells' streams, which pickle would make streams of their own.
        return {**self.__dict__, "_plan": None, "_measured": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # As pickles of 0.1 have them; what they may take was written into each.
        known = {k: v for k, v in state.items() if k != "memory"}
        limited = state.get("limited")
        vars(self).update(known, _plan=None, _measured=None, limited=limited)

    # ── what is kept of the stored cells ─────────────────────────────────────────────────────

    @settled
    def prepare(self) -> None:
        """Work out now what reads of the stored cells need, where that is cheap."""
        if self._stored is not None or not isinstance(self.cells, Cells):
            return
        if self.view.cheap and self.ranges.shift is None:
            self._stored = self.stored

    def rest(self) -> None:
        """Keep nothing of the stored cells: they are not read for now."""
        self._stored = self._cast = self._turned = self._plan = self._measured = None

    @property
    def memory(self) -> int:
        """What a read may take beside its inputs and outputs (bytes)."""
        return self.limited or blocks.allowed(self.scale.device)

    def limit_memory(self, memory: int) -> None:
        """Set what a read may take beside its inputs and outputs (bytes)."""
        self.limited, self._plan, self._measured = memory, None, None  # which are of so much memory

    @property
    def stored(self) -> Readout:
        """What a read of the stored conductances sees."""
        found, shift = self._stored, self.ranges.shift
        if found is not None and shift is None:
            return found
        if self.view.redrawn or shift is not None:
            return self.view.stored()
        self._stored = blocks.for_keeping(self.view.stored)
        return self._stored

    def stored_for(self, x: Tensor) -> Readout:
        """`stored`, the one matrix of a collapsed array in the dtype of the inputs ``x``.

        A product in half precision then costs what torch's own does. What is kept for it takes
        the place of what is kept in the cells' dtype.
        """
        if not self.collapsed or not isinstance(x, Tensor) or plain(x, self.scale.dtype):
            return self.stored
        kind = handed_out(x)
        if kind == self.scale.dtype or not kind.is_floating_point:
            return self.stored
        if self._cast is not None and self._cast.matrix.dtype == kind:
            return self._cast
        whole = self.stored
        matrix = blocks.for_keeping(partial(laid_out, kind, whole.matrix))
        found = whole._replace(matrix=matrix)
        if self._stored is not None:
            self._stored, self._cast = None, found
        return found

    def training_readout(self, weight: Tensor, made_of: Sequence[Tensor] = ()) -> Readout:
        """What a read of a chip newly made for weights sees; see `View.training_readout`."""
        return self.view.training_readout(weight, made_of)

    # ── reads ────────────────────────────────────────────────────────────────────────────────

    def read(self, x: Tensor, seen: Readout, bias: Tensor | None = None) -> Tensor:
        """Read ``x [..., groups · rows]`` on what `stored` or `through` gave; uncorrected."""
        weight = self._turned
        if weight is None or seen is not self._stored or blocks.in_a_graph():
            return self._read(x, seen, None if self.collapsed else self.plan(seen), bias)
        if _alike(weight, x, bias):
            checks.columns("input", x, self.rows)
            return F.linear(x, weight, bias)
        return self._read(x, seen, None, bias)

    def quickly(self, x: Tensor, bias: Tensor | None) -> Tensor | None:
        """Read what is stored where that is one product known beforehand, as `read` does it.

        Small reads cost what looking costs: here everything that asks for more is only found out.

        Returns:
            The corrected outputs; None where anything else is to be done, or refused.
        """
        weight = None if blocks.in_a_graph() else self._turned
        if weight is None or self._stored is None or self.corrected or _any_autocast():
            return None
        if self.ranges.shift is not None or type(x) is not Tensor or not _alike(weight, x, bias):
            return None
        shape = x.shape
        return F.linear(x, weight, bias) if shape and shape[-1] == self.rows else None

    def prepared(self, seen: Readout) -> Callable[[Tensor], Tensor]:
        """Return `read` for many reads of what `through` gave, prepared once for all of them."""
        if self.collapsed or blocks.in_a_graph():
            return partial(self.read, seen=seen)
        return partial(self._read, seen=seen, plan=self.planned(seen))

    def repeated(
        self, bias: Tensor | None = None, vectors: int = 0
    ) -> Callable[[Tensor], Tensor] | None:
        """Return reads of what is stored, corrected, for many inputs ``[some vectors, rows]``.

        None where they cannot be prepared beforehand: each sees other cells, or there is no plan.

        Args:
            bias: added digitally to the corrected outputs, ``[groups · cols]``.
            vectors: how many there will be in all; their noise is drawn at once.
        """
        # Not even looked at where looking draws the cells anew.
        anew = self.collapsed or self.view.redrawn or self.ranges.shift is not None
        found = None if anew else self.plan(self.stored)
        if found is None:
            return None
        gain = self._gain if self.corrected else None
        offset = self._offset if self.corrected else None
        if bias is not None:
            wide = bias.to(found.out.dtype)
            offset = wide if offset is None else offset + wide
        plan = found.then(gain, offset)
        drawn, each = plan.noise_for(vectors), plan.tiles * plan.matrix.shape[2]
        kind, most = plan.out.dtype, plan.most
        exact = not isinstance(exactly(self.scale.device), torch.autocast)

        def read(x: Tensor) -> Tensor:
            nonlocal drawn
            if not exact or x.dtype is not kind or x.numel() > most:
                y = self.read(x, self.stored)
                wide = y if gain is None else y * gain
                return (wide if offset is None else wide + offset).to(y.dtype)
            if drawn is None:
                return plan.read(x)
            own = len(x) * each
            now, drawn = drawn[:own], drawn[own:]
            return plan.read(x, now if len(now) == own else None)

        return read

    def _read(
        self, x: Tensor, seen: Readout, plan: Plan | None, bias: Tensor | None = None
    ) -> Tensor:
        checks.columns("input", x, self.groups * self.rows)
        if self.collapsed:
            driven = self.ranges.driven(x, training=seen.training)
            if self.groups == 1:
                if bias is not None and bias.dtype != seen.matrix.dtype:
                    bias = bias.to(seen.matrix.dtype)
                return F.linear(driven, self._weight(seen), bias)
            y = torch.bmm(self._by_group(driven), seen.matrix)
        elif plan is not None and plain(x, plan.out.dtype) and plan.fits(x):
            y = plan.read(x if x.dim() == 2 else x.reshape(-1, self.rows))
            y = y if x.dim() == 2 else y.view(*x.shape[:-1], self.outputs)
            return y if bias is None else y + bias
        elif plan is None and (small := self.measured(seen, x)) is not None:
            y = small.read(x if x.dim() == 2 else x.reshape(-1, self.rows))
            y = y if x.dim() == 2 else y.view(*x.shape[:-1], self.outputs)
            return y if bias is None else y + bias
        else:
            y = self.product(self._by_group(x), seen)
        y = y.transpose(0, 1).reshape(*x.shape[:-1], self.outputs)
        return y if bias is None else (y + bias).to(y.dtype)

    def _weight(self, seen: Readout) -> Tensor:
        """Return the effective weights of a collapsed array of one group, as torch lays them."""
        if seen is not self._stored or not self._undriven or blocks.in_a_graph():
            return seen.matrix.squeeze(0).T
        with torch.inference_mode(False), torch.no_grad():
            self._turned = seen.matrix.squeeze(0).T
        return self._turned

    def plan(self, seen: Readout) -> Plan | None:
        """Return how `read` reads what is stored, where it can be said beforehand; else None."""
        if seen is not self._stored or blocks.in_a_graph():
            return None
        if self._plan is None and self.observed:
            self._plan = (None,)
        if self._plan is None:
            # What is kept must also serve reads that need gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._plan = (self.planned(seen),)
        return self._plan[0]

    def planned(self, seen: Readout) -> Plan | None:
        """Return a new plan for reads of what `stored` or `through` gave, if there can be one.

        It is good for as long as gradients are to reach what it is made of, or not.
        """
        ranges = self.ranges
        if self.collapsed or self.observed or not ranges.fixed or ranges.ruled or ranges.lift:
            return None
        limit = ranges.limit(self.scale, ())
        return plan_of(seen, self.hardware, limit, self._stream(seen), self.memory)

    def measured(self, seen: Readout, x: Tensor) -> Measured | None:
        """Return how few inputs are read on what is stored where ranges are measured, else None."""
        if seen is not self._stored or blocks.in_a_graph():
            return None
        if self._measured is None:
            self._measured = (self._measured_of(seen),)
        found = self._measured[0]
        if found is None or not (found.serves(x) and plain(x, found.matrix.dtype)):
            return None
        return found

    @settled
    def _measured_of(self, seen: Readout) -> Measured | None:
        if self.collapsed or not self._still:
            return None
        measured = measured_of(seen, self.hardware, self._stream(seen), self.memory)
        return None if measured is None else measured.with_ranges(*self._known())

    def _again(self, before: tuple[Measured | None] | None) -> tuple[Measured] | None:
        """Return what was found before, with the ranges that are known now."""
        found = before[0] if before else None
        if found is None or not self._still:
            return None
        return (found.with_ranges(*self._known()),)

    @property
    def _still(self) -> bool:
        """Whether nothing is done to inputs and ranges but to drive, and to convert."""
        ranges = self.ranges
        return not ranges.ruled and ranges.lift is None and ranges.shift is None

    def _known(self) -> tuple[Tensor | float | None, Tensor | None]:
        """Return input range and full scale, each None where it follows the inputs."""
        ranges = self.ranges
        return ranges.limit(self.scale, ()) if ranges.fixed else None, ranges.full_scale()

    def product(
        self,
        x: Tensor,
        seen: Readout,
        multiply: Multiply | None = None,
        vectors: Vectors | None = None,
    ) -> Tensor:
        """Read tile by tile, uncorrected; see `mho.crossbar.read.product`.

        Currents are computed and converted in the cells' dtype, whatever that of the inputs is
        and whatever ``torch.autocast`` says; results have the dtype of torch's own layer.
        """
        if not plain(x, seen.matrix.dtype):
            kind, given = handed_out(x), x.dtype
            x = x.to(seen.matrix.dtype)
            # Under autocast the weights may be in float32.
            own = kind if seen.training and kind is given else seen.matrix.dtype
            if seen.training and self.hardware.by_tile and self.rows > self.hardware.array.rows:
                seen = seen._replace(matrix=seen.matrix.contiguous())  # tiles are then parts of it
            with exactly(x.device), saved_as(own, seen.matrix):
                return self.product(x, seen, multiply, vectors).to(kind)
        ranges = self.ranges
        x, limit = ranges.lifted(x), None
        if vectors is None or not (vectors.raw and self.drives_by_vector):
            x, limit = ranges.limited(x, _but_batch(x), training=seen.training)
        y = read.product(
            x,
            seen,
            self.hardware,
            limit=limit,
            full_scale=ranges.full_scale(),
            rng=self._stream(seen),
            multiply=multiply,
            vectors=vectors,
            memory=self.memory,
            learned=ranges.shift is not None,
        )
        return y if ranges.lift is None else y / ranges.lift

    def transposed(self, x: Tensor) -> Tensor:
        """Read ``x [batch, cols]`` from the bit lines to the word lines.

        Raises:
            ValueError: if amplifiers, converters or drivers have errors, or lines float behind
                wires.
        """
        if floats(self.hardware):
            raise ValueError(
                "crossbar.T of lines that float between pulses, behind wires, cannot be read: use "
                "PulseWidth(idle='driven') for transposed reads"
            )
        if self.hardware.one_way is not None:
            raise ValueError(
                "crossbar.T is read at the word lines, but the hardware's "
                f"{self.hardware.one_way} for transposed reads"
            )
        kind, x = handed_out(x), self.ranges.wide(x)
        g, variance = self.view.turned()
        rng, digital = self.cells.streams[-1], self.view.digital
        with exactly(x.device):
            y = read_transposed(x, g, self.scale, variance, self.hardware, rng, digital)
        return y.to(kind)

    def observe(self, x: Tensor) -> list[Tensor]:
        """Return the currents (A) that the converters see for ``x``, while it is watched."""
        x, seen = self.ranges.wide(x), self.stored
        small = self.measured(seen, x)
        if small is not None and x.dim() == 2:
            return [small.currents(x, small.limit_of(x)).unsqueeze(0)]
        x = self._by_group(self.ranges.lifted(x))
        x, limit = self.ranges.limited(x, _but_batch(x))
        rng = self.cells.streams[-1]
        return read.currents(x, seen, self.hardware, limit=limit, rng=rng)

    @property
    def drives_by_vector(self) -> bool:
        """Whether what drivers do to an input depends on the rest of its vector."""
        return self.ranges.by_vector and not (self.collapsed and self._undriven)

    def _stream(self, seen: Readout) -> Tensor | None:
        """Return the stream of read noise; None is torch's own generator."""
        return None if seen.training else self.cells.streams[-1]

    def _by_group(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.groups, self.rows).transpose(0, 1)


_any_autocast: Callable[[], bool] = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)


def _but_batch(x: Tensor) -> tuple[int, ...]:
    """Dimensions of one vector of ``x [groups, batch, …]``."""
    return (0, *range(2, x.dim()))


def _alike(weight: Tensor, x: Tensor, bias: Tensor | None) -> bool:
    """Whether torch multiplies and adds these as they are."""
    dtype = weight.dtype
    return isinstance(x, Tensor) and x.dtype is dtype and (bias is None or bias.dtype is dtype)
