"""What all accelerators have: a chip, its noise and its defects, and converters."""

# ruff: noqa: N802
from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mho import chip
from mho.compat.xbtorch._seeds import seed
from mho.compat.xbtorch.deployment._cells import CellArray
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.weight_encoding import (
    encode_multilevel_differential,
    encode_simple_binary,
)
from mho.core import checks, random

ACCELERATOR_REGISTRY: dict[str, type] = {}
"""Accelerators by name."""

STUCK_LOW, STUCK_HIGH = 10.0, 500.0  # µS: what broken cells of real arrays read
_SIEMENS_BELOW = 1e-3  # a largest conductance smaller than this is in siemens


def register_accelerator(name: str) -> Callable[[type], type]:
    """Return a decorator that puts a class into `ACCELERATOR_REGISTRY` under a name."""

    def register(cls: type) -> type:
        ACCELERATOR_REGISTRY[name] = cls
        return cls

    return register


@register_accelerator("Generic")
class GenericAccelerator(CellArray, abc.ABC):
    """Base of all accelerators: a chip, its noise and its defects. Subclasses have the converters.

    Conductances are in µS, or all in siemens if ``g_max`` is below 1e-3.

    Args:
        g_min: lowest conductance of a cell.
        g_max: highest conductance of a cell.
        v_read: voltage of a full-scale input (V).
        read_noise: half-width of the uniform noise of a cell at each read.
        write_noise: standard deviation of programming.
        stateful: keep a whole chip that matrices are mapped to; else cells are as many as needed,
            programmed when first read.
        xb_size: size of the chip: first and second dimension of ``_chip``.
        stuck_percentage: fraction of broken cells, 0…1.
        stuck_mode: ``"ideal"``: broken cells read ``g_min`` or ``g_max``; ``"real"``: 10 or 500 µS.
        input_encoding_scheme: ``"instant"``: amplitudes; ``"linear"``: bit by bit.
        weight_encoding_scheme: from weights to conductances.
        xb_mapping_scheme: where matrices go.
        retention_time: since programming.
        drift_coefficient: ν of ``G (t/t0)^-ν``.
        drift_t0: t0, in the unit of ``retention_time``.
        drift_variation: standard deviation of ν from cell to cell.
        device: where tensors live.
        programming_seed: of what is random in cells that are not ``stateful``.
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
        programming_seed: int = 0,
        weight_encoding_args: Mapping[str, Any] | None = None,
        legacy: bool = False,
    ) -> None:
        if stuck_mode not in ("ideal", "real"):
            raise ValueError(f"stuck_mode must be 'ideal' or 'real', got {stuck_mode!r}")
        checks.one_of("input_encoding_scheme", input_encoding_scheme, ("instant", "linear"))
        if stuck_percentage > 0 and not stateful:
            raise ValueError("stuck cells need a chip: stuck_percentage > 0 needs stateful=True")
        checks.number("retention_time", retention_time, above=0.0)
        checks.number("drift_t0", drift_t0, above=0.0)
        checks.number("drift_variation", drift_variation, least=0.0)
        checks.integer("programming_seed", programming_seed, least=0)
        rows, cols = xb_size
        checks.integer("xb_size[0]", rows)
        checks.integer("xb_size[1]", cols)
        self.g_min, self.g_max, self.v_read = g_min, g_max, v_read
        self.read_noise, self.write_noise = read_noise, write_noise
        self.stateful = stateful
        self.stuck_percentage, self.stuck_mode = stuck_percentage, stuck_mode
        self.input_encoding_scheme = input_encoding_scheme
        self.weight_encoding_args = dict(weight_encoding_args or {})
        if "bits" in self.weight_encoding_args and weight_encoding_scheme is encode_simple_binary:
            weight_encoding_scheme = encode_multilevel_differential
        self.weight_encoding_scheme = weight_encoding_scheme
        self.xb_mapping_scheme = xb_mapping_scheme
        self.retention_time, self.drift_t0 = retention_time, drift_t0
        self.drift_coefficient, self.drift_variation = drift_coefficient, drift_variation
        self.programming_seed = programming_seed
        self.device = device
        self.legacy = legacy
        self.columns, self.rows = (rows, cols) if stateful else (-1, -1)
        self.xb_size = (rows, cols)
        self.unit = 1.0 if 0 < g_max < _SIEMENS_BELOW else 1e-6
        real = stuck_mode == "real"
        self.stuck_low = STUCK_LOW * 1e-6 / self.unit if real else g_min
        self.stuck_high = STUCK_HIGH * 1e-6 / self.unit if real else g_max
        self.name = (
            f"stateful_{stateful}_cols_{self.columns}_row_{self.rows}_stuck_{stuck_percentage}"
        )
        self._rng = random.stream(seed())
        self.to_mho()  # refuses what no hardware has
        self.initialize_chip()

    def to_mho(self) -> chip.Accelerator:
        """Return mho's accelerator of these numbers, in SI units: the way to ``mho.convert``."""
        return chip.FixedPointAccelerator(**self._numbers())

    def _numbers(self) -> dict[str, Any]:
        to_siemens = self.unit
        dac, adc = getattr(self, "dac_bits", None), getattr(self, "adc_bits", None)
        size = {"rows": self.rows, "cols": self.columns} if self.stateful else {}
        return {
            "g_min": float(self.g_min) * to_siemens,
            "g_max": float(self.g_max) * to_siemens,
            "v_read": float(self.v_read),
            "dac_bits": dac,
            "adc_bits": adc,
            "read_noise": float(self.read_noise) * to_siemens,
            "read_noise_kind": "uniform",
            "write_noise": float(self.write_noise) * to_siemens,
            "stuck": float(self.stuck_percentage),
            "g_stuck_low": float(self.stuck_low) * to_siemens,
            "g_stuck_high": float(self.stuck_high) * to_siemens,
            "inputs": "bit_serial"
            if self.input_encoding_scheme == "linear" and dac
            else "instantaneous",
            **size,
        }

    # ── converters ───────────────────────────────────────────────────────────────────────────

    @abc.abstractmethod
    def DAC_quantize(self, vector: Tensor) -> Any:
        """Return the voltages that drivers make of voltages asked for, ``[…, inputs]``.

        Bit-serial drivers return a list, one tensor a bit, the lowest first.
        """

    @abc.abstractmethod
    def ADC_quantize(self, vector: Tensor) -> Tensor:
        """Return the currents that converters make of currents, ``[…, outputs]``."""

    def plot_array(
        self,
        x_start: int | None = None,
        x_count: int | None = None,
        y_start: int | None = None,
        y_count: int | None = None,
        title: str | None = None,
        show: bool = False,
    ) -> Tensor | None:
        """Draw the chip, or a part of it.

        Args:
            x_start: first index of the first dimension; all four, or the whole chip.
            x_count: how many.
            y_start: first index of the second dimension.
            y_count: how many.
            title: of the figure.
            show: show it.

        Returns:
            What was read; None if there is no chip.
        """
        if not self.stateful:
            return None
        part = (x_start, x_count, y_start, y_count)
        whole = (0, self.columns, 0, self.rows)
        chosen = whole if any(n is None for n in part) else part
        read = self.read_chip(*chosen).cpu()  # type: ignore[arg-type]
        _draw(read, title, show)
        return read


def _draw(read: Tensor, title: str | None, show: bool) -> None:
    import matplotlib.pyplot as plt  # an extra, and slow to import

    figure, axes = plt.subplots()
    image = axes.imshow(read.T.numpy(), origin="lower", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="G")
    axes.set(xlabel="Column #", ylabel="Row #", title=title or "")
    if show:
        plt.show()
