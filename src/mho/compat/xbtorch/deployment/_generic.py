"""What all accelerators have: a chip, its noise and its defects; or cells as they are needed."""

# ruff: noqa: N802
from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mho import chip
from mho.compat._common import seed
from mho.compat.xbtorch.deployment import _cells
from mho.compat.xbtorch.deployment._given import ours, plain, whole
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.weight_encoding import (
    encode,
    encode_simple_binary,
)
from mho.core import checks, random
from mho.effects import PowerLawDrift

ACCELERATOR_REGISTRY: dict[str, type] = {}
"""Accelerators by name."""

UNWRITTEN = -1.0
_STUCK = (10.0, 500.0)  # µS: what broken cells of real arrays read
_SIEMENS_BELOW = 1e-3  # a largest conductance smaller than this is in siemens
_NO_ARGS: dict[str, Any] = {}
_NOWHERE: list[tuple[int, int]] = []


class NotImplementedModeError(NotImplementedError, ValueError):
    """A mode that does not exist."""


def register_accelerator(name: str) -> Callable[[type], type]:
    """Return a decorator that puts a class into `ACCELERATOR_REGISTRY` under a name."""

    def register(cls: type) -> type:
        ACCELERATOR_REGISTRY[name] = cls
        return cls

    return register


@register_accelerator("Generic")
class GenericAccelerator:
    """Base of all accelerators: a chip, its noise and its defects. Subclasses have the converters.

    Conductances are in µS, or all in siemens if ``g_max`` is below 1e-3. What is drawn is governed
    by ``torch.manual_seed``. All attributes may be set later: they act from the next read on, those
    of the chip from the next `initialize_chip`.

    Args:
        g_min: lowest conductance of a cell.
        g_max: highest conductance of a cell.
        v_read: voltage of a full-scale input (V).
        read_noise: half-width of the uniform noise of a cell at each read.
        write_noise: standard deviation of programming.
        stateful: keep a whole chip that matrices are mapped to; else cells are as many as needed.
        xb_size: size of the chip: first and second dimension of ``_chip``.
        stuck_percentage: fraction of broken cells, 0…1; exactly so many are broken.
        stuck_mode: ``"ideal"``: broken cells read ``g_min`` or ``g_max``; ``"real"``: 10 or 500 µS.
        input_encoding_scheme: ``"instant"``: amplitudes; ``"linear"``: bit by bit.
        weight_encoding_scheme: from weights to conductances.
        xb_mapping_scheme: where matrices go.
        retention_time: since programming.
        drift_coefficient: ν of ``G (t/t0)^-ν``; 0: nothing drifts.
        drift_t0: t0, in the unit of ``retention_time``; nothing drifts before.
        drift_variation: standard deviation of ν from cell to cell.
        device: where tensors live.
        programming_seed: of the cells: with the same seed the same cells; drawn from torch's
            generator, for every new chip and every deployment, if not given.
        weight_encoding_args: additional arguments of the encoding; with ``bits`` the default
            encoding is `encode_multilevel_differential`.
        legacy: compute as XBTorch did where results must be comparable: reads are clamped to the
            window, converters share one range in a batch.

    Attributes:
        _chip: conductances of all cells, -1 where nothing was written.
        defect_map: positions and conductances of the broken cells.
        name: of the configuration.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """

    # Converters with a range of their own want to be driven with all of it.
    _fixed_range: ClassVar[bool] = False
    _chip: Tensor
    _seed: int | None
    _scores: Tensor | None = None
    _mask: tuple[Any, Tensor] | None = None
    _stuck_for: Any = None
    stuck_low: float
    stuck_high: float
    defect_map: Any = None

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
        self.g_min, self.g_max, self.v_read = plain(g_min), plain(g_max), plain(v_read)
        self.read_noise, self.write_noise = plain(read_noise), plain(write_noise)
        self.stateful, self.stuck_percentage = bool(stateful), plain(stuck_percentage)
        self.stuck_mode, self.input_encoding_scheme = stuck_mode, input_encoding_scheme
        self.weight_encoding_scheme = weight_encoding_scheme
        self.xb_mapping_scheme = xb_mapping_scheme
        self.retention_time, self.drift_t0 = plain(retention_time), plain(drift_t0)
        self.drift_coefficient = plain(drift_coefficient)
        self.drift_variation = plain(drift_variation)
        self.device, self.legacy = device, legacy
        self.weight_encoding_args = dict(weight_encoding_args or {})
        self._drawn, self._seed = 0, None
        if programming_seed is not None:
            self.programming_seed = programming_seed
        rows, cols = (whole(f"xb_size[{k}]", n) for k, n in enumerate(xb_size))
        self.columns, self.rows = (rows, cols) if self.stateful else (-1, -1)
        self._check()
        self.unit = 1.0 if 0 < self.g_max < _SIEMENS_BELOW else 1e-6
        self.name = (
            f"stateful_{stateful}_cols_{self.columns}_row_{self.rows}_stuck_{stuck_percentage}"
        )
        self._set_stuck()
        chip.FixedPointAccelerator(**self._cell_numbers())  # refuses what no cells have
        self.initialize_chip()

    def _check(self) -> None:
        # Methods of the user's own may know others.
        if ours(type(self).gen_defect_map):
            checks.one_of("stuck_mode", self.stuck_mode, ("ideal", "real"))
        if ours(type(self).DAC_quantize):
            schemes = ("instant", "linear")
            checks.one_of("input_encoding_scheme", self.input_encoding_scheme, schemes)
        if self.stuck_percentage > 0 and not self.stateful:
            raise ValueError("stuck cells need a chip: stuck_percentage > 0 needs stateful=True")
        checks.number("retention_time", self.retention_time, above=0.0)
        checks.number("drift_t0", self.drift_t0, above=0.0)
        checks.number("drift_variation", self.drift_variation, least=0.0)
        if self.drift_variation and not self.drift_coefficient:
            warnings.warn(
                "drift_variation does not act: nothing drifts with drift_coefficient=0",
                stacklevel=4,
            )

    @property
    def programming_seed(self) -> int:
        """Of the cells; setting it names them once and for all."""
        return self._drawn if self._seed is None else self._seed

    @programming_seed.setter
    def programming_seed(self, value: int) -> None:
        self._seed = whole("programming_seed", value, least=0)

    @property
    def xb_size(self) -> tuple[int, int]:
        """Size of the chip; another one acts from the next `initialize_chip` on."""
        return (self.columns, self.rows)

    @xb_size.setter
    def xb_size(self, size: tuple[int, int]) -> None:
        self.columns, self.rows = (whole("xb_size", n) for n in size)

    def to_mho(self) -> chip.Accelerator:
        """Return mho's accelerator of these numbers, in SI units: the way to ``mho.convert``."""
        return chip.FixedPointAccelerator(**self._numbers())

    def _numbers(self) -> dict[str, Any]:
        bits = {key: getattr(self, key, None) for key in ("dac_bits", "adc_bits")}
        ideal = {key: None if n is None or n > 24 else int(n) for key, n in bits.items()}
        serial = self.input_encoding_scheme == "linear" and ideal["dac_bits"]
        inputs = "bit_serial" if serial else "instantaneous"
        return {**self._cell_numbers(), **ideal, "inputs": inputs}

    def _cell_numbers(self) -> dict[str, Any]:
        names = ("g_min", "g_max", "read_noise", "write_noise", "stuck_low", "stuck_high")
        found = {name: float(getattr(self, name)) * self.unit for name in names}
        found["g_stuck_low"], found["g_stuck_high"] = (
            found.pop("stuck_low"),
            found.pop("stuck_high"),
        )
        size = {"rows": self.rows, "cols": self.columns} if self.stateful else {}
        return {
            **found,
            "v_read": float(self.v_read),
            "read_noise_kind": "uniform",
            "stuck": float(self.stuck_percentage),
            **size,
        }

    # ── converters ───────────────────────────────────────────────────────────────────────────

    def DAC_quantize(self, vector: Tensor) -> Any:
        """Return the voltages that drivers make of voltages asked for, ``[…, inputs]``.

        Bit-serial drivers return a list, one tensor a bit, the lowest first.
        """
        raise NotImplementedError(f"{type(self).__name__} must define DAC_quantize")

    def ADC_quantize(self, vector: Tensor) -> Tensor:
        """Return the currents that converters make of currents, ``[…, outputs]``."""
        raise NotImplementedError(f"{type(self).__name__} must define ADC_quantize")

    # ── the chip ─────────────────────────────────────────────────────────────────────────────

    def initialize_chip(self) -> None:
        """Take a new chip: nothing is written, and other cells are broken."""
        self._drawn = seed()
        self._set_stuck()
        if not self.stateful:
            return
        self._chip = torch.full((self.columns, self.rows), UNWRITTEN, device=self.device)
        self._scores = self._mask = None
        self.defect_map = self.gen_defect_map(self.stuck_percentage)
        self._at_broken(self._chip)

    def _set_stuck(self) -> None:
        given = (self.stuck_mode, self.g_min, self.g_max)
        if given != self._stuck_for:  # else values of the user's own stay
            micro = [value * 1e-6 / self.unit for value in _STUCK]
            real = self.stuck_mode == "real"
            self.stuck_low, self.stuck_high = micro if real else (self.g_min, self.g_max)
            self._stuck_for = given

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
        share = plain(stuck_percentage)
        checks.probability("stuck_percentage", share)
        cells = self.columns * self.rows
        source = random.generator(seed())
        chosen = _cells.choose(cells, int(share * cells), source)
        high = torch.randint(2, chosen.shape, generator=source, dtype=torch.bool)
        values = torch.where(high, float(self.stuck_high), float(self.stuck_low))
        indices = np.unravel_index(chosen.numpy(), (self.columns, self.rows))
        return indices, values.to(self.device)

    def stuck_cells(self) -> tuple[Tensor, Tensor]:
        """Return a mask of the broken cells, and the chip; both of the chip's size."""
        # As in `defect_map` now: users put maps of their own there.
        if self._mask is None or self._mask[0] is not self.defect_map:
            mask = torch.zeros_like(self._chip, dtype=torch.bool)
            self._at_broken(mask, True)
            self._mask = (self.defect_map, mask)
        return self._mask[1], self._chip

    def get_xb_size(self) -> tuple[int, int]:
        """Return the size of the chip, as ``xb_size`` was given."""
        return (self.columns, self.rows)

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def apply_conductance_drift(self, G: Tensor) -> Tensor:
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
        score = self._scores_of(G) if spread else None
        return _cells.drifted(G, effect, score, float(self.retention_time), float(self.g_max))

    def _scores_of(self, G: Tensor) -> Tensor:
        chip = self._chip if self.stateful else None
        if chip is None or chip.untyped_storage().data_ptr() != G.untyped_storage().data_ptr():
            return _cells.scores(G.shape)
        if self._scores is None:
            with _cells.named(self.programming_seed):
                self._scores = _cells.scores(chip.shape).to(chip)
        return self._scores.as_strided(G.shape, G.stride(), G.storage_offset())

    def _held(self, row: int, n_rows: int, col: int, n_cols: int) -> Tensor:
        """Return what cells of the chip hold now: `read_chip` without the noise of reading."""
        area = slice(row, row + n_rows), slice(col, col + n_cols)
        part = self._chip[area]
        aged = self.apply_conductance_drift(part)
        if aged is not part:
            part = torch.where((part < 0) | self.stuck_cells()[0][area], part, aged)
        return self._in_window(part)

    def _in_window(self, cells: Tensor) -> Tensor:
        return cells.clamp(self.g_min, self.g_max) if self.legacy else cells

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
        if not self.stateful:
            raise RuntimeError("there is no chip to read: stateful is False")
        if not fast_mode:
            raise NotImplementedModeError("fast_mode must be True")
        cells = self._held(row, n_rows, col, n_cols)
        return self._in_window(_cells.noisy(cells, self.read_noise))

    def read_chip_stateless(self, subarray: Tensor) -> Tensor:
        """Read cells that hold given conductances, any shape."""
        return self._in_window(_cells.noisy(self._aged(subarray), self.read_noise))

    def _aged(self, cells: Tensor) -> Tensor:
        """Return what given cells hold now: `read_chip_stateless` without the noise of reading."""
        return self._in_window(self.apply_conductance_drift(cells))

    # ── write ────────────────────────────────────────────────────────────────────────────────

    def _programmed(self, G: Any, like: Tensor, source: torch.Generator | None) -> Tensor:
        G = torch.as_tensor(G).to(like)
        if self.write_noise <= 0:
            return G
        noise = torch.randn(G.shape, generator=source, dtype=G.dtype, device=G.device)
        # Healthy cells stay inside of their window; broken ones are not written at all.
        return (G + noise * self.write_noise).clamp(self.g_min, self.g_max)

    def map_weights_to_array(
        self,
        sw_weight: Tensor,
        pos_idxs: Any = _NOWHERE,
        neg_idxs: Any = _NOWHERE,
        additional_args: Mapping[str, Any] = _NO_ARGS,
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
        places = {"pos_idxs": pos_idxs, "neg_idxs": neg_idxs}
        encoded = encode(self, sw_weight, additional_args, places)
        for matrices, starts in zip(encoded[:2], places.values(), strict=True):
            for G, (row, col) in zip(matrices, starts, strict=False):
                part = self._chip[row : row + G.shape[0], col : col + G.shape[1]]
                checks.shape(f"place ({row}, {col}) on the chip", part, tuple(G.shape))
                part.copy_(self._programmed(G, part, None))
        self._at_broken(self._chip)
        return (encoded[2], encoded[3]) if len(encoded) > 2 else (None, None)

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
        encoded = encode(self, sw_weight, additional_args or {})
        known = (programming_seed, _cells.name(), self._seed)
        chosen = next((int(s) for s in known if s is not None), None)
        chosen = seed() if chosen is None else chosen
        source = random.generator(random.derive(chosen, "program"), sw_weight.device)
        positive, negative = (
            [self._programmed(G, sw_weight, source) for G in matrices] for matrices in encoded[:2]
        )
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
        if not self.stateful:
            return None
        part = (x_start, x_count, y_start, y_count)
        chosen: Any = (0, self.columns, 0, self.rows) if None in part else part
        read = self.read_chip(*chosen).cpu()
        import matplotlib.pyplot as plt  # an extra, and slow to import

        figure, axes = plt.subplots()
        image = axes.imshow(read.T.numpy(), origin="lower", interpolation="nearest")
        figure.colorbar(image, ax=axes, label="G")
        axes.set(xlabel="Column #", ylabel="Row #", title=title or "")
        if show:
            plt.show()
        return read
