"""The Daffodil prototyping board."""

# ruff: noqa: N802
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mho import chip
from mho.compat.xbtorch.deployment._given import inherited
from mho.compat.xbtorch.deployment.base import GenericAccelerator, bit_planes, register_accelerator
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.periphery.quantize import straight_through


@register_accelerator("Daffodil")
class Daffodil(GenericAccelerator):
    """The Daffodil board: 12-bit drivers, a transimpedance stage and a 12-bit converter.

    ``V = board_vref + dpot_r · I``, which the converter sees between zero and its reference: of
    both signs at least 1 mA, in steps of 1.2 µA. The parts are those of `mho.chip.Daffodil`, whose
    feedback is chosen for kernels of 25 rows. For the arguments see `GenericAccelerator`.

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
        self.dac_max_prec = 2**self.dac_n
        self.dac_gain_mode, self.dac_offset = 4093, 0
        self.dac_vref = chip.Daffodil.dac_step * self.dac_max_prec / 2
        self.adc_gain, self.adc_vref = 0, chip.Daffodil.v_adc
        self.dpot_r = -500.0
        self.currentscale = 1e6
        super().__init__(**settings)

    def to_mho(self) -> chip.Accelerator:
        """See `GenericAccelerator.to_mho`."""
        numbers = {**self._numbers(), "dac_bits": None, "adc_bits": self.dac_n}
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
