"""Crossbar: the heart. One logical matrix on a grid of tiles, from programming to reading.

    weight ──encode──▶ target ──program──▶ cells ──age──▶ cells ──read──▶ outputs

What the cells are and hold is `Crossbar.cells`; ``G [slices, rows, cols]`` (S) are their
conductances. Two ways lead from these to outputs, and `Crossbar.collapsed` says which is taken:
*collapsed*, one product with the cached effective weight, where nothing between cells and outputs
depends on the input; or *tiled* (`mho.crossbar.read`).

A crossbar changes through `Crossbar.commit` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells import life as cell_life
from mho.cells.population import Cells
from mho.core import checks
from mho.crossbar import checkpoint, exact, expansion, life, readout
from mho.crossbar.correction import Correction
from mho.crossbar.reader import Reader
from mho.crossbar.readout import Lumped
from mho.crossbar.training import Practice
from mho.crossbar.transpose import Transposed
from mho.crossbar.undo import all_or_nothing
from mho.crossbar.wires import TileWires, wired
from mho.hardware import Hardware


class Crossbar(nn.Module):
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
        cells: the population ``[slices, groups · rows, physical cols]``; see `mho.devices.Cells`.
        scale: ``[]`` or ``[cols]`` (1/S): ``weight = scale · Σ_s c[s] · G[s]``.
        digital: weights of the converters' results per column ``[groups, converters, cols]``,
            chosen for the broken cells; None where the encoding does not look at these.
        input_range, adc_range, gain, offset, reference: see `Correction`.
        range_shift: the parameter behind ``Correction.shift``; None unless ranges are learned.
        stands_alone: whether it has no weights beside its cells, being no layer's.

    Raises:
        TypeError, ValueError: if a size, the seed or the hardware is refused.
    """

    cells: Cells
    scale: Tensor
    digital: Tensor | None
    input_range: Tensor
    adc_range: Tensor
    gain: Tensor
    offset: Tensor
    reference: Tensor
    range_shift: nn.Parameter | None
    reader: Reader

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
        super().__init__()
        rows = checks.integer("rows", rows)
        cols = checks.integer("cols", cols)
        groups = checks.integer("groups", groups)
        checks.instance("hardware", hardware, Hardware)
        self.rows, self.cols, self.groups = rows, cols, groups
        self.hardware, self._practice = hardware, Practice()
        encoding = hardware.encoding
        dtype = dtype or torch.get_default_dtype()
        refuse_half(dtype)
        shape = (encoding.slices, groups * rows, encoding.physical_cols(cols))
        kind = hardware.device.cells_type
        self.cells = kind(hardware.behaviours, shape, seed=seed, dtype=dtype, device=device)
        scales = (cols,) if encoding.scaling.per_column else ()
        self.register_buffer("scale", self.G.new_ones(scales))
        self.register_buffer("digital", self.even_shares() if encoding.defect_aware else None)
        for name in _CORRECTED:
            self.register_buffer(name, None)
        self.register_parameter("range_shift", None)
        # While it is watched (calibration), reads are tiled, unfolded and uncorrected.
        self._observed = False
        self._lease: Any = None
        self.stands_alone = True
        self.register_load_state_dict_post_hook(checkpoint.finish)
        self._wires = TileWires(hardware.array, groups)
        self._lumped: tuple[Any, Lumped | None] | None = None
        self._take(Correction.none(groups * cols, encoding.converters, self.G))
        self.reader = Reader(self, ahead=False)  # nobody has a use for blank cells

    # ── state, and the one way to change it ──────────────────────────────────────────────────

    @property
    def G(self) -> Tensor:  # noqa: N802 (the field's symbol)
        """Conductances ``[slices, groups · rows, physical cols]`` (S)."""
        return self.cells.g

    @property
    def conductance(self) -> Tensor:
        """As ``G``."""
        return self.cells.g

    @property
    def stuck(self) -> Tensor | None:
        """Boolean mask of broken cells, shaped like ``G``; None if no cell can break."""
        return self.cells.stuck

    @property
    def seconds(self) -> float:
        """Time since programming (s)."""
        return self.cells.seconds

    @property
    def writes(self) -> Tensor:
        """Pulses every cell has received, shaped like ``G`` (int64)."""
        return self.cells.writes

    @property
    def on_chip(self) -> bool:
        """Whether its cells are those of a `mho.chip.Chip`."""
        return self._lease is not None or self.cells.identity.startswith("chip ")

    @property
    def observed(self) -> bool:
        """Whether reads are tiled and unfolded, so that they can be watched (calibration)."""
        return self._observed

    @property
    def practice(self) -> Practice:
        """What training reads see beyond the hardware; see `practise`."""
        if "chip " in self.cells.identity and not self._practice.own_cells:
            return self._practice.replace(own_cells=True)
        return self._practice

    @property
    def lumped(self) -> Lumped | None:
        """What training need not draw cell by cell; see `mho.crossbar.readout.lumped`."""
        practice, g = self.practice, self.G
        key = (practice, self.cells.broken_at is None, g.dtype, g.device)
        if self._lumped is None or self._lumped[0] != key:
            found = readout.lumped(practice.hardware(self.hardware), practice, self.cells)
            self._lumped = key, found
        return self._lumped[1]

    @property
    def correction(self) -> Correction:
        """Converter ranges, output correction and drift reference, as one value."""
        shift = None if self.range_shift is None else self.range_shift.detach().clone()
        return Correction(**{name: getattr(self, name) for name in _CORRECTED}, shift=shift)

    @torch.inference_mode(False)
    @torch.no_grad()
    def commit(
        self,
        *,
        cells: Cells | None = None,
        scale: Tensor | None = None,
        digital: Tensor | None = None,
        correction: Correction | None = None,
        observed: bool | None = None,
    ) -> None:
        """Change what the crossbar is: checked, then all at once. What is not given stays.

        Args:
            cells: the population, shaped as before.
            scale: ``[]`` or ``[cols]`` (1/S).
            digital: weights of the converters' results per column.
            correction: converter ranges, output correction, drift reference.
            observed: whether reads are to be tiled and unfolded, so that they can be watched.

        Raises:
            TypeError, ValueError: if something is of another kind or shape; nothing is then
                changed.
        """
        if cells is not None:
            checks.instance("cells", cells, Cells)
            checks.shape("conductances of the cells", cells.g, tuple(self.G.shape))
            if cells.behaviours != self.cells.behaviours:
                raise ValueError("cells must be of this crossbar's device and effects")
        if scale is not None:
            checks.shape("scale", scale, tuple(self.scale.shape))
        if digital is not None and self.digital is not None:
            checks.shape("digital", digital, tuple(self.digital.shape))
        if correction is not None:
            correction.check(self.correction)
        changes = {"cells": cells, "scale": scale, "digital": digital, "_observed": observed}
        before = {name: getattr(self, name) for name in (*changes, *_CORRECTED, "range_shift")}
        shift = None if self.range_shift is None else self.range_shift.detach().clone()
        reader: Any = getattr(self, "reader", None)
        try:
            for name, value in changes.items():
                if value is not None:
                    setattr(self, name, value)
            self.cells.train(self.training)
            if correction is not None:
                self._take(correction)
            self.refresh()
            if cells is not None and self._lease is not None:
                self._lease.returned(cells)
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            if shift is not None and self.range_shift is not None:
                self.range_shift.detach().copy_(shift)
            self.reader = reader
            raise

    def snapshot(self) -> dict[str, Any]:
        """Return what `restore` takes: the crossbar as it is now (tensors are shared)."""
        return {
            "cells": self.cells.fork(),
            "scale": self.scale,
            "digital": self.digital,
            "correction": self.correction,
            "range_shift": self.range_shift,
            "lease": self._lease,
            "lent": None if self._lease is None else self._lease.memory(),
            "observed": self.observed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be again what one was when `snapshot` was taken; of a chip, its cells as well."""
        self._lease = None
        self.range_shift, self.digital = state["range_shift"], state["digital"]
        given = ("cells", "scale", "correction", "observed")
        self.commit(**{name: state[name] for name in given})
        self._lease = state["lease"]
        if self._lease is not None:
            state["lent"]()

    def _take(self, correction: Correction) -> None:
        g = self.G
        for name in _CORRECTED:  # registered buffers: set where torch would put them
            self._buffers[name] = getattr(correction, name).to(g)
        shift = correction.shift
        if shift is None:
            self.range_shift = None
        elif self.range_shift is None:
            self.range_shift = nn.Parameter(shift.to(self.G))
        else:  # an optimizer knows this very parameter
            self.range_shift.detach().copy_(shift)

    def even_shares(self) -> Tensor:
        """The encoding's own weights of converters, the same in every column."""
        digital = torch.tensor(self.hardware.encoding.digital).to(self.G)
        return digital.view(1, -1, 1).repeat(self.groups, 1, self.cols)

    # ── its life; see `mho.crossbar.life` ────────────────────────────────────────────────────

    reset_parameters = life.reset_parameters
    inhabit = life.inhabit
    rejoin = life.rejoin
    leave = life.leave
    program = life.program
    store = life.store
    settle = life.settle
    age = life.age
    encode = life.encode
    suited = life.suited

    # ── what the cells stand for ─────────────────────────────────────────────────────────────

    @property
    def weight(self) -> Tensor:
        """The weights ``[groups · rows, cols]`` that the stored conductances stand for."""
        return self.decode(self.G)

    @property
    def effective_weight(self) -> Tensor:
        """`weight` as reads show it on average: with wires, and effects of reading."""
        drawn = self.cells.drawn("read")
        return self.decode(self._on_wires(cell_life.shown(self.G, drawn)))

    @property
    def expansion_error(self) -> float:
        """Largest error of nominal cells' read current.

        Of a cell, relative to ``g v_max``, where its current is not ``g · f(v)``
        (`mho.crossbar.expansion`); or, if that is more, of a bit line at full drive, relative to
        the largest current, where cells that are not ohmic are read through wires as if these saw
        low voltages (`mho.crossbar.exact.linearisation_error`; found when asked for, once for each
        change of the cells). 0 where reads are exact.
        """
        if not exact.linearises(self.hardware):
            return expansion.error(self.hardware)
        if self.hardware.array.exact_reads:
            return 0.0
        return max(expansion.error(self.hardware), self._wires.error(self.G, self.hardware))

    def decode(self, g: Tensor) -> Tensor:
        """Return the weights ``[groups · rows, cols]`` that conductances ``g`` would stand for."""
        return self.hardware.encoding.decode(g, self.scale, self.digital)

    def reference_read(self) -> Tensor:
        """Read all cells until noise has averaged out: ``Σ_rows |weight|`` ``[groups · cols]``."""
        return self.reference_of(self.cells, self.scale, self.digital)

    def reference_of(self, cells: Cells, scale: Tensor, digital: Tensor | None) -> Tensor:
        """As `reference_read`, of cells that the crossbar does not hold yet."""
        g = self._on_wires(cell_life.shown(cells.g, cells.drawn("read")))
        return self.column_sums(self.hardware.encoding.decode(g, scale, digital))

    def column_sums(self, weight: Tensor) -> Tensor:
        """Return ``Σ_rows |weight|`` per column ``[groups · cols]``, for weights as stored here."""
        return weight.abs().unflatten(0, (self.groups, self.rows)).sum(1).flatten()

    def _on_wires(self, g: Tensor) -> Tensor:
        return self._wires.stored(g) if g is self.G else wired(g, self.hardware.array, self.groups)

    # ── read; how is `Reader`'s part ─────────────────────────────────────────────────────────

    def refresh(self) -> None:
        """Make ready what reads need. Called by `commit`; needed after a change by hand only."""
        self.reader = Reader(self)

    @property
    def collapsed(self) -> bool:
        """Whether a read is one product with the effective weight, or goes tile by tile."""
        return self.reader.collapsed

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
        reader = self.reader
        if not reader.corrected:
            return reader.read(x, reader.stored, bias)
        offset = self.offset if bias is None else self.offset + bias
        return torch.addcmul(offset, reader.read(x, reader.stored), self.gain)

    def __rmatmul__(self, x: Tensor) -> Tensor:
        return self(x)

    @property
    def T(self) -> Transposed:  # noqa: N802 (as in torch.Tensor.T)
        """The same cells read the other way: ``x @ crossbar.T``, for ``x [..., cols]``."""
        if self.groups != 1:
            raise ValueError(f"only a crossbar of one group has .T, this has {self.groups}")
        return Transposed(self.cols, self.reader.transposed)

    def read_through(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        made_of: Sequence[Tensor] = (),
    ) -> Tensor:
        """Read as a chip newly made for ``weight`` would: differentiable in both arguments.

        Fabrication and programming are drawn afresh, from torch's own generator; what is stored
        is not touched.

        Args:
            x: ``[..., groups · rows]``.
            weight: ``[groups · rows, cols]``.
            bias: added digitally, ``[groups · cols]``.
            made_of: the parameters that the weight is computed from, if it is; with wires that are
                solved only for some steps of an optimizer (``Array(solve_every=…)``) it is their
                changes that count as steps.

        Returns:
            ``[..., groups · cols]``.
        """
        if not made_of:
            leaf = weight if weight._base is None else weight._base
            made_of = (leaf,) if leaf.is_leaf else ()
        return self.reader.read(x, self.reader.through(weight, made_of), bias)

    # ── settings of training ─────────────────────────────────────────────────────────────────

    def practise(self, practice: Practice) -> None:
        """Set what training reads see beyond the hardware.

        Args:
            practice: see `mho.train.Practice`.

        Raises:
            TypeError, ValueError: if it is of another kind, or says reads where nothing goes by
                them.
        """
        checks.instance("practice", practice, Practice)
        practice.refuse_idle_reads(self.hardware)
        self._practice = practice
        self.refresh()

    def learn_ranges(self, learned: bool = True) -> None:
        """Make the calibrated converter ranges a parameter, or keep them as learned.

        Training moves ``range_shift``, the logarithm of a factor on each range, so that any
        learning rate that suits the weights suits it. A full scale that is rounded to
        a power-of-two step (``ADC(method="linear")``) has no gradient: it stays as calibrated, and
        a warning says so.

        Args:
            learned: False folds what was learned into the ranges and ends it.

        Raises:
            ValueError: if there is nothing to learn: no range is calibrated, or none can move.
        """
        now = self.correction
        if learned and now.shift is None:
            self.reader.refuse_fixed_ranges()
            self.commit(correction=now.replace(shift=self.G.new_zeros(1 + len(self.adc_range))))
        elif not learned and now.shift is not None:
            factor = now.shift.exp()
            moved = now.replace(
                input_range=now.input_range * factor[0],
                adc_range=now.adc_range * factor[1:],
                shift=None,
            )
            self.commit(correction=moved)

    # ── save, load, move ─────────────────────────────────────────────────────────────────────

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        return checkpoint.identity(self)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing to take back: it was compared before anything was loaded."""

    def mismatch(self, state: dict[str, Any], prefix: str = "") -> str | None:
        """Say why a checkpoint does not belong to this crossbar, or None where it does.

        Args:
            state: of a whole model.
            prefix: of this crossbar's keys in it.
        """
        return checkpoint.mismatch(self, state, prefix)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **settings: Any) -> Any:
        """As `torch.nn.Module.load_state_dict`; after any error nothing has changed."""
        with all_or_nothing([self]):
            return super().load_state_dict(state_dict, *args, **settings)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        trouble = self.mismatch(state_dict, prefix)
        if trouble:
            error_messages: list[str] = args[-1]
            error_messages.append(trouble)
            for key in [k for k in state_dict if k.startswith(f"{prefix}cells.")]:
                del state_dict[key]  # nor may torch load the cells
            return
        checkpoint.make_room(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self) -> dict[str, Any]:
        # A copy is not on the chip: it has a copy of the cells.
        return {**self.__dict__, "_lease": None}

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
        if not self.hardware.device.separable or exact.linearises(self.hardware):
            terms = expansion.terms(self.hardware)
            many = f", {terms} terms a row" if terms > 1 else ""
            error = f"{many}, current error {self.expansion_error:.0e}"
        cells = f"{slices} × {rows} × {cols} cells"
        return f"{groups}{self.rows} → {self.cols}, {cells}, {path} read{error}"


_CORRECTED = ("input_range", "adc_range", "gain", "offset", "reference")


def refuse_half(kind: torch.dtype) -> None:
    """Refuse a precision in which microsiemens are lost (TypeError)."""
    if torch.finfo(kind).bits < 32:
        raise TypeError(
            f"a crossbar's conductances need float32 or float64, got {kind}: microsiemens are "
            "lost in half precision; use model.float(), and torch.autocast around it for speed"
        )
