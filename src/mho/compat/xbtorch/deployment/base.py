"""Accelerators: cells, with the converters that models see them through."""

# ruff: noqa: N802
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho import chip
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch.deployment._chip import Cells
from mho.compat.xbtorch.deployment._given import inherited
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.weight_encoding import encode_simple_binary
from mho.core import notice
from mho.effects import PowerLawDrift
from mho.periphery.dac import DAC
from mho.periphery.quantize import straight_through, to_grid

ACCELERATOR_REGISTRY: dict[str, type] = {}
"""Accelerators by name."""

_ENOUGH = 24  # bits: numbers of this precision have no more


def register_accelerator(name: str) -> Callable[[type], type]:
    """Return a decorator that puts a class into `ACCELERATOR_REGISTRY` under a name."""

    def register(cls: type) -> type:
        ACCELERATOR_REGISTRY[name] = cls
        return cls

    return register


def bit_planes(share: Tensor, limit: Tensor, bits: int) -> list[Tensor]:
    """Return shares (-1…1) of a limit as pulses of it or nothing, a tensor a bit, lowest first."""
    bits = min(bits, _ENOUGH - 1)
    top = 2**bits - 1
    level = to_grid(share * top, -top, top)
    planes, _ = DAC(bits=bits + 1, mode="bit_serial").planes(level)
    return [plane * limit for plane in planes]


@register_accelerator("Generic")
class GenericAccelerator(Cells):
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
        programming_seed: of the cells: with the same seed the same cells; if not given, drawn from
            torch's generator for every new chip and every patched model.
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

    def to_mho(self) -> chip.Accelerator:
        """Return mho's accelerator of these numbers, in SI units: the way to ``mho.convert``.

        Its cells drift as these do, in the time that `mho.age` lets pass: where ``retention_time``
        has moved them by now a warning says so. Another says what has no place in mho's accelerator
        (an encoding, a mapping scheme, ``programming_seed``, ``legacy``): it is said elsewhere.
        """
        return chip.FixedPointAccelerator(**self._numbers())

    def _left_behind(self) -> list[str]:
        """Name what is set here and is not part of mho's accelerator, and where it is said."""
        told = {
            "weight_encoding_scheme (mho.Hardware, encoding)": self.weight_encoding_scheme
            is not encode_simple_binary,
            "weight_encoding_args (mho.Hardware, encoding)": bool(self.weight_encoding_args),
            "xb_mapping_scheme (Chip.place, strategy)": self.stateful
            and self.xb_mapping_scheme is not map_random,
            "programming_seed (mho.convert, seed)": self.programming_seed is not None,
            "legacy": self.legacy,
        }
        return [name for name, is_set in told.items() if is_set]

    def _numbers(self) -> dict[str, Any]:
        left = self._left_behind()
        if left:
            notice.warn(f"to_mho leaves out {', '.join(left)}")
        bits = {key: getattr(self, key, None) for key in ("dac_bits", "adc_bits")}
        bits = {key: None if n is None or n > _ENOUGH else int(n) for key, n in bits.items()}
        serial = self.input_encoding_scheme == "linear" and bits["dac_bits"]
        names = ("g_min", "g_max", "read_noise", "write_noise")
        of_cells = {name: getattr(self, name) for name in names}
        of_cells |= {"g_stuck_low": self.stuck_low, "g_stuck_high": self.stuck_high}
        return {
            **bits,
            **{name: float(value) * self.unit for name, value in of_cells.items()},
            **({"rows": self.rows, "cols": self.columns} if self.stateful else {}),
            "inputs": "bit_serial" if serial else "instantaneous",
            "read_noise_kind": "uniform",
            "stuck": float(self.stuck_percentage),
            "v_read": float(self.v_read),
            "retention": self._retention(),
        }

    def _retention(self) -> PowerLawDrift | None:
        if not self.drift_coefficient:
            return None
        if self.retention_time > self.drift_t0:
            notice.warn(
                "to_mho returns cells as just written: mho.age(model, "
                f"{float(self.retention_time):g}) lets retention_time pass"
            )
        return PowerLawDrift(
            float(self.drift_coefficient), float(self.drift_variation), float(self.drift_t0)
        )

    def DAC_quantize(self, vector: Tensor) -> Any:
        """Return the voltages that drivers make of voltages asked for, ``[…, inputs]``.

        Bit-serial drivers return a list, one tensor a bit, the lowest first.
        """
        raise NotImplementedError(f"{type(self).__name__} must define DAC_quantize")

    def ADC_quantize(self, vector: Tensor) -> Tensor:
        """Return the currents that converters make of currents, ``[…, outputs]``."""
        raise NotImplementedError(f"{type(self).__name__} must define ADC_quantize")


