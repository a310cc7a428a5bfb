"""View: what a read of a crossbar sees of it, as it is now.

In come the stored cells, or weights that a chip is newly made for. Out goes a
`mho.crossbar.readout.Readout`: one matrix with all that happens to cells before a read, the wires
and the noise in it, in the units that drivers and converters count in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.life import Broken, Drawn
from mho.cells.population import Cells
from mho.cells.unfabricated import Unfabricated
from mho.core import random
from mho.core.precision import exactly, widened
from mho.crossbar import converters, exact, expansion, floating, huge, readout
from mho.crossbar.broken import mended
from mho.crossbar.ranges import Ranges
from mho.crossbar.readout import Lumped, Noise, Readout
from mho.crossbar.tiling import Tiling
from mho.crossbar.wires import wired
from mho.hardware import Hardware
from mho.periphery.amplifier import Lines, Lying
from mho.periphery.errors import Errors

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


class View:
    """What reads of a crossbar see: of the stored cells, or of a chip newly made for weights.

    Args:
        crossbar: that is read.
        hardware: what it is made of, as reads see it.
        ranges: of its converters.

    Attributes:
        collapsed: whether it is one matrix of weights, or what flows tile by tile.
        redrawn: whether stored cells are seen anew at every read.
    """

    def __init__(self, crossbar: Crossbar, hardware: Hardware, ranges: Ranges) -> None:
        self.hardware, self.ranges = hardware, ranges
        self.groups, self.quiet = crossbar.groups, crossbar.quiet
        self.cells, self.wires = crossbar.cells, crossbar._wires
        self.scale, self.digital = crossbar.scale, crossbar.digital
        self.observed, self.injection = crossbar.observed, crossbar.injection
        self.collapsed = readout.collapses(hardware) and not self.observed
        redrawn = any(b.acts_on("read") and b.redrawn for b in hardware.behaviours)
        self.redrawn = redrawn and not self.quiet
        self._encode, self._suited = crossbar.encode, crossbar.suited
        self._window, self._lumped = hardware.device.window, crossbar.lumped
        self._lines: Lines | None = None
        self._lines = None if self.scale.is_meta else self.amplifiers(training=False)
        self._crossbar = crossbar
        self._circuits: dict[str, Any] = {}
        if isinstance(self.cells, Cells) and (self.injection.own_cells or not crossbar.training):
            self._look_at_circuits()

    def with_ranges(self, ranges: Ranges) -> View:
        """Return the same view of cells whose converters have other ranges."""
        twin = View.__new__(View)
        vars(twin).update(vars(self))
        twin.ranges = ranges
        return twin

    @property
    def cheap(self) -> bool:
        """Whether the stored cells can be seen without solving wires or their noise."""
        # Wires are dear to solve: not before the cells hold something, and once for each thing.
        known = self.wires.knows(self.cells.g) and not self.redrawn
        noisy = any(b.acts_on("read_std") for b in self.hardware.behaviours)
        if floating.floats(self.hardware):
            return False
        # Noise behind wires is dearer still.
        return known and (self.hardware.array.wires.ideal or self.quiet or not noisy)

    def stored(self) -> Readout:
        """What a read of the stored conductances sees, worked out now."""
        cells = self.cells
        found = self._readout(cells.g, self.scale, cells.drawn("read"), self.digital)
        return readout.fold(found)

    def turned(self) -> tuple[Tensor, Noise]:
        """What a read from the bit lines to the word lines sees of the stored cells.

        Returns:
            Conductances ``[slices, rows · terms, cols]`` through the wires (S), and the variance of
            read noise; see `mho.crossbar.transpose.read_transposed`.
        """
        drawn, hardware = self.cells.drawn("read"), self.hardware
        g = (life.shown if self.quiet else life.seen)(self.cells.g, drawn)
        variance: Noise = None
        if not self.quiet:
            variance = readout.read_noise(g, hardware.encoding, drawn, self.wires, transposed=True)
        return expansion.stacked(self.wires.stored(g), g, hardware), variance

    def training_readout(self, weight: Tensor, made_of: Sequence[Tensor] = ()) -> Readout:
        """What a read of a chip newly made for ``weight [groups · rows, cols]`` sees.

        Args:
            weight: the matrix.
            made_of: see `mho.crossbar.wires.TileWires.fresh`.

        Raises:
            ValueError: if it is to be of the crossbar's own cells, and there are none.
        """
        cells: object = self.cells
        if self.injection.own_cells and isinstance(cells, Unfabricated):
            raise ValueError(
                "NoiseInjection(own_cells=True) is of cells that exist, and this crossbar has none "
                "(yet, or no more): call mho.program(model) first"
            )
        wide = widened(weight)
        with exactly(weight.device):
            if wide is weight:
                return self._through(weight, made_of)
            found = self._as_given(weight) or self._through(wide, made_of)
        if not self.collapsed:
            return found
        return found._replace(matrix=laid_out(weight.dtype, found.matrix))

    def _as_given(self, weight: Tensor) -> Readout | None:
        """Return what is seen of weights that are stored as they are, in their own dtype."""
        lumped = self._lumped
        if not self.collapsed or lumped is None or lumped.write is not None or lumped.breaks:
            return None
        if self.injection.weight_noise:
            return None
        matrix, scale, siemens = self.hardware.encoding.ideal(weight, *self._window)
        if siemens is None:  # it went through conductances
            return None
        return self._electrical(matrix, scale, None, siemens, training=True)

    def _through(self, weight: Tensor, made_of: Sequence[Tensor]) -> Readout:
        if self.injection.perfect_cells:
            return self._perfect(weight, made_of)
        if self._lumped is None:
            return self._practised(weight, made_of)
        # Nothing happens to whole cells that their sum does not tell: no cell need be drawn.
        encoding, window = self.hardware.encoding, self._window
        matrix, scale, siemens = encoding.ideal(weight, *window)
        self._refuse_huge(scale, siemens)
        error = None
        if self._lumped.write is not None:
            deviation = self._lumped.write.sqrt() * self.injection.noise
            deviation = deviation if siemens is None else deviation / siemens
            error = random.normal_like(matrix, None).mul_(deviation)
        broken = self._broken(self._lumped) if self._lumped.breaks else None
        if broken is not None:
            matrix = mended(matrix, scale, siemens, error, broken, encoding, window)
        elif error is not None:
            matrix = error.add_(matrix)
        matrix = self._with_weight_noise(matrix, weight, scale, siemens)
        return self._electrical(matrix, scale, self._lumped.read, siemens, training=True)

    def _refuse_huge(self, scale: Tensor, siemens: Tensor | None) -> None:
        if siemens is not None:  # else what is worked with are conductances, never huge
            huge.refuse_in_training(scale, self.hardware, collapsed=self.collapsed)

    def _perfect(self, weight: Tensor, made_of: Sequence[Tensor]) -> Readout:
        """What a read of perfect cells sees: the weights, with noise of their own."""
        encoding, hardware, window = self.hardware.encoding, self.hardware, self._window
        siemens = None
        if hardware.array.wires.ideal and hardware.device.separable:
            matrix, scale, siemens = encoding.ideal(weight, *window)
            self._refuse_huge(scale, siemens)
        else:
            g, scale = self._encode(weight)
            T = self.wires.fresh(g, made_of)
            matrix = encoding.converted(expansion.stacked(T, g, hardware))
        matrix = self._with_weight_noise(matrix, weight, scale, siemens)
        return self._electrical(matrix, scale, None, siemens, training=True)

    def _with_weight_noise(
        self, matrix: Tensor, weight: Tensor, scale: Tensor, siemens: Tensor | None
    ) -> Tensor:
        noise = self.injection.draw_weight_noise(weight, self.groups)
        if noise is None:
            return matrix
        return (noise.div_(scale) if siemens is None else noise).add_(matrix)

    def _broken(self, lumped: Lumped) -> Broken | None:
        """Return the broken cells of one training read."""
        known = self.cells.broken if self.injection.own_cells else None
        return life.break_more(known, lumped.breaking, self.cells.like, self._window)

    def _practised(self, weight: Tensor, made_of: Sequence[Tensor]) -> Readout:
        injection = self.injection
        target, scale = self._encode(weight)
        drawn = injection.draw(self.cells)
        target, digital = self._suited(target, drawn)
        g = self.hardware.policy.write(target, drawn, noise=injection.noise)
        seconds, reads = injection.draw_age(g), injection.draw_reads(g)
        if seconds or reads:
            fresh, drawn = g, replace(drawn.at(seconds), reads=(0.0, reads))
            g = life.age(g, drawn, 0.0, seconds)
            if life.remembers(drawn.behaviours):
                drawn = replace(drawn, written=fresh, written_at=0.0)
            if injection.compensated:
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
        if floating.floats(hardware) and not training:
            return found._replace(cells=floating.ports(g, self.groups, hardware))
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
            found = self._driven(found, training=training)
            return found._replace(training=True) if training else found
        folded = None if self.observed else self.ranges.full_scale()
        found = readout.electrical(matrix, scale, variance, folded, hardware, groups, siemens)
        found = self._driven(found, training=training)
        lines, errors = self.amplifiers(training=training), self.errors(training=training)
        return found._replace(digital=digital, training=training, lines=lines, converters=errors)

    def _look_at_circuits(self) -> None:
        """Work out now what the chip's own circuits drew: in a read nobody is waited for."""
        spec = self.hardware.drive.errors
        if self.scale.is_meta:
            return
        if spec is not None:
            self._own("drivers", spec, self._drivers)
        _ = self.untrimmed

    # ── circuits at the lines; what a chip drew for them ─────────────────────────────────────

    def _fresh(self, training: bool, drawn: bool) -> bool:
        """Whether circuits are those of a chip that is newly made for one training read."""
        return training and drawn and not self.injection.own_cells

    def _own(self, name: str, spec: Any, work: Callable[[int | None], Any]) -> Any:
        """Return what the chip's own circuits drew, which is asked for once."""
        if name not in self._circuits:
            seed = self.cells.lines_seed if spec.drawn else 0
            where = self.scale.dtype, self.scale.device
            key = (self.hardware, self._tiling, seed, where)
            known = converters.kept(self._crossbar, name, key, lambda: work(seed))
            self._circuits[name] = known
        return self._circuits[name]

    def _drivers(self, seed: int | None) -> converters.Drivers | None:
        return converters.drivers(self.hardware, self.cells.shape[1], seed, self.scale)

    def _errors(self, seed: int | None) -> Errors | None:
        return converters.errors(self.hardware, self._tiling, seed, self.scale)

    def _driven(self, found: Readout, *, training: bool) -> Readout:
        """Return a readout as drivers with errors show it."""
        spec = self.hardware.drive.errors
        if spec is None or self.scale.is_meta:
            return found
        if self._fresh(training, spec.drawn):
            known = self._drivers(None)
        else:
            known = self._own("drivers", spec, self._drivers)
        height = self.hardware.array.rows if self.hardware.by_tile else found.matrix.shape[1]
        return found if known is None else converters.driven(found, known, self.groups, height)

    def errors(self, *, training: bool) -> Errors | None:
        """Return the errors of the converters, trimmed where that was done; see `amplifiers`."""
        adc, trim = self.hardware.adc, self._crossbar.trim
        if adc is None or adc.architecture is None or self.scale.is_meta:
            return None
        if self._fresh(training, adc.architecture.drawn):
            found = self._errors(None)
            return found if found is None or trim is None else converters.trimmed_anew(found)
        found = self.untrimmed
        return found if found is None or trim is None else converters.trimmed(found, trim)

    @property
    def untrimmed(self) -> Errors | None:
        """The errors of the chip's own converters, as they were made."""
        adc = self.hardware.adc
        if adc is None or adc.architecture is None:
            return None
        found: Errors | None = self._own("converters", adc.architecture, self._errors)
        return found

    @property
    def _tiling(self) -> Tiling:
        return Tiling.of(self.cells.like, self.groups, self.hardware.array)

    def amplifiers(self, *, training: bool) -> Lines | None:
        """Return the amplifiers of all tiles: the chip's own, or in training those of a new one."""
        amplifier, encoding = self.hardware.amplified, self.hardware.encoding
        if amplifier is None:
            return None
        if not (training and amplifier.drawn) or self.injection.own_cells:
            if self._lines is not None:
                return self._lines
            seed: int | None = self.cells.lines_seed
        else:
            seed = None
        tiling = self._tiling
        lying = Lying(
            tiling.down, tiling.cols, tiling.outputs, encoding.converters, tiling.array.interleaved
        )
        return amplifier.lines(seed, self.groups, lying, self.scale)


def laid_out(kind: torch.dtype, matrix: Tensor) -> Tensor:
    """Return ``[groups, rows, cols]`` in another dtype, laid out as torch lays its weights.

    Products in half precision of another layout take no fast kernel (measured: 50 times slower).
    """
    if matrix.dtype == kind:
        return matrix
    return matrix.mT.to(kind, memory_format=torch.contiguous_format).mT
