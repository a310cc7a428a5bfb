"""What layers share that read several crossbars in a call, or more columns than they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mho.core import notice
from mho.crossbar.blocks import KEPT, followed_by_torch
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.readout import Readout
from mho.nn.base import AnalogLayer

Read = Callable[..., Tensor]
"""Reads one crossbar: ``(x, bias=None)`` to its outputs."""

COLUMNS_AT_ONCE = 1 << 20
"""Outputs held at once on a CPU where a digital sum over them follows: they stay in the cache."""

COLUMNS_AT_ONCE_GPU = 1 << 28


def readers(layer: AnalogLayer) -> Mapping[str, Read]:
    """Return, by crossbar, what reads it in one call of a layer.

    Through the weights in training, one chip for all that is read in the call; else what is stored.
    What computes weights is asked once.
    """
    crossbars = layer.crossbars
    if not layer.training:
        layer.warn_if_stale()
        return crossbars
    matrices = layer.matrices()
    return {
        name: partial(_through, crossbars[name], layer.training_readout(name, matrix))
        for name, matrix in matrices.items()
    }


def _through(crossbar: Crossbar, seen: Readout, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return crossbar.reader.read(x, seen, bias)


def with_row(read: Read, x: Tensor) -> Tensor:
    """Read a crossbar whose last row holds the bias and is driven with 1."""
    return read(torch.cat((x, torch.ones_like(x[..., :1])), dim=-1))


def summed(
    layer: AnalogLayer, then: Callable[..., Tensor], x: Tensor, *others: Tensor, outputs: int
) -> Tensor:
    """Read the crossbar ``crossbar`` and sum its outputs digitally, in blocks of bounded memory.

    A block stays in the cache, and within a part of the crossbar's memory. Gradients need all that
    a block kept, so there blocks are as large as the memory allows. Converters that follow the
    largest value of a call, and rules that learn an input range of one, need all outputs at once:
    those are read in one block.

    Args:
        layer: whose crossbar it is.
        then: from outputs ``[batch, …, cols]``, and the same block of ``others``, to the result.
        x: inputs ``[batch, …, rows]``.
        *others: ``[batch, …]``.
        outputs: of the crossbar for one of the batch.

    Returns:
        The results of all blocks, ``[batch, …]``.
    """
    read, crossbar = readers(layer)["crossbar"], layer.crossbars["crossbar"]
    hardware = layer.hardware
    by_call = "per_call" in (hardware.drive.range, hardware.adc and hardware.adc.range)
    by_call = by_call or (layer.training and crossbar.reader.ranges.ruled)
    most = int(crossbar.reader.memory * KEPT) // crossbar.scale.element_size()
    if not _needs_gradients(layer, x, *others):
        at_once = COLUMNS_AT_ONCE if x.device.type == "cpu" else COLUMNS_AT_ONCE_GPU
        most = min(most, at_once)
    size = max(most // max(outputs, 1), 1)
    # A graph may be for any batch, and what it keeps is torch's to decide.
    if by_call or followed_by_torch() or len(x) <= size:
        return then(read(x), *others)
    blocks = zip(*(tensor.split(size) for tensor in (x, *others)), strict=True)
    return torch.cat([then(read(block), *rest) for block, *rest in blocks])


def _needs_gradients(layer: AnalogLayer, *inputs: Tensor) -> bool:
    if not torch.is_grad_enabled():
        return False
    learned = layer.training and any(p.requires_grad for p in layer.parameters())
    shifts = (crossbar.range_shift for crossbar in layer.crossbars.values())
    return (
        learned
        or any(x.requires_grad for x in inputs)
        or any(shift is not None and shift.requires_grad for shift in shifts)
    )


def as_stored(
    crossbar: Crossbar, bias: Tensor | None, *, on_array: bool = False
) -> tuple[Tensor, Tensor, bool]:
    """Return what a crossbar computes as a digital layer, output correction included.

    Args:
        crossbar: of one group.
        bias: added digitally after it, or None.
        on_array: whether its last row holds the bias.

    Returns:
        The matrix ``[inputs, outputs]``, the bias ``[outputs]``, and whether that is needed.
    """
    matrix = (crossbar.effective_weight * crossbar.gain).detach()
    offset = crossbar.offset.detach().clone()
    if on_array:
        offset += matrix[-1]
        matrix = matrix[:-1]
    elif bias is not None:
        offset += bias.detach()
    return matrix, offset, on_array or bias is not None or bool(offset.any())


def in_its_dtype(layer: AnalogLayer, digital: nn.Module) -> nn.Module:
    """Return a digital layer made of cells in the mode and dtype of the layer it stands for."""
    return digital.to(next(layer.parameters()).dtype).train(layer.training)


def tell_bias_is_digital(layer: AnalogLayer, why: str) -> None:
    """Say that a layer's bias cannot be on the array though the hardware says so."""
    if layer.hardware.bias == "array" and layer.holds("bias"):
        kind = layer.kind.__name__
        notice.warn(f"the bias of {kind} is added digitally, not on the array: {why}")
