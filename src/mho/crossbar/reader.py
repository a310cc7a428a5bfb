"""Reader: how one crossbar is read, with all that reads need kept ready.

Made anew at every change of the crossbar; it never changes the crossbar.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.cells import life
from mho.cells.life import Broken, Drawn
from mho.cells.population import Cells
from mho.core import checks, random
from mho.core.precision import exactly, handed_out, plain, widened
from mho.core.sharded import whole
from mho.crossbar import exact, expansion, read, readout
from mho.crossbar.blocks import Vectors
from mho.crossbar.broken import mended
from mho.crossbar.correction import corrects
from mho.crossbar.input_range import limited
from mho.crossbar.plan import Plan, plan_of
from mho.crossbar.read import Multiply
from mho.crossbar.readout import Lumped, Noise, Readout
from mho.crossbar.tiling import Tiling
from mho.crossbar.transpose import read_transposed
from mho.crossbar.wires import wired
from mho.periphery import quantize
from mho.periphery.amplifier import Lines, Lying

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


class Reader:
    """How a crossbar, as it is now, is read.

    Args:
        crossbar: what is read.
        ahead: whether what reads of the stored cells need is worked out now, where it is cheap;
            else when first asked for.
        keeping: another reader of the same crossbar, watched as this one, since when only ranges
            and corrections have changed: what it found its cells to show is kept.

    Attributes:
        collapsed: whether a read is one product, or goes tile by tile.
        corrected: whether outputs of the stored cells are corrected.
    """

    @torch.no_grad()
    def __init__(
        self, crossbar: Crossbar, *, ahead: bool = True, keeping: Reader | None = None
    ) -> None:
        hardware, self.quiet = crossbar.hardware, crossbar.quiet
        if self.quiet and hardware.amplifier is not None:
            hardware = hardware.replace(amplifier=hardware.amplifier.without_noise)
        self.hardware, self.groups = hardware, crossbar.groups
        self._window = hardware.device.window
        self.rows, self.outputs = crossbar.rows, crossbar.groups * crossbar.cols
        self.cells, self.wires = crossbar.cells, crossbar._wires
        self.scale, self.digital = crossbar.scale, crossbar.digital
        self.encode, self.suited = crossbar.encode, crossbar.suited
        self.input_range, self.adc_range = crossbar.input_range, crossbar.adc_range
        self.observed = crossbar.observed
        # The very dict, where torch.func.functional_call and FSDP put another parameter.
        self._crossbar, self._learned = crossbar, crossbar._parameters
        self.rule = crossbar.range_rule
        self.practice, self.memory = crossbar.practice, crossbar.memory
        self.collapsed = readout.collapses(hardware) and not self.observed
        away = self.scale.is_meta  # then nothing is calibrated, and nothing can be looked at
        self._gain, self._offset = gain, offset = crossbar.gain, crossbar.offset
        self.corrected = not away and corrects(gain, offset)
        fixed = hardware.drive.range not in ("per_call", "per_vector")
        known = self.rule is not None or not (away or bool(self.input_range.isnan()))
        self._input_known = fixed and known
        calibrated = None if away or bool(self.adc_range.isnan().any()) else self.adc_range
        limit = readout.full_scale(hardware, calibrated, min(self.rows, hardware.array.rows))
        if isinstance(limit, (int, float)):
            limit = self.adc_range.new_tensor(limit)
        self._full_scale = limit
        self._adc_calibrated = limit is not None and limit is self.adc_range
        redrawn = any(b.acts_on("read") and b.redrawn for b in hardware.behaviours)
        self._redrawn = redrawn and not self.quiet
        self._lumped = crossbar.lumped
        self._lines: Lines | None = None
        self._lines = None if away else self._amplifiers(training=False)
        self._stored: Readout | None = None if keeping is None else keeping._stored
        self._cast: Readout | None = None
        self._lift = None if away else self._lifted_by()
        self._plan: tuple[Plan | None] | None = None
        self._turned: Tensor | None = None
        self._undriven = hardware.drive.ideal
        if ahead and not away:
            self.prepare()

    @torch.no_grad()
    def prepare(self) -> None:
        """Work out now what reads of the stored cells need, where that is cheap."""
        if self._stored is not None or not isinstance(self.cells, Cells):
            return
        # Wires are dear to solve: not before the cells hold something, and once for each thing.
        known = self.wires.knows(self.cells.g) and not self._redrawn
        noisy = any(b.acts_on("read_std") for b in self.hardware.behaviours)
        # Noise behind wires is dearer still.
        cheap = self.hardware.array.wires.ideal or self.quiet or not noisy
        if known and cheap and self._learned["range_shift"] is None:
            self._stored = self.stored

    def rest(self) -> None:
        """Keep nothing of the stored cells: they are not read for now."""
        self._stored = self._cast = self._plan = self._turned = None

    # ── what a read sees ─────────────────────────────────────────────────────────────────────

    @property
    def shift(self) -> Tensor | None:
        """What learned ranges have moved by, see `Correction`; None unless ranges are learned."""
        found = self._learned["range_shift"]
        return None if found is None else whole(found)

    @property
    def stored(self) -> Readout:
        """What a read of the stored conductances sees."""
        if self._stored is not None and self.shift is None:
            return self._stored
        if self._redrawn or self.shift is not None:
            return readout.fold(self._own_readout())
        # What is kept must also serve reads that need gradients.
        with torch.inference_mode(False):
            self._stored = readout.fold(self._own_readout())
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
        found = self.stored
        with torch.inference_mode(False):  # as `stored`
            found = found._replace(matrix=_in(kind, found.matrix))
        if self._stored is not None:
            self._stored, self._cast = None, found
        return found

    def _own_readout(self) -> Readout:
        cells = self.cells
        return self._readout(cells.g, self.scale, cells.drawn("read"), self.digital)

    def through(self, weight: Tensor, made_of: Sequence[Tensor] = ()) -> Readout:
        """What a read of a chip newly made for ``weight [groups · rows, cols]`` sees.

        Args:
            weight: the matrix.
            made_of: see `mho.crossbar.wires.TileWires.fresh`.
        """
        wide = widened(weight)
        with exactly(weight.device):
            if wide is weight:
                return self._through(weight, made_of)
            found = self._as_given(weight) or self._through(wide, made_of)
        if not self.collapsed:
            return found
        return found._replace(matrix=_in(weight.dtype, found.matrix))

    def _as_given(self, weight: Tensor) -> Readout | None:
        """Return what is seen of weights that are stored as they are, in their own dtype."""
        lumped = self._lumped
        if not self.collapsed or lumped is None or lumped.write is not None or lumped.breaks:
            return None
        if self.practice.weight_noise:
            return None
        matrix, scale, siemens = self.hardware.encoding.ideal(weight, *self._window)
        if siemens is None:  # it went through conductances
            return None
        return self._electrical(matrix, scale, None, siemens, training=True)

    def _through(self, weight: Tensor, made_of: Sequence[Tensor]) -> Readout:
        if self.practice.perfect_cells:
            return self._perfect(weight, made_of)
        if self._lumped is None:
            return self._practised(weight, made_of)
        # Nothing happens to whole cells that their sum does not tell: no cell need be drawn.
        encoding, window = self.hardware.encoding, self._window
        matrix, scale, siemens = encoding.ideal(weight, *window)
        error = None
        if self._lumped.write is not None:
            deviation = self._lumped.write.sqrt() * self.practice.noise
            deviation = deviation if siemens is None else deviation / siemens
            error = random.normal_like(matrix, None).mul_(deviation)
        broken = self._broken(self._lumped) if self._lumped.breaks else None
        if broken is not None:
            matrix = mended(matrix, scale, siemens, error, broken, encoding, window)
        elif error is not None:
            matrix = error.add_(matrix)
        matrix = self._with_weight_noise(matrix, weight, scale, siemens)
        return self._electrical(matrix, scale, self._lumped.read, siemens, training=True)

    def _perfect(self, weight: Tensor, made_of: Sequence[Tensor]) -> Readout:
        """What a read of perfect cells sees: the weights, with noise of their own."""
        encoding, hardware, window = self.hardware.encoding, self.hardware, self._window
        siemens = None
        if hardware.array.wires.ideal and hardware.device.separable:
            matrix, scale, siemens = encoding.ideal(weight, *window)
        else:
            g, scale = self.encode(weight)
            T = self.wires.fresh(g, made_of)
            matrix = encoding.converted(expansion.stacked(T, g, hardware))
        matrix = self._with_weight_noise(matrix, weight, scale, siemens)
        return self._electrical(matrix, scale, None, siemens, training=True)

    def _with_weight_noise(
        self, matrix: Tensor, weight: Tensor, scale: Tensor, siemens: Tensor | None
    ) -> Tensor:
        noise = self.practice.draw_weight_noise(weight, self.groups)
        if noise is None:
            return matrix
        return (noise.div_(scale) if siemens is None else noise).add_(matrix)

    def _broken(self, lumped: Lumped) -> Broken | None:
        """Return the broken cells of one training read."""
        known = self.cells.broken if self.practice.own_cells else None
        return life.break_more(known, lumped.breaking, self.cells.like, self._window)

    def _practised(self, weight: Tensor, made_of: Sequence[Tensor]) -> Readout:
        practice = self.practice
        target, scale = self.encode(weight)
        drawn = practice.draw(self.cells)
        target, digital = self.suited(target, drawn)
        g = self.hardware.policy.write(target, drawn, noise=practice.noise)
        seconds, reads = practice.draw_age(g), practice.draw_reads(g)
        if seconds or reads:
            fresh, drawn = g, replace(drawn.at(seconds), reads=(0.0, reads))
            g = life.age(g, drawn, 0.0, seconds)
            if life.remembers(drawn.behaviours):
                drawn = replace(drawn, written=fresh, written_at=0.0)
            if practice.compensated:
                scale = scale * self._shrunk(fresh, g, scale, digital, drawn)
        return self._readout(
            g, scale, drawn, digital, training=True, made_of=made_of, weight=weight
        )

    @torch.no_grad()
    def _shrunk(
        self, fresh: Tensor, aged: Tensor, scale: Tensor, digital: Tensor | None, drawn: Drawn
    ) -> Tensor:
        """Return the factor by which `mho.compensate` would multiply the outputs."""
        array, encoding = self.hardware.array, self.hardware.encoding
        before, after = (
            encoding.decode(wired(life.shown(g, d), array, self.groups), scale, digital).abs().sum()
            for g, d in ((fresh, drawn.at(0.0)), (aged, drawn))
        )
        return torch.where(after > 0, before / after, torch.ones_like(after))

    def _readout(
        self,
        g: Tensor,
        scale: Tensor,
        drawn: Drawn,
        digital: Tensor | None,
        *,
        training: bool = False,
        made_of: Sequence[Tensor] = (),
        weight: Tensor | None = None,
    ) -> Readout:
        hardware, wires = self.hardware, self.wires
        quiet = self.quiet and not training
        g = life.shown(g, drawn) if quiet else life.seen(g, drawn)
        T = wires.fresh(g, made_of) if training else wires.stored(g)
        variance: Noise = None
        if not quiet:
            variance = readout.read_noise(g, hardware.encoding, drawn, wires, training=training)
        matrix = hardware.encoding.converted(expansion.stacked(T, g, hardware))
        if weight is not None:
            matrix = self._with_weight_noise(matrix, weight, scale, None)
        found = self._electrical(matrix, scale, variance, digital=digital, training=training)
        solved = hardware.array.exact_reads and exact.linearises(hardware) and not training
        return found._replace(cells=g) if solved else found

    def _electrical(
        self,
        matrix: Tensor,
        scale: Tensor,
        variance: Noise,
        siemens: Tensor | None = None,
        digital: Tensor | None = None,
        *,
        training: bool = False,
    ) -> Readout:
        hardware, groups = self.hardware, self.groups
        if self.collapsed:
            found = readout.effective(matrix, scale, hardware, groups, siemens, digital)
            return found._replace(training=True) if training else found
        folded = None if self.observed else self._adc_limit()
        found = readout.electrical(matrix, scale, variance, folded, hardware, groups, siemens)
        lines = self._amplifiers(training=training)
        return found._replace(digital=digital, training=training, lines=lines)

    def _amplifiers(self, *, training: bool) -> Lines | None:
        """Return the amplifiers of all tiles: the chip's own, or in training those of a new one."""
        amplifier, encoding = self.hardware.amplified, self.hardware.encoding
        if amplifier is None:
            return None
        if not (training and amplifier.drawn) or self.practice.own_cells:
            if self._lines is not None:
                return self._lines
            seed: int | None = self.cells.lines_seed
        else:
            seed = None
        tiling = Tiling.of(self.cells.like, self.groups, self.hardware.array)
        lying = Lying(
            tiling.down, tiling.cols, tiling.outputs, encoding.converters, tiling.array.interleaved
        )
        return amplifier.lines(seed, self.groups, lying, self.scale)

    # ── reads ────────────────────────────────────────────────────────────────────────────────

    def read(self, x: Tensor, seen: Readout, bias: Tensor | None = None) -> Tensor:
        """Read ``x [..., groups · rows]`` on what `stored` or `through` gave; uncorrected."""
        weight = self._turned
        if weight is not None and seen is self._stored and _alike(weight, x, bias):
            checks.columns("input", x, self.rows)
            return F.linear(x, weight, bias)
        return self._read(x, seen, None if self.collapsed else self.plan(seen), bias)

    def prepared(self, seen: Readout) -> Callable[[Tensor], Tensor]:
        """Return `read` for many reads of what `through` gave, prepared once for all of them."""
        if self.collapsed or torch.compiler.is_compiling():
            return partial(self.read, seen=seen)
        return partial(self._read, seen=seen, plan=self.planned(seen))

    def repeated(self, bias: Tensor | None = None) -> Callable[[Tensor], Tensor] | None:
        """Return reads of what is stored, corrected, for many inputs ``[vectors, rows]``.

        None where they cannot be prepared beforehand: each sees other cells, or there is no plan.

        Args:
            bias: added digitally to the corrected outputs, ``[groups · cols]``.
        """
        # Not even looked at where looking draws the cells anew.
        anew = self.collapsed or self._redrawn or self.shift is not None
        plan = None if anew else self.plan(self.stored)
        if plan is None:
            return None
        gain, offset, corrected = self._gain, self._offset, self.corrected

        def read(x: Tensor) -> Tensor:
            if not plain(x, plan.out.dtype):  # rounded once, after the correction
                kind = handed_out(x)
                with exactly(x.device):
                    return read(x.to(plan.out.dtype)).to(kind)
            y = plan.read(x) if plan.fits(x) else self.read(x, self.stored)
            if corrected:
                y = torch.addcmul(offset, y, gain)
            if bias is None:
                return y
            alike = y.dtype == bias.dtype and not torch.is_grad_enabled()
            return y.add_(bias) if alike else y + bias

        return read

    def _read(
        self, x: Tensor, seen: Readout, plan: Plan | None, bias: Tensor | None = None
    ) -> Tensor:
        checks.columns("input", x, self.groups * self.rows)
        if self.collapsed:
            driven = self.drive(x, training=seen.training)
            if self.groups == 1:
                if bias is not None and bias.dtype != seen.matrix.dtype:
                    bias = bias.to(seen.matrix.dtype)
                return F.linear(driven, self._weight(seen), bias)
            y = torch.bmm(self._by_group(driven), seen.matrix)
        elif plan is not None and plain(x, plan.out.dtype) and plan.fits(x):
            y = plan.read(x if x.dim() == 2 else x.reshape(-1, self.rows))
            y = y if x.dim() == 2 else y.view(*x.shape[:-1], self.outputs)
            return y if bias is None else y + bias
        else:
            y = self.product(self._by_group(x), seen)
        y = y.transpose(0, 1).reshape(*x.shape[:-1], self.outputs)
        return y if bias is None else (y + bias).to(y.dtype)

    def _weight(self, seen: Readout) -> Tensor:
        """Return the effective weights of a collapsed array of one group, as torch lays them."""
        if seen is not self._stored or torch.compiler.is_compiling() or not self._undriven:
            return seen.matrix[0].T
        with torch.inference_mode(False), torch.no_grad():
            self._turned = seen.matrix[0].T
        return self._turned

    def plan(self, seen: Readout) -> Plan | None:
        """Return how `read` reads what is stored, where it can be said beforehand; else None."""
        if seen is not self._stored or torch.compiler.is_compiling():
            return None
        if self._plan is None:
            # What is kept must also serve reads that need gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._plan = (self.planned(seen),)
        return self._plan[0]

    def planned(self, seen: Readout) -> Plan | None:
        """Return a new plan for reads of what `stored` or `through` gave, if there can be one.

        It is good for as long as gradients are to reach what it is made of, or not.
        """
        drive = self.hardware.drive
        measured = isinstance(drive.range, str) and not self._input_known
        ruled = self.rule is not None  # which looks at the inputs
        if self.collapsed or self.observed or measured or ruled or self._lift is not None:
            return None
        limit = self._input_limit(self.scale, ())
        rng = None if seen.training else self.cells.streams[-1]
        return plan_of(seen, self.hardware, limit, rng)

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
            kind = handed_out(x)
            x = x.to(seen.matrix.dtype)
            with exactly(x.device):
                return self.product(x, seen, multiply, vectors).to(kind)
        x = self._lifted(x)
        limit: Tensor | float | None = None
        if vectors is None or not (vectors.raw and self.drives_by_vector):
            x, limit = self._limited(x, _but_batch(x), training=seen.training)
        y = read.product(
            x,
            seen,
            self.hardware,
            limit=limit,
            full_scale=self._adc_limit(),
            rng=None if seen.training else self.cells.streams[-1],
            multiply=multiply,
            vectors=vectors,
            memory=self.memory,
        )
        return y if self._lift is None else y / self._lift

    def _lifted(self, x: Tensor) -> Tensor:
        """Return inputs of a tiny calibrated range in units in which nothing underflows."""
        return x if self._lift is None else x * self._lift

    def _wide(self, x: Tensor) -> Tensor:
        """Return floating inputs in the cells' dtype."""
        return x.to(self.scale.dtype) if x.is_floating_point() else x

    def transposed(self, x: Tensor) -> Tensor:
        """Read ``x [batch, cols]`` from the bit lines to the word lines.

        Raises:
            ValueError: if the bit lines have amplifiers that act.
        """
        if self.hardware.amplified is not None:
            raise ValueError(
                "crossbar.T is read at the word lines, but the hardware's amplifier stands at the "
                "bit lines: use hardware.replace(amplifier=None) for transposed reads"
            )
        kind, x = handed_out(x), self._wide(x)
        drawn, hardware = self.cells.drawn("read"), self.hardware
        g = (life.shown if self.quiet else life.seen)(self.cells.g, drawn)
        variance: Noise = None
        if not self.quiet:
            variance = readout.read_noise(g, hardware.encoding, drawn, self.wires, transposed=True)
        g = expansion.stacked(self.wires.stored(g), g, hardware)
        rng = self.cells.streams[-1]
        with exactly(x.device):
            y = read_transposed(x, g, self.scale, variance, hardware, rng, self.digital)
        return y.to(kind)

    def observe(self, x: Tensor) -> list[Tensor]:
        """Return the currents (A) that the converters see for ``x``, while it is watched."""
        x = self._by_group(self._lifted(self._wide(x)))
        x, limit = self._limited(x, _but_batch(x))
        rng = self.cells.streams[-1]
        return read.currents(x, self.stored, self.hardware, limit=limit, rng=rng)

    def drive(self, x: Tensor, *, training: bool = False) -> Tensor:
        """Return inputs as the drivers deliver them (quantised), in the inputs' own units.

        Args:
            x: inputs, any shape.
            training: whether this is a training read.
        """
        drive = self.hardware.drive
        if drive.ideal:
            return x
        wide = self._lifted(self._wide(x))
        driven = drive.quantise(*self._limited(wide, -1, training=training))
        return (driven if self._lift is None else driven / self._lift).to(x.dtype)

    def voltages(self, x: Tensor) -> Tensor:
        """Return what ``x [vectors, groups · rows]`` puts on the word lines (V)."""
        drive, x = self.hardware.drive, self._lifted(self._wide(x))
        level = drive.to_levels(*self._limited(x, -1))
        if drive.mode == "bit_serial":
            level = drive.planes(level)[0].flatten(0, 1)
        return level * drive.v_step

    @property
    def drives_by_vector(self) -> bool:
        """Whether what drivers do to an input depends on the rest of its vector."""
        drive = self.hardware.drive
        own = isinstance(drive.range, str) and drive.range != "per_call" and not self._input_known
        return own and not (self.collapsed and drive.ideal)

    def _limited(
        self, x: Tensor, dims: int | tuple[int, ...], *, training: bool = False
    ) -> tuple[Tensor, Tensor | float]:
        """Return inputs as the drivers' range lets them pass, and the range."""
        if self.rule is None:
            return x, self._input_limit(x, dims)
        learned, batches = self._crossbar.learned_range, self._crossbar.range_batches
        if learned is None or batches is None:
            return x, self._input_limit(x, dims)
        return limited(self.rule, x, learned, batches, training=training)

    def _input_limit(self, x: Tensor, dims: int | tuple[int, ...]) -> Tensor | float:
        chosen = self.hardware.drive.range
        if not isinstance(chosen, str):
            return chosen
        if not self._input_known:
            return self.hardware.drive.measure(x, dims)
        known = self.input_range if self._lift is None else self.input_range * self._lift
        return known if self.shift is None else known * self.shift[0].exp()

    def _lifted_by(self) -> float | None:
        """Return by what inputs of a tiny calibrated range are multiplied before anything else."""
        calibrated = self._input_known and self.hardware.drive.range == "calibrated"
        if not calibrated or self.rule is not None:
            return None
        least, lift, _ = quantize.lifting(self.input_range.dtype)
        return lift if bool(self.input_range < least) else None

    def _adc_limit(self) -> Tensor | None:
        if self.shift is None or not self._adc_calibrated:
            return self._full_scale
        return self.adc_range * self.shift[1:].exp()

    def _by_group(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.groups, self.rows).transpose(0, 1)

    def refuse_fixed_ranges(self) -> None:
        """Refuse to learn ranges where none is calibrated or can move; warn of one that cannot.

        Raises:
            ValueError: if there is nothing to learn.
        """
        known = self._input_known and self.hardware.drive.range == "calibrated"
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


def _in(kind: torch.dtype, matrix: Tensor) -> Tensor:
    """Return ``[groups, rows, cols]`` in another dtype, laid out as torch lays its weights.

    Products in half precision of another layout take no fast kernel (measured: 50 times slower).
    """
    if matrix.dtype == kind:
        return matrix
    return matrix.mT.to(kind, memory_format=torch.contiguous_format).mT


def _but_batch(x: Tensor) -> tuple[int, ...]:
    """Dimensions of one vector of ``x [groups, batch, …]``."""
    return (0, *range(2, x.dim()))


def _alike(weight: Tensor, x: Tensor, bias: Tensor | None) -> bool:
    """Whether torch multiplies and adds these as they are."""
    dtype = weight.dtype
    return isinstance(x, Tensor) and x.dtype is dtype and (bias is None or bias.dtype is dtype)
