"""Reader: how one crossbar is read, with all that reads need kept ready.

Made anew at every change of the crossbar; it never changes the crossbar.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.cells import life
from mho.cells.life import Broken, Drawn
from mho.core import checks, random
from mho.core.sharded import whole
from mho.crossbar import exact, expansion, read, readout
from mho.crossbar.broken import mended
from mho.crossbar.read import Multiply
from mho.crossbar.readout import Lumped, Noise, Readout
from mho.crossbar.tiling import Tiling
from mho.crossbar.transpose import read_transposed
from mho.crossbar.wires import wired
from mho.periphery.amplifier import Lines, Lying

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


class Reader:
    """How a crossbar, as it is now, is read.

    Args:
        crossbar: what is read.
        ahead: whether what reads of the stored cells need is worked out now, where it is cheap;
            else when first asked for.

    Attributes:
        collapsed: whether a read is one product, or goes tile by tile.
        corrected: whether outputs of the stored cells are corrected.
    """

    @torch.no_grad()
    def __init__(self, crossbar: Crossbar, *, ahead: bool = True) -> None:
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
        self._learned = crossbar._parameters
        self.practice = crossbar.practice
        self.collapsed = readout.collapses(hardware) and not self.observed
        self.corrected = crossbar.correction.corrects
        fixed = hardware.drive.range not in ("per_call", "per_vector")
        self._input_known = fixed and not bool(self.input_range.isnan())
        calibrated = None if bool(self.adc_range.isnan().any()) else self.adc_range
        limit = readout.full_scale(hardware, calibrated, min(self.rows, hardware.array.rows))
        if isinstance(limit, (int, float)):
            limit = self.adc_range.new_tensor(limit)
        self._full_scale = limit
        self._adc_calibrated = limit is not None and limit is self.adc_range
        redrawn = any(b.acts_on("read") and b.redrawn for b in hardware.behaviours)
        self._redrawn = redrawn and not self.quiet
        self._lumped = crossbar.lumped
        self._lines: Lines | None = None
        self._lines = self._amplifiers(training=False)
        self._stored: Readout | None = None
        # Wires are dear to solve: not before the cells hold something, and once for each thing.
        known = self.wires.knows(self.cells.g) and not self._redrawn
        noisy = any(b.acts_on("read_std") for b in hardware.behaviours)
        cheap = (
            hardware.array.wires.ideal or self.quiet or not noisy
        )  # noise behind wires is dearer still
        if ahead and known and cheap and self._learned["range_shift"] is None:
            self._stored = self.stored

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

    def _own_readout(self) -> Readout:
        cells = self.cells
        return self._readout(cells.g, self.scale, cells.drawn("read"), self.digital)

    def through(self, weight: Tensor, made_of: Sequence[Tensor] = ()) -> Readout:
        """What a read of a chip newly made for ``weight [groups · rows, cols]`` sees.

        Args:
            weight: the matrix.
            made_of: see `mho.crossbar.wires.TileWires.fresh`.
        """
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
        return self._electrical(matrix, scale, self._lumped.read, siemens, training=True)

    def _broken(self, lumped: Lumped) -> Broken | None:
        """Return the broken cells of one training read."""
        known = self.cells.broken if self.practice.own_cells else None
        return life.break_more(known, lumped.breaking, self.cells.g, self._window)

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
        return self._readout(g, scale, drawn, digital, training=True, made_of=made_of)

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
    ) -> Readout:
        hardware, wires = self.hardware, self.wires
        quiet = self.quiet and not training
        g = life.shown(g, drawn) if quiet else life.seen(g, drawn)
        T = wires.fresh(g, made_of) if training else wires.stored(g)
        variance: Noise = None
        if not quiet:
            variance = readout.read_noise(g, hardware.encoding, drawn, wires, training=training)
        matrix = hardware.encoding.converted(expansion.stacked(T, g, hardware))
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
            return readout.effective(matrix, scale, hardware, groups, siemens, digital)
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
        tiling = Tiling.of(self.cells.g, self.groups, self.hardware.array)
        lying = Lying(
            tiling.down, tiling.cols, tiling.outputs, encoding.converters, tiling.array.interleaved
        )
        return amplifier.lines(seed, self.groups, lying, self.scale)

    # ── reads ────────────────────────────────────────────────────────────────────────────────

    def read(self, x: Tensor, seen: Readout, bias: Tensor | None = None) -> Tensor:
        """Read ``x [..., groups · rows]`` on what `stored` or `through` gave; uncorrected."""
        checks.columns("input", x, self.groups * self.rows)
        if self.collapsed:
            driven = self.drive(x)
            if self.groups == 1:
                return F.linear(driven, seen.matrix[0].T, bias)
            y = torch.bmm(self._by_group(driven), seen.matrix)
        else:
            y = self.product(self._by_group(x), seen)
        y = y.transpose(0, 1).reshape(*x.shape[:-1], self.outputs)
        return y if bias is None else y + bias

    def product(
        self, x: Tensor, seen: Readout, multiply: Multiply | None = None, vectors: int = 1
    ) -> Tensor:
        """Read tile by tile, uncorrected; see `mho.crossbar.read.product`."""
        return read.product(
            x,
            seen,
            self.hardware,
            limit=self._input_limit(x, _but_batch(x)),
            full_scale=self._adc_limit(),
            rng=None if seen.training else self.cells.streams[-1],
            multiply=multiply,
            vectors=vectors,
        )

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
        drawn, hardware = self.cells.drawn("read"), self.hardware
        g = (life.shown if self.quiet else life.seen)(self.cells.g, drawn)
        variance: Noise = None
        if not self.quiet:
            variance = readout.read_noise(g, hardware.encoding, drawn, self.wires, transposed=True)
        g = expansion.stacked(self.wires.stored(g), g, hardware)
        rng = self.cells.streams[-1]
        return read_transposed(x, g, self.scale, variance, hardware, rng, self.digital)

    def observe(self, x: Tensor) -> list[Tensor]:
        """Return the currents (A) that the converters see for ``x``, while it is watched."""
        x = self._by_group(x)
        limit, rng = self._input_limit(x, _but_batch(x)), self.cells.streams[-1]
        return read.currents(x, self.stored, self.hardware, limit=limit, rng=rng)

    def drive(self, x: Tensor) -> Tensor:
        """Return inputs as the drivers deliver them (quantised), in the inputs' own units."""
        drive = self.hardware.drive
        if drive.ideal:
            return x
        return drive.quantise(x, self._input_limit(x, -1))

    def voltages(self, x: Tensor) -> Tensor:
        """Return what ``x [vectors, groups · rows]`` puts on the word lines (V)."""
        drive = self.hardware.drive
        level = drive.to_levels(x, self._input_limit(x, -1))
        if drive.mode == "bit_serial":
            level = drive.planes(level)[0].flatten(0, 1)
        return level * drive.v_step

    @property
    def drives_by_vector(self) -> bool:
        """Whether what drivers do to an input depends on the rest of its vector."""
        drive = self.hardware.drive
        own = isinstance(drive.range, str) and drive.range != "per_call" and not self._input_known
        return own and not (self.collapsed and drive.ideal)

    def _input_limit(self, x: Tensor, dims: int | tuple[int, ...]) -> Tensor | float:
        chosen = self.hardware.drive.range
        if not isinstance(chosen, str):
            return chosen
        if not self._input_known:
            return self.hardware.drive.measure(x, dims)
        return self.input_range if self.shift is None else self.input_range * self.shift[0].exp()

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


def _but_batch(x: Tensor) -> tuple[int, ...]:
    """Dimensions of one vector of ``x [groups, batch, …]``."""
    return (0, *range(2, x.dim()))
