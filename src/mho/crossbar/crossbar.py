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

from mho.cells import kept
from mho.cells.population import Cells
from mho.cells.unfabricated import Unfabricated
from mho.core import checks, extra, renamed
from mho.core.precision import exactly, handed_out, plain, widened
from mho.core.sharded import whole
from mho.crossbar import change, checkpoint, learned_ranges, life, moving, readout, stored
from mho.crossbar.blocks import allowed, checked
from mho.crossbar.change import CORRECTED
from mho.crossbar.correction import Correction
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.reader import Reader
from mho.crossbar.readout import Lumped
from mho.crossbar.training import NoiseInjection
from mho.crossbar.transpose import Transposed
from mho.crossbar.undo import all_or_nothing
from mho.crossbar.wires import TileWires
from mho.hardware import Hardware

_NO_INJECTION = NoiseInjection()


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
        dtype: of the conductances; torch's default if not given. Half precision is widened to
            float32.
        device: where they live; on ``"meta"`` they are not fabricated.
        fabricated: False makes a crossbar without cells: nothing is kept for any of them until
            `program` fabricates them, the very ones that would have been there from the start.
        kept_as: ``torch.float16`` keeps conductances so, relative to the device's window; None as
            they are computed with. See `mho.cells.kept`.

    Attributes:
        cells: the population ``[slices, groups · rows, physical cols]``; see `mho.devices.Cells`.
            Before fabrication an `mho.cells.unfabricated.Unfabricated`.
        scale: ``[]`` or ``[cols]`` (1/S): ``weight = scale · Σ_s c[s] · G[s]``.
        digital: weights of the converters' results per column ``[groups, converters, cols]``,
            chosen for the broken cells; None where the encoding does not look at these.
        input_range, adc_range, gain, offset, reference, trim: see `Correction`.
        circuits: what was drawn for the circuits at its lines, from the seed of its cells.
        range_shift: the parameter behind ``Correction.shift``; None unless ranges are learned.
        learned_range: the input range ``[1]`` as a parameter, while it is learned by a rule.
        range_batches: how many batches it is the mean of (int64), while it is learned by a rule.
        range_pending: what it is still to move by ``[1]``, once several processes agree.
        memory: what a read may take beside its inputs and outputs (bytes), see `mho.limit_memory`.
        stands_alone: whether it has no weights beside its cells, being no layer's.
        shared: whether several layers read it, tied weights being stored once.
        quiet: whether reads of the stored cells draw nothing; see `mho.noise_free`.

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
    trim: Tensor | None
    range_shift: nn.Parameter | None
    learned_range: nn.Parameter | None
    range_batches: Tensor | None
    range_pending: Tensor | None
    range_rule: InputRangeRule | None = None
    _reader: Reader | None = None
    limited: int | None = None  # the memory of a read, where it was set
    quiet: bool = False
    shared: bool = False
    _saved: tuple[Any, str] = (None, "")  # where a shared one was last written, and its prefix
    _next_seed: int = 0  # of the cells that follow those whose values were lost
    rows: int
    cols: int
    groups: int
    hardware: Hardware
    kept_as: torch.dtype | None
    stands_alone: bool
    circuits: dict[str, Any]
    _injection: NoiseInjection
    _observed: bool
    _lease: Any
    _wires: TileWires
    _lumped: tuple[Any, Lumped | None] | None
    written_as: Any = None  # which versions of digital weights a layer last wrote

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
        fabricated: bool = True,
        kept_as: torch.dtype | None = None,
    ) -> None:
        fabricated = checks.truth("fabricated", fabricated)
        super().__init__()
        rows = checks.integer("rows", rows)
        cols = checks.integer("cols", cols)
        groups = checks.integer("groups", groups)
        checks.instance("hardware", hardware, Hardware)
        encoding = hardware.encoding
        shape = (encoding.slices, groups * rows, encoding.physical_cols(cols))
        # Plain values are set past torch's search for parameters: a model may have thousands.
        vars(self).update(
            rows=rows,
            cols=cols,
            groups=groups,
            hardware=hardware,
            kept_as=kept.check(kept_as),
            stands_alone=True,
            circuits={},  # see `mho.crossbar.converters.kept`
            _injection=_NO_INJECTION,
            _observed=False,  # while it is watched, reads are tiled, unfolded and uncorrected
            _lease=None,
            _wires=TileWires(hardware.array, groups),
            _lumped=None,
        )
        future = Unfabricated(hardware.behaviours, shape, seed=seed, dtype=dtype, device=device)
        fabricated = fabricated and future.like.device.type != "meta"
        cells: Any = future.fabricate().packed(kept_as) if fabricated else future
        self.cells = cells
        scales = (cols,) if encoding.scaling.per_column else ()
        self.register_buffer("scale", self.cells.like.new_ones(scales))
        self.register_buffer("digital", self.even_shares() if encoding.defect_aware else None)
        self._buffers.update(dict.fromkeys((*CORRECTED, "trim", "range_batches", "range_pending")))
        self._non_persistent_buffers_set.add("range_pending")
        self._parameters.update(range_shift=None, learned_range=None)
        self.register_load_state_dict_post_hook(checkpoint.finish)
        self._take(Correction.none(groups * cols, encoding.converters, self.cells.like))

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
    def fabricated(self) -> bool:
        """Whether there are cells; else it is read through the weights alone, in training."""
        return isinstance(self.cells, Cells)

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
    def injection(self) -> NoiseInjection:
        """What training reads see beyond the hardware; see `inject_noise`."""
        injection = self._injection
        if "chip " in self.cells.identity and not (injection.own_cells or injection.perfect_cells):
            return injection.replace(own_cells=True)
        return injection

    @property
    def lumped(self) -> Lumped | None:
        """What training need not draw cell by cell; see `mho.crossbar.readout.lumped`."""
        injection, like = self.injection, self.cells.like
        key = (injection, self.cells.broken_at is None, like.dtype, like.device)
        known = self._lumped
        if known is None or known[0] != key:
            found = readout.lumped(injection.hardware(self.hardware), injection, self.cells)
            known = self._lumped = key, found
        return known[1]

    @property
    def correction(self) -> Correction:
        """Converter ranges, output correction and drift reference, as one value."""
        known, held = self._parameters["range_shift"], self._buffers
        shift = None if known is None else whole(known.detach()).clone()
        values: Any = {name: held[name] for name in CORRECTED}
        if self._parameters["learned_range"] is not None:
            values["input_range"] = learned_ranges.now(self)
        return Correction(**values, shift=shift, trim=self.trim)

    commit = change.commit
    snapshot = change.snapshot
    restore = change.restore
    _take = change.take

    def even_shares(self) -> Tensor:
        """The encoding's own weights of converters, the same in every column."""
        like = self.cells.like
        digital = like.new_tensor(self.hardware.encoding.digital)
        return digital.view(1, -1, 1).repeat(self.groups, 1, self.cols)

    # ── its life; see `mho.crossbar.life` ────────────────────────────────────────────────────

    reset_parameters = life.reset_parameters
    use_cells = life.use_cells
    inhabit = renamed.method("inhabit", "use_cells")
    practise = renamed.method("practise", "inject_noise")
    practice = renamed.attribute("practice", "injection")
    rejoin = life.rejoin
    leave = life.leave
    program = life.program
    store = life.store
    settle = life.settle
    age = life.age
    encode = life.encode
    suited = life.suited
    arrive = life.arrive

    # ── what the cells stand for ─────────────────────────────────────────────────────────────

    weight = property(stored.weight)
    effective_weight = property(stored.effective_weight)
    expansion_error = property(stored.expansion_error)
    decode = stored.decode
    reference_read = stored.reference_read
    reference_of = stored.reference_of
    column_sums = stored.column_sums
    _on_wires = stored.on_wires

    # ── read; how is `Reader`'s part ─────────────────────────────────────────────────────────

    @property
    def memory(self) -> int:
        """What a read may take beside its inputs and outputs (bytes), see `mho.limit_memory`."""
        return self.limited or allowed(self.scale.device)

    def limit_memory(self, memory: int) -> None:
        """Set what a read may take beside its inputs and outputs (bytes, >= 1)."""
        self.limited = checked(memory)
        self.reader.limit_memory(self.limited)

    @property
    def reader(self) -> Reader:
        """How it is read, as it is now. A new crossbar has none before somebody asks."""
        if self._reader is None:
            self._reader = Reader(self, ahead=False)
        return self._reader

    def refresh(self, *, keeping: Reader | None = None) -> None:
        """Make ready what reads need. Called by `commit`; needed after a change by hand only.

        Args:
            keeping: how it was read before, where nothing but ranges and corrections has changed.
        """
        if keeping is None:
            found = Reader(self, ahead=not self.training)
        else:
            found = keeping.with_ranges(self)
        self._reader = found

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
            return reader.read(x, reader.stored_for(x), bias)
        offset = self.offset if bias is None else self.offset + bias
        if reader.collapsed:
            y = reader.read(x, reader.stored_for(x))
            return torch.addcmul(offset, widened(y), self.gain).to(y.dtype)
        if not isinstance(x, Tensor) or plain(x, self.gain.dtype):
            return torch.addcmul(offset, reader.read(x, reader.stored), self.gain)
        with exactly(x.device):  # rounded once, after the correction
            y = torch.addcmul(offset, reader.read(x.to(self.gain), reader.stored), self.gain)
        return y.to(handed_out(x))

    __array_ufunc__ = None  # an array of NumPy leaves its product to us, who say what we take

    def __rmatmul__(self, x: Tensor) -> Tensor:
        return self(x)

    @property
    def T(self) -> Transposed:  # noqa: N802 (as in torch.Tensor.T)
        """The same cells read the other way: ``x @ crossbar.T``, for ``x [..., cols]``.

        Of one group: a product with that of several raises a ValueError.
        """
        return Transposed(self.cols, self.reader.transposed, groups=self.groups)

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
        checks.columns("x", x, self.groups * self.rows)
        checks.shape("weight", weight, (self.groups * self.rows, self.cols))
        if not made_of:
            leaf = weight if weight._base is None else weight._base
            made_of = (leaf,) if leaf.is_leaf else ()
        return self.reader.read(x, self.reader.training_readout(weight, made_of), bias)

    # ── settings of training ─────────────────────────────────────────────────────────────────

    inject_noise = life.inject_noise
    learn_ranges = learned_ranges.learn_ranges

    # ── save, load, move ─────────────────────────────────────────────────────────────────────

    state_dict = checkpoint.state_dict

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        extra.pack(destination, prefix)

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        return checkpoint.identity(self)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing to take back: it was compared before anything was loaded (nor unpacked)."""

    mismatch = checkpoint.mismatch

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **settings: Any) -> Any:
        """As `torch.nn.Module.load_state_dict`; after any error nothing has changed."""
        with all_or_nothing([self]):
            return super().load_state_dict(state_dict, *args, **settings)

    _load_from_state_dict: Any = checkpoint.load
    __getstate__ = checkpoint.pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(checkpoint.unpickled(state))
        if self._reader is not None:
            self._reader.limited = self.limited  # of pickles that had it twice

    _apply = moving.apply

    def train(self, mode: bool = True) -> Crossbar:
        """As `torch.nn.Module.train`; what reads of the stored cells need is kept for eval."""
        super().train(mode)
        if mode and self._reader is not None:
            self._reader.rest()
        elif not mode and not self.scale.is_meta:
            self.reader.prepare()
        return self

    extra_repr = stored.extra_repr
