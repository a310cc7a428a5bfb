"""Accelerators: chips with converters, that models are deployed on."""

# ruff: noqa: N802
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mho.compat.xbtorch.deployment._daffodil import Daffodil, bit_planes
from mho.compat.xbtorch.deployment._generic import (
    ACCELERATOR_REGISTRY,
    GenericAccelerator,
    register_accelerator,
)
from mho.compat.xbtorch.deployment._given import inherited, whole
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.weight_encoding import (
    encode_LEA1,
    encode_LEA2,
    encode_simple_binary,
)
from mho.periphery.quantize import to_grid

__all__ = [
    "ACCELERATOR_REGISTRY",
    "Daffodil",
    "GenericAccelerator",
    "SimpleFixedPoint",
    "encode_LEA1",
    "encode_LEA2",
    "encode_simple_binary",
    "map_random",
    "register_accelerator",
]


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
        if bits == 1:
            return vector.sign() * limit
        steps = 2 ** (bits - 1)
        level = to_grid(vector * (inverse * steps), 1 - steps, steps - 1, fresh=True)
        # Fresh memory costs more than rounding.
        return level * (limit / steps) if level.requires_grad else level.mul_(limit / steps)
