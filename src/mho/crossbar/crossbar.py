"""Crossbar: the heart. One logical matrix on a grid of tiles, from fabrication to reading.

    weight ──encode──▶ target ──fabricate, program──▶ G ──age──▶ G ──read──▶ outputs

``G [slices, rows, cols]`` (S) is what the cells hold. Two ways lead from it to outputs, and
`Crossbar.collapsed` says which is taken: *collapsed*, one product with the cached effective
weight, where nothing between cells and outputs depends on the input; or *tiled*
(`mho.crossbar.read`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.cells import life
from mho.cells.life import Born, ContextOf
from mho.core import checks, random
from mho.crossbar import expansion as nonlinear
from mho.crossbar import read, readout
from mho.crossbar.matrix import StoredMatrix, refuse_half
from mho.crossbar.read import Multiply
from mho.crossbar.readout import Readout
from mho.crossbar.training import Practice
from mho.crossbar.transpose import Transposed, read_transposed
from mho.crossbar.wires import TileWires
from mho.hardware import Hardware
from mho.periphery.quantize import magnitude


class Crossbar(StoredMatrix):
    """A matrix stored in memory cells: ``y = x @ crossbar``, for inputs ``x [..., rows]``.

    A new crossbar is fabricated but not programmed: its healthy cells rest at ``g_min``.

    Args:
        rows: inputs of the matrix, >= 1.
        cols: outputs of the matrix, >= 1.
        hardware: what it is made of.
        seed: of everything random in its life (fabrication, programming, reading).
        groups: how many equal matrices lie side by side, each on tiles of its own; inputs are
            then ``[..., groups · rows]``, outputs ``[..., groups · cols]`` and weights
            ``[groups · rows, cols]``.
        dtype: of the conductances; torch's default if not given.
        device: where they live.

    Attributes:
        G: conductances ``[slices, groups · rows, physical cols]`` (S).
        scale: ``[]`` or ``[cols]`` (1/S): ``weight = scale · Σ_s c[s] · G[s]``.
        stuck: boolean mask of broken cells, shaped like ``G``; None if no cell can break.
        digital: weights of the converters' results per column ``[groups, converters, cols]``,
            chosen for the broken cells; None where the encoding does not look at these.
        rng: stream of randomness; see `mho.core.random`.
        input_range: input magnitude that becomes the largest voltage; NaN until calibrated.
        adc_range: full scale (A) per converter ``[converters]``; NaN until calibrated.
        gain: output correction per column ``[groups · cols]``, 1 until calibrated.
        offset: output correction per column, 0 until calibrated.
        reference: ``Σ_rows |weight|`` per column ``[groups · cols]`` when programmed, calibrated
            or last compensated: what drift is measured against; NaN until programmed.
        seconds: time since programming (s).
        writes: how often the whole array has been written.
        on_chip: whether its cells are those of a `mho.chip.Chip`.
        practice: what training reads see beyond the hardware; see `practise`.
        range_shift: ``[1 + converters]``, logarithm of the factor by which training has moved the
            calibrated input range and converter ranges; None unless they are learned.

    Raises:
        TypeError, ValueError: if a size, the seed or the hardware is refused.
    """

    input_range: Tensor
    adc_range: Tensor
    range_shift: nn.Parameter | None

    def __init__(
        self,
        rows: int,
        cols: int,
        hardware: Hardware,
        *,
        seed: int = 0,
        groups: int = 1,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(rows, cols, hardware, seed=seed, groups=groups, dtype=dtype, device=device)
        self.practice = Practice()
        # Calibration sets this: reads are then tiled and unfolded, so that they can be watched.
        self.observed = False
        self._stored: Readout | None = None
        self._wires = TileWires(hardware.array, groups)
        converters = hardware.encoding.converters
        self.register_buffer("input_range", self.G.new_full((), torch.nan))
        self.register_buffer("adc_range", self.G.new_full((converters,), torch.nan))
        self.register_parameter("range_shift", None)
        self.reset_parameters()

    @property
    def effective_weight(self) -> Tensor:
        """`weight` as the wires let it act."""
        return self.decode(self._wires.stored(self.G))

    @property
    def expansion_error(self) -> float:
        """Largest error of a nominal cell's read current, relative to ``g v_max``.

        0 where reads are exact: where the device's current is ``g · f(v)``; see
        `mho.crossbar.expansion`.
        """
        return nonlinear.error(self.hardware)

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    @property
    def collapsed(self) -> bool:
        """Whether a read is one product with the effective weight, or goes tile by tile."""
        return self._collapses and not self.observed

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Read what the chip holds.

        Args:
            x: ``[..., groups · rows]``.
            bias: added digitally to the corrected outputs, ``[groups · cols]``.

        Returns:
            ``[..., groups · cols]``.

        Raises:
            TypeError, ValueError: if ``x`` is of another kind or shape.
        """
        if not self.corrected:
            return self.read(x, self.stored, bias)
        offset = self.offset if bias is None else self.offset + bias
        return torch.addcmul(offset, self.read(x, self.stored), self.gain)

    def __rmatmul__(self, x: Tensor) -> Tensor:
        return self(x)

    @property
    def T(self) -> Transposed:  # noqa: N802 (as in torch.Tensor.T)
        """The same cells read the other way: ``x @ crossbar.T``, for ``x [..., cols]``."""
        if self.groups != 1:
            raise ValueError(f"only a crossbar of one group has .T, this has {self.groups}")
        return Transposed(self.cols, self._read_transposed)

    def _read_transposed(self, x: Tensor) -> Tensor:
        g = readout.seen(self.G, self.hardware, self.born, self.context)
        variance = readout.white_noise("read_std", g, self.hardware, self.born, self.context)
        g = nonlinear.stacked(self._wires.stored(g), g, self.hardware)
        return read_transposed(x, g, self.scale, variance, self.hardware, self.rng, self.digital)

    def read_through(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Read as a chip newly made for ``weight`` would: differentiable in both arguments.

        Fabrication and programming are drawn afresh; what is stored is not touched.

        Args:
            x: ``[..., groups · rows]``.
            weight: ``[groups · rows, cols]``.
            bias: added digitally, ``[groups · cols]``.

        Returns:
            ``[..., groups · cols]``.
        """
        return self.read(x, self.through(weight), bias)

    @property
    def stored(self) -> Readout:
        """What a read of the stored conductances sees."""
        learned = self.range_shift is not None
        if self._stored is not None and not learned:
            return self._stored
        if self._fresh_each_read or learned:
            return readout.fold(self._own_readout())
        # What is kept must also serve reads that need gradients.
        with torch.inference_mode(False):
            self._stored = readout.fold(self._own_readout())
        return self._stored

    def _own_readout(self) -> Readout:
        return self._readout(self.G, self.scale, self.born, self.context, self.digital)

    def through(self, weight: Tensor) -> Readout:
        """What a read of a chip newly made for ``weight [groups · rows, cols]`` sees."""
        if self._lumped is None:
            return self._practised(weight)
        # Nothing happens to single cells that their sum does not tell: no cell need be drawn.
        window = self.hardware.device.window
        matrix, scale, siemens = self.hardware.encoding.ideal(weight, *window)
        if self._lumped.write is not None:
            deviation = self._lumped.write.sqrt() * self.practice.noise
            deviation = deviation if siemens is None else deviation / siemens
            matrix = random.normal_like(matrix, self.rng).mul_(deviation).add_(matrix)
        return self._electrical(matrix, scale, self._lumped.read, siemens)

    def _practised(self, weight: Tensor) -> Readout:
        practice, hardware = self.practice, self._training
        context: ContextOf = self._new_context
        target, scale = self._encode(weight)
        born = practice.fabricate(self.born, hardware, context)
        target, digital = self._suited(target, born)
        g = life.write(target, hardware, born, context, noise=practice.noise)
        if practice.ages_cells:
            seconds = practice.draw_age(context({}))
            context = self._context_at(seconds)
            g, factor = practice.aged(g, hardware, born, context, seconds)
            scale = scale * factor
        return self._readout(g, scale, born, context, digital, training=True)

    def drive(self, x: Tensor) -> Tensor:
        """Return inputs as the drivers deliver them (quantised), in the inputs' own units."""
        drive = self.hardware.drive
        if drive.ideal:
            return x
        limit = self._input_limit(x)
        return drive.to_levels(x, limit) * (limit * drive.step_per_range)

    def voltages(self, x: Tensor) -> Tensor:
        """Return what ``x [vectors, groups · rows]`` puts on the word lines (V).

        Returns:
            ``[vectors, groups · rows]``; of bit-serial drivers ``[planes · vectors, …]``.
        """
        drive = self.hardware.drive
        level = drive.to_levels(x, self._input_limit(x))
        if drive.mode == "bit_serial":
            level = drive.planes(level)[0].flatten(0, 1)
        return level * drive.v_step

    def _input_limit(self, x: Tensor) -> Tensor | float:
        chosen = self.hardware.drive.range
        if not isinstance(chosen, str):
            return chosen
        if not self._input_known:
            return magnitude(x)
        shift = self.range_shift
        return self.input_range if shift is None else self.input_range * shift[0].exp()

    def _adc_limit(self) -> Tensor | None:
        limit, shift = self._full_scale, self.range_shift
        learned = shift is not None and limit is self.adc_range
        return limit * shift[1:].exp() if learned else limit  # type: ignore[index, operator]

    def read(self, x: Tensor, seen: Readout, bias: Tensor | None = None) -> Tensor:
        """Read ``x`` on what `stored` or `through` gave, as often as wanted; uncorrected."""
        checks.columns("input", x, self.groups * self.rows)
        if self.collapsed:
            driven = self.drive(x)
            if self.groups == 1:
                return F.linear(driven, seen.matrix[0].T, bias)
            y = torch.bmm(self._by_group(driven), seen.matrix)
        else:
            y = self.product(self._by_group(x), seen)
        y = y.transpose(0, 1).reshape(*x.shape[:-1], self.groups * self.cols)
        return y if bias is None else y + bias

    def product(self, x: Tensor, seen: Readout, multiply: Multiply | None = None) -> Tensor:
        """Read tile by tile, uncorrected; see `mho.crossbar.read.product`."""
        return read.product(
            x,
            seen,
            self.hardware,
            limit=self._input_limit(x),
            full_scale=self._adc_limit(),
            rng=self.rng,
            multiply=multiply,
        )

    def _by_group(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.groups, self.rows).transpose(0, 1)

    def observe(self, x: Tensor) -> list[Tensor]:
        """Return the currents (A) that the converters see for ``x``, while ``observed`` is set."""
        x = self._by_group(x)
        limit = self._input_limit(x)
        return read.currents(x, self.stored, self.hardware, limit=limit, rng=self.rng)

    @torch.no_grad()
    def practise(self, practice: Practice) -> None:
        """Set what training reads see beyond the hardware.

        Args:
            practice: see `mho.train.Practice`.

        Raises:
            TypeError: if it is of another kind.
        """
        checks.instance("practice", practice, Practice)
        self.practice = practice
        self.refresh()

    @torch.no_grad()
    def learn_ranges(self, learned: bool = True) -> None:
        """Make the calibrated converter ranges a parameter, or keep them as learned.

        Training moves ``range_shift``, the logarithm of a factor on each range, so that any
        learning rate that suits the weights suits it.

        Args:
            learned: False folds what was learned into the ranges and ends it.

        Raises:
            ValueError: if there is nothing to learn: no range is calibrated.
        """
        if not learned:
            if self.range_shift is not None:
                factor = self.range_shift.exp()
                self.input_range = self.input_range * factor[0]
                self.adc_range = self.adc_range * factor[1:]
            self.range_shift = None
        elif self.range_shift is None:
            known = self._input_known and self.hardware.drive.range == "calibrated"
            if not known and self._full_scale is not self.adc_range:
                raise ValueError(
                    "no converter range is calibrated: call mho.calibrate first (and leave range "
                    "at 'calibrated')"
                )
            self.range_shift = nn.Parameter(self.G.new_zeros(1 + len(self.adc_range)))
        self.refresh()

    # ── what reads need, kept ready ──────────────────────────────────────────────────────────

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute what reads keep ready. Needed only after changing a buffer by hand."""
        hardware = self.hardware
        self._collapses = readout.collapses(hardware)
        fixed = hardware.drive.range != "per_call"
        self._input_known = fixed and not bool(self.input_range.isnan())
        calibrated = None if bool(self.adc_range.isnan().any()) else self.adc_range
        limit = readout.full_scale(hardware, calibrated, min(self.rows, hardware.array.rows))
        self._full_scale = (
            None
            if limit is None
            else torch.as_tensor(limit, dtype=self.adc_range.dtype, device=self.adc_range.device)
        )
        self.corrected = bool((self.gain != 1).any() | (self.offset != 0).any())
        self._fresh_each_read = any(b.acts_on("read") and b.redrawn for b in hardware.behaviours)
        self._training = self.practice.hardware(hardware)
        self._lumped = None
        broken = self.practice.own_cells and self.stuck is not None
        if not broken and not self.practice.effects and not self.practice.ages_cells:
            self._lumped = readout.lumped(self.G, hardware, self.born, self._new_context)
        self._stored = None
        # Wires are dear to solve: not before the cells hold something, and once for each thing.
        if self._wires.knows(self.G) and not self._fresh_each_read:
            self._stored = self.stored

    def _readout(
        self,
        g: Tensor,
        scale: Tensor,
        born: Born,
        context: ContextOf,
        digital: Tensor | None,
        *,
        training: bool = False,
    ) -> Readout:
        hardware = self._training if training else self.hardware
        g = readout.seen(g, hardware, born, context)
        variance = readout.white_noise("read_std", g, hardware, born, context)
        T = self._wires.fresh(g) if training else self._wires.stored(g)
        g = nonlinear.stacked(T, g, self.hardware)
        matrix = self.hardware.encoding.converted(g)
        return self._electrical(matrix, scale, variance, digital=digital)

    def _electrical(
        self,
        matrix: Tensor,
        scale: Tensor,
        variance: Tensor | None,
        siemens: Tensor | None = None,
        digital: Tensor | None = None,
    ) -> Readout:
        hardware, groups = self.hardware, self.groups
        if self.collapsed:
            return readout.effective(matrix, scale, hardware, groups, siemens, digital)
        folded = None if self.observed else self._adc_limit()
        found = readout.electrical(matrix, scale, variance, folded, hardware, groups, siemens)
        return found if digital is None else found._replace(digital=digital)

    def _apply(self, fn: Any, recurse: bool = True) -> Crossbar:
        refuse_half(fn(self.scale).dtype)
        super()._apply(fn, recurse)
        self.refresh()
        return self

    def extra_repr(self) -> str:
        """One line: the matrix, its cells and how it is read."""
        slices, rows, cols = self.G.shape
        groups = f"{self.groups} × " if self.groups > 1 else ""
        path, error = "collapsed" if self.collapsed else "tiled", ""
        if not self.hardware.device.separable:
            terms = nonlinear.terms(self.hardware)
            error = f", {terms} terms a row, current error {self.expansion_error:.0e}"
        cells = f"{slices} × {rows} × {cols} cells"
        return f"{groups}{self.rows} → {self.cols}, {cells}, {path} read{error}"
