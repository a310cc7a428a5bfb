"""XBTorch's API on mho: every documented name, in its place, with its signature.

A thin translation: devices are those of `mho.devices`, gradients are decomposed by
`mho.decomposition`, numbers rounded by `mho.periphery`, matrices placed and protected by
`mho.chip` and `mho.encoding`. Conductances here are in µS (or, where ``g_max`` is below 1e-3, in
siemens), as in XBTorch's programs. Deliberate differences are listed in the documentation.
"""

# ruff: noqa: F401
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from torch import nn as _nn

from mho import __version__
from mho.compat.xbtorch._params import XBParams, get_xbtorch_param, initialize


def _kinds(names: str) -> tuple[type[_nn.Module], ...]:
    return tuple(getattr(_nn, name) for name in names.split())


activation_types = _kinds(
    "ReLU Sigmoid Tanh LeakyReLU Softmax Softplus Softsign ELU PReLU SELU GELU Hardtanh "
    "Hardsigmoid Hardshrink Hardswish LogSigmoid SiLU Mish LogSoftmax"
)
"""Activations that patching knows."""

layer_types = (_nn.Linear, _nn.Conv2d, _nn.RNN, _nn.LSTM)
"""Layers with weights that patching replaces."""

misc_types = _kinds(
    "Dropout Dropout2d Dropout3d MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d "
    "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d "
    "AdaptiveAvgPool3d Flatten"
)
"""Layers without weights that patching keeps."""

from mho.compat.xbtorch import (  # noqa: E402
    decomposition,
    deployment,
    devices,
    loss,
    nn,
    optim,
    patches,
    quant,
)

__all__ = [
    "XBParams",
    "activation_types",
    "get_xbtorch_param",
    "initialize",
    "layer_types",
    "misc_types",
]
