"""Weights so large that a read of them would overflow, refused where they enter.

Programming looks at what it writes. A training read does so on the host alone, where looking costs
some microseconds: on an accelerator the host would have to wait. There, in a graph, and of tensors
of another class than torch's own, such a read is inf or NaN, as torch's own overflow is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mho.crossbar import blocks
from mho.hardware import Hardware

_SQUARED = {torch.float32: 2.0**40, torch.float64: 2.0**480}
_LARGEST = {torch.float32: 2.0**100, torch.float64: 2.0**980}


def refuse_in_training(scale: Tensor, hardware: Hardware, *, collapsed: bool) -> None:
    """Refuse weights that a training read cannot bear.

    Behind converters currents are worked out in units of the weights: their noise goes by squares,
    and gradients, which may be scaled up (``torch.amp.GradScaler``), are multiplied by the weights
    and by the scale before anything makes them smaller.

    Args:
        scale: of the weights, ``[]`` or ``[cols]`` (1/S).
        hardware: what they are on.
        collapsed: whether the read is one product with the weights.

    Raises:
        ValueError: if one is larger than 2^40 in float32, 2^480 in float64; of a collapsed read
            2^100 and 2^980.
    """
    # Of a tensor of another class (a fake one has no numbers) nobody knows what looking costs.
    if type(scale) is not Tensor or scale.device.type != "cpu" or blocks.followed_by_torch():
        return
    g_min, g_max = hardware.device.window
    most = (_LARGEST if collapsed else _SQUARED)[scale.dtype]
    with torch.no_grad():
        if bool((scale > most / (g_max - g_min)).any()):
            _refuse(float(scale.amax()) * (g_max - g_min), most, "read in training")


def refuse_programming(scale: Tensor, hardware: Hardware) -> None:
    """Refuse weights of which a read of the programmed cells would overflow.

    Args:
        scale: of the weights, ``[]`` or ``[cols]`` (1/S).
        hardware: what they are on.

    Raises:
        ValueError: if ``scale / v_step`` overflows.
    """
    (g_min, g_max), v_step = hardware.device.window, hardware.drive.v_step
    most = torch.finfo(scale.dtype).max * min(v_step, 1.0) / 2.0**16
    if bool((scale > most).any()):
        _refuse(float(scale.amax()) * (g_max - g_min), most * (g_max - g_min), "programmed")


def _refuse(largest: float, most: float, what: str) -> None:
    raise ValueError(
        f"weights must be at most {most:.2g} in magnitude to be {what} on this hardware, got "
        f"{largest:.3g}: numbers would overflow"
    )
