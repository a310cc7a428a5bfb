"""Accelerators: chips with converters, that models are deployed on."""

# ruff: noqa: N802
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mho.compat.xbtorch.deployment._daffodil import Daffodil
from mho.compat.xbtorch.deployment._generic import (
    ACCELERATOR_REGISTRY,
    GenericAccelerator,
    register_accelerator,
)
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.weight_encoding import encode_simple_binary
from mho.core import checks
from mho.periphery.quantize import to_grid

__all__ = [
    "ACCELERATOR_REGISTRY",
    "Daffodil",
    "GenericAccelerator",
    "SimpleFixedPoint",
    "register_accelerator",
]


@register_accelerator("SimpleFixedPoint")
class SimpleFixedPoint(GenericAccelerator):
    """An accelerator with fixed-point converters, whose range every vector sets for itself.

    Args:
        adc_bits: of the converters.
        dac_bits: of the drivers.
        g_min: see `GenericAccelerator`, as all that follow.
        g_max: lowest and highest conductance.
        v_read: read voltage (V).
        read_noise: half-width of the noise of reading.
        stateful: keep a whole chip.
        xb_size: its size.
        write_noise: standard deviation of programming.
        stuck_percentage: fraction of broken cells.
        stuck_mode: what they read.
        input_encoding_scheme: how inputs are applied.
        xb_mapping_scheme: where matrices go.
        weight_encoding_scheme: from weights to conductances.
        retention_time: since programming.
        drift_coefficient: of the drift.
        drift_t0: of the drift.
        drift_variation: of the drift.
        device: where tensors live.
        programming_seed: of cells that are not ``stateful``.
        weight_encoding_args: of the encoding.
        legacy: as XBTorch did.
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
        programming_seed: int = 0,
        weight_encoding_args: Mapping[str, Any] | None = None,
        legacy: bool = False,
    ) -> None:
        checks.integer("adc_bits", adc_bits, most=24)
        checks.integer("dac_bits", dac_bits, most=24)
        self.adc_bits, self.dac_bits = adc_bits, dac_bits
        super().__init__(
            g_min,
            g_max,
            v_read,
            read_noise,
            write_noise,
            stateful,
            xb_size,
            stuck_percentage,
            stuck_mode,
            input_encoding_scheme,
            weight_encoding_scheme,
            xb_mapping_scheme,
            retention_time,
            drift_coefficient,
            drift_t0,
            drift_variation,
            device,
            programming_seed,
            weight_encoding_args,
            legacy,
        )

    def DAC_quantize(self, vector: Tensor) -> Tensor | list[Tensor]:
        """Round voltages ``[…, inputs]``; with ``"linear"`` inputs a list, one tensor a bit."""
        if self.input_encoding_scheme == "instant":
            return self._rounded(vector, self.dac_bits)
        limit, inverse = self._range(vector)
        level = (vector * inverse * (2**self.dac_bits - 1)).round()
        sign, size = level.sign() * limit, level.abs().to(torch.int64)
        return [sign * ((size >> bit) & 1).to(vector.dtype) for bit in range(self.dac_bits)]

    def ADC_quantize(self, vector: Tensor) -> Tensor:
        """Round currents ``[…, outputs]``."""
        return self._rounded(vector, self.adc_bits)

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
