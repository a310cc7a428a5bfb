"""The noise of reading: whether there is some, and a model without it, for what cannot draw.

ONNX, traces and fixed comparisons cannot.
"""

from __future__ import annotations

import copy

from torch import nn

from mho.hardware import Hardware
from mho.model.crossbars import listing


def noise_free(model: nn.Module) -> nn.Module:
    """Return a copy whose reads of the stored cells draw nothing.

    White read noise and the noise of amplifiers and converters are gone, and effects that are drawn
    at every read (`mho.effects.TelegraphNoise` without a ``tau``) show their mean. Cells,
    converters, wires and corrections stay as they are; `mho.collapse` takes converters away, too.
    In ``train()`` mode the copy draws as ever.

    Args:
        model: a converted model, or any module with crossbars; it is not changed.

    Raises:
        ValueError: if the model has no crossbars.
    """
    listing(model)  # refuses a model without crossbars
    quiet = copy.deepcopy(model)
    for entry in listing(quiet):
        entry.crossbar.quiet = True
        entry.crossbar.refresh()
    return quiet


def is_noisy(hardware: Hardware) -> bool:
    """Whether two reads of one input differ."""
    amplifier, adc = hardware.amplified, hardware.adc
    noisy = (amplifier is not None and amplifier.noisy) or (adc is not None and adc.noisy)
    return (
        noisy
        or hardware.drive.jitters
        or any(
            b.acts_on("read_std") or (b.acts_on("read") and b.redrawn) for b in hardware.behaviours
        )
    )
