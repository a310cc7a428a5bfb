"""What the cells of an accelerator hold: of a chip, or as many as are needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.compat._common import seed, truth
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch.deployment import _cells
from mho.compat.xbtorch.deployment._given import NO_ARGS, NOWHERE
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.weight_encoding import encode, encode_simple_binary
from mho.core import checks, random
from mho.core.extras import need
from mho.effects import PowerLawDrift

UNWRITTEN = -1.0
_SIEMENS_BELOW = 1e-3  # a largest conductance smaller than this is in siemens
_CHOICES = {
    "stuck_mode": ("gen_defect_map", ("ideal", "real")),
    "input_encoding_scheme": ("DAC_quantize", ("instant", "linear")),
}
_STUCK = (10.0, 500.0)  # µS: what broken cells of real arrays read


class NotImplementedModeError(NotImplementedError, ValueError):
    """A mode that does not exist."""


class Cells:
    """Cells that are written, drift, and are read. See `GenericAccelerator`."""

    defect_map: Any = None
    _array: Tensor
    _asked = 0  # how often for the chip
    _drawn = 0  # seed of the cells, unless programming_seed says which they are
    _scores: Tensor | None = None
    _mask: tuple[Any, Tensor] | None = None
    _stuck_for: Any = None

    def __init__(
        self,
        g_min: float,
        g_max: float,
        v_read: float,
        read_noise: float,
        write_noise: float,
        stateful: bool = True,
        xb_size: tuple[int, int] = (2500, 2500),
        stuck_percentage: float = 0.0,
        stuck_mode: str = "real",
        input_encoding_scheme: str = "instant",
        weight_encoding_scheme: Callable[..., Any] = encode_simple_binary,
        xb_mapping_scheme: Callable[..., Any] = map_random,
        retention_time: float = 1.0,
        drift_coefficient: float = 0.0,
        drift_t0: float = 1.0,
        drift_variation: float = 0.0,
        device: Any = "cpu",
        programming_seed: int | None = None,
        weight_encoding_args: Mapping[str, Any] | None = None,
        legacy: bool = False,
    ) -> None:
        self.g_min = checks.number("g_min", g_min, least=0.0)
        self.g_max = checks.number("g_max", g_max, above=self.g_min)
        self.v_read = checks.number("v_read", v_read, above=0.0)
        self.read_noise = checks.number("read_noise", read_noise, least=0.0)
        self.write_noise = checks.number("write_noise", write_noise, least=0.0)
        self.stateful, self.columns, self.rows = truth("stateful", stateful), -1, -1
        if self.stateful:
            self.xb_size = xb_size
        self.stuck_percentage = checks.probability("stuck_percentage", stuck_percentage)
        if self.stuck_percentage and not self.stateful:
            raise ValueError("stuck cells need a chip: stuck_percentage > 0 needs stateful=True")
        self.stuck_mode, self.input_encoding_scheme = stuck_mode, input_encoding_scheme
        for name, (method, known) in _CHOICES.items():
            module = getattr(getattr(type(self), method), "__module__", "")
            if str(module).startswith("mho."):  # the user's own may know others
                checks.one_of(name, getattr(self, name), known)
        self.weight_encoding_scheme = weight_encoding_scheme
        self.xb_mapping_scheme = xb_mapping_scheme
        self.weight_encoding_args = dict(weight_encoding_args or {})
        self.retention_time = checks.number("retention_time", retention_time, above=0.0)
        self.drift_coefficient = checks.number("drift_coefficient", drift_coefficient)
        self.drift_t0 = checks.number("drift_t0", drift_t0, above=0.0)
        self.drift_variation = checks.number("drift_variation", drift_variation, least=0.0)
        if self.drift_variation and not self.drift_coefficient:
            warnings.warn(
                "drift_variation does not act: nothing drifts with drift_coefficient=0",
                stacklevel=3,
            )
        self.device, self.legacy = device, truth("legacy", legacy)
        self.programming_seed: int | None = None
        if programming_seed is not None:
            self.programming_seed = whole("programming_seed", programming_seed, least=0)
        size = f"cols_{self.columns}_row_{self.rows}"
        self.name = f"stateful_{stateful}_{size}_stuck_{stuck_percentage}"
        self.initialize_chip()

    @property
    def unit(self) -> float:
        """Siemens per unit of the conductances: by the size of ``g_max``, as it is now."""
        return 1.0 if self.g_max < _SIEMENS_BELOW else 1e-6

    @property
    def xb_size(self) -> tuple[int, int]:
        """Size of the chip; another one acts from the next `initialize_chip` on."""
        return (self.columns, self.rows)

    @xb_size.setter
    def xb_size(self, size: tuple[int, int]) -> None:
        if len(np.atleast_1d(size)) != 2:
            raise TypeError(f"xb_size must be two numbers, got {size!r}")
        self.columns, self.rows = (whole("xb_size", n) for n in size)

    @property
    def _chip(self) -> Tensor:
        self._asked += 1  # whoever has it may write to it, in ways that torch does not count
        return self._array

    @_chip.setter
    def _chip(self, conductances: Tensor) -> None:
        self._asked += 1
        self._array = conductances

    # ── the chip ─────────────────────────────────────────────────────────────────────────────

    def initialize_chip(self) -> None:
        """Take a new chip: nothing is written, and other cells are broken."""
        self._drawn = seed()
        given = (self.stuck_mode, self.g_min, self.g_max)
        if given != self._stuck_for:  # else values of the user's own stay
            real = [value * 1e-6 / self.unit for value in _STUCK]
            self.stuck_low, self.stuck_high = real if self.stuck_mode == "real" else given[1:]
            self._stuck_for = given
        if not self.stateful:
            return
        self._array = torch.full(self.xb_size, UNWRITTEN, device=self.device)
        self._scores = self._mask = None
        self.defect_map = self.gen_defect_map(self.stuck_percentage)
        self._at_broken(self._array)

    def _at_broken(self, array: Tensor, value: bool | None = None) -> None:
        """Set an array of the chip's size at broken cells: to what they read, or to a value."""
        if self.defect_map is not None and len(self.defect_map[1]):
            at = tuple(torch.as_tensor(i, device=array.device) for i in self.defect_map[0])
            array[at] = torch.as_tensor(self.defect_map[1]).to(array) if value is None else value

    def gen_defect_map(self, stuck_percentage: float) -> Any:
        """Choose broken cells, that fraction (0…1) of all, and what they read.

        Returns:
            Positions (an array of first and one of second indices), and conductances; None if
            there is no chip.
        """
        if not self.stateful:
            return None
        share = checks.probability("stuck_percentage", stuck_percentage)
        cells = self.columns * self.rows
        source = random.generator(seed())
        chosen = _cells.choose(cells, round(share * cells), source)
        high = torch.randint(2, chosen.shape, generator=source, dtype=torch.bool)
        values = torch.where(high, float(self.stuck_high), float(self.stuck_low))
        indices = np.unravel_index(chosen.numpy(), self.xb_size)
        return indices, values.to(self.device)

    def stuck_cells(self) -> tuple[Tensor, Tensor]:
        """Return a mask of the broken cells, and the chip; both of the chip's size."""
        return self._stuck(), self._chip

    def _stuck(self) -> Tensor:
        # As in `defect_map` now: users put maps of their own there.
        if self._mask is None or self._mask[0] is not self.defect_map:
            mask = torch.zeros_like(self._array, dtype=torch.bool)
            self._at_broken(mask, True)
            self._at_broken(self._array)
            self._mask = (self.defect_map, mask)
        return self._mask[1]

    def get_xb_size(self) -> tuple[int, int]:
        """Return the size of the chip, as ``xb_size`` was given."""
        return (self.columns, self.rows)

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def apply_conductance_drift(self, G: Any) -> Any:
        """Return conductances after ``retention_time``: ``G (t/t0)^-ν``, at most ``g_max``.

        ν belongs to the cell. Cells of a chip (``G`` is a part of ``_chip``) and of a deployed
        model drift the same way at every read; of other tensors nobody knows which cells they
        are, so that every call draws anew.

        Args:
            G: any shape.
        """
        if not self.drift_coefficient:
            return G
        G = torch.as_tensor(G)
        spread = float(self.drift_variation)
        effect = PowerLawDrift(float(self.drift_coefficient), spread, float(self.drift_t0))
        state = {"nu": effect.nu + spread * self._scores_of(G).to(G)} if spread else {}
        top = float(self.g_max)
        aged = effect.age(G, Context(G, 0.0, top, None, state), 0.0, float(self.retention_time))
        # No cell drifts above the window; those never written, or broken above it, stay.
        return torch.where(G < 0, G, torch.minimum(aged, G.clamp(min=top)))

    def _scores_of(self, G: Tensor) -> Tensor:
        chip = self._array if self.stateful else None
        if chip is None or chip.untyped_storage().data_ptr() != G.untyped_storage().data_ptr():
            return _cells.scores(G.shape)
        if self._scores is None:
            chosen = self._drawn if self.programming_seed is None else self.programming_seed
            with _cells.named(chosen):
                self._scores = _cells.scores(chip.shape).to(chip)
        return self._scores.as_strided(G.shape, G.stride(), G.storage_offset())

    def _held(self, row: int, n_rows: int, col: int, n_cols: int) -> Tensor:
        """Return what cells of the chip hold now: `read_chip` without the noise of reading."""
        area = slice(row, row + n_rows), slice(col, col + n_cols)
        part = self._array[area]
        aged = self.apply_conductance_drift(part)
        if aged is not part:
            part = torch.where((part < 0) | self._stuck()[area], part, aged)
        return self._in_window(part)

    def _aged(self, cells: Tensor) -> Tensor:
        """Return what given cells hold now: `read_chip_stateless` without the noise of reading."""
        return self._in_window(self.apply_conductance_drift(torch.as_tensor(cells)))

    def _in_window(self, cells: Tensor) -> Tensor:
        return cells.clamp(self.g_min, self.g_max) if self.legacy else cells

    def _noisy(self, cells: Tensor) -> Tensor:
        """Return what one read of cells finds: uniform noise, no conductance below zero."""
        if self.read_noise <= 0:
            return self._in_window(cells.clone())
        noise = torch.empty_like(cells).uniform_(-float(self.read_noise), float(self.read_noise))
        return self._in_window(torch.where(cells < 0, cells, (cells + noise).clamp(min=0.0)))

    def read_chip(
        self, row: int, n_rows: int, col: int, n_cols: int, fast_mode: bool = True
    ) -> Tensor:
        """Return ``[n_rows, n_cols]`` conductances of the chip, -1 where nothing was written.

        Broken cells read what they hold, also outside of the window. ``row`` and ``col`` are the
        first indices of either dimension; ``fast_mode`` must be True.

        Raises:
            RuntimeError: if there is no chip.
            NotImplementedError, ValueError: without ``fast_mode``.
        """
        fast_mode = truth("fast_mode", fast_mode)
        if not self.stateful:
            raise RuntimeError("there is no chip to read: stateful is False")
        if not fast_mode:
            raise NotImplementedModeError("fast_mode must be True")
        return self._noisy(self._held(row, n_rows, col, n_cols))

    def read_chip_stateless(self, subarray: Tensor) -> Tensor:
        """Read cells that hold given conductances, any shape."""
        return self._noisy(self._aged(subarray))

    # ── write ────────────────────────────────────────────────────────────────────────────────

    def _programmed(self, G: Tensor, source: torch.Generator | None) -> Tensor:
        if self.write_noise <= 0:
            return G
        noise = torch.randn(G.shape, generator=source, dtype=G.dtype, device=G.device)
        # Healthy cells stay inside of their window; broken ones are not written at all.
        return (G + noise * self.write_noise).clamp(self.g_min, self.g_max)

    def map_weights_to_array(
        self,
        sw_weight: Tensor,
        pos_idxs: Sequence[tuple[int, int]] = NOWHERE,
        neg_idxs: Sequence[tuple[int, int]] = NOWHERE,
        additional_args: Mapping[str, Any] = NO_ARGS,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Write a matrix ``[outputs, inputs]`` to places of the chip, encoded.

        Returns:
            Masks of the rows to be read, ``[copies, outputs]``, if the encoding has some; or None
            and None.

        Raises:
            RuntimeError: if there is no chip.
            ValueError: if the weights are not finite.
        """
        if not self.stateful:
            raise RuntimeError("there is no chip to write to: stateful is False")
        *pair, masks = encode(self, sw_weight, additional_args, pos_idxs, neg_idxs)
        for matrices, places in zip(pair, (pos_idxs, neg_idxs), strict=True):
            for G, (row, col) in zip(matrices, places, strict=False):
                part = self._array[row : row + G.shape[0], col : col + G.shape[1]]
                checks.shape(f"place ({row}, {col}) on the chip", part, tuple(G.shape))
                part.copy_(self._programmed(G.to(part), None))
        self._at_broken(self._array)
        return masks

    def map_weights_to_array_stateless(
        self,
        sw_weight: Tensor,
        *,
        programming_seed: int | None = None,
        additional_args: Mapping[str, Any] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the conductances of positive and negative arrays that hold a matrix.

        With the same seed they are the same cells; without one those of the deployed model, else
        of the accelerator's own seed, else others at every call.

        Raises:
            RuntimeError: if there is a chip.
        """
        if self.stateful:
            raise RuntimeError("there is a chip: use map_weights_to_array")
        *pair, _ = encode(self, sw_weight, additional_args or {})
        known = (programming_seed, _cells.meant.get()[0], self.programming_seed)
        chosen = [int(s) for s in known if s is not None] or [seed()]
        source = random.generator(random.derive(chosen[0], "program"), pair[0][0].device)
        positive, negative = ([self._programmed(G, source) for G in side] for side in pair)
        return positive, negative

    def plot_array(
        self,
        x_start: int | None = None,
        x_count: int | None = None,
        y_start: int | None = None,
        y_count: int | None = None,
        title: str | None = None,
        show: bool = False,
    ) -> Tensor | None:
        """Draw the chip, or the part of it that all four numbers give.

        Returns:
            What was read; None if there is no chip.
        """
        show = truth("show", show)
        if not self.stateful:
            return None
        part = (x_start, x_count, y_start, y_count)
        chosen: Any = (0, self.columns, 0, self.rows) if None in part else part
        read = self.read_chip(*chosen).cpu()
        plt = need("matplotlib.pyplot", "viz")
        figure, axes = plt.subplots()
        image = axes.imshow(read.T.numpy(), origin="lower", interpolation="nearest")
        figure.colorbar(image, ax=axes, label="G")
        axes.set(xlabel="Column #", ylabel="Row #", title=title or "")
        if show:
            plt.show()
        return read