@register_accelerator("SimpleFixedPoint")
class SimpleFixedPoint(GenericAccelerator):
    """An accelerator with fixed-point converters, whose range every vector sets for itself.

    Args:
        adc_bits: of the converters; all others: see `GenericAccelerator`.
        dac_bits: of the drivers.
    """

    def __init__(
        self,
        adc_bits: int = 5,
        dac_bits: int = 5,
        g_min: float = 50,
        g_max: float = 100,
        v_read: float = 0.3,
        read_noise: float = 0,
        stateful: bool = True,
        xb_size: tuple[int, int] = (2500, 2500),
        write_noise: float = 0,
        stuck_percentage: float = 0.0,
        stuck_mode: str = "real",
        input_encoding_scheme: str = "instant",
        xb_mapping_scheme: Callable[..., Any] = map_random,
        weight_encoding_scheme: Callable[..., Any] = encode_simple_binary,
        retention_time: float = 1.0,
        drift_coefficient: float = 0.0,
        drift_t0: float = 1.0,
        drift_variation: float = 0.0,
        device: Any = "cpu",
        programming_seed: int | None = None,
        weight_encoding_args: Mapping[str, Any] | None = None,
        legacy: bool = False,
    ) -> None:
        settings = inherited(locals(), "adc_bits", "dac_bits")
        self.adc_bits = whole("adc_bits", adc_bits, most=32)
        self.dac_bits = whole("dac_bits", dac_bits, most=32)
        super().__init__(**settings)

    def DAC_quantize(self, vector: Any) -> Tensor | list[Tensor]:
        """Round voltages ``[…, inputs]``; with ``"linear"`` inputs a list, one tensor a bit."""
        vector = torch.as_tensor(vector)
        if self.input_encoding_scheme == "instant":
            return self._rounded(vector, int(self.dac_bits))
        limit, inverse = self._range(vector)
        return bit_planes(vector * inverse, limit, int(self.dac_bits))

    def ADC_quantize(self, vector: Any) -> Tensor:
        """Round currents ``[…, outputs]``."""
        return self._rounded(torch.as_tensor(vector), int(self.adc_bits))

    def _range(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the range that vectors set for themselves, and its inverse (0 for 0)."""
        if not vector.numel():
            return vector.new_ones(()), vector.new_ones(())
        dim = None if self.legacy else -1
        low, high = torch.aminmax(vector.detach(), dim=dim, keepdim=dim is not None)
        limit = torch.maximum(-low, high)
        return limit, torch.where(limit > 0, limit.reciprocal(), limit)

    def _rounded(self, vector: Tensor, bits: int) -> Tensor:
        limit, inverse = self._range(vector)
        steps = 2 ** (bits - 1)
        if bits == 1:
            found = vector.detach().sign() * limit
        else:
            level = vector.detach() * (inverse * steps)
            found = to_grid(level, 1 - steps, steps - 1, fresh=True).mul_(limit / steps)
        return straight_through(found, vector)


@register_accelerator("Daffodil")
class Daffodil(GenericAccelerator):
    """The Daffodil board: 12-bit drivers, a transimpedance stage and a 12-bit converter.

    ``V = board_vref + dpot_r · I``, which the converter sees between zero and its reference: of
    both signs at least 1 mA, in steps of 1.2 µA. The parts are those of `mho.chip.Daffodil`, which
    rests at another voltage and has another feedback by default. For the arguments see
    `GenericAccelerator`.

    Attributes:
        board_vref: output of the stage without a current (V).
        board_vmax: supply (V).
        board_vground: virtual ground (V).
        dac_n: bits of the drivers.
        dac_gain_mode: their gain register.
        dac_offset: their offset register.
        dac_vref: their reference (V).
        adc_gain: of the converter.
        adc_vref: its reference (V).
        dpot_r: feedback of the stage (Ω).
        currentscale: how many of the units of currents (µS·V) are an ampere.

    Source: O. Yousuf et al., 2024, arXiv:2404.15621; data sheet of the AD5391.
    """

    _fixed_range = True

    def __init__(
        self,
        g_min: float = 50,
        g_max: float = 100,
        v_read: float = 0.3,
        read_noise: float = 10,
        write_noise: float = 10,
        stuck_percentage: float = 0.0,
        stuck_mode: str = "real",
        input_encoding_scheme: str = "instant",
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
        settings = inherited(locals())
        self.board_vref, self.board_vmax, self.board_vground = 2.0, 5.0, 1.7
        self.dac_n = 12
        self.dac_gain_mode, self.dac_offset = 4093, 0
        self.dac_vref = chip.Daffodil.dac_step * 2**self.dac_n / 2
        self.adc_gain, self.adc_vref = 0, chip.Daffodil.v_adc
        self.dpot_r = -500.0
        self.currentscale = 1e6
        super().__init__(**settings)

    @property
    def dac_max_prec(self) -> int:
        """How many registers the drivers tell apart: follows ``dac_n``."""
        return int(2**self.dac_n)

    def to_mho(self) -> chip.Accelerator:
        """See `GenericAccelerator.to_mho`."""
        numbers = {**self._numbers(), "adc_bits": self.dac_n, "v_rest": self.board_vref}
        numbers |= {"v_adc": self.adc_vref * (1 + self.adc_gain), "r_feedback": -self.dpot_r}
        numbers.pop("dac_bits", None)
        if self.input_encoding_scheme == "linear":
            numbers["inputs"] = "bit_serial"
        return chip.Daffodil(**numbers)

    def dac_calcvout(self, x1: Any) -> Tensor:
        """Return the voltages (V) of driver registers; ValueError beyond ``0 … 2^12``."""
        x1 = torch.as_tensor(x1)
        if bool((x1 < 0).any()) or bool((x1 > self.dac_max_prec).any()):
            raise ValueError(
                f"driver registers must lie in 0 … {self.dac_max_prec}, got "
                f"{float(x1.min()):g} … {float(x1.max()):g}"
            )
        number = x1 * ((self.dac_gain_mode + 2) / self.dac_max_prec) + self.dac_offset
        return number * (2 * self.dac_vref / self.dac_max_prec)

    def dac_invertvout(self, v: Any) -> Tensor:
        """Return the driver registers whose voltages (V) are nearest."""
        number = torch.as_tensor(v) * (self.dac_max_prec / (2 * self.dac_vref)) - self.dac_offset
        register = (number * (self.dac_max_prec / (self.dac_gain_mode + 2))).round()
        return register.clamp(0, self.dac_max_prec - 1)

    def DAC_quantize(self, voltage: Any) -> Tensor | list[Tensor]:
        """Return the voltages that the drivers make; inputs of both signs are driven.

        With ``"linear"`` inputs a list, one tensor a bit: pulses of the largest voltage.
        """
        voltage = torch.as_tensor(voltage)
        if self.input_encoding_scheme == "instant":
            return voltage.sign() * self._driven(voltage.abs())
        limit = voltage.detach().abs().amax(-1, keepdim=True)
        share = voltage / limit.where(limit > 0, limit.new_ones(()))
        return bit_planes(share, self._driven(limit), self.dac_n)

    def _driven(self, voltage: Tensor) -> Tensor:
        return straight_through(self.dac_calcvout(self.dac_invertvout(voltage.detach())), voltage)

    def adc_predict_voltage(self, registervalue: Any) -> Tensor:
        """Return the voltages (V) that converter registers stand for."""
        return torch.as_tensor(registervalue) * ((1 + self.adc_gain) * self.adc_vref / 4096)

    def adc_invert_voltage(self, value: Any) -> Tensor:
        """Return the converter registers of voltages (V); ValueError beyond the range."""
        value = torch.as_tensor(value)
        registers = (value * (4096 / (self.adc_gain + 1) / self.adc_vref)).round()
        if bool((registers > 4096).any()):
            raise ValueError(
                f"ADC register overflow: {float(value.max()):g} V is above "
                f"{(1 + self.adc_gain) * self.adc_vref:g} V"
            )
        return registers

    def ADC_quantize(self, current: Any) -> Tensor:
        """Return the currents that the sensing chain makes of currents; it clips at its ends."""
        scale = self.dpot_r / (self.currentscale * (1e-6 / self.unit))
        highest = min(self.board_vmax - self.board_vground, (1 + self.adc_gain) * self.adc_vref)
        voltage = (self.board_vref + torch.as_tensor(current) * scale).clamp(0.0, highest)
        found = self.adc_predict_voltage(self.adc_invert_voltage(voltage.detach()))
        return (straight_through(found, voltage) - self.board_vref) / scale
