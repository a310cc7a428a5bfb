"""The cells of an accelerator: what is broken, what was written, what time and reading do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.core import checks, random

UNWRITTEN = -1.0
_NO_ARGS: dict[str, Any] = {}
_NOWHERE: list[tuple[int, int]] = []


class NotImplementedModeError(NotImplementedError, ValueError):
    """A mode that does not exist."""


class CellArray:
    """The part of an accelerator that is about its cells; see `GenericAccelerator`."""

    g_min: float
    g_max: float
    read_noise: float
    write_noise: float
    stateful: bool
    columns: int
    rows: int
    stuck_percentage: float
    stuck_low: float
    stuck_high: float
    retention_time: float
    drift_coefficient: float
    drift_t0: float
    drift_variation: float
    programming_seed: int
    weight_encoding_scheme: Callable[..., Any]
    weight_encoding_args: dict[str, Any]
    device: Any
    legacy: bool
    defect_map: Any
    _rng: Tensor
    _chip: Tensor
    _mask: tuple[Any, Tensor] | None
    _exponents: tuple[Any, Tensor] | None

    # ── the chip ─────────────────────────────────────────────────────────────────────────────

    def initialize_chip(self) -> None:
        """Take a new chip: nothing is written, and other cells are broken."""
        if not self.stateful:
            return
        size = (self.columns, self.rows)
        self._chip = torch.full(size, UNWRITTEN, device=self.device)
        self._exponents = None
        self.defect_map = self.gen_defect_map(self.stuck_percentage)
        self._mask = None
        self._restore_broken()

    def _restore_broken(self) -> None:
        if self.defect_map is not None and len(self.defect_map[1]):
            rows, cols = (torch.as_tensor(i, device=self._chip.device) for i in self.defect_map[0])
            self._chip[rows, cols] = self.defect_map[1].to(self._chip)

    def gen_defect_map(self, stuck_percentage: float) -> Any:
        """Choose broken cells, and what they read.

        Args:
            stuck_percentage: fraction of the cells, 0…1; exactly so many are broken.

        Returns:
            Positions (an array of first and one of second indices), and conductances; None if
            there is no chip.
        """
        if not self.stateful:
            return None
        checks.probability("stuck_percentage", stuck_percentage)
        cells = self.columns * self.rows
        source = random.take(self._rng, "cpu")
        chosen = _choose(cells, int(stuck_percentage * cells), source)
        high = torch.randint(2, chosen.shape, generator=source, dtype=torch.bool)
        values = torch.where(high, float(self.stuck_high), float(self.stuck_low))
        indices = np.unravel_index(chosen.numpy(), (self.columns, self.rows))
        return indices, values.to(self.device)

    def stuck_cells(self) -> tuple[Tensor, Tensor]:
        """Return a mask of the broken cells, and the chip; both of the chip's size."""
        # As in `defect_map` now: users put maps of their own there.
        if self._mask is None or self._mask[0] is not self.defect_map:
            mask = torch.zeros_like(self._chip, dtype=torch.bool)
            if self.defect_map is not None and len(self.defect_map[1]):
                rows, cols = (torch.as_tensor(i, device=mask.device) for i in self.defect_map[0])
                mask[rows, cols] = True
            self._mask = (self.defect_map, mask)
        return self._mask[1], self._chip

    def get_xb_size(self) -> tuple[int, int]:
        """Return the size of the chip, as ``xb_size`` was given."""
        return (self.columns, self.rows)

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def apply_conductance_drift(self, G: Tensor, *which: int | str) -> Tensor:
        """Return conductances after ``retention_time``: ``G (t/t0)^-ν``.

        ν belongs to the cell: the same cells drift the same way at every read.

        Args:
            G: any shape.
            which: names the cells. Arrays of one shape and one name, or without a name, are taken
                for the same cells.
        """
        if not self._drifts:
            return G
        seed = random.derive(self.programming_seed, "drift", *G.shape, *which)
        source = random.generator(seed)
        return G * self._factor(self._draw_exponents(G.shape, source).to(G))

    @property
    def _drifts(self) -> bool:
        return bool(self.drift_coefficient or self.drift_variation)

    def _draw_exponents(self, shape: Any, source: torch.Generator) -> Tensor:
        if not self.drift_variation:
            return torch.tensor(float(self.drift_coefficient))
        spread = torch.randn(shape, generator=source)
        return spread * self.drift_variation + self.drift_coefficient

    def _factor(self, exponent: Tensor) -> Tensor:
        return (self.retention_time / self.drift_t0) ** -exponent

    def drifted(self, row: int, n_rows: int, col: int, n_cols: int) -> Tensor:
        """Return what cells of the chip hold now, without the noise of reading."""
        part = self._chip[row : row + n_rows, col : col + n_cols]
        if self._drifts:
            key = (self.drift_coefficient, self.drift_variation)
            if self._exponents is None or self._exponents[0] != key:
                source = random.generator(random.derive(self.programming_seed, "drift", "chip"))
                drawn = self._draw_exponents(self._chip.shape, source).to(self._chip)
                self._exponents = (key, drawn)
            exponent = self._exponents[1].expand_as(self._chip)
            factor = self._factor(exponent[row : row + n_rows, col : col + n_cols])
            stuck = self.stuck_cells()[0][row : row + n_rows, col : col + n_cols]
            part = torch.where((part < 0) | stuck, part, part * factor)
        return part.clamp(self.g_min, self.g_max) if self.legacy else part

    def read_chip(
        self, row: int, n_rows: int, col: int, n_cols: int, fast_mode: bool = True
    ) -> Tensor:
        """Read cells of the chip.

        Broken cells read what they hold, also outside of the window.

        Args:
            row: first index of the first dimension.
            n_rows: how many.
            col: first index of the second dimension.
            n_cols: how many.
            fast_mode: must be True.

        Returns:
            Conductances, -1 where nothing was written.

        Raises:
            RuntimeError: if there is no chip.
            NotImplementedError, ValueError: without ``fast_mode``.
        """
        if not self.stateful:
            raise RuntimeError("there is no chip to read: stateful is False")
        if not fast_mode:
            raise NotImplementedModeError("fast_mode must be True")
        return self._noisy(self.drifted(row, n_rows, col, n_cols))

    def read_chip_stateless(self, subarray: Tensor) -> Tensor:
        """Read cells that hold given conductances.

        Args:
            subarray: conductances.
        """
        return self._noisy(self.apply_conductance_drift(subarray))

    def _noisy(self, cells: Tensor) -> Tensor:
        if self.read_noise <= 0:
            return cells.clone()
        source = random.take(self._rng, cells.device)
        noise = torch.empty_like(cells).uniform_(
            -self.read_noise, self.read_noise, generator=source
        )
        read = (cells + noise).clamp(min=0.0)
        read = torch.where(cells < 0, cells, read)
        return read.clamp(self.g_min, self.g_max) if self.legacy else read

    # ── write ────────────────────────────────────────────────────────────────────────────────

    def map_weights_to_array(
        self,
        sw_weight: Tensor,
        pos_idxs: Any = _NOWHERE,
        neg_idxs: Any = _NOWHERE,
        additional_args: Mapping[str, Any] = _NO_ARGS,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Write a matrix to the chip.

        Args:
            sw_weight: ``[outputs, inputs]``.
            pos_idxs: places of the positive arrays.
            neg_idxs: places of the negative arrays.
            additional_args: of the encoding.

        Returns:
            Masks of the rows to be read, ``[copies, outputs]``, if the encoding has some; or None
            and None.

        Raises:
            RuntimeError: if there is no chip.
            ValueError: if the weights are not finite.
        """
        if not self.stateful:
            raise RuntimeError("there is no chip to write to: stateful is False")
        checks.finite("sw_weight", sw_weight)
        encoded = self.weight_encoding_scheme(
            self,
            sw_weight,
            pos_idxs=pos_idxs,
            neg_idxs=neg_idxs,
            additional_args={**self.weight_encoding_args, **additional_args},
        )
        source = random.take(self._rng, self._chip.device)
        for matrices, places in zip(encoded[:2], (pos_idxs, neg_idxs), strict=True):
            for G, (row, col) in zip(matrices, places, strict=False):
                part = self._chip[row : row + G.shape[0], col : col + G.shape[1]]
                checks.shape(f"place ({row}, {col}) on the chip", part, tuple(G.shape))
                part.copy_(self._programmed(G.to(part), source))
        self._restore_broken()
        return (encoded[2], encoded[3]) if len(encoded) > 2 else (None, None)

    def map_weights_to_array_stateless(
        self,
        sw_weight: Tensor,
        *,
        programming_seed: int | None = None,
        additional_args: Mapping[str, Any] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the conductances of cells that hold a matrix.

        Args:
            sw_weight: ``[outputs, inputs]``.
            programming_seed: of the programming noise: with the same seed the same cells; the
                accelerator's own if not given.
            additional_args: of the encoding.

        Returns:
            Conductances of the positive and of the negative arrays.

        Raises:
            RuntimeError: if there is a chip.
        """
        if self.stateful:
            raise RuntimeError("there is a chip: use map_weights_to_array")
        checks.finite("sw_weight", sw_weight)
        args = {**self.weight_encoding_args, **(additional_args or {})}
        encoded = self.weight_encoding_scheme(self, sw_weight, additional_args=args)
        chosen = self.programming_seed if programming_seed is None else int(programming_seed)
        source = random.generator(random.derive(chosen, "program"), sw_weight.device)
        positive, negative = (
            [self._programmed(G.to(sw_weight), source) for G in matrices]
            for matrices in encoded[:2]
        )
        return positive, negative

    def _programmed(self, G: Tensor, source: torch.Generator) -> Tensor:
        if self.write_noise <= 0:
            return G
        noise = torch.randn(G.shape, generator=source, dtype=G.dtype, device=G.device)
        # Healthy cells stay inside of their window; broken ones are not written at all.
        return (G + noise * self.write_noise).clamp(self.g_min, self.g_max)


def _choose(cells: int, count: int, source: torch.Generator) -> Tensor:
    """Choose exactly ``count`` of so many, quickly: by chance, and then put the number right."""
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    mask = torch.rand(cells, generator=source) < count / cells
    wrong = int(mask.sum()) - count
    if wrong:
        others = (mask if wrong > 0 else ~mask).nonzero().squeeze(1)
        order = torch.randperm(len(others), generator=source)[: abs(wrong)]
        mask[others[order]] = wrong < 0
    return mask.nonzero().squeeze(1)
