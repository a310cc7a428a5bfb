"""The Daffodil prototyping board."""

# ruff: noqa: N802
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mho import chip
from mho.compat.xbtorch.deployment._generic import GenericAccelerator, register_accelerator
from mho.compat.xbtorch.deployment.mapping import map_random


@register_accelerator("Daffodil")
class Daffodil(GenericAccelerator):
    """The Daffodil board: 12-bit drivers, a transimpedance stage and a 12-bit converter.

    Args:
        g_min: see `GenericAccelerator`, as all that follow.
        g_max: lowest and highest conductance.
        v_read: read voltage (V).
        read_noise: half-width of the noise of reading.
        write_noise: standard deviation of programming.
        stuck_percentage: fraction of broken cells.
        stuck_mode: what they read.
        input_encoding_scheme: how inputs are applied.
        xb_mapping_scheme: where matrices go.
        retention_time: since programming.
        drift_coefficient: of the drift.
        drift_t0: of the drift.
        drift_variation: of the drift.
        device: where tensors live.

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
        currentscale: divides currents (in µS·V) before the stage.

    Source: O. Yousuf et al., 2024, arXiv:2404.15621; data sheet of the AD5391.
    """

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
    ) -> None:
        self.board_vref, self.board_vmax, self.board_vground = 2.0, 5.0, 1.7
        self.dac_n = 12
        self.dac_max_prec = 2**self.dac_n
        self.dac_gain_mode, self.dac_offset, self.dac_vref = 4093, 0, 2.5
        self.adc_gain, self.adc_vref = 0, 2.5
        self.dpot_r = -500.0
        self.currentscale = 1e8
        super().__init__(
            g_min,
            g_max,
            v_read,
            read_noise,
            write_noise,
            stuck_percentage=stuck_percentage,
            stuck_mode=stuck_mode,
            input_encoding_scheme=input_encoding_scheme,
            xb_mapping_scheme=xb_mapping_scheme,
            device=device,
            retention_time=retention_time,
            drift_coefficient=drift_coefficient,
            drift_t0=drift_t0,
            drift_variation=drift_variation,
        )

    def to_mho(self) -> chip.Accelerator:
        """See `GenericAccelerator.to_mho`."""
        numbers = self._numbers()
        return chip.Daffodil(**{**numbers, "dac_bits": None, "adc_bits": self.dac_n})

    def dac_calcvout(self, x1: Tensor) -> Tensor:
        """Return the voltages (V) of driver registers ``0 … 2^12``.

        Raises:
            ValueError: if a register is out of range.
        """
        if bool((x1 < 0).any()) or bool((x1 > self.dac_max_prec).any()):
            raise ValueError(
                f"driver registers must lie in 0 … {self.dac_max_prec}, got "
                f"{float(x1.min()):g} … {float(x1.max()):g}"
            )
        number = x1 * ((self.dac_gain_mode + 2) / self.dac_max_prec) + self.dac_offset
        return number * (2 * self.dac_vref / self.dac_max_prec)

    def dac_invertvout(self, v: Tensor) -> Tensor:
        """Return the driver registers whose voltages (V) are nearest."""
        number = v * (self.dac_max_prec / (2 * self.dac_vref)) - self.dac_offset
        register = (number * (self.dac_max_prec / (self.dac_gain_mode + 2))).round()
        return register.clamp(0, self.dac_max_prec - 1)

    def DAC_quantize(self, voltage: Tensor) -> Tensor:
        """Return the voltages that the drivers make; inputs of both signs are driven."""
        return voltage.sign() * self.dac_calcvout(self.dac_invertvout(voltage.abs()))

    def adc_predict_voltage(self, registervalue: Tensor) -> Tensor:
        """Return the voltages (V) that converter registers stand for."""
        return registervalue * ((1 + self.adc_gain) * self.adc_vref / 4096)

    def adc_invert_voltage(self, value: Tensor) -> Tensor:
        """Return the converter registers of voltages (V).

        Raises:
            ValueError: if a voltage is beyond the range.
        """
        registers = (value * (4096 / (self.adc_gain + 1) / self.adc_vref)).round()
        if bool((registers > 4096).any()):
            raise ValueError(
                f"ADC register overflow: {float(value.max()):g} V is above "
                f"{(1 + self.adc_gain) * self.adc_vref:g} V"
            )
        return registers

    def ADC_quantize(self, current: Tensor) -> Tensor:
        """Return the currents that the sensing chain makes of currents.

        A current becomes a voltage about ``board_vref``, is clipped to what stage and converter
        can say, becomes a register, and is computed back.
        """
        scale = self.dpot_r / (self.currentscale * (1e-6 / self.unit))
        highest = min(self.board_vmax - self.board_vground, (1 + self.adc_gain) * self.adc_vref)
        voltage = (self.board_vref + current * scale).clamp(0.0, highest)
        found = self.adc_predict_voltage(self.adc_invert_voltage(voltage))
        return (found - self.board_vref) / scale
