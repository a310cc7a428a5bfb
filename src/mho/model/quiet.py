"""A model without the noise of reading, for what cannot draw: ONNX, traces, fixed comparisons."""

from __future__ import annotations

import copy

from torch import nn

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
